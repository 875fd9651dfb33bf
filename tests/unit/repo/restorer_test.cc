#include "repo/restorer.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/limits.h"
#include "repo/tree.h"
#include "repo/walk.h"
#include "repositories.h"
#include "support/faulty_store.h"
#include "support/temp_dir.h"

using namespace kubedr;
using namespace kubedr::repo;
using namespace kubedr::repo::test;
using kubedr::test::Fault;
using kubedr::test::FaultyStore;
using kubedr::test::Operation;
using kubedr::test::read_text;
using kubedr::test::TempDir;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t kPage = 4096;

// Writes trees by hand, then restores them.
struct Restore {
  explicit Restore(storage::Store& store, World& of)
      : world(of),
        repository(of.open(store)),
        lock(repository.lock_shared(kOwner, kNoRetry, of.call)),
        index(repository.load_index(lock, of.call)),
        writer(repository, lock, index, small_packs()) {
    fs::create_directory(target);
  }

  explicit Restore(World& of) : Restore(of.store, of) {}

  Node file(const std::string& name, const Bytes& bytes, std::size_t chunk = kPage) {
    BytesSource source(bytes);
    const SavedFile saved = writer.save_file(source, Cut::fixed(chunk), lock.scope());
    Node node = entry(name, NodeType::file, 0640);
    node.size = saved.size;
    node.content = saved.content;
    return node;
  }

  Node folder(const std::string& name, std::vector<Node> nodes, std::uint32_t mode = 0750) {
    Node node = entry(name, NodeType::dir, (1U << 31U) | mode);
    node.subtree = tree(std::move(nodes));
    return node;
  }

  static Node entry(const std::string& name, NodeType type, std::uint32_t mode) {
    Node node;
    node.name = name;
    node.type = type;
    node.mode = mode;
    node.mtime = node.atime = node.ctime = WallTime(std::chrono::milliseconds(1'600'000'000'123));
    node.uid = ::geteuid();
    node.gid = ::getegid();
    return node;
  }

  BlobId tree(std::vector<Node> nodes) {
    return writer.save_tree(tree_json(std::move(nodes)), lock.scope());
  }

  void finish() { writer.finish(lock.scope()); }

  RestoredTree run(const BlobId& root) {
    return restore_tree(repository, index, root, target, options, world.random, world.call);
  }

  // Flips a bit of a stored blob.
  void damage(const BlobHandle& blob) {
    const Index::Place place = index.find(blob).value();
    const FileName name{FileKind::pack, place.pack.hex()};
    Bytes bytes = world.store.load(name, 10 << 20, world.call);
    bytes[place.entry.offset + place.entry.length / 2] ^= 1U;
    overwrite(world.store, name, bytes, world.call);
  }

  World& world;
  Repository repository;
  Lock lock;
  Index index;
  Writer writer;
  TempDir temp;
  fs::path target = temp / "target";
  RestoreOptions options;
};

struct stat status_of(const fs::path& path) {
  struct stat status {};

  REQUIRE(::lstat(path.c_str(), &status) == 0);
  return status;
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

bool equal(const fs::path& path, const Bytes& bytes) {
  return read_text(path) == as_text(bytes);
}

std::size_t entries_below(const fs::path& folder) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : fs::recursive_directory_iterator(folder)) ++count;
  return count;
}

}  // namespace

