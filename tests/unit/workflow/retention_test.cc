#include "workflow/retention.h"

#include <doctest/doctest.h>

#include "bare_repository.h"
#include "base/error.h"
#include "base/sha256.h"

using namespace kubedr;
using namespace kubedr::workflow;
using kubedr::repo::test::back_up;
using kubedr::repo::test::day;
using kubedr::workflow::test::BareRepository;

namespace {

// A policy "ns/nightly" on location "s3", with snapshots that are told by a word each, one a day.
struct Fleet {
  Fleet() {
    policy.ref = {crd::Kind::policy, "nightly", "ns", "", ""};
    policy.destination = "s3";
  }

  static repo::SnapshotId id_of(const std::string& word) {
    return repo::SnapshotId(sha256(as_bytes(word)));
  }

  void add(const std::string& word, std::vector<std::string> tags) {
    repo::SavedSnapshot saved;
    saved.id = id_of(word);
    saved.snapshot.tags = std::move(tags);
    saved.snapshot.time = WallTime(std::chrono::hours(24 * ++days));
    snapshots.push_back(saved);
    last = word;
  }

  void ours(const std::string& word, const std::string& etcd = "aa", bool with_record = true) {
    add(word, {"kubedr", "policy=ns/nightly", "cluster=c1", "etcd=" + etcd});
    if (with_record) record(word);
  }

  void record(const std::string& word, const std::string& of_policy = "nightly") {
    crd::Record record;
    record.ref = {crd::Kind::record, "mbr-" + word, "ns", "", ""};
    record.policy = of_policy;
    record.location = "s3";
    record.snapshot_id = id_of(word).short_hex();
    records.push_back(record);
  }

  RetentionVerdict choose(std::int64_t keep) const {
    return choose_victims({policy, snapshots, records, id_of(last).hex(), keep, listed_before});
  }

  std::vector<std::string> victims(std::int64_t keep) const {
    const RetentionVerdict verdict = choose(keep);
    CHECK(verdict.doubt == "");
    std::vector<std::string> words;
    for (const repo::SavedSnapshot& victim : verdict.victims) {
      for (const char* word : {"a", "b", "c", "d", "e", "f"}) {
        if (victim.id == id_of(word)) words.emplace_back(word);
      }
    }
    return words;
  }

  crd::Policy policy;
  std::vector<repo::SavedSnapshot> snapshots;
  std::vector<crd::Record> records;
  std::string last;
  std::optional<std::int64_t> listed_before;
  int days = 0;
};

using Words = std::vector<std::string>;

// Three backups of a policy that keeps one, and that somebody changes once it was looked at.
struct Changing : BareRepository {
  struct Cluster final : cluster::BareCluster {
    Cluster() : BareCluster(BareRepository::settings()) {}

    crd::Policy policy(const std::string& name, const Call& of) override {
      crd::Policy policy = BareCluster::policy(name, of);
      policy.retain_num_backups = 1;
      if (looks++ > 0) change(policy);
      return policy;
    }

    int looks = 0;
    std::function<void(crd::Policy& policy)> change = [](crd::Policy&) {};
  };

  RetentionReport retain() {
    const std::vector<std::string> tags = {kTag, "policy=kubedr-system/bare"};
    std::string last;
    for (int i = 1; i <= 3; ++i) last = back_up(*this, store, {i}, day(i), tags).hex();
    const crd::Policy policy = changing.BareCluster::policy("bare", call);
    const crd::Location location = changing.location("bare", call);
    OpenedRepository opened = open_repository(services(changing), location, call);
    Steps steps;
    RetentionReport report = workflow::retain(
        services(changing), opened, {policy, location, last, Retention::always}, steps, call);
    CHECK(steps.failed().empty());
    return report;
  }

  Cluster changing;
};

}  // namespace

TEST_CASE("retention: the oldest beyond the count go, oldest first") {
  Fleet fleet;
  for (const char* word : {"a", "b", "c", "d"}) fleet.ours(word);
  CHECK(fleet.victims(2) == Words{"a", "b"});
  CHECK(fleet.victims(3) == Words{"a"});
  CHECK(fleet.victims(4).empty());
  CHECK(fleet.victims(120).empty());
}

TEST_CASE("retention: the newest stays, whatever the count says") {
  Fleet fleet;
  for (const char* word : {"a", "b"}) fleet.ours(word);
  CHECK(fleet.victims(0) == Words{"a"});
  CHECK(fleet.victims(-5) == Words{"a"});
}

TEST_CASE("retention: a snapshot whose record is gone already is finished off") {
  Fleet fleet;
  fleet.ours("a", "aa", false);
  fleet.ours("b");
  fleet.ours("c");
  CHECK(fleet.victims(2) == Words{"a"});
}

TEST_CASE("retention: what operator mode made counts by its record, other people's never") {
  Fleet fleet;
  fleet.add("a", {});  // nobody's
  fleet.add("b", {});
  fleet.record("b");  // operator mode's, of this policy
  fleet.add("c", {});
  fleet.record("c", "weekly");  // of another policy
  fleet.add("d", {"kubedr", "policy=ns/weekly"});
  fleet.add("e", {"mine"});
  fleet.record("e");  // tagged by somebody else: left alone, whoever recorded it
  fleet.ours("f");
  CHECK(fleet.victims(1) == Words{"b"});
}

TEST_CASE("retention: a policy of the same name in another namespace is another policy") {
  Fleet fleet;
  fleet.add("a", {"kubedr", "policy=other/nightly"});
  fleet.ours("b");
  CHECK(fleet.victims(1).empty());
}

