// One repository for each kind of damage, a copy of the same sound one with that one thing wrong:
// `check` names it wherever restic's does, what is unharmed is restored, and what can be mended is
// mended until restic has nothing to say.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "e2e/faults.h"
#include "support/restic.h"

using namespace kubedr;
using namespace kubedr::test;
namespace fs = std::filesystem;

namespace {

using Args = std::vector<std::string>;

void copy_folder(const fs::path& from, const fs::path& to) {
  fs::copy(from, to, fs::copy_options::recursive);
}

// By path relative to the folder.
std::set<std::string> file_names(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) names.insert(entry.path().lexically_relative(folder).string());
  }
  return names;
}

void back_up(const BareRepository& repository, const fs::path& db) {
  const RunResult result = repository.run({"backup", "--no-certs", "--etcd-snapshot", db.string()});
  REQUIRE_MESSAGE(result.ok(), result.err);
}

// A sound repository with two snapshots. Nothing that only the newer one needs harms the older.
class Sound {
  TempDir folder_;  // first: the names below begin with it

 public:
  static const Sound& shared() {
    static const Sound sound;
    return sound;
  }

  fs::path root() const { return folder_ / "sound"; }

  fs::path older_db = folder_ / "older.db";
  fs::path newer_db = folder_ / "newer.db";
  std::string older;  // ids of snapshots
  std::string newer;

  // The newer one's, by path in the repository.
  std::string data_pack;
  std::string tree_pack;
  std::string index;
  std::string snapshot;

  // Index files of copies of this repository that went on otherwise: their packs are there alone.
  fs::path index_of_others;    // names nothing that is needed here
  fs::path index_of_the_same;  // names the newer one's blobs, in other packs

 private:
  Sound() {
    const BareRepository repository(root());
    REQUIRE(repository.run({"init"}).ok());
    save_database(plain_etcd(), older_db);
    back_up(repository, older_db);
    const fs::path twin = folder_ / "twin";
    const fs::path stranger = folder_ / "stranger";
    copy_folder(root(), twin);
    copy_folder(root(), stranger);
    const std::set<std::string> before = file_names(root());

    plain_etcd().fill("/kubedr-test/damage/", 20, 3000);
    save_database(plain_etcd(), newer_db);
    back_up(repository, newer_db);
    std::set<std::string> added = file_names(root());
    for (const std::string& name : before) added.erase(name);
    classify(added);
    const std::vector<std::string> ids = repository.snapshot_ids();
    REQUIRE(ids.size() == 2);
    older = ids[0];
    newer = ids[1];

    index_of_the_same = go_on(twin, newer_db);
    plain_etcd().fill("/kubedr-test/stranger/", 20, 3000);
    index_of_others = go_on(stranger, save_database(plain_etcd(), folder_ / "stranger.db"));
  }

  void classify(const std::set<std::string>& added) {
    for (const std::string& name : added) {
      if (name.starts_with("index/")) index = name;
      if (name.starts_with("snapshots/")) snapshot = name;
    }
    const RunResult cat =
        restic("0.18", {"cat", "index", index.substr(6)}, BareRepository(root()).restic_env());
    const Json packs = parsed(cat).at("packs");
    for (const Json& pack : packs) {
      const std::string id = pack.at("id").get<std::string>();
      const bool of_trees = pack.at("blobs").at(0).at("type") == "tree";
      (of_trees ? tree_pack : data_pack) = "data/" + id.substr(0, 2) + "/" + id;
    }
    REQUIRE(added == std::set{data_pack, tree_pack, index, snapshot});
  }

  static fs::path go_on(const fs::path& copy, const fs::path& db) {
    const std::set<std::string> before = file_names(copy / "index");
    back_up(BareRepository(copy), db);
    for (const std::string& name : file_names(copy / "index")) {
      if (before.count(name) == 0) return copy / "index" / name;
    }
    FAIL("no index was written");
    return {};
  }
};

enum class Restic { complains, passes, not_asked };

// What a check has to say.
struct Said {
  std::vector<std::string> errors;  // codes, sorted
  std::vector<std::string> hints;
  std::string object;            // what the first problem is about, if that is known before
  bool breaks_newer = false;     // and nothing ever breaks the older one
  bool mended_by_index = false;  // `repair index` is the remedy of every error
};

// A copy with a defect, in a folder of that name.
class Damaged {
 public:
  explicit Damaged(const std::string& defect)
      : root_(folder_ / defect), repository_(root_.string()) {
    copy_folder(sound_.root(), root_);
  }

  const Sound& sound() const { return sound_; }

