#include "health/metrics.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "base/time.h"

using namespace kubedr;
using namespace kubedr::health;

namespace {

const WallTime kNow = *parse_time("2026-11-22T21:05:00Z");
const WallTime kGood = *parse_time("2026-11-22T21:00:05Z");

SeenSnapshot snapshot(char digit, WallTime time, const std::string& policy = "nightly") {
  SeenSnapshot seen;
  seen.id = std::string(64, digit);
  seen.time = time;
  seen.policy = policy;
  seen.name_space = "kubedr-system";
  seen.size = 1000;
  seen.added = 100;
  seen.stored = 40;
  seen.files = 7;
  seen.duration = std::chrono::seconds(20);
  return seen;
}

Fleet fleet_with_one_policy() {
  Fleet fleet;
  fleet.now = fleet.surveyed.emplace(kNow);
  SeenLocation seen;
  seen.location.ref = {crd::Kind::location, "minio", "kubedr-system", "uid", "1"};
  seen.location.status.init_status = "Completed";
  seen.repository_url = "s3:http://minio:9000/backups";
  fleet.locations = {seen};
  crd::Policy policy;
  policy.ref = {crd::Kind::policy, "nightly", "kubedr-system", "uid", "1"};
  policy.destination = "minio";
  policy.schedule = "0 * * * *";
  policy.status.backup_status = "Completed";
  policy.status.backup_time = "Sun Nov 22 21:00:05 2026";
  policy.status.snapshot_id = "11111111";
  policy.status.files_new = 2;
  policy.status.files_changed = 1;
  policy.status.data_added = 100;
  policy.status.total_bytes_processed = 1000;
  policy.status.total_duration_secs = "20.25";
  policy.totals.emplace();
  crd::count_success(*policy.totals, counted(snapshot('1', kGood)));
  crd::count_failure(*policy.totals, "x", kGood - std::chrono::hours(1));
  fleet.policies = {policy};
  fleet.watched = true;
  return fleet;
}

std::string text_of(const Fleet& fleet) {
  return expose(metric_families(fleet, judge(fleet), "1.2.3"), Exposition::text);
}

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

void check_lines(const std::string& text, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    CHECK_MESSAGE(has_line(text, line), (line + " is not in\n" + text));
  }
}

bool names(const std::string& text, const std::string& metric) {
  return text.find("# TYPE " + metric + " ") != std::string::npos;
}

const std::string kPolicy = "{policy=\"nightly\",policy_namespace=\"kubedr-system\"}";
const std::string kLocation = "{location=\"minio\",location_namespace=\"kubedr-system\"}";

}  // namespace

TEST_CASE("metrics: the operator's, with its label, and a failure counted") {
  const std::string text = text_of(fleet_with_one_policy());
  check_lines(text,
              {
                  "# TYPE kubedr_backup_size_bytes gauge",
                  "kubedr_backup_size_bytes{policyName=\"nightly\"} 100",
                  "# TYPE kubedr_num_backups counter",
                  "kubedr_num_backups{policyName=\"nightly\"} 2",
                  "# TYPE kubedr_num_successful_backups counter",
                  "kubedr_num_successful_backups{policyName=\"nightly\"} 1",
                  "# TYPE kubedr_num_failed_backups counter",
                  "kubedr_num_failed_backups{policyName=\"nightly\"} 1",
                  "# TYPE kubedr_backup_duration_seconds histogram",
                  "kubedr_backup_duration_seconds_bucket{policyName=\"nightly\",le=\"15\"} 0",
                  "kubedr_backup_duration_seconds_bucket{policyName=\"nightly\",le=\"30\"} 1",
                  "kubedr_backup_duration_seconds_bucket{policyName=\"nightly\",le=\"3600\"} 1",
                  "kubedr_backup_duration_seconds_bucket{policyName=\"nightly\",le=\"7200\"} 1",
                  "kubedr_backup_duration_seconds_bucket{policyName=\"nightly\",le=\"36000\"} 1",
                  "kubedr_backup_duration_seconds_bucket{policyName=\"nightly\",le=\"+Inf\"} 1",
                  "kubedr_backup_duration_seconds_sum{policyName=\"nightly\"} 20",
                  "kubedr_backup_duration_seconds_count{policyName=\"nightly\"} 1",
              });
}

