// Who deletes looks at its lock again first: `unlock --remove-all` may have taken it away, and then
// others work on what was planned for.

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "backups.h"
#include "repo/keyring.h"
#include "repo/prune.h"
#include "repo/repair_index.h"
#include "support/faulty_store.h"

using namespace kubedr;
using namespace kubedr::repo;
using namespace kubedr::repo::test;
using kubedr::test::FaultyStore;
using kubedr::test::Operation;

namespace {

// When the locks go; not given: before the work begins.
struct Moment {
  const char* what;
  std::optional<Operation> operation = std::nullopt;
  FileKind kind = FileKind::lock;
};

// A repository of which two backups of three were forgotten, with a pack that no index names.
struct Wasteful : World {
  Wasteful() {
    const SnapshotId first = back_up(*this, store, pages(0, 40), day(0));
    const SnapshotId second = back_up(*this, store, pages(20, 60), day(1));
    back_up(*this, store, pages(30, 70), day(2));
    forget(*this, store, first);
    forget(*this, store, second);
  }

  void remove_all_locks() {
    for (const std::string& id : names(store, FileKind::lock, call)) {
      store.remove({FileKind::lock, id}, call);
    }
  }

  // Runs `work` on a repository whose lock goes at that moment. It must fail for that reason and
  // delete nothing afterwards but locks; returns what it deleted before.
  template <class Work>
  std::vector<std::string> lose_lock(const Moment& moment, const Work& work) {
    CAPTURE(moment.what);
    FaultyStore watched(store);
    Repository repository = open(watched);
    Lock lock = repository.lock_exclusive(kOwner, kNoRetry, call);
    int before = 0;
    const auto remove_locks = [&] {
      remove_all_locks();
      before = watched.calls();
    };
    if (moment.operation) {
      watched.before(*moment.operation, moment.kind, remove_locks);
    }
    const std::optional<Error> error = error_of([&] {
      work(repository, lock, [&] {
        if (!moment.operation) remove_locks();
      });
    });
    REQUIRE(before != 0);
    REQUIRE(error);
    CHECK_MESSAGE(error->kind() == ErrorKind::locked, error->what());
    const std::vector<std::string> history = watched.history();
    std::vector<std::string> removed;
    for (std::size_t i = 0; i < history.size(); ++i) {
      if (!history[i].starts_with("remove ") || history[i].starts_with("remove locks/")) continue;
      if (i < static_cast<std::size_t>(before)) {
        removed.push_back(history[i]);
      } else {
        FAIL_CHECK(history[i]);
      }
    }
    return removed;
  }
};

void prune(const Repository& repository, Lock& lock, const Call& call,
           const std::function<void()>& planned) {
  PruneOptions options;
  options.max_unused.percent = 0;
  const PrunePlan plan = plan_prune(repository, lock, options, call);
  REQUIRE(plan.figures.bytes_freed > 0);
  planned();
  execute_prune(
      repository, lock, plan, [](std::uint64_t) {}, lock.scope());
}

}  // namespace

TEST_CASE("lost lock: a snapshot is not removed") {
  Wasteful world;
  const SnapshotId left =
      SnapshotId::parse(names(world.store, FileKind::snapshot, world.call).front()).value();
  world.lose_lock({"after it was taken"}, [&](Repository& repository, Lock& lock, auto planned) {
    planned();
    repository.remove_snapshot(left, lock, lock.scope());
  });
  CHECK(read_everything(world, world.store) == 1);
}

TEST_CASE("lost lock: a prune stops before its next deletion, and the next one ends its work") {
  for (const Moment& moment : {Moment{"after the plan"},
                               {"while packs are copied", Operation::save, FileKind::pack},
                               {"before the new index", Operation::save, FileKind::index}}) {
    CAPTURE(moment.what);
    Wasteful world;
    const auto work = [&](Repository& repository, Lock& lock, const auto& planned) {
      prune(repository, lock, world.call, planned);
    };
    CHECK(world.lose_lock(moment, work).empty());
    CHECK(read_everything(world, world.store) == 1);
    Repository repository = world.open(world.store);
    Lock lock = repository.lock_exclusive(kOwner, kNoRetry, world.call);
    prune(repository, lock, world.call, [] {});
    lock.release(world.call);
    CHECK(read_everything(world, world.store) == 1);
  }
}

TEST_CASE("lost lock: packs that no index names stay, for they may be somebody's by now") {
  Wasteful world;
  put(world.store, FileKind::pack, noise(1000, 77), world.call);
  const auto work = [&](Repository& repository, Lock& lock, const auto& planned) {
    prune(repository, lock, world.call, planned);
  };
  CHECK(world.lose_lock({"after the plan"}, work).empty());
  // They go first, while the lock is there.
  CHECK(world.lose_lock({"while packs are copied", Operation::save, FileKind::pack}, work).size() ==
        1);
  CHECK(read_everything(world, world.store) == 1);
}

TEST_CASE("lost lock: a prune that deletes old indexes does not go on to the packs") {
  Wasteful world;
  FaultyStore watched(world.store);
  Repository repository = world.open(watched);
  Lock lock = repository.lock_exclusive(kOwner, kNoRetry, world.call);
  watched.before(Operation::remove, FileKind::index, [&] { world.remove_all_locks(); });
  CHECK(text_of([&] { prune(repository, lock, world.call, [] {}); }).starts_with("locked"));
  for (const std::string& line : watched.history()) CHECK_FALSE(line.starts_with("remove data/"));
  CHECK(read_everything(world, world.store) == 1);
}

TEST_CASE("lost lock: a key stays") {
  for (const Moment& moment :
       {Moment{"after it was taken"}, {"while keys are listed", Operation::list, FileKind::key}}) {
    Wasteful world;
    put_key(world.store, world.master, "escrow", world.random, world.call);
    const KeyId escrow =
        Repository::open(world.store, Secret("escrow"), world.random, world.call).key_id();
    const auto work = [&](Repository& repository, Lock& lock, const auto& planned) {
      planned();
      remove_key(repository, lock, escrow.hex(), lock.scope());
    };
    CHECK(world.lose_lock(moment, work).empty());
    CHECK(list_keys(world.open(world.store), world.call).size() == 2);
  }
}

TEST_CASE("lost lock: repair index leaves the old files, named twice at the worst") {
  for (const Moment& moment : {Moment{"before it began"},
                               {"while headers are read", Operation::load_range, FileKind::pack},
                               {"before the new index", Operation::save, FileKind::index}}) {
    Wasteful world;
    const auto work = [&](Repository& repository, Lock& lock, const auto& planned) {
      planned();
      repair_index(repository, lock, true, lock.scope());
    };
    CHECK(world.lose_lock(moment, work).empty());
    CHECK(read_everything(world, world.store) == 1);
  }
}