  const BareRepository& repository() const { return repository_; }

  void write(const std::string& name, const std::string& bytes) const {
    fs::create_directories((root_ / name).parent_path());
    remove(name);
    std::ofstream(root_ / name, std::ios::binary) << bytes;
  }

  void remove(const std::string& name) const { fs::remove(root_ / name); }

  std::string read(const std::string& name) const { return read_text(root_ / name); }

  // Counted from the end if negative.
  void flip(const std::string& name, std::ptrdiff_t at) const {
    std::string bytes = read(name);
    REQUIRE_FALSE(bytes.empty());
    const auto size = static_cast<std::ptrdiff_t>(bytes.size());
    bytes[static_cast<std::size_t>(at < 0 ? size + at : at)] ^= 1;
    write(name, bytes);
  }

  void truncate(const std::string& name, std::size_t by) const {
    const std::string bytes = read(name);
    REQUIRE(bytes.size() > by);
    write(name, bytes.substr(0, bytes.size() - by));
  }

  // Every file of a folder, sorted.
  std::vector<std::string> names(const std::string& folder) const {
    std::vector<std::string> names;
    for (const std::string& name : file_names(root_ / folder)) names.push_back(folder + "/" + name);
    return names;
  }

  // `check` says that, and restic's, with the same flags, is no wiser.
  void check_said(const Said& said, const Args& flags, Restic restic_does) const {
    Args check = {"check", "-o", "json"};
    check.insert(check.end(), flags.begin(), flags.end());
    const RunResult result = repository_.run(check);
    CAPTURE(result.out);
    CHECK_MESSAGE(result.exit.code == (said.errors.empty() ? 0 : 5), result.err);
    const Json report = parse_json(result.out, "check");
    const Json& problems = report.at("problems");
    CHECK(codes(problems, "error") == said.errors);
    CHECK(codes(problems, "hint") == said.hints);
    for (const Json& problem : problems) {
      CHECK_FALSE(problem.at("message").get<std::string>().empty());
      CHECK_FALSE(problem.at("remedy").get<std::string>().empty());
      const bool by_index = problem.at("remedy") == "kubectl kubedr repair index";
      if (problem.at("severity") == "error") CHECK(by_index == said.mended_by_index);
    }
    if (!said.object.empty()) CHECK(problems.at(0).at("object") == said.object);
    CHECK(report.at("suggestRepairIndex") == said.mended_by_index);
    const Json broken = said.breaks_newer ? Json{sound_.newer} : Json::array();
    CHECK(report.at("brokenSnapshots") == broken);
    if (restic_does == Restic::not_asked) return;

    Args theirs = {"check"};
    theirs.insert(theirs.end(), flags.begin(), flags.end());
    const RunResult asked = restic("0.18", theirs, repository_.restic_env());
    CHECK_MESSAGE(asked.ok() == (restic_does == Restic::passes), (asked.out + asked.err));
  }

  void check_restores(const std::string& id) {
    const fs::path target = next_target();
    const RunResult result = repository_.run({"restore", id, "--target", target.string()});
    REQUIRE_MESSAGE(result.ok(), result.err);
    const fs::path& db = id == sound_.older ? sound_.older_db : sound_.newer_db;
    CHECK(read_text(target / "data/etcd-snapshot.db") == read_text(db));
  }

  // Said to be corrupt, and nothing that looks like a database is left.
  void check_does_not_restore(const std::string& id) {
    const fs::path target = next_target();
    check_failed(repository_.run({"restore", id, "--target", target.string()}), 22, "");
    CHECK_FALSE(fs::exists(target / "data/etcd-snapshot.db"));
  }

  void run(const Args& args) const {
    const RunResult result = repository_.run(args);
    REQUIRE_MESSAGE(result.ok(), result.err);
  }

  void repair_index() const { run({"repair", "index"}); }

  // With all that only it needs.
  void forget_newer() const {
    run({"forget", sound_.newer, "--prune", "--max-unused", "0", "--yes"});
  }

  void check_clean() const {
    const RunResult result = repository_.run({"check", "--read-data", "-o", "json"});
    CHECK(result.exit.code == 0);
    CHECK_MESSAGE(parse_json(result.out, "check").at("problems").empty(), result.out);
    check_restic_finds_nothing("0.18", repository_.restic_env());
  }

 private:
  static std::vector<std::string> codes(const Json& problems, const std::string& severity) {
    std::set<std::string> codes;
    for (const Json& problem : problems) {
      if (problem.at("severity") == severity) codes.insert(problem.at("code").get<std::string>());
    }
    return {codes.begin(), codes.end()};
  }