TEST_CASE("metrics: what alerts go by") {
  const std::string text = text_of(fleet_with_one_policy());
  check_lines(text, {
                        "kubedr_build_info{version=\"1.2.3\"} 1",
                        "kubedr_api_server_up 1",
                        "kubedr_survey_timestamp_seconds 1795381500",
                        "kubedr_backups_total" + kPolicy + " 2",
                        "kubedr_successful_backups_total" + kPolicy + " 1",
                        "kubedr_failed_backups_total" + kPolicy + " 1",
                        "kubedr_backup_processed_bytes_total" + kPolicy + " 1000",
                        "kubedr_backup_added_bytes_total" + kPolicy + " 100",
                        "kubedr_backup_stored_bytes_total" + kPolicy + " 40",
                        "kubedr_backup_last_success_timestamp_seconds" + kPolicy + " 1795381205",
                        "kubedr_backup_last_attempt_timestamp_seconds" + kPolicy + " 1795381205",
                        "kubedr_backup_last_attempt_failed" + kPolicy + " 0",
                        "kubedr_backup_age_seconds" + kPolicy + " 295",
                        "kubedr_backup_next_due_timestamp_seconds" + kPolicy + " 1795384800",
                        // Due at 22:00, and a quarter of an hour for a pod to start.
                        "kubedr_backup_late_timestamp_seconds" + kPolicy + " 1795385700",
                        "kubedr_backup_consecutive_failures" + kPolicy + " 1",
                        "kubedr_backup_last_processed_bytes" + kPolicy + " 1000",
                        "kubedr_backup_last_added_bytes" + kPolicy + " 100",
                        "kubedr_backup_last_stored_bytes" + kPolicy + " 40",
                        "kubedr_backup_last_duration_seconds" + kPolicy + " 20.25",
                        "kubedr_policy_suspended" + kPolicy + " 0",
                        "kubedr_policy_records" + kPolicy + " 0",
                        "kubedr_location_initialized" + kLocation + " 1",
                        "kubedr_repository_prune_failing" + kLocation + " 0",
                        "kubedr_findings{severity=\"error\"} 0",
                    });
  CHECK(text.find("state=\"unmodified\"} 4\n") != std::string::npos);
  // Nobody looked.
  CHECK_FALSE(names(text, "kubedr_repository_up"));
  CHECK_FALSE(names(text, "kubedr_policy_snapshots"));
}

TEST_CASE("metrics: what a look into the repository adds, and one that failed") {
  Fleet fleet = fleet_with_one_policy();
  SeenRepository& seen = fleet.locations[0].repository.emplace();
  seen.seen = true;
  seen.snapshots = {snapshot('1', kGood), snapshot('2', kGood, "other")};
  seen.looked = kNow;
  seen.keys = 2;
  seen.locks = 1;
  seen.oldest_lock = kNow - std::chrono::seconds(90);
  seen.bytes = 4096;
  fleet.locations[0].location.last_check = crd::LastCheck{kGood, true};
  std::string text = text_of(fleet);
  check_lines(text, {
                        "kubedr_repository_up" + kLocation + " 1",
                        "kubedr_repository_snapshots" + kLocation + " 2",
                        "kubedr_policy_snapshots" + kPolicy + " 1",
                        "kubedr_repository_size_bytes" + kLocation + " 4096",
                        "kubedr_repository_keys" + kLocation + " 2",
                        "kubedr_repository_locks" + kLocation + " 1",
                        "kubedr_repository_oldest_lock_age_seconds" + kLocation + " 90",
                        "kubedr_repository_last_check_failed" + kLocation + " 1",
                    });
  seen.problem = "gone";
  text = text_of(fleet);
  CHECK(has_line(text, "kubedr_repository_up" + kLocation + " 0"));
  CHECK(has_line(text, "kubedr_repository_snapshots" + kLocation + " 2"));  // as it was
  CHECK_FALSE(has_line(text, "kubedr_findings{severity=\"error\"} 0"));
  seen.seen = false;
  CHECK_FALSE(names(text_of(fleet), "kubedr_repository_snapshots"));
}

