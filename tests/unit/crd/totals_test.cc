#include "crd/totals.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/time.h"
#include "crd/resources.h"

using namespace kubedr;
using namespace kubedr::crd;

namespace {

const WallTime kNine = *parse_time("2026-11-22T09:00:00.123456789Z");

CountedBackup good(const std::string& id, WallTime time = kNine) {
  CountedBackup backup;
  backup.id = id;
  backup.time = time;
  backup.measured = true;
  backup.duration = std::chrono::milliseconds(1500);
  backup.end = time + backup.duration;
  backup.processed_bytes = 1000;
  backup.added_bytes = 100;
  backup.stored_bytes = 40;
  backup.files = 7;
  return backup;
}

Totals busy() {
  Totals totals;
  count_success(totals, good("11111111"));
  count_failure(totals, "nightly-00001", kNine + std::chrono::hours(1));
  return totals;
}

}  // namespace

TEST_CASE("totals: successes add up, with their durations in the operator's buckets") {
  Totals totals;
  count_success(totals, good("11111111"));
  CountedBackup slow = good("22222222", kNine + std::chrono::hours(1));
  slow.duration = std::chrono::seconds(15);
  count_success(totals, slow);
  slow = good("33333333", kNine + std::chrono::hours(2));
  slow.duration = std::chrono::hours(11);
  count_success(totals, slow);
  CHECK(totals.succeeded == 3);
  CHECK(totals.processed_bytes == 3000);
  CHECK(totals.added_bytes == 300);
  CHECK(totals.stored_bytes == 120);
  CHECK(totals.duration_counts.front() == 2);  // a bound belongs to its bucket
  CHECK(totals.duration_counts.back() == 1);
  CHECK(totals.duration_sum == 1.5 + 15 + 11 * 3600);
  CHECK(totals.counted_until == slow.time);
  CHECK(totals.last_success == slow.end);
}

TEST_CASE("totals: what is told twice is counted once") {
  Totals totals = busy();
  const Totals before = totals;
  count_success(totals, good("11111111"));
  count_failure(totals, "nightly-00001", kNine + std::chrono::hours(2));
  CHECK(totals == before);
}

TEST_CASE("totals: failures in a row end with the next success, not with one found later") {
  Totals totals = busy();
  count_failure(totals, "nightly-00002", kNine + std::chrono::hours(2));
  CHECK(totals.failed == 2);
  CHECK(totals.failures_in_row == 2);
  CHECK(totals.failing_since == kNine + std::chrono::hours(1));
  count_success(totals, good("22222222", kNine + std::chrono::minutes(30)));
  CHECK(totals.failures_in_row == 2);
  count_success(totals, good("33333333", kNine + std::chrono::hours(3)));
  CHECK(totals.failures_in_row == 0);
  CHECK_FALSE(totals.failing_since.has_value());
  CHECK(totals.failed == 2);
}

TEST_CASE("totals: a backup that tells no figures counts, and is in no bucket") {
  Totals totals;
  CountedBackup old;
  old.id = "11111111";
  old.time = old.end = kNine;
  count_success(totals, old);
  CHECK(totals.succeeded == 1);
  CHECK(totals.duration_counts == decltype(totals.duration_counts){});
}

TEST_CASE("totals: the annotation brings back what was counted, to the nanosecond") {
  const Totals totals = busy();
  CHECK(parse_totals(to_annotation(totals)) == totals);
  CHECK(parse_totals(to_annotation(Totals{})) == Totals{});
}

TEST_CASE("totals: an annotation that somebody damaged counts as lost") {
  const Json whole = parse_json(to_annotation(busy()), "test");
  for (const auto& [key, value] : whole.items()) {
    const bool optional = key == "countedUntil" || key == "lastSuccess" || key == "failingSince";
    if (optional) continue;
    CAPTURE(key);
    Json less = whole;
    less.erase(key);
    CHECK_FALSE(parse_totals(less.dump()).has_value());
    Json other = whole;
    other[key] = -1;
    CHECK_FALSE(parse_totals(other.dump()).has_value());
  }
  Json damaged = whole;
  damaged["durationSeconds"]["counts"].push_back(0);
  CHECK_FALSE(parse_totals(damaged.dump()).has_value());
  damaged = whole;
  damaged["lastSuccess"] = "yesterday";
  CHECK_FALSE(parse_totals(damaged.dump()).has_value());
  CHECK_FALSE(parse_totals("").has_value());
  CHECK_FALSE(parse_totals("[]").has_value());
}

TEST_CASE("totals: a policy brings its own, or none where the annotation is of no use") {
  Json policy = {{"metadata", {{"name", "nightly"}, {"annotations", Json::object()}}},
                 {"spec", {{"destination", "minio"}, {"schedule", "0 * * * *"}}}};
  CHECK_FALSE(parse_policy(policy).totals.has_value());
  policy["metadata"]["annotations"][kTotalsAnnotation] = to_annotation(busy());
  CHECK(parse_policy(policy).totals == busy());
  policy["metadata"]["annotations"][kTotalsAnnotation] = "{}";
  CHECK_FALSE(parse_policy(policy).totals.has_value());
}