  fs::path next_target() { return folder_ / fmt::format("target-{}", ++targets_); }

  const Sound& sound_ = Sound::shared();
  TempDir folder_;
  fs::path root_;
  BareRepository repository_;
  int targets_ = 0;
};

// What remains when the newer snapshot is given up.
void check_mended_by_forgetting(Damaged& damaged) {
  damaged.forget_newer();
  damaged.check_clean();
  damaged.check_restores(damaged.sound().older);
}

// Nothing is lost after `repair index`.
void check_mended_by_index(Damaged& damaged) {
  damaged.repair_index();
  damaged.check_clean();
  damaged.check_restores(damaged.sound().newer);
}

const Args kQuick = {};
const Args kReadData = {"--read-data"};

}  // namespace

TEST_CASE("damage: the model itself is sound") {
  Damaged damaged("nothing");
  damaged.check_said({}, kReadData, Restic::passes);
  damaged.check_clean();
  damaged.check_restores(damaged.sound().older);
  damaged.check_restores(damaged.sound().newer);
}

TEST_CASE("damage: a truncated pack") {
  Damaged damaged("truncated-pack");
  const std::string pack = damaged.sound().data_pack;
  damaged.truncate(pack, 1000);
  damaged.check_said({{"pack-size"}, {}, pack, true}, kQuick, Restic::complains);
  damaged.check_restores(damaged.sound().older);
  damaged.check_does_not_restore(damaged.sound().newer);
  damaged.repair_index();
  damaged.check_restores(damaged.sound().older);
  check_mended_by_forgetting(damaged);
}

TEST_CASE("damage: an empty pack") {
  Damaged damaged("empty-pack");
  const std::string pack = damaged.sound().data_pack;
  damaged.write(pack, "");
  damaged.check_said({{"pack-size"}, {}, pack, true}, kQuick, Restic::complains);
  damaged.check_restores(damaged.sound().older);
  damaged.check_does_not_restore(damaged.sound().newer);
  damaged.repair_index();
  check_mended_by_forgetting(damaged);
}

TEST_CASE("damage: a flipped bit in a blob, which only who reads it sees") {
  Damaged damaged("flipped-bit-in-blob");
  const std::string pack = damaged.sound().data_pack;
  damaged.flip(pack, 100);
  damaged.check_said({}, kQuick, Restic::passes);
  damaged.check_said({{"pack-damaged"}, {}, pack, true}, kReadData, Restic::complains);
  damaged.check_restores(damaged.sound().older);
  damaged.check_does_not_restore(damaged.sound().newer);
  check_mended_by_forgetting(damaged);
}

TEST_CASE(
    "damage: a flipped bit in a pack's header, which harms no snapshot as long as there is an "
    "index") {
  Damaged damaged("flipped-bit-in-pack-header");
  const std::string pack = damaged.sound().data_pack;
  damaged.flip(pack, -20);
  damaged.check_said({{"pack-damaged"}, {}, pack, false}, kReadData, Restic::complains);
  damaged.check_restores(damaged.sound().older);
  damaged.check_restores(damaged.sound().newer);
  check_mended_by_forgetting(damaged);
}

TEST_CASE("damage: a flipped bit in a tree") {
  Damaged damaged("flipped-bit-in-tree");
  damaged.flip(damaged.sound().tree_pack, 40);
  Said said{{"tree-damaged"}, {}, "", true};
  damaged.check_said(said, kQuick, Restic::complains);
  damaged.check_restores(damaged.sound().older);
  damaged.check_does_not_restore(damaged.sound().newer);
  check_mended_by_forgetting(damaged);
}

TEST_CASE("damage: a flipped bit in an index") {
  Damaged damaged("flipped-bit-in-index");
  const std::string index = damaged.sound().index;
  damaged.flip(index, 100);
  damaged.check_said({{"index-damaged", "tree-damaged"}, {"pack-unreferenced"}, index, true, true},
                     kQuick, Restic::complains);
  damaged.check_restores(damaged.sound().older);
  damaged.check_does_not_restore(damaged.sound().newer);
  check_mended_by_index(damaged);
}

TEST_CASE("damage: a flipped bit in a snapshot") {
  Damaged damaged("flipped-bit-in-snapshot");
  const std::string snapshot = damaged.sound().snapshot;
  damaged.flip(snapshot, 50);
  damaged.check_said({{"snapshot-damaged"}, {}, snapshot}, kQuick, Restic::complains);
  damaged.check_restores(damaged.sound().older);
  damaged.check_does_not_restore(damaged.sound().newer);
  CHECK(damaged.repository().run({"prune", "--yes"}).exit.code == 22);
  damaged.remove(snapshot);
  damaged.run({"prune", "--max-unused", "0", "--yes"});
  damaged.check_clean();
}

