#include "repo/prune.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "backups.h"
#include "base/file.h"
#include "repo/repair_index.h"
#include "storage/cached_store.h"
#include "storage/directory_store.h"
#include "storage/retrying_store.h"
#include "support/faulty_store.h"
#include "support/restic.h"
#include "support/temp_dir.h"

using namespace kubedr;
using namespace kubedr::repo;
using namespace kubedr::repo::test;
using kubedr::test::Fault;
using kubedr::test::FaultyStore;
using kubedr::test::restic;
using kubedr::test::TempDir;

namespace {

const PruneProgress kSilent = [](std::uint64_t) {};

PruneOptions with_unused(double percent) {
  PruneOptions options;
  options.max_unused.percent = percent;
  return options;
}

PruneFigures prune(World& world, storage::Store& store, const PruneOptions& options = {}) {
  Repository repository = world.open(store);
  Lock lock = repository.lock_exclusive(kOwner, kNoRetry, world.call);
  const PrunePlan plan = plan_prune(repository, lock, options, world.call);
  execute_prune(repository, lock, plan, kSilent, lock.scope());
  lock.release(world.call);
  return plan.figures;
}

std::uint64_t stored(const storage::Store& store, const Call& call) {
  std::uint64_t bytes = 0;
  store.list(
      FileKind::pack, [&](const storage::FileInfo& info) { bytes += info.size; }, call);
  return bytes;
}

std::size_t count(const storage::Store& store, FileKind kind, const Call& call) {
  return names(store, kind, call).size();
}

}  // namespace

TEST_CASE("prune: a repository in which everything is used is left alone") {
  World world;
  back_up(world, world.store, pages(0, 20), day(0));
  FaultyStore watched(world.store);
  const PruneFigures figures = prune(world, watched);
  CHECK(figures.unused_blobs.count == 0);
  CHECK(figures.bytes_freed == 0);
  for (const std::string& line : watched.history()) {
    CHECK_FALSE(line.starts_with("remove data"));
    CHECK_FALSE(line.starts_with("save index"));
  }
}

TEST_CASE("prune: what only a forgotten snapshot needed goes, the rest stays whole") {
  for (const int version : {1, 2}) {
    World world(version);
    const SnapshotId first = back_up(world, world.store, pages(0, 40), day(0));
    back_up(world, world.store, pages(20, 60), day(1));
    forget(world, world.store, first);
    const std::uint64_t before = stored(world.store, world.call);
    const PruneFigures figures = prune(world, world.store, with_unused(0));
    CHECK(figures.unused_blobs.count == 21);  // 20 pages and a tree
    CHECK(figures.unused_after == 0);
    CHECK(stored(world.store, world.call) < before - 19 * 16 * 1024);
    CHECK(read_everything(world, world.store) == 1);
    CHECK(prune(world, world.store, with_unused(0)).bytes_freed == 0);
  }
}

TEST_CASE("prune: so much waste may stay as was said") {
  World world;
  const SnapshotId first = back_up(world, world.store, pages(0, 40), day(0));
  back_up(world, world.store, pages(2, 40), day(1));
  forget(world, world.store, first);
  const auto plan = [&](const PruneOptions& options) {
    Repository repository = world.open(world.store);
    const Lock lock = repository.lock_exclusive(kOwner, kNoRetry, world.call);
    return plan_prune(repository, lock, options, world.call).figures;
  };
  CHECK(plan(with_unused(0)).unused_after == 0);
  CHECK(plan(with_unused(10)).unused_after > 2 * 16 * 1024);
  PruneOptions options;
  options.max_unused = {std::nullopt, 1 << 20};
  CHECK(plan(options).unused_after > 2 * 16 * 1024);
  options.max_unused = {};
  CHECK(plan(options).packs_repacked.count == 0);
  options = with_unused(0);
  options.max_repack_bytes = 1;
  CHECK(plan(options).packs_repacked.count == 0);
}

TEST_CASE("prune: a listing that lacks what is known to be there is not believed") {
  World world;
  const SnapshotId first = back_up(world, world.store, pages(0, 20), day(0));
  back_up(world, world.store, pages(10, 30), day(1));
  PruneOptions options = with_unused(0);
  options.known = {first.short_hex()};
  CHECK(prune(world, world.store, options).packs_removed.count == 0);
  forget(world, world.store, first);
  const std::uint64_t before = stored(world.store, world.call);
  CHECK_THROWS_WITH_AS(
      prune(world, world.store, options),
      ("prune: snapshot " + first.short_hex() + " is known, and not listed: nothing was changed")
          .c_str(),
      Error);
  CHECK(stored(world.store, world.call) == before);
}

