#include "base/time.h"

#include <fmt/core.h>

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <ctime>

#include "base/text.h"

namespace kubedr {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

struct Parts {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, weekday = 0;
  long nanosecond = 0;
};

Parts parts_of(WallTime time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(time - day);
  Parts parts;
  parts.year = static_cast<int>(date.year());
  parts.month = static_cast<int>(static_cast<unsigned>(date.month()));
  parts.day = static_cast<int>(static_cast<unsigned>(date.day()));
  parts.hour = static_cast<int>(clock.hours().count());
  parts.minute = static_cast<int>(clock.minutes().count());
  parts.second = static_cast<int>(clock.seconds().count());
  parts.nanosecond = static_cast<long>(duration_cast<nanoseconds>(clock.subseconds()).count());
  parts.weekday = static_cast<int>(weekday(day).c_encoding());
  return parts;
}

std::optional<WallTime> time_of(const Parts& p) {
  using namespace std::chrono;
  const year_month_day date{year(p.year), month(static_cast<unsigned>(p.month)),
                            day(static_cast<unsigned>(p.day))};
  if (!date.ok() || p.hour > 23 || p.minute > 59 || p.second > 60) return std::nullopt;
  // system_clock counts nanoseconds in 64 bits: only 1678 to 2262 fit.
  if (p.year < 1700 || p.year > 2260) return std::nullopt;
  return WallTime(sys_days(date).time_since_epoch() + hours(p.hour) + minutes(p.minute) +
                  seconds(p.second) + nanoseconds(p.nanosecond));
}

// Takes a text apart from its front; every step says whether it could.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool literal(std::string_view expected) {
    if (!text_.starts_with(expected)) return false;
    text_.remove_prefix(expected.size());
    return true;
  }

  bool digits(std::size_t count, int& value) {
    if (text_.size() < count) return false;
    value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (text_[i] < '0' || text_[i] > '9') return false;
      value = value * 10 + (text_[i] - '0');
    }
    text_.remove_prefix(count);
    return true;
  }

  bool fraction(long& nanosecond) {
    if (!literal(".")) return true;
    long scale = 100'000'000;
    bool any = false;
    while (!text_.empty() && text_[0] >= '0' && text_[0] <= '9') {
      nanosecond += (text_[0] - '0') * scale;
      scale /= 10;
      any = true;
      text_.remove_prefix(1);
    }
    return any;
  }

  template <std::size_t N>
  bool word(const std::array<const char*, N>& words, int& index) {
    for (std::size_t i = 0; i < N; ++i) {
      if (!literal(words[i])) continue;
      index = static_cast<int>(i);
      return true;
    }
    return false;
  }

  bool clock(Parts& p) {
    return digits(2, p.hour) && literal(":") && digits(2, p.minute) && literal(":") &&
           digits(2, p.second);
  }

  bool date(Parts& p) {
    return digits(4, p.year) && literal("-") && digits(2, p.month) && literal("-") &&
           digits(2, p.day);
  }

  // "+01:00" or "+0100".
  bool offset(bool colon, int& minutes) {
    const bool negative = !text_.empty() && text_[0] == '-';
    if (!literal("+") && !literal("-")) return false;
    int hour = 0;
    int minute = 0;
    if (!digits(2, hour) || (colon && !literal(":")) || !digits(2, minute)) return false;
    minutes = (hour * 60 + minute) * (negative ? -1 : 1);
    return true;
  }

  bool done() const { return text_.empty(); }

 private:
  std::string_view text_;
};

std::optional<WallTime> shift(std::optional<WallTime> time, int offset_minutes) {
  if (!time) return time;
  return *time - std::chrono::minutes(offset_minutes);
}

std::optional<WallTime> parse_rfc3339(std::string_view text) {
  Scanner scan(text);
  Parts p;
  int offset = 0;
  if (!scan.date(p) || !(scan.literal("T") || scan.literal("t")) || !scan.clock(p)) return {};
  if (!scan.fraction(p.nanosecond)) return {};
  if (!scan.literal("Z") && !scan.literal("z") && !scan.offset(true, offset)) return {};
  if (!scan.done()) return {};
  return shift(time_of(p), offset);
}

// 2020-02-21 21:14:05.123456789 +0000 UTC m=+0.1
std::optional<WallTime> parse_go_string(std::string_view text) {
  Scanner scan(text);
  Parts p;
  int offset = 0;
  if (!scan.date(p) || !scan.literal(" ") || !scan.clock(p)) return {};
  if (!scan.fraction(p.nanosecond) || !scan.literal(" ") || !scan.offset(false, offset)) return {};
  return shift(time_of(p), offset);  // a zone name and the monotonic reading may follow
}