TEST_CASE("damage: a missing pack of data") {
  Damaged damaged("missing-pack");
  const std::string pack = damaged.sound().data_pack;
  damaged.remove(pack);
  damaged.check_said({{"pack-missing"}, {}, pack, true}, kQuick, Restic::complains);
  damaged.check_restores(damaged.sound().older);
  damaged.check_does_not_restore(damaged.sound().newer);
  CHECK(damaged.repository().run({"prune", "--yes"}).exit.code == 22);
  damaged.repair_index();
  check_mended_by_forgetting(damaged);
}

TEST_CASE("damage: a backup is not built on a pack that is missing, and mends what it broke") {
  Damaged damaged("missing-pack-and-a-backup");
  damaged.remove(damaged.sound().data_pack);
  back_up(damaged.repository(), damaged.sound().newer_db);
  damaged.check_restores(damaged.sound().newer);
  damaged.check_said({{"pack-missing"}, {}, damaged.sound().data_pack, false, true}, kQuick,
                     Restic::complains);
  check_mended_by_index(damaged);
}

TEST_CASE("damage: a missing pack of trees") {
  Damaged damaged("missing-pack-of-trees");
  damaged.remove(damaged.sound().tree_pack);
  damaged.check_said({{"pack-missing", "tree-damaged"}, {}, damaged.sound().tree_pack, true},
                     kQuick, Restic::complains);
  damaged.check_restores(damaged.sound().older);
  damaged.check_does_not_restore(damaged.sound().newer);
  damaged.repair_index();
  check_mended_by_forgetting(damaged);
}

TEST_CASE("damage: a missing index") {
  Damaged damaged("missing-index");
  damaged.remove(damaged.sound().index);
  damaged.check_said({{"tree-damaged"}, {"pack-unreferenced"}, "", true, true}, kQuick,
                     Restic::complains);
  damaged.check_restores(damaged.sound().older);
  damaged.check_does_not_restore(damaged.sound().newer);
  CHECK(damaged.repository().run({"prune", "--yes"}).exit.code == 22);
  check_mended_by_index(damaged);
}

TEST_CASE("damage: an index that points nowhere, to nothing that is needed") {
  Damaged damaged("index-pointing-nowhere");
  const fs::path index = damaged.sound().index_of_others;
  damaged.write("index/" + index.filename().string(), read_text(index));
  damaged.check_said({{"pack-missing"}, {}, "", false, true}, kQuick, Restic::complains);
  damaged.check_restores(damaged.sound().older);
  check_mended_by_index(damaged);
}

TEST_CASE("damage: an index that points nowhere, to further copies of what is needed") {
  Damaged damaged("index-pointing-nowhere-for-what-is-used");
  const fs::path index = damaged.sound().index_of_the_same;
  damaged.write("index/" + index.filename().string(), read_text(index));
  damaged.check_said({{"pack-missing"}, {}, "", false, true}, kQuick, Restic::complains);
  damaged.check_restores(damaged.sound().newer);
  check_mended_by_index(damaged);
}

TEST_CASE("damage: two keys and one config") {
  Damaged damaged("two-keys-and-one-config");
  const TempDir folder;
  const BareRepository other(folder / "other");
  REQUIRE(other.run({"init"}).ok());
  const std::string key = *file_names(folder / "other/keys").begin();
  damaged.write("keys/" + key, read_text(folder / "other/keys" / key));
  damaged.check_said({{"key-foreign"}, {}, "keys/" + key}, kQuick, Restic::not_asked);
  damaged.check_restores(damaged.sound().older);
  damaged.check_restores(damaged.sound().newer);
  damaged.remove("keys/" + key);
  damaged.check_clean();
}

TEST_CASE("damage: an empty index") {
  Damaged damaged("empty-index");
  const std::string index = damaged.sound().index;
  damaged.write(index, "");
  damaged.check_said({{"index-damaged", "tree-damaged"}, {"pack-unreferenced"}, index, true, true},
                     kQuick, Restic::complains);
  damaged.check_restores(damaged.sound().older);
  check_mended_by_index(damaged);
}

