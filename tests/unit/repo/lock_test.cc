#include "repo/lock.h"

#include <doctest/doctest.h>

#include <future>
#include <thread>

#include "repositories.h"
#include "support/fake_clock.h"
#include "support/faulty_store.h"

using namespace kubedr;
using namespace kubedr::repo;
using namespace kubedr::repo::test;
using kubedr::test::FakeClock;
using kubedr::test::Fault;
using kubedr::test::FaultyStore;
using kubedr::test::Operation;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

namespace {

LockInfo bobs_lock(bool exclusive) {
  LockInfo lock;
  lock.time = WallTime(seconds(1'795'333'307));  // 2026-11-22T07:41:47Z
  lock.exclusive = exclusive;
  lock.hostname = "otherhost";
  lock.username = "bob";
  lock.pid = 4242;
  lock.uid = 1000;
  lock.gid = 1000;
  return lock;
}

std::string age_in(nanoseconds age) {
  const std::string text =
      lock_conflict_text(bobs_lock(false), LockId(), bobs_lock(false).time + age);
  const std::size_t begin = text.find('(', text.find("created at")) + 1;
  return text.substr(begin, text.find(" ago") - begin);
}

// A repository whose time the test moves.
struct SlowWorld {
  SlowWorld() : call(clock), master(make_repository(memory, 2, random, call)) {}

  Repository open() { return Repository::open(store, Secret("pw"), random, call); }

  // Takes a lock while moving time over the 200 ms of the protocol.
  Lock take(Repository& repository) {
    auto taken = std::async(std::launch::async,
                            [&] { return repository.lock_shared(kOwner, kNoRetry, call); });
    REQUIRE(clock.wait_for_sleepers(1));
    clock.advance(milliseconds(200));
    Lock lock = taken.get();
    REQUIRE(clock.wait_for_sleepers(1));  // the refresher
    return lock;
  }

  std::vector<std::string> locks() { return names(memory, FileKind::lock, call); }

  template <class Condition>
  bool soon(Condition condition) {
    for (int i = 0; i < 1'000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(milliseconds(5));
    }
    return false;
  }

  FakeClock clock;
  SystemRandom random;
  MemoryStore memory;
  FaultyStore store{memory};
  Call call;
  SealKey master;
};

}  // namespace

TEST_CASE("lock JSON has restic's keys in restic's order and leaves out uid and gid 0") {
  LockInfo lock = bobs_lock(true);
  lock.time += nanoseconds(670'404'062);
  CHECK(to_json(lock) ==
        R"({"time":"2026-11-22T07:41:47.670404062Z","exclusive":true,"hostname":"otherhost",)"
        R"("username":"bob","pid":4242,"uid":1000,"gid":1000})");
  lock.uid = 0;
  lock.gid = 0;
  lock.hostname = "<\"vm\">";
  CHECK(to_json(lock).ends_with(R"("hostname":"\u003c\"vm\"\u003e","username":"bob","pid":4242})"));
  const LockInfo back = parse_lock(to_json(lock), "locks/x");
  CHECK(back.time == lock.time);
  CHECK(back.exclusive);
  CHECK(back.hostname == lock.hostname);
  CHECK(back.pid == 4242);
}

TEST_CASE("a lock as restic writes it is read; what is none is corrupt") {
  const LockInfo lock = parse_lock(
      R"({"time":"2026-11-22T08:41:52.670404062+01:00","exclusive":false,"hostname":"vm",)"
      R"("username":"root","pid":22480})",
      "locks/x");
  CHECK(lock.time == WallTime(seconds(1'795'333'312) + nanoseconds(670'404'062)));
  CHECK(!lock.exclusive);
  CHECK(lock.uid == 0);
  for (const char* bad : {"", "[]", "{}", R"({"time":"yesterday"})", R"({"time":1})",
                          R"({"time":"2026-11-22T07:41:52Z","pid":"x"})",
                          R"({"time":"2026-11-22T07:41:52Z","uid":4294967296})"}) {
    CAPTURE(bad);
    const auto error = error_of([&] { parse_lock(bad, "locks/x"); });
    REQUIRE(error);
    CHECK(error->kind() == ErrorKind::corrupt);
  }
}

TEST_CASE("a conflict is told in restic's words") {
  const LockId id = *LockId::parse("b41c02f5" + std::string(56, '0'));
  CHECK(lock_conflict_text(bobs_lock(true), id, bobs_lock(true).time + nanoseconds(547'030'566)) ==
        "unable to create lock in backend: repository is already locked exclusively by PID 4242 on "
        "otherhost by bob (UID 1000, GID 1000)\n"
        "lock was created at 2026-11-22 07:41:47 (547.030566ms ago)\n"
        "storage ID b41c02f5");
  CHECK(lock_conflict_text(bobs_lock(false), id, bobs_lock(false).time)
            .starts_with("unable to create lock in backend: repository is already locked by PID"));
}

TEST_CASE("ages are printed as Go prints durations") {
  CHECK(age_in(nanoseconds(0)) == "0s");
  CHECK(age_in(nanoseconds(7)) == "7ns");
  CHECK(age_in(nanoseconds(1'500)) == "1.5\u00b5s");
  CHECK(age_in(milliseconds(1'500)) == "1.5s");
  CHECK(age_in(seconds(60)) == "1m0s");
  CHECK(age_in(minutes(31) + milliseconds(250)) == "31m0.25s");
  CHECK(age_in(std::chrono::hours(25) + seconds(2)) == "25h0m2s");
  CHECK(age_in(-seconds(3)) == "-3s");
}

TEST_CASE("shared locks go together, an exclusive one goes with none") {
  World world;
  Repository repository = world.open(world.store);
  const auto conflict = [&](const auto& take) { return error_of([&] { take(); }); };
  const auto shared = [&] { return repository.lock_shared(kOwner, kNoRetry, world.call); };
  const auto exclusive = [&] { return repository.lock_exclusive(kOwner, kNoRetry, world.call); };
  {
    const Lock one = shared();
    const Lock two = shared();
    CHECK(names(world.store, FileKind::lock, world.call).size() == 2);
    const auto error = conflict(exclusive);
    REQUIRE(error);
    CHECK(error->kind() == ErrorKind::locked);
    CHECK(std::string(error->what()).find("already locked by PID 4242 on node-1 by root") !=
          std::string::npos);
    CHECK(error->hint() == "the `unlock` command can be used to remove stale locks");
  }
  CHECK(names(world.store, FileKind::lock, world.call).empty());
  {
    const Lock one = exclusive();
    CHECK(conflict(shared)->kind() == ErrorKind::locked);
    CHECK(conflict(exclusive)->kind() == ErrorKind::locked);
  }
  CHECK(!conflict(exclusive));
  CHECK(names(world.store, FileKind::lock, world.call).empty());
}

TEST_CASE("a stale lock still blocks, an empty file does not, a damaged one is named") {
  World world;
  Repository repository = world.open(world.store);
  const auto exclusive = [&] { repository.lock_exclusive(kOwner, kNoRetry, world.call); };

  overwrite(world.store, {FileKind::lock, std::string(64, '0')}, {}, world.call);
  CHECK(!error_of(exclusive));

  LockInfo old = bobs_lock(false);
  old.time = world.clock.now() - std::chrono::hours(2);
  const auto file = repository.files().seal(FileKind::lock, to_json(old));
  repository.files().save(file, world.call);
  CHECK(error_of(exclusive)->kind() == ErrorKind::locked);
  world.store.remove(file.name, world.call);

  put(world.store, FileKind::lock, as_bytes("not sealed by this repository's key"), world.call);
  const auto error = error_of(exclusive);
  REQUIRE(error);
  CHECK(error->kind() == ErrorKind::locked);
  CHECK(std::string(error->what()).find("invalid lock file") != std::string::npos);
}

TEST_CASE("a lock that appears within the 200 ms makes us step back") {
  SlowWorld world;
  Repository repository = world.open();
  auto taken = std::async(std::launch::async, [&] {
    return error_of([&] { repository.lock_shared(kOwner, kNoRetry, world.call); });
  });
  REQUIRE(world.clock.wait_for_sleepers(1));
  const auto other = repository.files().seal(FileKind::lock, to_json(bobs_lock(true)));
  repository.files().save(other, world.call);
  world.clock.advance(milliseconds(200));
  const auto error = taken.get();
  REQUIRE(error);
  CHECK(error->kind() == ErrorKind::locked);
  CHECK(world.locks() == std::vector{other.name.id});
}

TEST_CASE("a lock in the way is waited for, and no longer than asked") {
  const FakeClock clock(FakeClock::Mode::jumping);
  SystemRandom random;
  MemoryStore memory;
  FaultyStore store(memory);
  const Call call(clock);
  make_repository(memory, 2, random, call);
  Repository repository = Repository::open(store, Secret("pw"), random, call);
  repository.files().save(repository.files().seal(FileKind::lock, to_json(bobs_lock(true))), call);

  const SteadyTime begin = clock.steady();
  const int before = store.calls(Operation::list);
  const auto error = error_of([&] { repository.lock_shared(kOwner, minutes(2), call); });
  REQUIRE(error);
  CHECK(error->kind() == ErrorKind::locked);
  CHECK(clock.steady() - begin == minutes(2));
  CHECK(store.calls(Operation::list) - before == 6);  // after 0, 5, 15, 35, 75 and 120 s
}

TEST_CASE("a held lock is written anew every five minutes, the old file goes") {
  SlowWorld world;
  Repository repository = world.open();
  Lock lock = world.take(repository);
  const auto first = world.locks();
  REQUIRE(first.size() == 1);
  world.clock.advance(kLockRefresh);
  CHECK(world.soon([&] {
    const auto now = world.locks();
    return now.size() == 1 && now != first;
  }));
  CHECK_NOTHROW(lock.require_held(world.call));
  const LockInfo info = parse_lock(
      as_text(repository.files().load({FileKind::lock, world.locks()[0]}, world.call)), "lock");
  CHECK(info.time == world.clock.now());
  CHECK(!lock.scope().stopped());
  lock.release(world.call);
  CHECK(world.locks().empty());
}

TEST_CASE("a lock that somebody removed ends its scope") {
  SlowWorld world;
  Repository repository = world.open();
  Lock lock = world.take(repository);
  world.memory.remove({FileKind::lock, world.locks()[0]}, world.call);
  SUBCASE("at the next look") {
    CHECK(error_of([&] { lock.require_held(world.call); })->kind() == ErrorKind::locked);
  }
  SUBCASE("at the next refresh, which must not bring it back") {
    world.clock.advance(kLockRefresh);
    CHECK(world.soon([&] { return lock.scope().stopped(); }));
    CHECK(world.locks().empty());
  }
  CHECK(error_of([&] { lock.scope().require_live(); })->kind() == ErrorKind::locked);
}

TEST_CASE("a refresh that fails is tried again; one that fails for too long ends the scope") {
  SlowWorld world;
  Repository repository = world.open();
  Lock lock = world.take(repository);
  Fault fault{.times = 1, .operation = Operation::save, .kind = FileKind::lock};
  SUBCASE("for a moment") {
    const auto first = world.locks();
    world.store.add(fault);
    world.clock.advance(kLockRefresh);
    CHECK(world.soon([&] { return world.store.calls(Operation::save) == 2; }));
    REQUIRE(world.clock.wait_for_sleepers(1));
    CHECK(world.locks() == first);
    world.clock.advance(seconds(30));
    CHECK(world.soon([&] { return world.locks() != first && world.locks().size() == 1; }));
    CHECK_NOTHROW(lock.require_held(world.call));
  }
  SUBCASE("for good") {
    fault.times = Fault::kForever;
    world.store.add(fault);
    CHECK(world.soon([&] {
      world.clock.advance(seconds(30));
      return lock.scope().stopped();
    }));
    CHECK(error_of([&] { lock.require_held(world.call); })->kind() == ErrorKind::unavailable);
  }
}

TEST_CASE("a lock whose save got no answer is removed all the same") {
  World world;
  FaultyStore store(world.store);
  Repository repository = world.open(store);
  store.add({.when = Fault::When::after, .operation = Operation::save, .kind = FileKind::lock});
  CHECK(error_of([&] { repository.lock_shared(kOwner, kNoRetry, world.call); })->kind() ==
        ErrorKind::unavailable);
  CHECK(names(world.store, FileKind::lock, world.call).empty());
}

TEST_CASE("a lock is removed although the call it was taken with was interrupted") {
  World world;
  Repository repository = world.open(world.store);
  CallScope signal(world.call);
  {
    const Lock lock = repository.lock_shared(kOwner, kNoRetry, signal.call());
    signal.fail(std::make_exception_ptr(Error(ErrorKind::terminated, "terminated")));
    CHECK(text_of([&] { lock.scope().require_live(); }) == "terminated: terminated");
    CHECK(names(world.store, FileKind::lock, world.call).size() == 1);
  }
  CHECK(names(world.store, FileKind::lock, world.call).empty());
}

TEST_CASE("release reports a failure; the scope of a moved lock stays valid") {
  World world;
  FaultyStore store(world.store);
  Repository repository = world.open(store);
  Lock taken = repository.lock_shared(kOwner, kNoRetry, world.call);
  const Call& scope = taken.scope();
  Lock lock = std::move(taken);
  CHECK(&lock.scope() == &scope);
  CHECK_NOTHROW(lock.require_held(scope));
  store.add({.operation = Operation::remove, .kind = FileKind::lock});
  CHECK(error_of([&] { lock.release(world.call); })->kind() == ErrorKind::unavailable);
  CHECK(error_of([&] { lock.require_held(world.call); })->kind() == ErrorKind::internal);
  CHECK(scope.stopped());
  lock.release(world.call);
  CHECK(names(world.store, FileKind::lock, world.call).empty());
}
