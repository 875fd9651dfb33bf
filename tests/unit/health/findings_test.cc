#include "health/findings.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "base/time.h"

using namespace kubedr;
using namespace kubedr::health;

namespace {

const WallTime kNow = *parse_time("2026-11-22T21:05:00Z");

crd::Policy policy_named(const std::string& name) {
  crd::Policy policy;
  policy.ref = {crd::Kind::policy, name, "kubedr-system", "uid", "1"};
  policy.destination = "minio";
  policy.schedule = "0 * * * *";
  return policy;
}

SeenLocation location_named(const std::string& name) {
  SeenLocation seen;
  seen.location.ref = {crd::Kind::location, name, "kubedr-system", "uid", "1"};
  seen.location.status.init_status = "Completed";
  seen.location.initialized_annotation = true;
  return seen;
}

Fleet healthy_fleet() {
  Fleet fleet;
  fleet.now = kNow;
  fleet.locations = {location_named("minio")};
  crd::Policy policy = policy_named("nightly");
  policy.status.backup_status = "Completed";
  policy.status.backup_time = "Sun Nov 22 21:00:05 2026";
  policy.status.snapshot_id = "83a71b2c";
  fleet.policies = {policy};
  return fleet;
}

bool has(const Health& health, const std::string& code) {
  return std::any_of(health.findings.begin(), health.findings.end(),
                     [&](const Finding& finding) { return finding.code == code; });
}

}  // namespace

TEST_CASE("findings: a fleet in order has none, and its next due time") {
  const Health health = judge(healthy_fleet());
  CHECK(health.findings.empty());
  REQUIRE(health.policies.size() == 1);
  CHECK(format_rfc3339(*health.policies[0].next_due) == "2026-11-22T22:00:00Z");
  CHECK(format_rfc3339(*health.policies[0].last_good) == "2026-11-22T21:00:05Z");
}

TEST_CASE("findings: a backup is late once its due time and the grace have passed") {
  Fleet fleet = healthy_fleet();
  fleet.policies[0].status.backup_time = "Sun Nov 22 20:00:05 2026";
  CHECK_FALSE(has(judge(fleet), "backup-late"));
  fleet.now = *parse_time("2026-11-22T21:15:01Z");
  CHECK(has(judge(fleet), "backup-late"));
}

TEST_CASE("findings: --max-age replaces the schedule") {
  Fleet fleet = healthy_fleet();
  fleet.max_age = std::chrono::minutes(4);
  CHECK(has(judge(fleet), "backup-late"));
  fleet.max_age = std::chrono::minutes(6);
  CHECK_FALSE(has(judge(fleet), "backup-late"));
}

TEST_CASE("findings: a failure keeps the age of the last good backup, which its record tells") {
  Fleet fleet = healthy_fleet();
  fleet.policies[0].status.backup_status = "Failed";
  fleet.policies[0].status.backup_error_message = "boom\n\n";
  crd::Record record;
  record.ref = {crd::Kind::record, "mbr-83a71b2c", "kubedr-system", "", ""};
  record.policy = "nightly";
  record.snapshot_id = "83a71b2c";
  record.created = *parse_time("2026-11-22T20:00:05Z");
  fleet.records = {record};
  const Health health = judge(fleet);
  REQUIRE(has(health, "backup-failed"));
  CHECK(health.findings[0].message == "last backup failed: boom");
  CHECK(format_rfc3339(*health.policies[0].last_good) == "2026-11-22T20:00:05Z");
}

TEST_CASE("findings: the totals outlive records: they too tell the age of the last good backup") {
  Fleet fleet = healthy_fleet();
  fleet.policies[0].status.backup_status = "Failed";
  crd::Totals& totals = fleet.policies[0].totals.emplace();
  totals.last_success = *parse_time("2026-11-22T20:00:07Z");
  CHECK(judge(fleet).policies[0].last_good == totals.last_success);
}

TEST_CASE("findings: damage that the last check found is an error") {
  Fleet fleet = healthy_fleet();
  fleet.locations[0].location.last_check = crd::LastCheck{kNow, false};
  CHECK_FALSE(has(judge(fleet), "repository-damaged"));
  fleet.locations[0].location.last_check->damaged = true;
  CHECK(has(judge(fleet), "repository-damaged"));
}

TEST_CASE("findings: a policy that never succeeded and one without a location are errors") {
  Fleet fleet = healthy_fleet();
  fleet.policies.push_back(policy_named("new"));
  fleet.policies[1].destination = "gone";
  const Health health = judge(fleet);
  CHECK(has(health, "never-backed-up"));
  CHECK(has(health, "no-location"));
  CHECK(worst(health.findings) == Severity::error);
}

TEST_CASE("findings: records and snapshots are compared where the repository was looked into") {
  Fleet fleet = healthy_fleet();
  crd::Record record;
  record.ref = {crd::Kind::record, "mbr-11111111", "kubedr-system", "", ""};
  record.policy = "nightly";
  record.location = "minio";
  record.snapshot_id = "11111111";
  fleet.records = {record};
  CHECK_FALSE(has(judge(fleet), "record-without-snapshot"));
  SeenSnapshot snapshot;
  snapshot.id = std::string(64, '2');
  snapshot.policy = "nightly";
  snapshot.time = kNow;
  fleet.locations[0].repository.emplace().snapshots = {snapshot};
  const Health health = judge(fleet);
  CHECK(has(health, "record-without-snapshot"));
  CHECK(has(health, "snapshot-without-record"));
}

TEST_CASE("findings: a repository that cannot be opened is an error with its reason") {
  Fleet fleet = healthy_fleet();
  SeenRepository& seen = fleet.locations[0].repository.emplace();
  seen.problem = "wrong password or no key found";
  seen.remedy = "fix it";
  const Health health = judge(fleet);
  REQUIRE(has(health, "repository-unusable"));
  CHECK(health.findings[0].remedy == "fix it");
}

TEST_CASE("findings: a location that was never initialized is an error") {
  Fleet fleet = healthy_fleet();
  fleet.locations[0].location.status.init_status = "";
  CHECK(has(judge(fleet), "not-initialized"));
}

TEST_CASE("findings: a CronJob that is not as its policy says, of that policy only") {
  Fleet fleet = healthy_fleet();
  fleet.schedules = {{"kubedr-system", "nightly", {}}, {"other", "nightly", {"schedule"}}};
  CHECK_FALSE(has(judge(fleet), "schedule-differs"));
  fleet.schedules[0].drift = {"schedule", "certsDir"};
  const Health health = judge(fleet);
  REQUIRE(has(health, "schedule-differs"));
  CHECK(health.findings[0].message.find("schedule, certsDir") != std::string::npos);
  CHECK(health.findings[0].remedy == "kubectl kubedr schedule nightly");
}

TEST_CASE("findings: a store that refuses another time than its own says nothing of the keys") {
  Fleet fleet = healthy_fleet();
  SeenRepository& seen = fleet.locations[0].repository.emplace();
  seen.problem = "s3: get config: 403 RequestTimeTooSkewed";
  seen.problem_kind = ErrorKind::denied;
  seen.clock_offset = std::chrono::minutes(-20);
  Health health = judge(fleet);
  CHECK_FALSE(has(health, "credentials-refused"));
  REQUIRE(has(health, "clock-skew"));
  CHECK(health.findings[0].severity == Severity::error);
  seen.clock_offset = std::chrono::minutes(-5);
  health = judge(fleet);
  REQUIRE(has(health, "credentials-refused"));
  CHECK(health.findings[0].remedy == "kubectl kubedr doctor nightly --print iam");
  CHECK(has(health, "clock-skew"));
}