TEST_CASE("prune: no snapshot at all beside data is not believed, unless it is said") {
  World world;
  const SnapshotId only = back_up(world, world.store, pages(0, 20), day(0));
  forget(world, world.store, only);
  const std::uint64_t before = stored(world.store, world.call);
  CHECK_THROWS_AS(prune(world, world.store), Error);
  CHECK(stored(world.store, world.call) == before);
  PruneOptions options;
  options.may_be_empty = true;
  CHECK(prune(world, world.store, options).used_blobs.count == 0);
  CHECK(stored(world.store, world.call) == 0);
}

TEST_CASE("prune: packs that no index names go") {
  World world;
  back_up(world, world.store, pages(0, 10), day(0));
  put(world.store, FileKind::pack, noise(1000, 77), world.call);
  const PruneFigures figures = prune(world, world.store);
  CHECK(figures.packs_unreferenced.count == 1);
  CHECK(figures.packs_unreferenced.bytes == 1000);
  CHECK(read_everything(world, world.store) == 1);
}

TEST_CASE("prune: of blobs that are there twice one stays") {
  World world;
  MemoryStore other;
  copy_store(world.store, other, world.call);
  back_up(world, world.store, pages(0, 10), day(0));
  back_up(world, other, pages(0, 10), day(1));
  for (const FileKind kind : {FileKind::pack, FileKind::index, FileKind::snapshot}) {
    for (const std::string& id : names(other, kind, world.call)) {
      put(world.store, kind, other.load({kind, id}, 1 << 28, world.call), world.call);
    }
  }
  const PruneFigures figures = prune(world, world.store, with_unused(0));
  CHECK(figures.duplicate_blobs.count >= 10);
  CHECK(read_everything(world, world.store) == 2);
  CHECK(stored(world.store, world.call) < 12 * 16 * 1024);
}

TEST_CASE("prune: many small packs and indexes become few") {
  World world;
  for (int i = 0; i < 20; ++i) back_up(world, world.store, pages(i, i + 3), day(i));
  CHECK(count(world.store, FileKind::pack, world.call) == 40);
  prune(world, world.store);
  CHECK(count(world.store, FileKind::pack, world.call) == 2);
  CHECK(count(world.store, FileKind::index, world.call) == 1);
  CHECK(read_everything(world, world.store) == 20);
}

TEST_CASE("prune: an index named twice is named once afterwards") {
  World world;
  back_up(world, world.store, pages(0, 5), day(0));
  Repository repository = world.open(world.store);
  const std::string id = names(world.store, FileKind::index, world.call).front();
  const Bytes json = repository.files().load({FileKind::index, id}, world.call);
  repository.files().save(repository.files().seal(FileKind::index, as_text(json)), world.call);
  REQUIRE(count(world.store, FileKind::index, world.call) == 2);
  prune(world, world.store);
  CHECK(count(world.store, FileKind::index, world.call) == 1);
  CHECK(read_everything(world, world.store) == 1);
}

TEST_CASE("prune: on doubt nothing is changed") {
  World world;
  const SnapshotId first = back_up(world, world.store, pages(0, 40), day(0));
  back_up(world, world.store, pages(20, 60), day(1));
  forget(world, world.store, first);
  const auto spoil = [&](FileKind kind) {
    const FileName name{kind, names(world.store, kind, world.call).front()};
    overwrite(world.store, name, as_bytes("spoiled"), world.call);
  };
  SUBCASE("a snapshot cannot be read") {
    spoil(FileKind::snapshot);
  }
  SUBCASE("an index cannot be read") {
    spoil(FileKind::index);
  }
  SUBCASE("an index is gone") {
    for (const std::string& id : names(world.store, FileKind::index, world.call)) {
      world.store.remove({FileKind::index, id}, world.call);
    }
  }
  SUBCASE("a pack is gone") {
    for (const std::string& id : names(world.store, FileKind::pack, world.call)) {
      world.store.remove({FileKind::pack, id}, world.call);
    }
  }
  SUBCASE("packs have another size") {
    for (const std::string& id : names(world.store, FileKind::pack, world.call)) {
      Bytes bytes = world.store.load({FileKind::pack, id}, 1 << 28, world.call);
      bytes.push_back(0);
      overwrite(world.store, {FileKind::pack, id}, bytes, world.call);
    }
  }
  FaultyStore watched(world.store);
  const std::optional<Error> error = error_of([&] { prune(world, watched, with_unused(0)); });
  REQUIRE(error);
  CHECK(error->kind() == ErrorKind::corrupt);
  CHECK_FALSE(error->hint().empty());
  for (const std::string& line : watched.history()) {
    const bool lock = line.find("locks/") != std::string::npos;
    CHECK_MESSAGE((lock || !(line.starts_with("save") || line.starts_with("remove"))), line);
  }
}

