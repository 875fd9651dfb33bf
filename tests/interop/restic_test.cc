// restic and we on the same repository, both ways: what it made we read and append to, what we made
// it checks, restores and prunes; with its chunker both store the same pieces.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "e2e/world.h"
#include "interop/shared_repository.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

using Files = std::map<std::string, std::string>;

// A folder that has what a tree can have: several chunks, empty, links, odd names.
std::filesystem::path make_tree(const TempDir& folder) {
  folder.write("tree/large", noise(3'000'000, 1));
  folder.write("tree/repeated", std::string(2'000'000, 'a'));
  folder.write("tree/empty", "");
  folder.write("tree/sub/deeper/.hidden", "hidden");
  folder.write("tree/sub/na\xC3\xAFve \"quoted\" <&> \\ name", "odd");
  folder.write("tree/sub/tab\tand\nnewline", "odder");
  std::filesystem::create_symlink("../large", folder / "tree/sub/link");
  std::filesystem::create_symlink("nowhere", folder / "tree/dangling");
  std::filesystem::create_directory(folder / "tree/nothing");
  return folder / "tree";
}

// One repository, used by restic of one version and by us.
class Shared {
 public:
  explicit Shared(std::string version) : version_(std::move(version)) {}

  const TempDir& folder() const { return shared_.folder(); }

  RunResult ours(const std::vector<std::string>& args) const { return shared_.run("ours", args); }

  // A good run of restic; returns its stdout.
  std::string must(const std::vector<std::string>& args, const std::string& input = {}) const {
    return shared_.must(version_, args, input);
  }

  Json must_ours(const std::vector<std::string>& args) const { return shared_.must_ours(args); }

  Json back_up(const std::filesystem::path& database, std::vector<std::string> flags = {}) const {
    flags.insert(flags.begin(), {"backup", "--etcd-snapshot", database.string()});
    return must_ours(flags);
  }

  void check_clean() const { shared_.check_clean(version_); }

  Files restored_by_us(const std::string& snapshot) {
    return files_below(shared_.restore("ours", snapshot));
  }

  Files restored_by_them(const std::string& snapshot) {
    return files_below(shared_.restore(version_, snapshot));
  }

  std::size_t snapshots() const { return shared_.snapshots("ours").size(); }

  const SharedRepository& repository() const { return shared_; }

 private:
  const std::string version_;
  SharedRepository shared_;
};

// The last line of `restic backup --json`.
std::int64_t data_added(const std::string& out) {
  const std::vector<std::string> lines = split(std::string(trim(out)), '\n');
  return parse_json(lines.back(), "restic").at("data_added").get<std::int64_t>();
}

Files database_only(const std::filesystem::path& database) {
  return {{"data/etcd-snapshot.db", read_text(database)}};
}

// Three saved databases of one etcd, each changed a little from the one before.
class Databases {
 public:
  static const std::vector<std::filesystem::path>& shared() {
    static const Databases databases;
    return databases.files_;
  }

 private:
  Databases() {
    EtcdServer etcd;
    etcd.fill("/registry/configmaps/default/c", 4000, 2500);
    for (int i = 0; i < 3; ++i) {
      etcd.put("/registry/leases/node", noise(100, static_cast<unsigned>(i)));
      files_.push_back(save_database(etcd, folder_ / fmt::format("{}.db", i)));
    }
  }

  TempDir folder_;
  std::vector<std::filesystem::path> files_;
};

struct Made {
  const char* restic;
  int version;
  std::vector<std::string> init_flags;
  std::vector<std::string> backup_flags;
};