TEST_CASE("a tree comes back with its bytes, modes and times") {
  World world;
  Restore restore(world);
  Bytes big = noise(5'000'000, 1);
  append(big, Bytes(big.begin(), big.begin() + 1'000'000));
  Node link = Restore::entry("link", NodeType::symlink, 0777U | (1U << 27U));
  link.link_target = "../../elsewhere";
  const BlobId root = restore.tree(
      {restore.folder("data",
                      {restore.file("member.db", big), restore.file("empty", {}), link,
                       restore.folder("pki", {restore.file("ca.crt", noise(1'000, 2))}, 0500)},
                      0700),
       restore.file("odd \xff name\n", noise(10, 3))});
  restore.finish();
  const RestoredTree result = restore.run(root);
  CHECK(result.files == 4);
  CHECK(result.bytes == big.size() + 1'010);
  CHECK(result.skipped.empty());
  CHECK(result.warnings.empty());
  const fs::path data = restore.target / "data";
  CHECK(equal(data / "member.db", big));
  CHECK(equal(data / "pki/ca.crt", noise(1'000, 2)));
  CHECK(fs::file_size(data / "empty") == 0);
  CHECK(equal(restore.target / "odd \xff name\n", noise(10, 3)));
  CHECK(fs::read_symlink(data / "link") == "../../elsewhere");
  CHECK((status_of(data / "member.db").st_mode & 07777U) == 0640);
  CHECK((status_of(data / "pki").st_mode & 07777U) == 0500);
  CHECK(status_of(data / "member.db").st_mtim.tv_sec == 1'600'000'000);
  CHECK(status_of(data / "member.db").st_mtim.tv_nsec == 123'000'000);
  CHECK(status_of(data).st_mtim.tv_sec == 1'600'000'000);
  CHECK(entries_below(restore.target) == 7);
  fs::permissions(data / "pki", fs::perms::owner_all);
}

TEST_CASE("scattered pages cost one request for a run of a pack, not one for each page") {
  World world;
  FaultyStore store(world.store);
  Bytes bytes = noise(4'000'000, 4);
  {
    Restore first(world);
    first.file("db", bytes);
    first.finish();
  }
  for (std::size_t at = 0; at < bytes.size(); at += 10 * kPage) bytes[at] ^= 1U;
  Restore restore(store, world);
  const BlobId root = restore.tree({restore.file("db", bytes)});
  restore.finish();
  const int before = store.calls(Operation::load_range);
  restore.run(root);
  CHECK(equal(restore.target / "db", bytes));
  CHECK(store.calls(Operation::load_range) - before < 40);  // 98 changed pages
}

TEST_CASE("zeros become holes") {
  World world;
  Restore restore(world);
  Bytes bytes(8 << 20, 0);
  const Bytes some = noise(10'000, 5);
  std::copy(some.begin(), some.end(), bytes.begin() + 1'000'000);
  const BlobId root = restore.tree({restore.file("sparse", bytes, 64 * 1024)});
  restore.finish();
  restore.run(root);
  CHECK(equal(restore.target / "sparse", bytes));
  CHECK(status_of(restore.target / "sparse").st_blocks * 512 < 1 << 20);
}

TEST_CASE("names that lead out of the target are refused, whoever wrote them") {
  for (const std::string& name :
       {std::string(".."), std::string("."), std::string(), std::string("a/b"), std::string("/etc"),
        std::string("../evil"), std::string("nul\0byte", 8)}) {
    CAPTURE(name);
    World world;
    Restore restore(world);
    const BlobId root =
        restore.tree({restore.file(name, noise(10, 6)), restore.file("good", noise(10, 7))});
    restore.finish();
    const RestoredTree rehearsed = rehearse_restore(restore.repository, restore.index, root,
                                                    restore.target, restore.options, world.call);
    const RestoredTree result = restore.run(root);
    CHECK(rehearsed.damaged == result.damaged);
    CHECK(rehearsed.files == result.files);
    REQUIRE(result.damaged.size() == 1);
    const bool is_tree = !name.empty();  // one with an empty name is none
    CHECK(has(result.damaged[0], "leads out of the target") == is_tree);
    CHECK(entries_below(restore.temp.path()) == (is_tree ? 2 : 1));
    if (is_tree) CHECK(equal(restore.target / "good", noise(10, 7)));
  }
}

TEST_CASE("folders in folders end where no backup has any: what is deeper is damage") {
  World world;
  Restore restore(world);
  BlobId root = restore.tree({restore.file("deepest", noise(10, 8))});
  for (std::size_t depth = 0; depth <= limits::kTreeDepth; ++depth) {
    Node folder = Restore::entry("f", NodeType::dir, (1U << 31U) | 0750U);
    folder.subtree = root;
    root = restore.tree({folder});
  }
  restore.finish();
  std::vector<std::string> problems;
  walk_tree(
      restore.repository, restore.index, root, [](const std::string&, const Node&) {}, world.call,
      [&](const std::string& problem) { problems.push_back(problem); });
  const RestoredTree result = restore.run(root);
  for (const std::vector<std::string>& told : {problems, result.damaged}) {
    REQUIRE(told.size() == 1);
    CHECK(told[0].ends_with("/f/f: nested too deeply"));
  }
  CHECK(entries_below(restore.target) == limits::kTreeDepth + 1);
}

TEST_CASE("a link is never followed out of the target") {
  World world;
  Restore restore(world);
  const fs::path outside = restore.temp / "outside";
  fs::create_directory(outside);
  Node link = Restore::entry("x", NodeType::symlink, 0777U | (1U << 27U));
  link.link_target = outside;
  // Two nodes of one name: first the link, then a folder "in" it.
  const std::string twice = [&] {
    const std::string one = tree_json({link});
    const std::string two = tree_json({restore.folder("x", {restore.file("evil", noise(9, 1))})});
    const std::string head = R"({"nodes":[)";
    return one.substr(0, one.rfind("]}")) + "," + two.substr(head.size());
  }();
  const BlobId root = restore.writer.save_tree(twice, restore.lock.scope());
  restore.finish();
  CHECK(error_of([&] { restore.run(root); }));
  CHECK(fs::is_empty(outside));
}

TEST_CASE("two files of one name are an error, the first stays") {
  World world;
  Restore restore(world);
  const std::string one = tree_json({restore.file("x", noise(9, 1))});
  const std::string two = tree_json({restore.file("x", noise(9, 2))});
  const std::string head = R"({"nodes":[)";
  const BlobId root = restore.writer.save_tree(
      one.substr(0, one.rfind("]}")) + "," + two.substr(head.size()), restore.lock.scope());
  restore.finish();
  CHECK(error_of([&] { restore.run(root); }));
  CHECK(equal(restore.target / "x", noise(9, 1)));
  CHECK(entries_below(restore.target) == 1);
}

TEST_CASE("what cannot be restored is named, what is strange is warned of") {
  World world;
  Restore restore(world);
  Node odd = restore.file("odd", noise(9, 1));
  odd.size = 77;
  const BlobId root = restore.tree({Restore::entry("pipe", NodeType::fifo, 0600),
                                    Restore::entry("sock", NodeType::socket, 0600), odd});
  restore.finish();
  const RestoredTree result = restore.run(root);
  CHECK(result.skipped == std::vector<std::string>{"pipe: fifo", "sock: socket"});
  CHECK(result.warnings == std::vector<std::string>{"odd: holds 9 bytes, its entry says 77"});
  CHECK(fs::file_size(restore.target / "odd") == 9);
}

TEST_CASE("sizes that a tree claims are not believed: neither summed up nor made room for") {
  World world;
  Restore restore(world);
  Node vast = restore.file("vast", noise(9'000, 1));
  vast.size = UINT64_MAX;
  Node vaster = restore.file("vaster", noise(8'000, 2));
  vaster.size = UINT64_MAX;
  Node hollow = restore.file("hollow", {});
  hollow.size = UINT64_MAX;
  const BlobId root = restore.tree({vast, vaster, hollow, restore.file("db", noise(100, 3))});
  restore.finish();
  std::uint64_t told = 0;
  restore.options.progress = [&](std::uint64_t bytes) { told += bytes; };
  const RestoredTree rehearsed = rehearse_restore(restore.repository, restore.index, root,
                                                  restore.target, restore.options, world.call);
  CHECK(rehearsed.files == 4);
  CHECK(rehearsed.bytes == 17'100);
  const RestoredTree result = restore.run(root);
  CHECK(result.files == rehearsed.files);
  CHECK(result.bytes == rehearsed.bytes);
  CHECK(told == rehearsed.bytes);
  CHECK(result.warnings.size() == 3);
  CHECK(has(result.warnings[1], "holds 9000 bytes, its entry says 18446744073709551615"));
  CHECK(equal(restore.target / "vast", noise(9'000, 1)));
  CHECK(fs::file_size(restore.target / "hollow") == 0);
}

TEST_CASE("devices are never made, whatever they are said to hold") {
  World world;
  Restore restore(world);
  const auto device = [&](const char* name, NodeType type, std::uint32_t mode_bits) {
    Node node = restore.file(name, noise(10, 1));
    node.type = type;
    node.mode = mode_bits | 06666;
    node.size = UINT64_MAX;
    return node;
  };
  constexpr std::uint32_t kDevice = 1U << 26U;     // Go's ModeDevice
  constexpr std::uint32_t kCharacter = 1U << 21U;  // and ModeCharDevice
  const BlobId root = restore.tree({
      device("sda", NodeType::dev, kDevice),
      device("mem", NodeType::chardev, kDevice | kCharacter),
      // Said to be a file, with the mode of a device.
      [&] {
        Node node = restore.file("disguised", noise(10, 2));
        node.mode = kDevice | 0600;
        return node;
      }(),
      restore.file("db", noise(100, 3)),
  });
  restore.finish();
  const RestoredTree rehearsed = rehearse_restore(restore.repository, restore.index, root,
                                                  restore.target, restore.options, world.call);
  CHECK(rehearsed.files == 2);
  CHECK(rehearsed.bytes == 110);
  const RestoredTree result = restore.run(root);
  CHECK(result.files == 2);
  CHECK(result.bytes == 110);
  CHECK(result.skipped == std::vector<std::string>{"mem: character device", "sda: block device"});
  CHECK(S_ISREG(status_of(restore.target / "disguised").st_mode));
  CHECK(entries_below(restore.target) == 2);
}

TEST_CASE("a damaged file is named and left out, the others come back") {
  World world;
  Restore restore(world);
  const Node damaged = restore.file("a.crt", noise(50'000, 7));
  const BlobId root = restore.tree(
      {restore.folder("data", {damaged, restore.file("etcd.db", noise(1'000'000, 8))}, 0700)});
  restore.finish();
  restore.damage({BlobType::data, damaged.content[3]});
  const RestoredTree result = restore.run(root);
  REQUIRE(result.damaged.size() == 1);
  CHECK(result.damaged[0].starts_with("/data/a.crt: blob " + damaged.content[3].hex()));
  CHECK(result.files == 1);
  CHECK(equal(restore.target / "data/etcd.db", noise(1'000'000, 8)));
  CHECK(entries_below(restore.target) == 2);
  CHECK((status_of(restore.target / "data").st_mode & 07777U) == 0700);
}

TEST_CASE("a damaged folder is named and stays empty, the others come back") {
  World world;
  Restore restore(world);
  const Node damaged = restore.folder("a", {restore.file("ca.crt", noise(100, 1))});
  const BlobId root = restore.tree({damaged, restore.file("db", noise(9'000, 2))});
  restore.finish();
  restore.damage({BlobType::tree, *damaged.subtree});
  const std::string text = "/a: blob " + damaged.subtree->hex();
  const auto check_named = [&](const RestoredTree& result) {
    REQUIRE(result.damaged.size() == 1);
    CHECK(result.damaged[0].starts_with(text));
    CHECK(result.files == 1);
  };
  check_named(rehearse_restore(restore.repository, restore.index, root, restore.target,
                               restore.options, world.call));
  check_named(restore.run(root));
  CHECK(fs::is_empty(restore.target / "a"));
  CHECK(equal(restore.target / "db", noise(9'000, 2)));

  // What an include would have found in it cannot be known.
  restore.options.overwrite = Overwrite::always;
  restore.options.include.exact = {"db"};
  check_named(restore.run(root));
  restore.options.include.exact = {"*.crt"};
  CHECK(text_of([&] { restore.run(root); }).find(text) != std::string::npos);
}

TEST_CASE("a rehearsal names what no index knows") {
  World world;
  Restore restore(world);
  Node lost = restore.file("lost", noise(10, 1));
  lost.content[0] = BlobId(sha256(as_bytes("another")));
  const BlobId root = restore.tree({lost, restore.file("db", noise(10, 2))});
  restore.finish();
  const RestoredTree rehearsed = rehearse_restore(restore.repository, restore.index, root,
                                                  restore.target, restore.options, world.call);
  CHECK(rehearsed.files == 1);
  CHECK(rehearsed.damaged == restore.run(root).damaged);
  CHECK(rehearsed.damaged.size() == 1);
}

TEST_CASE("a missing pack is made good by other copies of its blobs") {
  World world;
  Restore restore(world);
  const Bytes bytes = noise(100'000, 8);
  const Node node = restore.file("db", bytes);
  const BlobId root = restore.tree({node});
  restore.finish();
  const PackId first = restore.index.find({BlobType::data, node.content[0]})->pack;
  const PackId copy(sha256(as_bytes("copy")));
  const FileName name{FileKind::pack, first.hex()};
  const Bytes pack = world.store.load(name, 10 << 20, world.call);
  overwrite(world.store, {FileKind::pack, copy.hex()}, pack, world.call);
  IndexedPack indexed{copy, {}};
  for (const BlobId& id : node.content) {
    indexed.entries.push_back(restore.index.find({BlobType::data, id})->entry);
  }
  restore.index.add(indexed);
  world.store.remove(name, world.call);
  restore.run(root);
  CHECK(equal(restore.target / "db", bytes));
}

TEST_CASE("a store that fails ends the restore with its own error and no half file") {
  World world;
  FaultyStore store(world.store);
  Restore restore(store, world);
  const BlobId root = restore.tree({restore.file("db", noise(3'000'000, 9))});
  restore.finish();
  store.add({.call = 3,
             .times = Fault::kForever,
             .operation = Operation::load_range,
             .kind = FileKind::pack});
  CHECK(error_of([&] { restore.run(root); })->kind() == ErrorKind::unavailable);
  CHECK(fs::is_empty(restore.target));
}

TEST_CASE("a target that is not empty is refused, one that is missing is not found") {
  World world;
  Restore restore(world);
  const BlobId root = restore.tree({});
  restore.finish();
  std::ofstream(restore.target / "precious") << "x";
  CHECK(error_of([&] { restore.run(root); })->kind() == ErrorKind::usage);
  restore.target = restore.temp / "missing";
  CHECK(error_of([&] { restore.run(root); })->kind() == ErrorKind::not_found);
}

TEST_CASE("a new file system counts as empty") {
  World world;
  Restore restore(world);
  const BlobId root = restore.tree({restore.file("db", noise(10, 1))});
  restore.finish();
  fs::create_directory(restore.target / "lost+found");
  CHECK(restore.run(root).files == 1);
}

TEST_CASE("a target that holds files is overwritten only as it was asked for") {
  World world;
  Restore restore(world);
  const Bytes bytes = noise(9'000, 7);
  const BlobId root = restore.tree({restore.folder("data", {restore.file("db", bytes)})});
  restore.finish();
  fs::create_directory(restore.target);
  REQUIRE(restore.run(root).files == 1);
  const fs::path db = restore.target / "data" / "db";
  const auto spoil = [&](std::time_t seconds) {
    fs::permissions(db, fs::perms::owner_all);
    std::ofstream(db) << "other";
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    REQUIRE(::utimensat(AT_FDCWD, db.c_str(), times, 0) == 0);
  };
  CHECK(text_of([&] { restore.run(root); }).find("is not empty") != std::string::npos);

  SUBCASE("always replaces") {
    spoil(1'700'000'000);
    restore.options.overwrite = Overwrite::always;
    CHECK(restore.run(root).files == 1);
    CHECK(equal(db, bytes));
  }
  SUBCASE("if-changed leaves what has its size and time") {
    restore.options.overwrite = Overwrite::if_changed;
    CHECK(restore.run(root).unchanged == 1);
    spoil(1'700'000'000);
    CHECK(restore.run(root).files == 1);
    CHECK(equal(db, bytes));
  }
  SUBCASE("if-newer leaves what is as new as the snapshot's") {
    restore.options.overwrite = Overwrite::if_newer;
    spoil(1'700'000'000);
    CHECK(restore.run(root).unchanged == 1);
    spoil(1'500'000'000);
    CHECK(restore.run(root).files == 1);
    CHECK(equal(db, bytes));
  }
  SUBCASE("never replaces, nor does it touch the folder that the file is in") {
    restore.options.overwrite = Overwrite::never;
    spoil(1'500'000'000);
    const auto changed_mode = fs::perms::owner_all | fs::perms::others_exec;
    fs::permissions(db.parent_path(), changed_mode);
    const timespec before = status_of(db.parent_path()).st_mtim;
    CHECK(restore.run(root).unchanged == 1);
    CHECK(read_text(db) == "other");
    CHECK(fs::status(db.parent_path()).permissions() == changed_mode);
    CHECK(status_of(db.parent_path()).st_mtim.tv_nsec == before.tv_nsec);
  }
  SUBCASE("what a killed restore had in work goes") {
    const fs::path part = restore.target / "data" / ".kubedr-0011223344556677.part";
    std::ofstream(part) << "half";
    restore.options.overwrite = Overwrite::if_changed;
    restore.run(root);
    CHECK_FALSE(fs::exists(part));
  }
  SUBCASE("a link where a folder should be is not followed") {
    fs::remove_all(restore.target / "data");
    const fs::path outside = restore.temp / "outside";
    fs::create_directory(outside);
    fs::create_directory_symlink(outside, restore.target / "data");
    restore.options.overwrite = Overwrite::always;
    CHECK(text_of([&] { restore.run(root); }).find("open") != std::string::npos);
    CHECK(fs::is_empty(outside));
  }
}

TEST_CASE("an include brings back what it names, and a rehearsal writes nothing") {
  World world;
  Restore restore(world);
  const BlobId root = restore.tree(
      {restore.folder("data", {restore.file("etcd-snapshot.db", noise(5'000, 1)),
                               restore.folder("pki", {restore.file("ca.crt", noise(100, 2)),
                                                      restore.file("ca.key", noise(100, 3))})})});
  restore.finish();
  const auto included = [&](std::vector<std::string> patterns) {
    fs::remove_all(restore.target);
    restore.options.include.exact = std::move(patterns);
    const RestoredTree rehearsed = rehearse_restore(restore.repository, restore.index, root,
                                                    restore.target, restore.options, world.call);
    CHECK_FALSE(fs::exists(restore.target));
    fs::create_directory(restore.target);
    const RestoredTree result = restore.run(root);
    CHECK(result.files == rehearsed.files);
    CHECK(result.bytes == rehearsed.bytes);
    return result.files;
  };
  CHECK(included({"/data/pki"}) == 2);
  CHECK_FALSE(fs::exists(restore.target / "data" / "etcd-snapshot.db"));
  CHECK(included({"*.crt"}) == 1);
  CHECK(included({"*.db", "/data/pki/ca.key"}) == 2);
  CHECK(included({"/data"}) == 3);
  CHECK(included({"/**/ca.crt"}) == 1);
  CHECK(included({"data/**/*.*"}) == 3);
  CHECK(text_of([&] { included({"/pki"}); }).find("nothing in the snapshot matches /pki") !=
        std::string::npos);
}

TEST_CASE("an exclude leaves out what it names, and what is damaged there is not missed") {
  World world;
  Restore restore(world);
  const Node damaged = restore.folder("a", {restore.file("ca.crt", noise(100, 1))});
  const BlobId root = restore.tree({damaged, restore.file("db", noise(9'000, 2)),
                                    restore.folder("b", {restore.file("CA.KEY", noise(10, 3))})});
  restore.finish();
  restore.damage({BlobType::tree, *damaged.subtree});
  restore.options.exclude = {{"/a"}, {"*.key"}};
  const RestoredTree rehearsed = rehearse_restore(restore.repository, restore.index, root,
                                                  restore.target, restore.options, world.call);
  const RestoredTree result = restore.run(root);
  CHECK(result.damaged.empty());
  CHECK(rehearsed.damaged.empty());
  CHECK(result.files == 1);
  CHECK(rehearsed.files == 1);
  CHECK_FALSE(fs::exists(restore.target / "a"));
  CHECK(fs::is_empty(restore.target / "b"));
  CHECK(equal(restore.target / "db", noise(9'000, 2)));
}

TEST_CASE("with verify a file that the disk does not give back as it was gets no name") {
  World world;
  Restore restore(world);
  Bytes bytes = noise(9'000, 1);
  std::fill(bytes.begin() + kPage, bytes.begin() + 2 * kPage, std::uint8_t{0});  // a hole
  const BlobId root = restore.tree({restore.file("db", bytes), restore.file("empty", {})});
  restore.finish();
  restore.options.verify = true;
  SUBCASE("a disk that does") {
    CHECK(restore.run(root).verified == 2);
    CHECK(equal(restore.target / "db", bytes));
  }
  SUBCASE("a byte goes bad behind our back") {
    restore.options.progress = [&](std::uint64_t) {
      for (const auto& entry : fs::directory_iterator(restore.target)) {
        std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(10);
        file.put(static_cast<char>(bytes[10] ^ 1U));
      }
    };
    CHECK(has(text_of([&] { restore.run(root); }),
              "db: the disk does not give back what was written to it"));
    CHECK(fs::is_empty(restore.target));
  }
}