TEST_CASE("prune: a blob that does not open ends it before anything of its pack is gone") {
  World world;
  const SnapshotId first = back_up(world, world.store, pages(0, 10), day(0));
  back_up(world, world.store, pages(5, 15), day(1));
  forget(world, world.store, first);
  for (const std::string& id : names(world.store, FileKind::pack, world.call)) {
    Bytes bytes = world.store.load({FileKind::pack, id}, 1 << 28, world.call);
    if (bytes.size() < 10 * 16 * 1024) continue;
    bytes[bytes.size() / 2 + 30'000] ^= 1;  // of a page that is still used
    overwrite(world.store, {FileKind::pack, id}, bytes, world.call);
  }
  const std::size_t before = count(world.store, FileKind::pack, world.call);
  CHECK(text_of([&] { prune(world, world.store, with_unused(0)); }).starts_with("corrupt"));
  CHECK(count(world.store, FileKind::pack, world.call) >= before);
}

// The store dies at one request, for every request there is; what was done until then stays done.
TEST_CASE(
    "prune: killed at any request, nothing that is needed is lost, and the next one ends it") {
  World world;
  const SnapshotId first = back_up(world, world.store, pages(0, 40), day(0));
  const SnapshotId second = back_up(world, world.store, pages(20, 60), day(1));
  back_up(world, world.store, pages(30, 70), day(2));
  put(world.store, FileKind::pack, noise(1000, 77), world.call);
  forget(world, world.store, first);
  forget(world, world.store, second);
  int points = 0;
  for (const Fault::When when : {Fault::When::before, Fault::When::after}) {
    for (int call = 1;; ++call) {
      MemoryStore copy;
      copy_store(world.store, copy, world.call);
      FaultyStore dying(copy);
      Fault fault;
      fault.call = call;
      fault.times = Fault::kForever;
      fault.when = when;
      fault.transient = false;
      dying.add(fault);
      const bool killed = error_of([&] { prune(world, dying, with_unused(0)); }).has_value();
      CAPTURE(call);
      CHECK(read_everything(world, copy) == 1);
      const PruneFigures next = prune(world, copy, with_unused(0));
      CHECK(next.unused_after == 0);
      CHECK(read_everything(world, copy) == 1);
      CHECK(prune(world, copy, with_unused(0)).bytes_freed == 0);
      ++points;
      // A pack that could not be deleted is only a warning, so the last points end without error.
      if (!killed && dying.calls() < call) break;
    }
  }
  MESSAGE(points << " points");
  CHECK(points > 60);
}

TEST_CASE("prune and restic: each accepts what the other left, and nothing differs") {
  for (const std::string& version : {std::string("0.14"), std::string("0.18")}) {
    CAPTURE(version);
    const TempDir folder;
    SystemClock clock;
    SystemRandom random;
    const Call call(clock);
    const std::map<std::string, std::string> env = {{"RESTIC_REPOSITORY", folder / "repo"},
                                                    {"RESTIC_PASSWORD", "pw"}};
    const auto run = [&](const std::vector<std::string>& args) {
      const auto result = restic(version, args, env);
      CAPTURE(args.front());
      REQUIRE_MESSAGE(result.ok(), result.err);
      return result.out + result.err;
    };
    run({"init"});
    for (int i = 0; i < 4; ++i) {
      // Two thirds stay, a third is new each time.
      Bytes bytes = noise(2'000'000, 1);
      const Bytes own = noise(1'000'000, static_cast<std::uint64_t>(10 + i));
      bytes.insert(bytes.end(), own.begin(), own.end());
      folder.write("data/file", std::string(as_text(bytes)));
      folder.write("data/number-" + std::to_string(i), std::to_string(i));
      run({"backup", folder / "data"});
    }
    run({"forget", "--keep-last", "2"});
    storage::DirectoryStore store(folder / "repo", random);
    Repository repository = Repository::open(store, Secret("pw"), random, call);
    {
      Lock lock = repository.lock_exclusive(kOwner, kNoRetry, call);
      const PrunePlan plan = plan_prune(repository, lock, with_unused(0), call);
      CHECK(plan.figures.bytes_freed > 1'000'000);
      execute_prune(repository, lock, plan, kSilent, lock.scope());
      lock.release(call);
    }
    const std::string checked = run({"check", "--read-data"});
    CHECK(checked.find("no errors were found") != std::string::npos);
    CHECK(checked.find("not referenced") == std::string::npos);
    CHECK(checked.find("several indexes") == std::string::npos);
    run({"restore", "latest", "--target", folder / "back"});
    const std::string restored = std::string(folder / "back") + std::string(folder / "data");
    CHECK(kubedr::test::read_text(restored + "/file") ==
          kubedr::test::read_text(folder / "data/file"));
    // And the other way round: restic prunes again, and we find everything.
    run({"forget", "--keep-last", "1"});
    run({"prune", "--max-unused", "0"});
    Lock lock = repository.lock_exclusive(kOwner, kNoRetry, call);
    CHECK(plan_prune(repository, lock, with_unused(0), call).figures.bytes_freed == 0);
  }
}

TEST_CASE("prune: what a killed save left in a folder goes, through retries and a cache too") {
  World world;
  const TempDir folder;
  const auto directory = [&](const char* name) {
    return std::make_unique<storage::DirectoryStore>(folder / name, world.random);
  };
  storage::CachedStore store(
      std::make_unique<storage::RetryingStore>(directory("repository"), world.random),
      directory("cache"));
  make_repository(store, 2, world.random, world.call);
  back_up(world, store, pages(0, 12), day(0));
  back_up(world, store, pages(0, 6), day(1));
  directory("cache")->create(world.call);
  std::vector<std::filesystem::path> leftovers;
  for (const char* name : {"repository", "cache"}) {
    const FileName of{FileKind::snapshot, std::string(64, 'a')};
    leftovers.push_back(folder / (std::string(name) + "/" + of.path() + "-tmp-0123456789abcdef"));
    std::ofstream(leftovers.back()) << "half";
    std::filesystem::last_write_time(
        leftovers.back(), std::filesystem::file_time_type::clock::now() - std::chrono::hours(7));
  }
  // As long as nothing else goes they stay, and a prune of nothing stays quick.
  prune(world, store);
  for (const auto& path : leftovers) CHECK(std::filesystem::exists(path));
  const SnapshotId first = [&] {
    Repository repository = world.open(store);
    return repository.snapshots(world.call).front().id;
  }();
  store.remove({FileKind::snapshot, first.hex()}, world.call);
  CHECK(prune(world, store, with_unused(0)).bytes_freed > 0);
  for (const auto& path : leftovers) CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("repair index: a lost index is made anew from the packs' headers") {
  World world;
  back_up(world, world.store, pages(0, 12), day(0));
  back_up(world, world.store, pages(6, 18), day(1));
  const auto repair = [&](bool read_all) {
    Repository repository = world.open(world.store);
    Lock lock = repository.lock_exclusive(kOwner, kNoRetry, world.call);
    const RepairedIndex repaired = repair_index(repository, lock, read_all, lock.scope());
    lock.release(world.call);
    return repaired;
  };
  CHECK(repair(false).index_files_written == 0);
  SUBCASE("all of it") {
    for (const std::string& id : names(world.store, FileKind::index, world.call)) {
      world.store.remove({FileKind::index, id}, world.call);
    }
    CHECK(repair(false).packs_read == 4);
  }
  SUBCASE("one file that was damaged") {
    const FileName name{FileKind::index, names(world.store, FileKind::index, world.call).front()};
    overwrite(world.store, name, as_bytes("damaged"), world.call);
    const RepairedIndex repaired = repair(false);
    CHECK(repaired.packs_read == 2);
    CHECK(repaired.problems.size() == 1);
    CHECK(repaired.index_files_removed == 1);
  }
  SUBCASE("every pack is read when no index is to be trusted") {
    CHECK(repair(true).packs_read == 4);
  }
  SUBCASE("a pack that is gone is named no more") {
    MemoryStore whole;
    copy_store(world.store, whole, world.call);
    const std::string id = names(world.store, FileKind::pack, world.call).front();
    world.store.remove({FileKind::pack, id}, world.call);
    CHECK(repair(false).packs_dropped == 1);
    put(world.store, FileKind::pack, whole.load({FileKind::pack, id}, 1 << 28, world.call),
        world.call);
    CHECK(repair(false).packs_read == 1);
  }
  SUBCASE("a pack without a header is a problem, and the rest is repaired") {
    put(world.store, FileKind::pack, noise(5000, 3), world.call);
    const RepairedIndex repaired = repair(false);
    CHECK(repaired.packs_unreadable == 1);
    CHECK(repaired.problems.size() == 1);
  }
  CHECK(read_everything(world, world.store) == 2);
}
