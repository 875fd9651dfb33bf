#include "health/schedule.h"

#include <fmt/core.h>

#include <array>
#include <charconv>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "base/time.h"

namespace kubedr::health {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::sys_days;

constexpr std::array<std::string_view, 12> kMonths = {"jan", "feb", "mar", "apr", "may", "jun",
                                                      "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> kDays = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct Field {
  const char* name;
  int low;
  int high;
};

[[noreturn]] void refuse(std::string_view line, const std::string& why) {
  throw Error(ErrorKind::usage, fmt::format("schedule \"{}\": {}", line, why),
              "give five cron fields such as \"0 */6 * * *\", or @hourly, @daily, @weekly");
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<int> value_of(const std::string& text, const Field& field) {
  if (const auto value = number(text)) return value;
  if (std::string_view(field.name) == "month") {
    for (std::size_t i = 0; i < kMonths.size(); ++i) {
      if (text == kMonths[i]) return static_cast<int>(i) + 1;
    }
  }
  if (std::string_view(field.name) == "day of week") {
    for (std::size_t i = 0; i < kDays.size(); ++i) {
      if (text == kDays[i]) return static_cast<int>(i);
    }
  }
  return std::nullopt;
}

// One part of a list: "*", "5", "1-5", "*/10", "3-40/2", "7/10".
template <std::size_t N>
void add_part(std::string_view line, const std::string& part, const Field& field,
              std::bitset<N>& bits) {
  const std::vector<std::string> range_and_step = split(part, '/');
  if (range_and_step.size() > 2) refuse(line, fmt::format("too many '/' in {}", field.name));
  int step = 1;
  if (range_and_step.size() == 2) {
    const auto given = number(range_and_step[1]);
    if (!given || *given < 1) refuse(line, fmt::format("step of {} is no number", field.name));
    step = *given;
  }
  int low = field.low;
  int high = field.high;
  if (range_and_step[0] != "*" && range_and_step[0] != "?") {
    const std::vector<std::string> ends = split(range_and_step[0], '-');
    const auto first = value_of(ends[0], field);
    const auto last = ends.size() == 2 ? value_of(ends[1], field) : first;
    if (ends.size() > 2 || !first || !last) {
      refuse(line, fmt::format("cannot read {} \"{}\"", field.name, part));
    }
    low = *first;
    high = ends.size() == 1 && range_and_step.size() == 2 ? field.high : *last;
  }
  if (low < field.low || high > field.high || low > high) {
    refuse(line, fmt::format("{} is not within {} to {}", field.name, field.low, field.high));
  }
  for (int i = low; i <= high; i += step) bits.set(static_cast<std::size_t>(i));
}

template <std::size_t N>
bool parse_field(std::string_view line, const std::string& text, const Field& field,
                 std::bitset<N>& bits) {
  bool any = false;
  for (const std::string& part : split(to_lower(text), ',')) {
    if (part.starts_with('*') || part.starts_with('?')) any = true;
    add_part(line, part, field, bits);
  }
  return any;
}

std::string expand_descriptor(std::string_view line) {
  if (line == "@yearly" || line == "@annually") return "0 0 1 1 *";
  if (line == "@monthly") return "0 0 1 * *";
  if (line == "@weekly") return "0 0 * * 0";
  if (line == "@daily" || line == "@midnight") return "0 0 * * *";
  if (line == "@hourly") return "0 * * * *";
  refuse(line, "unknown descriptor");
}

}  // namespace

Schedule Schedule::parse(std::string_view line) {
  Schedule schedule;
  std::string text(trim(line));
  if (text.starts_with("@every ")) {
    const auto every = parse_duration(trim(std::string_view(text).substr(7)));
    if (!every || *every < std::chrono::seconds(1)) refuse(line, "cannot read the interval");
    schedule.every_ = std::chrono::duration_cast<std::chrono::seconds>(*every);
    return schedule;
  }
  if (text.starts_with('@')) text = expand_descriptor(text);
  std::vector<std::string> fields;
  for (const std::string& field : split(text, ' ')) {
    if (!trim(field).empty()) fields.emplace_back(trim(field));
  }
  if (fields.size() != 5) {
    refuse(line, fmt::format("expected exactly 5 fields, found {}", fields.size()));
  }
  parse_field(line, fields[0], {"minute", 0, 59}, schedule.minutes_);
  parse_field(line, fields[1], {"hour", 0, 23}, schedule.hours_);
  schedule.any_day_of_month_ =
      parse_field(line, fields[2], {"day of month", 1, 31}, schedule.days_of_month_);
  parse_field(line, fields[3], {"month", 1, 12}, schedule.months_);
  schedule.any_day_of_week_ =
      parse_field(line, fields[4], {"day of week", 0, 6}, schedule.days_of_week_);
  return schedule;
}

bool Schedule::matches_day(sys_days day) const {
  const std::chrono::year_month_day date(day);
  if (!months_.test(static_cast<unsigned>(date.month()))) return false;
  const bool month_day = days_of_month_.test(static_cast<unsigned>(date.day()));
  const bool week_day = days_of_week_.test(std::chrono::weekday(day).c_encoding());
  if (any_day_of_month_ || any_day_of_week_) return month_day && week_day;
  return month_day || week_day;
}

std::optional<WallTime> Schedule::next_after(WallTime time) const {
  if (every_.count() > 0) return time + every_;
  constexpr int kDaysAhead = 5 * 366;
  WallTime at = std::chrono::floor<minutes>(time) + minutes(1);
  sys_days day = std::chrono::floor<days>(at);
  for (int i = 0; i < kDaysAhead; ++i, day += days(1), at = day) {
    if (!matches_day(day)) continue;
    for (; at < day + days(1); at += minutes(1)) {
      const auto clock = std::chrono::hh_mm_ss(at - day);
      if (!hours_.test(static_cast<std::size_t>(clock.hours().count()))) {
        at = std::chrono::floor<hours>(at) + minutes(59);  // the loop adds the last minute
        continue;
      }
      if (minutes_.test(static_cast<std::size_t>(clock.minutes().count()))) return at;
    }
  }
  return std::nullopt;
}

}  // namespace kubedr::health
