#include "repo/keep.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/error.h"
#include "base/text.h"

// Each rule sorts the snapshots into buckets of time and keeps the newest of each bucket, from the
// newest backwards, until its count is used up. While a count is not, the oldest snapshot stays
// too, so that a history just begun is not cut short.
//
//   keep-daily 2      Wed 18:00   kept: daily snapshot
//                     Wed 09:00   same day
//                     Tue 18:00   kept: daily snapshot, the count is used up
//                     Mon 18:00   removed
//
// Times are as the clock showed them that each snapshot was taken by.
namespace kubedr::repo {

namespace {

using std::chrono::days;
using std::chrono::sys_days;
using std::chrono::year_month_day;

constexpr int kMostInSpan = 100'000;  // hours or days; years and months have lower limits

year_month_day date_of(WallTime time) {
  return year_month_day(std::chrono::floor<days>(time));
}

long year_of(WallTime time) {
  return static_cast<int>(date_of(time).year());
}

long month_of(WallTime time) {
  return year_of(time) * 100 + static_cast<long>(static_cast<unsigned>(date_of(time).month()));
}

long day_of(WallTime time) {
  return month_of(time) * 100 + static_cast<long>(static_cast<unsigned>(date_of(time).day()));
}

long hour_of(WallTime time) {
  const auto since_midnight = time - std::chrono::floor<days>(time);
  return day_of(time) * 100 + std::chrono::floor<std::chrono::hours>(since_midnight).count();
}

// ISO 8601: a week belongs to the year that its Thursday is in.
long week_of(WallTime time) {
  const sys_days day = std::chrono::floor<days>(time);
  const unsigned since_monday = std::chrono::weekday(day).iso_encoding() - 1;
  const sys_days thursday = day - days(since_monday) + days(3);
  const std::chrono::year year = year_month_day(thursday).year();
  const long week = (thursday - sys_days(year / 1 / 1)).count() / 7 + 1;
  return static_cast<int>(year) * 100L + week;
}

// The time on the clock that a snapshot was taken by.
WallTime shown_time(const Snapshot& snapshot) {
  constexpr std::chrono::hours kRoom{24};  // more than any offset, which must not run over
  if (snapshot.time < WallTime::min() + kRoom || snapshot.time > WallTime::max() - kRoom) {
    return snapshot.time;
  }
  return snapshot.time + snapshot.utc_offset;
}

// As Go's AddDate: a day that the month does not have runs over into the next one.
WallTime before(WallTime time, const CalendarSpan& span) {
  const sys_days midnight = std::chrono::floor<days>(time);
  const year_month_day date(midnight);
  const std::chrono::year_month month = date.year() / date.month() -
                                        std::chrono::years(span.years) -
                                        std::chrono::months(span.months);
  const sys_days wanted = sys_days(month / 1) +
                          days(static_cast<int>(static_cast<unsigned>(date.day())) - 1 - span.days);
  // A WallTime begins in 1677; with room for the hours below, and for a clock's offset.
  const sys_days earliest = std::chrono::ceil<days>(WallTime::min()) + days(kMostInSpan / 24 + 3);
  const sys_days moved = std::max(wanted, earliest);
  return WallTime(moved) + (time - midnight) - std::chrono::hours(span.hours);
}

// Where spans are counted back from: a time on a clock, whose days they count.
struct Newest {
  WallTime shown{};
  std::chrono::minutes utc_offset{};
};

// A clock that was ahead must not make every other snapshot old.
std::optional<Newest> newest_of(const std::vector<SavedSnapshot>& newest_first, WallTime now) {
  for (const SavedSnapshot& saved : newest_first) {
    const Snapshot& snapshot = saved.snapshot;
    if (snapshot.time <= now) return Newest{shown_time(snapshot), snapshot.utc_offset};
  }
  return std::nullopt;
}

// Without a newest one nothing is old.
bool is_within(WallTime time, const CalendarSpan& span, const std::optional<Newest>& newest) {
  return !newest || time > before(newest->shown, span) - newest->utc_offset;
}

std::string to_string(const CalendarSpan& span) {
  std::string text;
  const auto add = [&](int number, char unit) {
    if (number != 0) text += std::to_string(number) + unit;
  };
  add(span.years, 'y');
  add(span.months, 'm');
  add(span.days, 'd');
  add(span.hours, 'h');
  return text;
}

// One rule on its way through the snapshots.
struct Rule {
  std::string reason;
  long (*bucket)(WallTime);  // null: every snapshot has its own
  int left = 0;              // -1: without end
  CalendarSpan within;       // instead of a count
  std::optional<long> last = std::nullopt;
};

// The reason if the rule keeps this snapshot.
std::optional<std::string> apply(Rule& rule, const Snapshot& snapshot,
                                 const std::optional<Newest>& newest, std::size_t number,
                                 bool is_oldest) {
  const bool by_span = !rule.within.empty();
  if (by_span && !is_within(snapshot.time, rule.within, newest)) return std::nullopt;
  if (!by_span && rule.left == 0) return std::nullopt;
  const long bucket =
      rule.bucket == nullptr ? static_cast<long>(number) : rule.bucket(shown_time(snapshot));
  const bool is_new = rule.last != bucket;
  if (!is_new && !is_oldest) return std::nullopt;
  rule.last = bucket;
  if (!by_span && rule.left > 0) --rule.left;
  const std::string reason = (is_new ? "" : "oldest ") + rule.reason;
  return by_span ? reason + " within " + to_string(rule.within) : reason;
}

std::vector<Rule> rules_of(const KeepRules& keep) {
  return {
      {"last snapshot", nullptr, keep.last, {}},
      {"hourly snapshot", hour_of, keep.hourly, {}},
      {"daily snapshot", day_of, keep.daily, {}},
      {"weekly snapshot", week_of, keep.weekly, {}},
      {"monthly snapshot", month_of, keep.monthly, {}},
      {"yearly snapshot", year_of, keep.yearly, {}},
      {"hourly", hour_of, 0, keep.within_hourly},
      {"daily", day_of, 0, keep.within_daily},
      {"weekly", week_of, 0, keep.within_weekly},
      {"monthly", month_of, 0, keep.within_monthly},
      {"yearly", year_of, 0, keep.within_yearly},
  };
}

std::vector<std::string> reasons_to_keep(const SavedSnapshot& saved, const KeepRules& keep,
                                         std::vector<Rule>& rules,
                                         const std::optional<Newest>& newest, std::size_t number,
                                         bool is_oldest) {
  std::vector<std::string> reasons;
  for (const std::vector<std::string>& tags : keep.tags) {
    if (has_all_tags(saved.snapshot, tags))
      reasons.push_back("has tags [" + join(tags, ", ") + "]");
  }
  if (!keep.within.empty() && is_within(saved.snapshot.time, keep.within, newest)) {
    reasons.push_back("within " + to_string(keep.within));
  }
  for (Rule& rule : rules) {
    if (auto reason = apply(rule, saved.snapshot, newest, number, is_oldest)) {
      reasons.push_back(std::move(*reason));
    }
  }
  return reasons;
}

[[noreturn]] void fail_span(const std::string& text) {
  throw Error(ErrorKind::usage, "invalid duration \"" + text + "\"",
              "give years, months, days and hours, such as 1y5m7d2h");
}

}  // namespace

CalendarSpan parse_calendar_span(const std::string& text) {
  CalendarSpan span;
  std::string_view rest = text;
  if (rest.empty()) fail_span(text);
  while (!rest.empty()) {
    int number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    const auto digits = static_cast<std::size_t>(end - rest.data());
    if (error != std::errc() || digits == rest.size() || number < 0 || number > kMostInSpan) {
      fail_span(text);
    }
    switch (rest[digits]) {
    case 'y':
      span.years = number;
      break;
    case 'm':
      span.months = number;
      break;
    case 'd':
      span.days = number;
      break;
    case 'h':
      span.hours = number;
      break;
    default:
      fail_span(text);
    }
    rest.remove_prefix(digits + 1);
  }
  if (span.years > 1'000 || span.months > 12'000) fail_span(text);
  return span;
}

bool KeepRules::empty() const {
  const bool counts =
      last != 0 || hourly != 0 || daily != 0 || weekly != 0 || monthly != 0 || yearly != 0;
  const std::array spans = {within,        within_hourly,  within_daily,
                            within_weekly, within_monthly, within_yearly};
  return !counts && tags.empty() &&
         std::all_of(spans.begin(), spans.end(), [](const auto& span) { return span.empty(); });
}

KeepResult apply_keep_rules(std::vector<SavedSnapshot> group, const KeepRules& keep, WallTime now) {
  KeepResult result;
  if (group.empty()) return result;
  std::stable_sort(group.begin(), group.end(), [](const SavedSnapshot& a, const SavedSnapshot& b) {
    return a.snapshot.time > b.snapshot.time;
  });
  const std::optional<Newest> newest = newest_of(group, now);
  std::vector<Rule> rules = rules_of(keep);
  for (std::size_t i = 0; i < group.size(); ++i) {
    std::vector<std::string> reasons =
        keep.empty() ? std::vector<std::string>{"no rule"}
                     : reasons_to_keep(group[i], keep, rules, newest, i, i + 1 == group.size());
    if (reasons.empty()) {
      result.remove.push_back(std::move(group[i]));
    } else {
      result.keep.push_back({std::move(group[i]), std::move(reasons)});
    }
  }
  return result;
}

}  // namespace kubedr::repo