TEST_CASE("metrics: an age that is written once is left out: it would never grow") {
  Fleet fleet = fleet_with_one_policy();
  fleet.locations[0].repository.emplace().seen = true;
  CHECK(names(text_of(fleet), "kubedr_backup_age_seconds"));
  CHECK(names(text_of(fleet), "kubedr_repository_oldest_lock_age_seconds"));
  fleet.watched = false;
  CHECK_FALSE(names(text_of(fleet), "kubedr_backup_age_seconds"));
  CHECK_FALSE(names(text_of(fleet), "kubedr_repository_oldest_lock_age_seconds"));
  CHECK(names(text_of(fleet), "kubedr_backup_last_success_timestamp_seconds"));
}

TEST_CASE("metrics: a fleet that nobody could ask about says so, and nothing that it cannot know") {
  Fleet fleet;
  fleet.now = kNow;
  fleet.problem = "away";
  const std::string text = text_of(fleet);
  CHECK(has_line(text, "kubedr_api_server_up 0"));
  CHECK_FALSE(names(text, "kubedr_findings"));
  CHECK_FALSE(names(text, "kubedr_survey_timestamp_seconds"));
}

TEST_CASE("metrics: policies of one name in two namespaces are two") {
  Fleet fleet = fleet_with_one_policy();
  fleet.all_namespaces = true;
  crd::Policy other = fleet.policies[0];
  other.ref.name_space = "other";
  fleet.policies.push_back(other);
  const std::string text = text_of(fleet);
  CHECK(has_line(
      text, "kubedr_num_backups{policyName=\"nightly\",policy_namespace=\"kubedr-system\"} 2"));
  CHECK(has_line(text, "kubedr_num_backups{policyName=\"nightly\",policy_namespace=\"other\"} 2"));
}

TEST_CASE("count_missed: lost totals are counted from the repository, by tag or by record") {
  const Fleet fleet = fleet_with_one_policy();
  const std::vector<SeenSnapshot> snapshots = {
      snapshot('3', kGood - std::chrono::hours(2), ""), snapshot('4', kGood, "other"),
      snapshot('5', kGood - std::chrono::hours(3), ""), snapshot('1', kGood)};
  crd::Record record;
  record.ref = {crd::Kind::record, "mbr-33333333", "kubedr-system", "", ""};
  record.policy = "nightly";
  record.location = "minio";
  record.snapshot_id = "33333333";
  crd::Totals totals;
  CHECK(count_missed(totals, fleet.policies[0], snapshots, {record}));
  CHECK(totals.succeeded == 2);
  CHECK(totals.counted_until == kGood);
  CHECK_FALSE(count_missed(totals, fleet.policies[0], snapshots, {record}));
}

TEST_CASE("count_missed: totals that are there learn only of what is newer") {
  Fleet fleet = fleet_with_one_policy();
  const std::vector<SeenSnapshot> snapshots = {snapshot('6', kGood - std::chrono::hours(1)),
                                               snapshot('1', kGood),
                                               snapshot('7', kGood + std::chrono::hours(1))};
  crd::Totals totals = *fleet.policies[0].totals;
  CHECK(count_missed(totals, fleet.policies[0], snapshots, {}));
  CHECK(totals.succeeded == 2);
  CHECK(totals.recent.back() == "77777777");
}
