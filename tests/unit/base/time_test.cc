#include "base/time.h"

#include <doctest/doctest.h>

namespace kubedr {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

WallTime at(long long second, long long nanosecond = 0) {
  return WallTime(seconds(second) + nanoseconds(nanosecond));
}

// date -u -d @1795382173
const WallTime kTime = at(1795382173, 599'961'371);

TEST_CASE("time: each form is written as its readers expect it") {
  CHECK(format_rfc3339(kTime) == "2026-11-22T21:16:13Z");
  CHECK(format_rfc3339_nano(kTime) == "2026-11-22T21:16:13.599961371Z");
  CHECK(format_rfc3339_nano(at(1795382173, 500'000'000)) == "2026-11-22T21:16:13.5Z");
  CHECK(format_rfc3339_nano(at(1795382173)) == "2026-11-22T21:16:13Z");
  CHECK(format_asctime(at(1580400173)) == "Thu Jan 30 16:02:53 2020");
  CHECK(format_asctime(at(1580486400 + 86400)) == "Sat Feb  1 16:00:00 2020");
  CHECK(format_compact(kTime) == "20261122T211613Z");
  CHECK(format_table_time(kTime) == "2026-11-22 21:16:13");
}

TEST_CASE("time: what we write we read") {
  CHECK(parse_time(format_rfc3339(kTime)) == at(1795382173));
  CHECK(parse_time(format_rfc3339_nano(kTime)) == kTime);
  CHECK(parse_time(format_asctime(kTime)) == at(1795382173));
  CHECK(parse_time(format_asctime(at(1580572800))) == at(1580572800));
}

TEST_CASE("time: offsets, fractions and Go's own form are read") {
  CHECK(parse_time("2026-11-22T22:16:13+01:00") == at(1795382173));
  CHECK(parse_time("2026-11-22T18:46:13.25-02:30") == at(1795382173, 250'000'000));
  CHECK(parse_time("2020-02-21 21:14:05.1 +0000 UTC m=+0.1") == at(1582319645, 100'000'000));
  CHECK(parse_time("2020-02-21 22:14:05 +0100 CET") == at(1582319645));
  CHECK(parse_time("2024-02-29T00:00:00Z") == at(1709164800));
}

TEST_CASE("time: anything else is no time") {
  for (const char* text :
       {"", "now", "2026-11-22", "2026-11-22T21:16:13", "2026-13-22T21:16:13Z",
        "2026-02-29T00:00:00Z", "2026-11-22T24:16:13Z", "2026-11-22T21:60:13Z",
        "2026-11-22T21:16:13.Z", "2026-11-22T21:16:13Z ", "9999-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z", "Thu Foo 30 16:02:53 2020", "-026-11-22T21:16:13Z"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_time(text));
  }
}

TEST_CASE("time: HTTP's date is read") {
  CHECK(parse_http_date("Sun, 22 Nov 2026 21:16:13 GMT") == at(1795382173));
  CHECK_FALSE(parse_http_date("Sun, 22 Nov 2026 21:16:13 CET"));
  CHECK_FALSE(parse_http_date("120"));
}

TEST_CASE("time: ages read as kubectl's do") {
  const auto age = [](long long second) { return human_duration(seconds(second)); };
  constexpr long long kMinute = 60;
  constexpr long long kHour = 60 * kMinute;
  constexpr long long kDay = 24 * kHour;
  CHECK(age(-2) == "<invalid>");
  CHECK(age(-1) == "0s");
  CHECK(age(0) == "0s");
  CHECK(age(119) == "119s");
  CHECK(age(2 * kMinute) == "2m");
  CHECK(age(5 * kMinute + 23) == "5m23s");
  CHECK(age(10 * kMinute - 1) == "9m59s");
  CHECK(age(10 * kMinute + 5) == "10m");
  CHECK(age(179 * kMinute + 59) == "179m");
  CHECK(age(180 * kMinute) == "3h");
  CHECK(age(3 * kHour + 12 * kMinute) == "3h12m");
  CHECK(age(8 * kHour - 1) == "7h59m");
  CHECK(age(8 * kHour) == "8h");
  CHECK(age(26 * kHour) == "26h");
  CHECK(age(48 * kHour) == "2d");
  CHECK(age(3 * kDay + 4 * kHour) == "3d4h");
  CHECK(age(8 * kDay) == "8d");
  CHECK(age(123 * kDay) == "123d");
  CHECK(age(729 * kDay) == "729d");
  CHECK(age(730 * kDay) == "2y");
  CHECK(age((3 * 365 + 12) * kDay) == "3y12d");
  CHECK(age(9 * 365 * kDay + 40 * kDay) == "9y");
}

TEST_CASE("time: spans are read in Go's units, or as bare seconds") {
  CHECK(parse_duration("90s") == seconds(90));
  CHECK(parse_duration("1h30m") == seconds(5400));
  CHECK(parse_duration("500ms") == milliseconds(500));
  CHECK(parse_duration("1.5h") == seconds(5400));
  CHECK(parse_duration("30") == seconds(30));
  CHECK(parse_duration("0") == seconds(0));
  CHECK(parse_duration("0s") == seconds(0));
}

TEST_CASE("time: what is no span is refused, and so is one without end") {
  for (const char* text : {"", "s", "-5s", "5x", "1h30", "1..5s", ".", "5 s", "1e9999s", "nan",
                           "99999999999999999999h"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_duration(text));
  }
}

}  // namespace
}  // namespace kubedr