void check_made_by_restic(const Made& made) {
  CAPTURE(made.restic);
  CAPTURE(made.version);
  CAPTURE(made.backup_flags);
  Shared repository(made.restic);
  const auto tree = make_tree(repository.folder());
  const Files files = files_below(tree);
  std::vector<std::string> init = made.init_flags;
  init.insert(init.begin(), "init");
  repository.must(init);
  std::vector<std::string> backup = made.backup_flags;
  backup.insert(backup.begin(), {"backup", tree.string()});
  repository.must(backup);

  const Json listed = repository.must_ours({"snapshots"}).at("snapshots");
  REQUIRE(listed.size() == 1);
  CHECK(listed[0].at("paths") == Json{tree.string()});
  const std::string id = listed[0].at("id").get<std::string>();
  const std::string inside = tree.lexically_relative("/").string() + "/";
  Files expected;
  for (const auto& [name, content] : files) expected[inside + name] = content;
  CHECK(repository.restored_by_us(id) == expected);
  CHECK(repository.restored_by_us(id.substr(0, 8)) == expected);

  const Json added = repository.back_up(Databases::shared().front());
  CHECK(added.at("parentId") == "");
  repository.back_up(Databases::shared().back());
  repository.check_clean();
  CHECK(repository.snapshots() == 3);
  CHECK(repository.restored_by_them("latest") == database_only(Databases::shared().back()));
  CHECK(repository.restored_by_them(added.at("snapshotId").get<std::string>()) ==
        database_only(Databases::shared().front()));
  CHECK(repository.restored_by_them(id) == expected);

  // And once more by restic, on top of ours.
  repository.must(backup);
  repository.check_clean();
  CHECK(repository.snapshots() == 4);

  // All of restic's go, with what only they needed.
  const Json forgotten =
      repository.must_ours({"forget", "--path", tree.string(), "--unsafe-allow-remove-all",
                            "--prune", "--max-unused", "0", "--yes"});
  CHECK(forgotten.at("removed").size() == 2);
  CHECK(forgotten.at("pruned").at("bytesFreed").get<std::int64_t>() > 3'000'000);
  repository.check_clean();
  CHECK(repository.snapshots() == 2);
  CHECK(repository.restored_by_them("latest") == database_only(Databases::shared().back()));
  CHECK(repository.restored_by_them(added.at("snapshotId").get<std::string>()) ==
        database_only(Databases::shared().front()));
}

void check_made_by_us(const std::string& restic_version, int version) {
  CAPTURE(restic_version);
  CAPTURE(version);
  Shared repository(restic_version);
  const auto certificates = make_certificates(repository.folder());
  const Json init = repository.must_ours({"init", "--repository-version", std::to_string(version)});
  CHECK(init.at("repositoryVersion") == version);
  std::vector<std::string> ids;
  std::vector<Files> expected;
  for (const auto& database : Databases::shared()) {
    const Json made = repository.back_up(database, {"--certs-dir", certificates.string()});
    ids.push_back(made.at("snapshotId").get<std::string>());
    Files files = database_only(database);
    for (const char* name : {"ca.crt", "apiserver.crt", "apiserver.key", "etcd/ca.crt"}) {
      files[std::string("data/certificates/") + name] = read_text(certificates / name);
    }
    files["data/certificates/current.crt"] = read_text(certificates / "apiserver.crt");
    expected.push_back(files);
  }
  repository.check_clean();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    CAPTURE(i);
    CHECK(repository.restored_by_them(ids[i]) == expected[i]);
  }

  std::vector<std::string> forget = {"forget", ids[0], ids[1], "--prune"};
  if (restic_version != "0.11") forget.emplace_back("--max-unused=0");  // repacks all it can
  repository.must(forget);
  CHECK(repository.snapshots() == 1);
  repository.check_clean();
  CHECK(repository.restored_by_us(ids[2]) == expected[2]);

  const Json again = repository.back_up(Databases::shared()[1]);
  CHECK(again.at("parentId") == ids[2]);
  CHECK(again.at("dataAdded").get<std::int64_t>() < 1'000'000);
  repository.check_clean();
  CHECK(repository.restored_by_us("latest") == database_only(Databases::shared()[1]));
  CHECK(repository.restored_by_them(ids[2]) == expected[2]);
}

}  // namespace

TEST_CASE("restic: repositories of restic 0.11 are read and appended to") {
  KUBEDR_NEEDS("restic-0.11");
  check_made_by_restic({"0.11", 1, {}, {}});
}

TEST_CASE("restic: repositories of restic 0.14, version 1 and 2, are read and appended to") {
  KUBEDR_NEEDS("restic-0.14");
  check_made_by_restic({"0.14", 1, {"--repository-version=1"}, {}});
  check_made_by_restic({"0.14", 2, {"--repository-version=2"}, {"--compression=off"}});
  check_made_by_restic({"0.14", 2, {"--repository-version=2"}, {"--compression=max"}});
}

TEST_CASE("restic: repositories of restic 0.18, version 1 and 2, are read and appended to") {
  KUBEDR_NEEDS("restic-0.18");
  check_made_by_restic({"0.18", 1, {"--repository-version=1"}, {}});
  check_made_by_restic({"0.18", 2, {}, {"--compression=off"}});
  check_made_by_restic({"0.18", 2, {}, {"--compression=auto"}});
  check_made_by_restic({"0.18", 2, {}, {"--compression=max"}});
}

TEST_CASE("restic: our version 1 is checked, restored and pruned by restic 0.11, 0.14 and 0.18") {
  for (const char* version : {"0.11", "0.14", "0.18"}) {
    KUBEDR_NEEDS(std::string("restic-") + version);
    check_made_by_us(version, 1);
  }
}

TEST_CASE("restic: our version 2 is checked, restored and pruned by restic 0.14 and 0.18") {
  for (const char* version : {"0.14", "0.18"}) {
    KUBEDR_NEEDS(std::string("restic-") + version);
    check_made_by_us(version, 2);
  }
}

