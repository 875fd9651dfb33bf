// restic 0.11, 0.14, 0.18 and we take turns on one repository: what one wrote all list, check,
// restore to the last bit of a mode and nanosecond of a time, prune and append to.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/sha256.h"
#include "e2e/world.h"
#include "interop/shared_repository.h"
#include "repo/repository.h"
#include "storage/directory_store.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;
namespace fs = std::filesystem;

namespace {

using Programs = std::vector<std::string>;

constexpr char kOurs[] = "ours";

// restic needs a path, we a database; a small one.
const fs::path& database() {
  static const TempDir folder;
  static const fs::path file = [] {
    EtcdServer etcd;
    etcd.fill("/registry/configmaps/default/c", 20, 500);
    return save_database(etcd, folder / "db");
  }();
  return file;
}

void set_mtime(const fs::path& path, std::int64_t seconds, long nanoseconds) {
  timespec times[2] = {};
  times[0].tv_nsec = UTIME_OMIT;
  times[1].tv_sec = seconds;
  times[1].tv_nsec = nanoseconds;
  REQUIRE(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
}

void set_mode(const fs::path& path, mode_t mode) {
  REQUIRE(chmod(path.c_str(), mode) == 0);
}

// Folders that may not be written to would outlive the test.
void make_removable(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_symlink() && entry.is_directory()) set_mode(entry.path(), 0700);
  }
}

