#include "storage/directory_store.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <fstream>
#include <vector>

#include "base/error.h"
#include "support/temp_dir.h"
#include "unit/storage/stores.h"

namespace kubedr::storage {
namespace {

namespace fs = std::filesystem;

struct World {
  test::TempDir folder;
  StillClock clock;
  Call call{clock};
  SystemRandom random;
};

unsigned mode_of(const fs::path& path) {
  struct stat info {};

  REQUIRE(::stat(path.c_str(), &info) == 0);
  return info.st_mode & 07777U;
}

std::size_t count(const fs::path& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

ErrorKind kind_of(const std::function<void()>& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::internal;  // none at all
}

TEST_CASE("directory store: creation makes restic's folders, 0700, and just once") {
  World world;
  const fs::path root = world.folder / "deeper" / "repo";
  DirectoryStore store(root, world.random);
  CHECK(store.create(world.call));
  for (const char* folder :
       {"", "data", "data/00", "data/7f", "data/ff", "keys", "index", "snapshots", "locks"}) {
    CAPTURE(folder);
    CHECK(mode_of(root / folder) == 0700);
  }
  CHECK(count(root) == 5);
  CHECK(count(root / "data") == 256);
  CHECK_FALSE(store.create(world.call));
  fs::remove(root / "data" / "a0");
  CHECK(store.create(world.call));
  CHECK(store.location() == root.string());
}

TEST_CASE("directory store: a saved file is 0400 and alone in its folder") {
  World world;
  DirectoryStore store(world.folder.path(), world.random);
  store.create(world.call);
  for (const SaveMode mode : {SaveMode::replace, SaveMode::create_only}) {
    const FileName name = name_of(FileKind::key, mode == SaveMode::replace ? "a" : "b");
    save_text(store, name, "content", mode, world.call);
    CHECK(mode_of(world.folder / name.path()) == 0400);

    struct stat info {};

    REQUIRE(::stat((world.folder / name.path()).c_str(), &info) == 0);
    CHECK(info.st_nlink == 1);
  }
  CHECK(count(world.folder / "keys") == 2);
}

TEST_CASE("directory store: a save that fails leaves nothing behind") {
  World world;
  DirectoryStore store(world.folder.path(), world.random);
  store.create(world.call);
  const FileName taken = name_of(FileKind::config, "");
  save_text(store, taken, "first", SaveMode::create_only, world.call);
  CHECK(kind_of([&] { save_text(store, taken, "second", SaveMode::create_only, world.call); }) ==
        ErrorKind::exists);
  const FileName blocked = name_of(FileKind::index, "x");
  fs::create_directory(world.folder / blocked.path());
  CHECK(kind_of([&] { save_text(store, blocked, "x", SaveMode::replace, world.call); }) ==
        ErrorKind::failed);
  CHECK(load_text(store, taken, world.call) == "first");
  CHECK(count(world.folder.path()) == 6);
  CHECK(count(world.folder / "index") == 1);
}

TEST_CASE("directory store: a folder that went missing is empty, and made again by a save") {
  World world;
  DirectoryStore store(world.folder.path(), world.random);
  store.create(world.call);
  const FileName name = name_of(FileKind::pack, "pack");
  fs::remove_all(world.folder / "data");
  int listed = 0;
  store.list(
      FileKind::pack, [&](const FileInfo&) { ++listed; }, world.call);
  CHECK(listed == 0);
  save_text(store, name, "pack", SaveMode::replace, world.call);
  store.list(
      FileKind::pack, [&](const FileInfo&) { ++listed; }, world.call);
  CHECK(listed == 1);
}

TEST_CASE("directory store: leftovers, strangers and packs in a wrong folder are not listed") {
  World world;
  DirectoryStore store(world.folder.path(), world.random);
  store.create(world.call);
  const FileName name = name_of(FileKind::pack, "pack");
  save_text(store, name, "pack", SaveMode::replace, world.call);
  const fs::path shard = (world.folder / name.path()).parent_path();
  std::ofstream(shard / (name.id + "-tmp-0123456789abcdef")) << "half";
  std::ofstream(shard / "README") << "hello";
  const std::string other = name.id.substr(0, 2) == "00" ? "01" : "00";
  std::ofstream(world.folder / "data" / other / name.id) << "pack";
  fs::create_directory(shard / (name.id.substr(0, 2) + std::string(62, '0')));
  std::vector<FileInfo> found;
  store.list(
      FileKind::pack, [&](const FileInfo& info) { found.push_back(info); }, world.call);
  REQUIRE(found.size() == 1);
  CHECK(found[0].id == name.id);
  CHECK(found[0].size == 4);
}

TEST_CASE("directory store: what a killed save left goes once it is old, and nothing else does") {
  World world;
  DirectoryStore store(world.folder.path(), world.random);
  store.create(world.call);
  const FileName pack = name_of(FileKind::pack, "pack");
  save_text(store, pack, "pack", SaveMode::replace, world.call);
  const fs::path whole = world.folder / pack.path();
  const fs::path key = world.folder / name_of(FileKind::key, "key").path();
  const std::vector<fs::path> leftovers = {whole.string() + "-tmp-0123456789abcdef",
                                           key.string() + "-tmp-1234",  // restic's
                                           world.folder / "config-tmp-0123456789abcdef"};
  const std::vector<fs::path> others = {whole, whole.string() + "-other",
                                        world.folder / "notes-tmp-1"};
  const fs::path young = key.string() + "-tmp-5678";
  const auto old = fs::file_time_type::clock::now() - std::chrono::hours(2);
  for (const auto& paths : {leftovers, others}) {
    for (const fs::path& path : paths) {
      if (path != whole) std::ofstream(path) << "half";
      fs::last_write_time(path, old);
    }
  }
  std::ofstream(young) << "half";
  fs::create_directory(whole.string() + "-tmp-folder");
  store.remove_leftovers(SystemClock().now() - std::chrono::hours(1), world.call);
  for (const fs::path& path : leftovers) CHECK_FALSE(fs::exists(path));
  for (const fs::path& path : others) CHECK(fs::exists(path));
  CHECK(fs::exists(young));
  CHECK(fs::exists(whole.string() + "-tmp-folder"));
  CHECK(load_text(store, pack, world.call) == "pack");
}

TEST_CASE(
    "directory store: without its folder there is no repository, and none is made by a save") {
  World world;
  const fs::path root = world.folder / "missing";
  DirectoryStore store(root, world.random);
  const FileName config = name_of(FileKind::config, "");
  CHECK(kind_of([&] { load_text(store, config, world.call); }) == ErrorKind::no_repository);
  CHECK(kind_of([&] { save_text(store, config, "x", SaveMode::replace, world.call); }) ==
        ErrorKind::no_repository);
  CHECK_FALSE(store.size_of(config, world.call));
  CHECK_FALSE(fs::exists(root));
}

TEST_CASE("directory store: a file in place of the repository is an error that names it") {
  World world;
  const fs::path root = world.folder / "file";
  std::ofstream(root) << "no folder";
  DirectoryStore store(root, world.random);
  try {
    store.create(world.call);
    FAIL("a file is no folder");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find(root.string()) == 0);
  }
}

}  // namespace
}  // namespace kubedr::storage