TEST_CASE("damage: an empty snapshot") {
  Damaged damaged("empty-snapshot");
  const std::string snapshot = damaged.sound().snapshot;
  damaged.write(snapshot, "");
  damaged.check_said({{"snapshot-damaged"}, {}, snapshot}, kQuick, Restic::complains);
  damaged.check_restores(damaged.sound().older);
}

TEST_CASE("damage: an empty key beside a good one") {
  Damaged damaged("empty-key");
  const std::string key = "keys/" + std::string(64, '0');
  damaged.write(key, "");
  damaged.check_said({{"key-damaged"}, {}, key}, kQuick, Restic::not_asked);
  damaged.check_restores(damaged.sound().newer);
  damaged.remove(key);
  damaged.check_clean();
}

TEST_CASE("damage: an empty lock stands in nobody's way") {
  Damaged damaged("empty-lock");
  const std::string lock = "locks/" + std::string(64, '0');
  damaged.write(lock, "");
  damaged.check_said({{}, {"lock-damaged"}, lock}, kQuick, Restic::passes);
  damaged.check_restores(damaged.sound().newer);
  damaged.run({"unlock", "--remove-all"});
  damaged.check_clean();
}

TEST_CASE("damage: an empty config, and one with a flipped bit") {
  Damaged damaged("damaged-config");
  const std::string config = damaged.read("config");
  for (const bool empty : {true, false}) {
    damaged.write("config", empty ? "" : config);
    if (!empty) damaged.flip("config", 60);
    const std::string why = empty ? "config file has zero size" : "config or key";
    check_failed(damaged.repository().run({"check"}), 22, why);
    check_failed(damaged.repository().run({"init"}), 1, "already");
    const RunResult theirs = restic("0.18", {"check"}, damaged.repository().restic_env());
    CHECK_FALSE(theirs.ok());
  }
  damaged.write("config", config);
  damaged.check_clean();
}

TEST_CASE("damage: foreign files whose names are no ids harm nobody") {
  Damaged damaged("foreign-files");
  for (const char* folder : {"", "keys/", "index/", "snapshots/", "locks/", "data/", "data/00/"}) {
    damaged.write(folder + std::string("README"), "not ours");
  }
  damaged.write(damaged.sound().snapshot + "-tmp-4711", "half a file");
  damaged.write("snapshots/" + std::string(64, 'G'), "no hex digits");
  damaged.check_said({}, kReadData, Restic::passes);
  damaged.repair_index();
  damaged.run({"prune", "--max-unused", "0", "--yes"});
  damaged.check_restores(damaged.sound().newer);
  damaged.check_clean();
  CHECK(damaged.read("index/README") == "not ours");
}

TEST_CASE("damage: a foreign file among the packs") {
  Damaged damaged("foreign-pack");
  const std::string pack = "data/00/" + std::string(64, '0');
  damaged.write(pack, "no pack at all");
  damaged.check_said({{}, {"pack-unreferenced"}, pack}, kReadData, Restic::passes);
  damaged.check_restores(damaged.sound().newer);
  damaged.run({"prune", "--yes"});
  damaged.check_clean();
}

TEST_CASE("damage: a foreign file among the indexes") {
  Damaged damaged("foreign-index");
  const std::string index = "index/" + std::string(64, '0');
  damaged.write(index, "no index at all");
  damaged.check_said({{"index-damaged"}, {}, index, false, true}, kQuick, Restic::complains);
  damaged.check_restores(damaged.sound().newer);
  check_mended_by_index(damaged);
}

TEST_CASE("damage: a foreign file among the snapshots") {
  Damaged damaged("foreign-snapshot");
  const std::string snapshot = "snapshots/" + std::string(64, '0');
  damaged.write(snapshot, "no snapshot at all");
  damaged.check_said({{"snapshot-damaged"}, {}, snapshot}, kQuick, Restic::complains);
  damaged.check_restores(damaged.sound().newer);
  CHECK(damaged.repository().snapshot_ids().size() == 2);
  damaged.remove(snapshot);
  damaged.check_clean();
}

TEST_CASE("damage: a foreign file among the locks says what removes it") {
  Damaged damaged("foreign-lock");
  damaged.write("locks/" + std::string(64, '0'), "no lock at all");
  // restic asks four times in 35 seconds and gives up too.
  check_failed(damaged.repository().run({"check", "--retry-lock", "0"}), 11, "invalid lock file");
  damaged.check_said({{}, {"lock-damaged"}, "locks/" + std::string(64, '0')}, {"--no-lock"},
                     Restic::not_asked);
  damaged.run({"unlock", "--remove-all"});
  damaged.check_restores(damaged.sound().newer);
  damaged.check_clean();
}
