#include "workflow/locks.h"

#include <doctest/doctest.h>

#include "bare_repository.h"

using namespace kubedr;
using namespace kubedr::workflow;
using kubedr::repo::test::kNoRetry;
using kubedr::repo::test::kOwner;
using kubedr::repo::test::names;
using kubedr::repo::test::text_of;
using kubedr::workflow::test::BareRepository;
using std::chrono::minutes;
using storage::FileKind;

namespace {

enum class Exclusive { no, yes };

// Knows of each host name whether it is a pod at work.
struct PodCluster final : cluster::BareCluster {
  PodCluster() : BareCluster(BareRepository::settings()) {}

  std::optional<bool> lock_holder_lives(const std::string&, WallTime, const Call&) override {
    return lives;
  }

  std::optional<bool> lives;
};

struct Locked : BareRepository {
  // What a killed process leaves, or one that is at work elsewhere.
  void leave_lock(minutes age, Exclusive exclusive = Exclusive::no,
                  const std::string& host = "elsewhere") {
    repo::LockInfo info;
    info.time = clock.now() - age;
    info.exclusive = exclusive == Exclusive::yes;
    info.hostname = host;
    info.username = "bob";
    info.pid = 2'000'000'000;
    repo::Repository repository = open(store);
    repository.files().save(repository.files().seal(FileKind::lock, repo::to_json(info)), call);
  }

  std::string exclusive() {
    repo::Repository repository = open(store);
    return text_of([&] { lock_exclusive(services(pods), repository, call).release(call); });
  }

  std::string shared() {
    repo::Repository repository = open(store);
    return text_of([&] { lock_shared(services(pods), repository, call).release(call); });
  }

  std::size_t left() const { return names(store, FileKind::lock, call).size(); }

  PodCluster pods;
};

constexpr char kTaken[] = "nothing thrown";
constexpr char kRefused[] = "locked: unable to create lock in backend";

}  // namespace

TEST_CASE("locks: one that nobody refreshed for half an hour makes way") {
  Locked repository;
  repository.leave_lock(minutes(31));
  repository.leave_lock(minutes(45));
  CHECK(repository.exclusive() == kTaken);
  CHECK(repository.left() == 0);
  repository.leave_lock(minutes(31), Exclusive::yes);
  CHECK(repository.shared() == kTaken);
  CHECK(repository.left() == 0);
}

TEST_CASE("locks: a younger one stays, though its process is not of this host's") {
  Locked repository;
  // The pid may be one of a container that has this host's name.
  repository.leave_lock(minutes(25), Exclusive::no, kOwner.hostname);
  CHECK(repository.exclusive().starts_with(kRefused));
  CHECK(repository.left() == 1);
  repository.leave_lock(minutes(45));
  CHECK(repository.exclusive().starts_with(kRefused));
  CHECK(repository.left() == 1);
}

TEST_CASE("locks: a pod at work keeps its lock however old, one that has ended loses it at once") {
  Locked repository;
  repository.leave_lock(minutes(45));
  repository.pods.lives = true;
  CHECK(repository.exclusive().starts_with(kRefused));
  CHECK(repository.left() == 1);
  repository.leave_lock(minutes(1));
  repository.pods.lives = false;
  CHECK(repository.exclusive() == kTaken);
  CHECK(repository.left() == 0);
}

TEST_CASE("locks: what is in nobody's way stays") {
  Locked repository;
  repository.leave_lock(minutes(45));
  CHECK(repository.shared() == kTaken);
  CHECK(repository.left() == 1);
}
