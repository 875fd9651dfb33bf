#include "repo/keep.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "backups.h"
#include "base/json.h"
#include "base/time.h"
#include "storage/directory_store.h"
#include "support/restic.h"
#include "support/temp_dir.h"

using namespace kubedr;
using namespace kubedr::repo;
using namespace kubedr::repo::test;
using kubedr::test::restic;
using kubedr::test::TempDir;

namespace {

const WallTime kNow = parse_time("2025-06-01T00:00:00Z").value();

SavedSnapshot at(const std::string& time, const std::vector<std::string>& tags = {}) {
  SavedSnapshot saved;
  saved.snapshot.time = parse_time(time).value();
  saved.snapshot.tags = tags;
  saved.id = SnapshotId(sha256(as_bytes(time)));
  return saved;
}

std::vector<std::string> kept(const KeepResult& result) {
  std::vector<std::string> times;
  for (const Kept& one : result.keep) {
    times.push_back(format_table_time(one.saved.snapshot.time));
  }
  return times;
}

// Irregular, over years, several on some days, around the turns of days, weeks, months and years.
std::vector<std::string> some_times() {
  return {"2022-12-31 23:59:59", "2023-01-01 00:00:00", "2023-01-01 00:30:00",
          "2023-06-15 12:00:00", "2024-02-29 08:00:00", "2024-12-29 10:00:00",
          "2024-12-30 10:00:00", "2025-01-05 23:59:59", "2025-01-06 00:00:00",
          "2025-03-31 12:00:00", "2025-05-01 01:00:00", "2025-05-01 01:59:59",
          "2025-05-01 02:00:00", "2025-05-02 00:00:00", "2025-05-02 18:00:00",
          "2025-05-03 06:00:00", "2025-05-03 06:00:01", "2025-05-04 12:00:00"};
}

// By clocks of other zones; the last is of a node whose clock was ahead.
std::vector<std::pair<std::string, std::string>> strange_times() {
  return {{"America/St_Johns", "2025-05-03 23:30:00"},
          {"Asia/Kathmandu", "2025-05-04 00:30:00"},
          {"Pacific/Auckland", "2025-05-05 01:00:00"},
          {"UTC", "2199-01-01 00:00:00"}};
}

}  // namespace