TEST_CASE("restic: --chunker restic cuts as restic does, whoever comes first") {
  KUBEDR_NEEDS("restic-0.18");
  const auto& database = Databases::shared().front();
  const auto size = static_cast<std::int64_t>(std::filesystem::file_size(database));
  REQUIRE(size > 8'000'000);  // several of restic's chunks

  SUBCASE("we first") {
    Shared repository("0.18");
    repository.must_ours({"init"});
    const Json ours = repository.back_up(database, {"--chunker", "restic"});
    CHECK(ours.at("dataAdded").get<std::int64_t>() >= size);
    const std::string target = (repository.folder() / "restored").string();
    REQUIRE(repository.ours({"restore", "latest", "--target", target}).ok());
    CHECK(data_added(repository.must({"backup", "--json", target + "/data"})) < 20'000);
  }
  SUBCASE("restic first") {
    Shared repository("0.18");
    repository.must({"init"});
    CHECK(data_added(repository.must({"backup", "--json", database.string()})) >= size);
    const Json ours = repository.back_up(database, {"--chunker", "restic"});
    CHECK(ours.at("dataAdded").get<std::int64_t>() < 20'000);
  }
  SUBCASE("cut at pages, next to nothing is shared") {
    Shared repository("0.18");
    repository.must({"init"});
    repository.must({"backup", database.string()});
    const Json ours = repository.back_up(database, {"--chunker", "pages"});
    CHECK(ours.at("dataAdded").get<std::int64_t>() > size / 2);
  }
}

TEST_CASE("restic: with --chunker restic certificates are shared, too, by 0.14 and 0.18") {
  const auto& database = Databases::shared().front();
  const TempDir folder;
  folder.write("pki/ca.crt", noise(2'000, 2));
  folder.write("pki/bundle/all.crt", noise(4'000'000, 3));  // several of restic's chunks
  std::filesystem::copy_file(database, folder / "etcd-snapshot.db");
  const std::string pki = (folder / "pki").string();
  constexpr std::int64_t kSize = 4'000'000;
  const std::vector<std::string> flags = {"--chunker", "restic", "--certs-dir", pki};
  for (const char* version : {"0.14", "0.18"}) {
    KUBEDR_NEEDS(std::string("restic-") + version);
    CAPTURE(version);
    const Shared ours_first{version};
    ours_first.must_ours({"init"});
    CHECK(ours_first.back_up(database, flags).at("dataAdded").get<std::int64_t>() > kSize);
    CHECK(data_added(ours_first.must({"backup", "--json", folder.path().string()})) < 20'000);
    ours_first.check_clean();

    const Shared theirs_first{version};
    theirs_first.must({"init"});
    CHECK(data_added(theirs_first.must({"backup", "--json", folder.path().string()})) > kSize);
    const Json ours = theirs_first.back_up(database, flags);
    CHECK(ours.at("filesNew") == 3);
    CHECK(ours.at("dataAdded").get<std::int64_t>() < 20'000);
    theirs_first.check_clean();
  }
}

TEST_CASE("restic: where restic's last snapshot of /data is another's, we cut as it does unasked") {
  KUBEDR_NEEDS("restic-0.18");
  const auto& database = Databases::shared().front();
  Shared repository("0.18");
  repository.must({"init"});
  // The only way to its path /data on a machine that has no such folder.
  repository.must({"backup", "--stdin", "--stdin-filename", "data"}, read_text(database));
  CHECK(repository.must_ours({"snapshots"}).at("snapshots").at(0).at("paths") == Json{"/data"});
  const Json ours = repository.back_up(database);
  CHECK(ours.at("dataAdded").get<std::int64_t>() < 20'000);
  repository.check_clean();
}

TEST_CASE("restic: both at once on one repository lose nothing") {
  KUBEDR_NEEDS("restic-0.18");
  Shared repository("0.18");
  const auto tree = make_tree(repository.folder());
  repository.must_ours({"init"});
  ProcessOptions options;
  options.env = repository.repository().env();
  options.env.emplace("HOME", repository.folder().path().string());
  Process restic({find_server("restic-0.18").string(), "backup", tree.string()}, options);
  const Json ours = repository.back_up(Databases::shared().front());
  const auto exit = restic.wait(std::chrono::minutes(2));
  REQUIRE(exit.has_value());
  CHECK_MESSAGE(exit->code == 0, restic.err());
  CHECK(repository.snapshots() == 2);
  repository.check_clean();
  CHECK(repository.restored_by_us(ours.at("snapshotId").get<std::string>()) ==
        database_only(Databases::shared().front()));
}