TEST_CASE("retention: a listing without the backup just made is doubted") {
  Fleet fleet;
  for (const char* word : {"a", "b", "c"}) fleet.ours(word);
  fleet.snapshots.pop_back();
  CHECK(fleet.choose(1).doubt.find("does not show the backup just made") != std::string::npos);
  CHECK(fleet.choose(1).victims.empty());
  fleet.snapshots.clear();
  CHECK_FALSE(fleet.choose(1).doubt.empty());
}

TEST_CASE("retention: a listing shorter than the records is doubted") {
  Fleet fleet;
  for (const char* word : {"a", "b", "c"}) fleet.ours(word);
  fleet.snapshots.erase(fleet.snapshots.begin() + 1);
  const RetentionVerdict verdict = fleet.choose(1);
  CHECK(verdict.victims.empty());
  CHECK(verdict.doubt.find("mbr-b") != std::string::npos);
  CHECK_FALSE(verdict.remedy.empty());
}

TEST_CASE("retention: a listing shorter than the last one is doubted") {
  Fleet fleet;
  for (const char* word : {"a", "b", "c"}) fleet.ours(word, "aa", false);
  fleet.listed_before = 2;
  CHECK(fleet.victims(1) == Words{"a", "b"});
  CHECK(fleet.choose(1).listed == 3);
  fleet.listed_before = 3;
  CHECK(fleet.choose(1).victims.empty());
  CHECK(fleet.choose(1).doubt.find("lists 3 backups") != std::string::npos);
  CHECK(fleet.choose(1).listed == 3);  // what the next one is compared with
}

TEST_CASE("retention: another etcd stops it until it is adopted, and is counted by itself then") {
  Fleet fleet;
  for (const char* word : {"a", "b", "c"}) fleet.ours(word, "aa");
  fleet.ours("d", "bb");
  fleet.ours("e", "bb");  // time alone adopts nothing
  CHECK(fleet.choose(1).victims.empty());
  CHECK(fleet.choose(1).doubt.find("etcd") != std::string::npos);
  fleet.add("f", {"kubedr", "policy=ns/nightly", "cluster=c1", "etcd=bb", "adopted"});
  CHECK(fleet.victims(1) == Words{"d", "e"});
}

TEST_CASE("retention: a backup of a file does not hide that the etcd is another one") {
  Fleet fleet;
  fleet.ours("a", "aa");
  fleet.add("b", {"kubedr", "policy=ns/nightly", "cluster=c1"});
  fleet.ours("c", "bb");
  CHECK_FALSE(fleet.choose(1).doubt.empty());
}

TEST_CASE("retention: the backup just made never goes, whatever the clocks say") {
  Fleet fleet;
  fleet.ours("a");
  fleet.ours("b");
  fleet.last = "a";  // the other one is from the future, or was taken at the same time
  CHECK(fleet.choose(1).victims.empty());
  CHECK(fleet.choose(1).doubt.find("later time") != std::string::npos);
}

TEST_CASE("retention: a tag that was not ours to give makes no snapshot another policy's") {
  Fleet fleet;
  fleet.add("a", {"kubedr", "policy=ns/other", "policy=ns/nightly"});
  fleet.ours("b");
  CHECK(fleet.victims(1).empty());
  CHECK_THROWS_AS(require_free_tag("policy=ns/nightly"), Error);
  CHECK_THROWS_AS(require_free_tag("adopted"), Error);
  CHECK_NOTHROW(require_free_tag("before-upgrade"));
}

TEST_CASE("retention: a backup of a file knows no etcd and is no reason for doubt") {
  Fleet fleet;
  fleet.ours("a");
  fleet.add("b", {"kubedr", "policy=ns/nightly", "cluster=c1"});
  fleet.record("b");
  fleet.ours("c");
  CHECK(fleet.victims(1) == Words{"a", "b"});
}

TEST_CASE("retention: a prune pays from half of what is used on, or from 64 MiB and a tenth") {
  constexpr std::uint64_t kMiB = 1 << 20;
  const auto pays = [](std::uint64_t used, std::uint64_t freed) {
    repo::PruneFigures plan;
    plan.used_blobs.bytes = used;
    plan.bytes_freed = freed;
    return prune_pays(plan);
  };
  CHECK_FALSE(pays(0, 0));
  CHECK(pays(0, 1));
  CHECK_FALSE(pays(10 * kMiB, 5 * kMiB));
  CHECK(pays(10 * kMiB, 5 * kMiB + 1));
  CHECK_FALSE(pays(300 * kMiB, 64 * kMiB));
  CHECK(pays(300 * kMiB, 64 * kMiB + 1));
  CHECK_FALSE(pays(2000 * kMiB, 200 * kMiB));
  CHECK(pays(2000 * kMiB, 200 * kMiB + 1));
}

TEST_CASE("retention: what counts is the policy once the lock is there") {
  CHECK(Changing().retain().removed.size() == 2);

  Changing more;
  more.changing.change = [](crd::Policy& policy) { policy.retain_num_backups = 2; };
  CHECK(more.retain().removed.size() == 1);

  Changing elsewhere;
  elsewhere.changing.change = [](crd::Policy& policy) { policy.destination = "other"; };
  const RetentionReport moved = elsewhere.retain();
  CHECK(moved.removed.empty());
  CHECK(moved.doubt.starts_with("the policy was made anew or sent elsewhere"));

  Changing anew;
  anew.changing.change = [](crd::Policy& policy) { policy.ref.uid = "another"; };
  CHECK(anew.retain().removed.empty());
}
