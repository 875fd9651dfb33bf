#include "workflow/removal.h"

#include <doctest/doctest.h>

#include <functional>

#include "bare_repository.h"

using namespace kubedr;
using namespace kubedr::workflow;
using kubedr::repo::test::back_up;
using kubedr::repo::test::day;
using kubedr::repo::test::kNoRetry;
using kubedr::repo::test::kOwner;
using kubedr::repo::test::names;
using kubedr::repo::test::remove_locks;
using kubedr::repo::test::text_of;
using kubedr::test::Fault;
using kubedr::test::FaultyStore;
using kubedr::test::Operation;
using kubedr::workflow::test::BareRepository;
using storage::FileKind;

namespace {

struct RecordingCluster final : cluster::BareCluster {
  RecordingCluster() : BareCluster(BareRepository::settings()) {}

  void delete_record(const crd::ObjectRef& ref, const Call&) override { deleted(ref.name); }

  void create_record(const std::string& policy, const std::string& location,
                     const std::string& snapshot, const Call&) override {
    created.push_back(policy + " " + location + " " + snapshot);
  }

  std::function<void(const std::string& name)> deleted;
  std::vector<std::string> created;
};

// A snapshot, two records of it, and one of another.
struct Recorded : BareRepository {
  Recorded() {
    const repo::SnapshotId id = back_up(*this, store, {1}, day(1));
    for (const char* name : {"first", "second"}) records.push_back(record(name, id.hex()));
    records.push_back(record("other", std::string(64, 'f')));
  }

  static crd::Record record(const std::string& name, const std::string& snapshot) {
    crd::Record record;
    record.ref = {crd::Kind::record, name, "kubedr-system", "", ""};
    record.location = "bare";
    record.policy = "bare";
    record.snapshot_id = snapshot;
    return record;
  }

  std::string remove(const std::function<void()>& before) {
    repo::Repository repository = open(faulty);
    repo::Lock lock = repository.lock_exclusive(kOwner, kNoRetry, call);
    const std::vector<repo::SavedSnapshot> listed = repository.snapshots(call);
    before();
    return text_of([&] {
      remove_with_records(services(recording), repository, lock, records, settings().location,
                          listed.at(0), call);
    });
  }

  std::size_t snapshots() const { return names(store, FileKind::snapshot, call).size(); }

  FaultyStore faulty{store};
  std::vector<crd::Record> records;
  RecordingCluster recording;
};

}  // namespace

TEST_CASE("removal: the records go first, while the snapshot is there") {
  Recorded recorded;
  std::vector<std::string> gone;
  recorded.recording.deleted = [&](const std::string& name) {
    CHECK(recorded.snapshots() == 1);
    gone.push_back(name);
  };
  CHECK(recorded.remove([] {}) == "nothing thrown");
  CHECK(gone == std::vector<std::string>{"first", "second"});
  CHECK(recorded.snapshots() == 0);
}

TEST_CASE("removal: with a lock that somebody took away nothing is deleted, no record either") {
  Recorded recorded;
  recorded.recording.deleted = [](const std::string& name) { FAIL_CHECK(name); };
  const std::string end = recorded.remove([&] { remove_locks(recorded, recorded.store); });
  CHECK(end.starts_with("locked: "));
  CHECK(recorded.snapshots() == 1);
}

TEST_CASE("removal: an API server that refuses keeps the snapshot") {
  Recorded recorded;
  recorded.recording.deleted = [](const std::string&) {
    throw Error(ErrorKind::denied, "not yours");
  };
  CHECK(recorded.remove([] {}) == "denied: not yours");
  CHECK(recorded.snapshots() == 1);
}

TEST_CASE("removal: a snapshot that cannot be deleted has a record again") {
  Recorded recorded;
  recorded.recording.deleted = [](const std::string&) {};
  Fault refused{.operation = Operation::remove,
                .kind = FileKind::snapshot,
                .error = ErrorKind::denied,
                .transient = false};
  recorded.faulty.add(refused);
  CHECK(recorded.remove([] {}).starts_with("denied: "));
  CHECK(recorded.snapshots() == 1);
  CHECK(recorded.recording.created ==
        std::vector<std::string>{"bare bare " + recorded.records.at(0).snapshot_id});

  // It is gone, and only the answer is missing.
  recorded.recording.created.clear();
  refused.when = Fault::When::after;
  recorded.faulty.add(refused);
  CHECK(recorded.remove([] {}).starts_with("denied: "));
  CHECK(recorded.snapshots() == 0);
  CHECK(recorded.recording.created.empty());
}