std::optional<WallTime> parse_asctime(std::string_view text) {
  Scanner scan(text);
  Parts p;
  int month = 0;
  if (!scan.word(kDays, p.weekday) || !scan.literal(" ") || !scan.word(kMonths, month)) return {};
  p.month = month + 1;
  if (!scan.literal(" ")) return {};
  const bool padded = scan.literal(" ");
  if (!scan.digits(padded ? 1 : 2, p.day) || !scan.literal(" ") || !scan.clock(p)) return {};
  if (!scan.literal(" ") || !scan.digits(4, p.year) || !scan.done()) return {};
  return time_of(p);
}

std::string two_units(long long big, char big_unit, long long small, char small_unit) {
  if (small == 0) return fmt::format("{}{}", big, big_unit);
  return fmt::format("{}{}{}{}", big, big_unit, small, small_unit);
}

std::optional<double> unit_in_milliseconds(std::string_view unit) {
  if (unit == "ms") return 1;
  if (unit == "s") return 1000;
  if (unit == "m") return 60'000;
  if (unit == "h") return 3'600'000;
  if (unit == "d") return 86'400'000;
  return std::nullopt;
}

}  // namespace

std::string format_rfc3339(WallTime time) {
  const Parts p = parts_of(time);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", p.year, p.month, p.day, p.hour,
                     p.minute, p.second);
}

std::string format_rfc3339_nano(WallTime time) {
  std::string text = format_rfc3339(time);
  const Parts p = parts_of(time);
  if (p.nanosecond == 0) return text;
  std::string fraction = fmt::format(".{:09}", p.nanosecond);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  text.insert(text.size() - 1, fraction);
  return text;
}

std::string format_asctime(WallTime time) {
  const Parts p = parts_of(time);
  return fmt::format("{} {} {:2} {:02}:{:02}:{:02} {}", kDays[static_cast<std::size_t>(p.weekday)],
                     kMonths[static_cast<std::size_t>(p.month - 1)], p.day, p.hour, p.minute,
                     p.second, p.year);
}

std::string format_compact(WallTime time) {
  const Parts p = parts_of(time);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", p.year, p.month, p.day, p.hour, p.minute,
                     p.second);
}

std::string format_table_time(WallTime time) {
  const Parts p = parts_of(time);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", p.year, p.month, p.day, p.hour,
                     p.minute, p.second);
}

std::optional<WallTime> parse_time(std::string_view text) {
  if (const auto time = parse_rfc3339(text)) return time;
  if (const auto time = parse_asctime(text)) return time;
  return parse_go_string(text);
}

std::optional<WallTime> parse_http_date(std::string_view text) {
  Scanner scan(text);
  Parts p;
  int month = 0;
  if (!scan.word(kDays, p.weekday) || !scan.literal(", ") || !scan.digits(2, p.day)) return {};
  if (!scan.literal(" ") || !scan.word(kMonths, month) || !scan.literal(" ")) return {};
  p.month = month + 1;
  if (!scan.digits(4, p.year) || !scan.literal(" ") || !scan.clock(p)) return {};
  if (!scan.literal(" GMT") || !scan.done()) return {};
  return time_of(p);
}

std::string human_duration(seconds age) {
  const long long s = age.count();
  if (s < -1) return "<invalid>";
  if (s < 0) return "0s";
  const long long minutes = s / 60;
  const long long hours = s / 3600;
  const long long days = hours / 24;
  if (s < 120) return fmt::format("{}s", s);
  if (minutes < 10) return two_units(minutes, 'm', s % 60, 's');
  if (minutes < 180) return fmt::format("{}m", minutes);
  if (hours < 8) return two_units(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return fmt::format("{}h", hours);
  if (days < 8) return two_units(days, 'd', hours % 24, 'h');
  if (days < 365 * 2) return fmt::format("{}d", days);
  if (days < 365 * 8) return two_units(days / 365, 'y', days % 365, 'd');
  return fmt::format("{}y", days / 365);
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  constexpr double kMost = 100.0 * 365 * 86'400'000;  // a hundred years: no overflow further on
  double total = 0;
  bool any = false;
  while (!text.empty()) {
    std::size_t number_end = 0;
    bool digits = false;
    while (number_end < text.size() &&
           (std::isdigit(static_cast<unsigned char>(text[number_end])) != 0 ||
            text[number_end] == '.')) {
      digits = digits || text[number_end] != '.';
      ++number_end;
    }
    if (!digits) return std::nullopt;
    double number = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + number_end, number);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + number_end) return std::nullopt;
    text.remove_prefix(number_end);
    std::size_t unit_end = 0;
    while (unit_end < text.size() &&
           std::isalpha(static_cast<unsigned char>(text[unit_end])) != 0) {
      ++unit_end;
    }
    const bool bare = unit_end == 0 && text.empty() && !any;
    const auto unit = bare ? 1000.0 : unit_in_milliseconds(text.substr(0, unit_end));
    if (!unit) return std::nullopt;
    text.remove_prefix(unit_end);
    total += number * *unit;
    any = true;
    if (!(total <= kMost)) return std::nullopt;
  }
  if (!any) return std::nullopt;
  return std::chrono::milliseconds(std::llround(total));
}

}  // namespace kubedr
