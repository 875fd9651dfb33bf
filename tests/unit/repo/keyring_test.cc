#include "repo/keyring.h"

#include <doctest/doctest.h>

#include "repositories.h"
#include "support/faulty_store.h"

using namespace kubedr;
using namespace kubedr::repo;
using namespace kubedr::repo::test;
using kubedr::test::Fault;
using kubedr::test::FaultyStore;
using kubedr::test::Operation;

TEST_CASE("keys: one is added, opens the repository, and is removed again") {
  World world;
  Repository repository = world.open(world.store);
  const KeyId id = add_key(repository, Secret("escrow"), "ann", "safe", world.random, world.call);
  const Repository again =
      Repository::open(world.store, Secret("escrow"), world.random, world.call);
  CHECK(again.key_id() == id);
  const std::vector<SavedKey> keys = list_keys(repository, world.call);
  REQUIRE(keys.size() == 2);
  const SavedKey& added = keys[0].current ? keys[1] : keys[0];
  CHECK(added.id == id);
  CHECK(added.username == "ann");
  CHECK(added.hostname == "safe");

  Lock lock = repository.lock_exclusive(kOwner, kNoRetry, world.call);
  CHECK(remove_key(repository, lock, id.hex().substr(0, 8), world.call) == id);
  CHECK(text_of([&] {
          Repository::open(world.store, Secret("escrow"), world.random, world.call);
        }).starts_with("wrong_password"));
}

TEST_CASE("keys: the one in use stays, and so does what was not meant clearly") {
  World world;
  Repository repository = world.open(world.store);
  Lock lock = repository.lock_exclusive(kOwner, kNoRetry, world.call);
  const auto removing = [&](const std::string& prefix) {
    return text_of([&] { remove_key(repository, lock, prefix, world.call); });
  };
  CHECK(removing(repository.key_id().hex()) ==
        "usage: refusing to remove key currently used to access repository");
  CHECK(removing("ffffffffffff").starts_with("not_found"));
  CHECK(removing("").starts_with("not_found"));
  CHECK(list_keys(repository, world.call).size() == 1);
}

TEST_CASE("keys: two that remove each other's leave one") {
  World world;
  Repository first = world.open(world.store);
  const KeyId added = add_key(first, Secret("escrow"), "u", "h", world.random, world.call);
  Repository second = Repository::open(world.store, Secret("escrow"), world.random, world.call);
  const std::string firsts = first.key_id().hex();
  {
    Lock lock = second.lock_exclusive(kOwner, kNoRetry, world.call);
    remove_key(second, lock, firsts, world.call);
    lock.release(world.call);
  }
  Lock lock = first.lock_exclusive(kOwner, kNoRetry, world.call);
  CHECK(text_of([&] { remove_key(first, lock, added.hex(), world.call); }) ==
        "conflict: the key that opened this repository was removed meanwhile; nothing was changed");
  CHECK(Repository::open(world.store, Secret("escrow"), world.random, world.call).key_id() ==
        added);
}

TEST_CASE("keys: a password that restic would read differently is refused") {
  World world;
  const Repository repository = world.open(world.store);
  for (const char* password : {"", "with\n", "with\r"}) {
    CHECK(text_of([&] {
            add_key(repository, Secret(password), "u", "h", world.random, world.call);
          }).starts_with("usage"));
  }
  CHECK(list_keys(repository, world.call).size() == 1);
}

TEST_CASE("keys: one that could not be proven is taken back") {
  World world;
  FaultyStore faulty(world.store);
  const Repository repository = world.open(faulty);
  Fault fault;
  fault.operation = Operation::load;
  fault.kind = FileKind::config;
  fault.transient = false;
  faulty.add(fault);
  CHECK(text_of([&] {
          add_key(repository, Secret("escrow"), "u", "h", world.random, world.call);
        }).starts_with("unavailable"));
  CHECK(list_keys(repository, world.call).size() == 1);
}

TEST_CASE("keys: damaged files are named, and the others listed") {
  World world;
  const Repository repository = world.open(world.store);
  overwrite(world.store, {FileKind::key, std::string(64, 'a')}, as_bytes("junk"), world.call);
  std::vector<std::string> damaged;
  CHECK(list_keys(repository, world.call, &damaged).size() == 1);
  REQUIRE(damaged.size() == 1);
  CHECK(damaged.front().find(std::string(64, 'a')) != std::string::npos);
}

TEST_CASE("locks: stale by age, or by a process of this host that is gone") {
  const auto exists = [](std::int64_t pid) { return pid == 7; };
  const WallTime now = SystemClock().now();
  SavedLock lock;
  lock.info.hostname = "here";
  lock.info.pid = 7;
  lock.info.time = now - std::chrono::minutes(29);
  CHECK_FALSE(is_stale(lock, "here", now, exists));
  lock.info.pid = 8;
  CHECK(is_stale(lock, "here", now, exists));
  CHECK_FALSE(is_stale(lock, "elsewhere", now, exists));
  lock.info.time = now - std::chrono::minutes(31);
  CHECK(is_stale(lock, "elsewhere", now, exists));
  // An old restic's refresh: a new file, with the time of the first.
  lock.modified = now - std::chrono::minutes(29);
  CHECK_FALSE(is_stale(lock, "elsewhere", now, exists));
  lock.modified = now - std::chrono::minutes(40);
  CHECK(is_stale(lock, "elsewhere", now, exists));
}