// A folder that has what a folder of files can have, and changes.
class Work {
 public:
  Work() {
    folder_.write("work/large noise", noise(3'000'000, 1));
    folder_.write("work/large and dull", std::string(9'000'000, '\1'));
    folder_.write("work/zeros", std::string(3 * 524'288, '\0'));
    folder_.write("work/empty", "");
    folder_.write("work/one", "1");
    const std::string sub = "work/sub folder/";
    for (const char* name :
         {".hidden", "-dash", "...", "~", "*?[a]", "na\xC3\xAFve \xF0\x9F\x98\x80", "quo\"te'`",
          "back\\slash", "new\nline", "tab\t", "<&>", "\xE2\x80\xA8", "not \xFF utf-8 \xC3"}) {
      folder_.write(sub + name, std::string("content of ") + name);
    }
    folder_.write(sub + std::string(255, 'n'), "as long as a name can be");
    folder_.write("work/a/b/c/d/e/f/g/h/deep", "deep");
    fs::create_directory(root() / "nothing in it");
    fs::create_hard_link(root() / "one", root() / "one more");
    fs::create_symlink("../large noise", root() / "sub folder/link");
    fs::create_symlink(root() / "one", root() / "sub folder/absolute link");
    fs::create_symlink("a/b", root() / "link to a folder");
    std::ofstream(root() / "sparse").put('x').flush();
    fs::resize_file(root() / "sparse", 2'000'000);

    set_mode(root() / "one", 04711);
    set_mode(root() / "empty", 0400);
    set_mode(root() / "nothing in it", 01777);
    set_mode(root() / "a/b/c", 0500);
    set_mtime(root() / "empty", -300'000'000, 1);             // 1960
    set_mtime(root() / "zeros", 7'258'118'400, 999'999'999);  // 2200
    set_mtime(root() / "sub folder/link", 1'000'000'000, 123'456'789);
    set_mtime(root() / "a/b", 1'234'567'890, 100);
  }

  ~Work() { make_removable(root()); }

  fs::path root() const { return folder_ / "work"; }

  // As it is to be found by the next backup.
  void change(bool for_us) {
    const std::string number = std::to_string(++changes_);
    folder_.write("work/number", number);
    folder_.write("work/of " + number, noise(200'000, 100U + static_cast<unsigned>(changes_)));
    fs::remove(root() / ("of " + std::to_string(changes_ - 2)));
    fs::remove(root() / "dangling");
    // Of the certificates' folder every link must lead somewhere.
    if (!for_us) fs::create_symlink("no/where", root() / "dangling");
  }

 private:
  TempDir folder_;
  int changes_ = 0;
};

struct Saved {
  std::string id;
  fs::path inside;  // where in the snapshot
  Tree tree;
};

class Turns {
 public:
  // Made by us, since restic takes ten times as long for a key; that restic's own repositories are
  // good for us is what restic_test shows.
  Turns(int version, Programs programs) : version_(version), programs_(std::move(programs)) {
    repository_.must(kOurs, {"init", "--repository-version", std::to_string(version_)});
  }

  void back_up(const std::string& program) {
    work_.change(program == kOurs);
    Saved saved;
    if (program == kOurs) {
      const Json made = repository_.must_ours(
          {"backup", "--etcd-snapshot", database().string(), "--certs-dir", work_.root().string()});
      saved = {made.at("snapshotId").get<std::string>(), "data/certificates",
               tree_below(work_.root(), Links::followed)};
    } else {
      std::vector<std::string> args = {"backup", work_.root().string()};
      if (version_ == 2) args.insert(args.end(), {"--compression", next_compression()});
      repository_.must(program, args);
      saved = {repository_.snapshots(kOurs).back(), work_.root().relative_path(),
               tree_below(work_.root())};
    }
    saved_.push_back(std::move(saved));
  }

  // All see the same snapshots, find nothing wrong, and restore each as it was.
  void check_everything() {
    for (const std::string& program : programs_) {
      check_list(program);
      repository_.check_clean(program);
      for (const Saved& saved : saved_) check_restored(program, saved);
    }
  }

  // Gives up the oldest, with all that only it needs.
  void prune(const std::string& program) {
    std::vector<std::string> args = {"forget", saved_.front().id, "--prune"};
    if (program != "0.11") args.insert(args.end(), {"--max-unused", "0"});
    if (program == kOurs) args.emplace_back("--yes");
    repository_.must(program, args);
    saved_.erase(saved_.begin());
  }

  // Each in turn prunes, the one behind it and we look, and it goes on.
  void prune_in_turns() {
    for (std::size_t i = 0; i < programs_.size(); ++i) {
      const std::string& program = programs_[i];
      const std::string& next = programs_[(i + 1) % programs_.size()];
      CAPTURE(program);
      prune(program);
      for (const std::string& other : {next, std::string(kOurs)}) {
        repository_.check_clean(other);
        check_restored(other, saved_.front());
        check_restored(other, saved_.back());
      }
      back_up(program);
      check_restored(next, saved_.back());
    }
  }

  void check_end() {
    for (const std::string& program : programs_) {
      check_list(program);
      repository_.check_clean(program);
    }
  }

 private:
  std::string next_compression() {
    static constexpr const char* kModes[] = {"off", "auto", "max"};
    return kModes[compression_++ % 3];
  }

  void check_list(const std::string& program) const {
    CAPTURE(program);
    std::vector<std::string> ids;
    for (const Saved& saved : saved_) ids.push_back(saved.id);
    CHECK(repository_.snapshots(program) == ids);
  }

  void check_restored(const std::string& program, const Saved& saved) {
    CAPTURE(program);
    CAPTURE(saved.id);
    const fs::path target = repository_.restore(program, saved.id);
    check_same(tree_below(target / saved.inside), saved.tree);
    if (saved.inside == "data/certificates") {
      CHECK(read_text(target / "data/etcd-snapshot.db") == read_text(database()));
    }
    make_removable(target);
    fs::remove_all(target);
  }

  const int version_;
  const Programs programs_;
  SharedRepository repository_;
  Work work_;
  std::vector<Saved> saved_;  // by time
  std::size_t compression_ = 0;
};

// All blobs of a repository in one pack, as restics of long ago packed them.
void mix_packs(const SharedRepository& shared) {
  using storage::FileKind;
  const SystemClock clock;
  SystemRandom random;
  const Call call(clock);
  storage::DirectoryStore store(shared.path(), random);
  repo::Repository repository =
      repo::Repository::open(store, Secret(shared.env().at("RESTIC_PASSWORD")), random, call);
  repo::Lock lock =
      repository.lock_exclusive({"node-1", "root", 1, 0, 0}, std::chrono::milliseconds(0), call);
  std::vector<std::pair<FileKind, std::string>> old;
  for (const FileKind kind : {FileKind::index, FileKind::pack}) {
    store.list(
        kind, [&](const storage::FileInfo& info) { old.emplace_back(kind, info.id); }, call);
  }
  Bytes pack;
  repo::IndexedPack indexed;
  repository.load_index(lock, call).each([&](const repo::Index::Place& place) {
    const Bytes sealed = store.load_range({FileKind::pack, place.pack.hex()},
                                          {place.entry.offset, place.entry.length}, call);
    repo::PackEntry entry = place.entry;
    entry.offset = static_cast<std::uint32_t>(pack.size());
    indexed.entries.push_back(entry);
    pack.insert(pack.end(), sealed.begin(), sealed.end());
  });
  repo::Sealer sealer = repository.make_sealer();
  const Bytes header = repo::make_pack_header(indexed.entries, sealer);
  pack.insert(pack.end(), header.begin(), header.end());
  const Digest digest = sha256(pack);
  indexed.id = repo::PackId(digest);
  store.save({FileKind::pack, indexed.id.hex()}, pack, digest, storage::SaveMode::replace, call);
  const std::string index = repo::index_json({indexed});
  repository.files().save(repository.files().seal(FileKind::index, index), call);
  for (const auto& [kind, id] : old) store.remove({kind, id}, call);
  lock.release(call);
}

bool all_there(const Programs& programs) {
  return std::all_of(programs.begin(), programs.end(), [](const std::string& program) {
    return program == kOurs || have_server("restic-" + program);
  });
}

}  // namespace

TEST_CASE("matrix: version 1, by everybody in turns") {
  const Programs programs = {"0.11", kOurs, "0.14", "0.18"};
  if (!all_there(programs)) return;
  Turns turns(1, programs);
  for (const std::string& program : programs) turns.back_up(program);
  turns.check_everything();
  turns.prune_in_turns();
  turns.check_end();
}

TEST_CASE("matrix: version 2, with every compression, by everybody in turns") {
  const Programs programs = {"0.14", kOurs, "0.18"};
  if (!all_there(programs)) return;
  Turns turns(2, programs);
  for (const std::string& program : programs) turns.back_up(program);
  turns.back_up("0.18");
  turns.check_everything();
  turns.prune_in_turns();
  turns.check_end();
}

TEST_CASE("matrix: a link's target that is no UTF-8 comes back from restic 0.18 as it was") {
  KUBEDR_NEEDS("restic-0.18");
  SharedRepository repository;
  const fs::path links = repository.folder() / "links";
  fs::create_directory(links);
  fs::create_symlink("no \xFF utf-8", links / "link");
  repository.must("0.18", {"init"});
  repository.must("0.18", {"backup", links.string()});
  const Tree expected = tree_below(links);
  const fs::path target = repository.restore(kOurs, "latest");
  check_same(tree_below(target / links.relative_path()), expected);
}

TEST_CASE("matrix: keys that one adds open for the others, until one removes them") {
  for (const std::string& version :
       {std::string("0.11"), std::string("0.14"), std::string("0.18")}) {
    KUBEDR_NEEDS("restic-" + version);
    CAPTURE(version);
    SharedRepository repository;
    const std::string first = repository.env().at("RESTIC_PASSWORD");
    repository.must(kOurs, {"init", "--repository-version", version == "0.11" ? "1" : "2"});
    const std::string second = repository.folder().write("second", "second password\n").string();
    const std::string third = repository.folder().write("third", "third p\xC3\xA4ssword").string();
    const auto adding = [](const std::string& password) {
      return std::vector<std::string>{
          "key", "add", "--new-password-file", password, "--user", "escrow", "--host", "safe"};
    };
    repository.must(version, adding(second));
    repository.must_ours(adding(third));
    const Json all = repository.must_ours({"key", "list"}).at("keys");
    CHECK(all.size() == 3);
    CHECK(std::count_if(all.begin(), all.end(), [](const Json& key) {
            return key.at("userName") == "escrow" && key.at("hostName") == "safe";
          }) == 2);

    std::string id_of_third;
    for (const char* password : {"second password", "third p\xC3\xA4ssword"}) {
      repository.use_password(password);
      for (const std::string& program : {version, std::string(kOurs)}) {
        CHECK(repository.snapshots(program).empty());
      }
      const Json keys = repository.must_ours({"key", "list"}).at("keys");
      for (const Json& key : keys) {
        if (key.at("current") == true) id_of_third = key.at("id").get<std::string>();
      }
    }
    // By the third key the first two are seen; the second goes by restic, the third by us.
    repository.use_password(first);
    std::string id_of_second;
    const Json keys = repository.must_ours({"key", "list"}).at("keys");
    for (const Json& key : keys) {
      const bool other = key.at("current") == false && key.at("id") != id_of_third;
      if (other) id_of_second = key.at("id").get<std::string>();
    }
    repository.must(version, {"key", "remove", id_of_second});
    repository.must(kOurs, {"key", "remove", id_of_third, "--yes"});
    CHECK(repository.must_ours({"key", "list"}).at("keys").size() == 1);
    repository.check_clean(version);
    for (const char* password : {"second password", "third p\xC3\xA4ssword"}) {
      repository.use_password(password);
      CHECK_FALSE(repository.run(version, {"snapshots"}).ok());
      CHECK(repository.run(kOurs, {"snapshots"}).exit.code == 12);
    }
  }
}

TEST_CASE("matrix: packs of mixed type are read by all, and whoever prunes parts them") {
  const Programs programs = {"0.11", "0.14", "0.18", kOurs};
  if (!all_there(programs)) return;
  for (const std::string& pruner : {std::string(kOurs), std::string("0.18")}) {
    CAPTURE(pruner);
    SharedRepository repository;
    const Work work;
    repository.must(kOurs, {"init", "--repository-version", "1"});
    repository.must("0.14", {"backup", work.root().string()});
    mix_packs(repository);
    const Json report = repository.must_ours({"check", "--read-data"});
    REQUIRE(report.at("problems").size() == 1);
    CHECK(report.at("problems")[0].at("code") == "pack-mixed");
    CHECK(report.at("problems")[0].at("severity") == "hint");
    const Tree expected = tree_below(work.root());
    for (const std::string& program : programs) {
      CAPTURE(program);
      if (program != kOurs) repository.must(program, {"check", "--read-data"});
      const fs::path target = repository.restore(program, "latest");
      check_same(tree_below(target / work.root().relative_path()), expected);
      make_removable(target);
    }
    std::vector<std::string> prune = {"prune"};
    if (pruner == kOurs) prune.emplace_back("--yes");
    repository.must(pruner, prune);
    for (const std::string& program : programs) repository.check_clean(program);
    const fs::path target = repository.restore(kOurs, "latest");
    check_same(tree_below(target / work.root().relative_path()), expected);
    make_removable(target);
  }
}