TEST_CASE("keep rules: agree with restic's, rule by rule, on the same snapshots") {
  const TempDir folder;
  const std::map<std::string, std::string> env = {
      {"RESTIC_REPOSITORY", folder / "repo"}, {"RESTIC_PASSWORD", "pw"}, {"TZ", "UTC"}};
  REQUIRE(restic("0.18", {"init"}, env).ok());
  folder.write("data/file", "content");
  for (const std::string& time : some_times()) {
    REQUIRE(restic("0.18", {"backup", folder / "data", "--time", time}, env).ok());
  }
  for (const auto& [zone, time] : strange_times()) {
    auto there = env;
    there["TZ"] = zone;
    REQUIRE(restic("0.18", {"backup", folder / "data", "--time", time}, there).ok());
  }
  SystemClock clock;
  SystemRandom random;
  const Call call(clock);
  storage::DirectoryStore store(folder / "repo", random);
  const Repository repository = Repository::open(store, Secret("pw"), random, call);
  const std::vector<SavedSnapshot> snapshots = repository.snapshots(call);
  REQUIRE(snapshots.size() == some_times().size() + strange_times().size());

  struct Case {
    std::vector<std::string> flags;
    KeepRules rules;
  };

  const auto rule = [](auto set) {
    KeepRules rules;
    set(rules);
    return rules;
  };
  const std::vector<Case> cases = {
      {{"--keep-last", "3"}, rule([](KeepRules& r) { r.last = 3; })},
      {{"--keep-last", "unlimited"}, rule([](KeepRules& r) { r.last = -1; })},
      {{"--keep-hourly", "4"}, rule([](KeepRules& r) { r.hourly = 4; })},
      {{"--keep-daily", "4"}, rule([](KeepRules& r) { r.daily = 4; })},
      {{"--keep-daily", "100"}, rule([](KeepRules& r) { r.daily = 100; })},
      {{"--keep-weekly", "3"}, rule([](KeepRules& r) { r.weekly = 3; })},
      {{"--keep-weekly", "unlimited"}, rule([](KeepRules& r) { r.weekly = -1; })},
      {{"--keep-monthly", "3"}, rule([](KeepRules& r) { r.monthly = 3; })},
      {{"--keep-yearly", "2"}, rule([](KeepRules& r) { r.yearly = 2; })},
      {{"--keep-yearly", "9"}, rule([](KeepRules& r) { r.yearly = 9; })},
      {{"--keep-within", "2d"}, rule([](KeepRules& r) { r.within.days = 2; })},
      {{"--keep-within", "1y2m3d4h"}, rule([](KeepRules& r) {
         r.within = {1, 2, 3, 4};
       })},
      {{"--keep-within-daily", "1m"}, rule([](KeepRules& r) { r.within_daily.months = 1; })},
      {{"--keep-within-hourly", "3d"}, rule([](KeepRules& r) { r.within_hourly.days = 3; })},
      {{"--keep-within-weekly", "1y"}, rule([](KeepRules& r) { r.within_weekly.years = 1; })},
      {{"--keep-within-monthly", "14m"}, rule([](KeepRules& r) { r.within_monthly.months = 14; })},
      {{"--keep-within-yearly", "2y"}, rule([](KeepRules& r) { r.within_yearly.years = 2; })},
      {{"--keep-last", "1", "--keep-daily", "2", "--keep-monthly", "2"}, rule([](KeepRules& r) {
         r.last = 1;
         r.daily = 2;
         r.monthly = 2;
       })},
  };
  for (const Case& one : cases) {
    CAPTURE(one.flags[0] + " " + one.flags[1]);
    std::vector<std::string> args = {"forget", "--dry-run", "--json", "--no-lock"};
    args.insert(args.end(), one.flags.begin(), one.flags.end());
    const auto result = restic("0.18", args, env);
    REQUIRE(result.ok());
    std::set<std::string> theirs;
    std::map<std::string, std::vector<std::string>> their_reasons;
    const Json groups = parse_json(result.out, "restic");
    for (const Json& reason : groups.at(0).at("reasons")) {
      const auto time = reason.at("snapshot").at("time").get<std::string>();
      const std::string id = format_rfc3339_nano(parse_time(time).value());
      theirs.insert(id);
      their_reasons[id] = reason.at("matches").get<std::vector<std::string>>();
    }
    const KeepResult ours = apply_keep_rules(snapshots, one.rules, clock.now());
    std::set<std::string> kept_ids;
    for (const Kept& kept_one : ours.keep) {
      const std::string id = format_rfc3339_nano(kept_one.saved.snapshot.time);
      kept_ids.insert(id);
      CHECK(kept_one.reasons == their_reasons[id]);
    }
    CHECK(kept_ids == theirs);
    CHECK(ours.keep.size() + ours.remove.size() == snapshots.size());
  }
}

TEST_CASE("keep rules: tags keep when all of a list are there") {
  const std::vector<SavedSnapshot> group = {at("2025-01-01T00:00:00Z", {"a", "b"}),
                                            at("2025-01-02T00:00:00Z", {"a"}),
                                            at("2025-01-03T00:00:00Z")};
  KeepRules rules;
  rules.tags = {{"a", "b"}};
  CHECK(kept(apply_keep_rules(group, rules, kNow)) ==
        std::vector<std::string>{"2025-01-01 00:00:00"});
}

TEST_CASE("keep rules: spans are not counted back from a snapshot of the future") {
  const std::vector<SavedSnapshot> group = {at("2025-05-01T00:00:00Z"), at("2025-05-30T00:00:00Z"),
                                            at("2026-06-01T00:00:00Z")};
  KeepRules rules;
  rules.within.days = 7;
  CHECK(kept(apply_keep_rules(group, rules, kNow)) ==
        std::vector<std::string>{"2026-06-01 00:00:00", "2025-05-30 00:00:00"});
  rules = {};
  rules.within_daily.days = 7;
  CHECK(kept(apply_keep_rules(group, rules, kNow)).size() == 2);
  // All of them are of the future: then nothing is old.
  CHECK(apply_keep_rules(group, rules, at("2025-01-01T00:00:00Z").snapshot.time).remove.empty());
}

TEST_CASE("keep rules: without any rule everything stays") {
  CHECK(apply_keep_rules({at("2025-01-01T00:00:00Z")}, {}, kNow).remove.empty());
  CHECK(apply_keep_rules({}, {}, kNow).keep.empty());
}

TEST_CASE("keep rules: spans are read as restic writes them") {
  const CalendarSpan span = parse_calendar_span("1y5m7d2h");
  CHECK(span.years == 1);
  CHECK(span.months == 5);
  CHECK(span.days == 7);
  CHECK(span.hours == 2);
  for (const char* wrong : {"", "7", "d", "7x", "-1d", "7d3", "99999999999y", "9999y"}) {
    CAPTURE(wrong);
    CHECK(text_of([&] { parse_calendar_span(wrong); }).starts_with("usage"));
  }
}
