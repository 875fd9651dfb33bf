#include "health/schedule.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "base/time.h"

using namespace kubedr;
using health::Schedule;

namespace {

std::string next(const char* line, const char* after) {
  const auto due = Schedule::parse(line).next_after(*parse_time(after));
  return due ? format_rfc3339(*due) : "never";
}

}  // namespace

TEST_CASE("schedule: the next due time lies strictly after the given one") {
  CHECK(next("*/10 * * * *", "2026-11-22T21:10:00Z") == "2026-11-22T21:20:00Z");
  CHECK(next("*/10 * * * *", "2026-11-22T21:19:59Z") == "2026-11-22T21:20:00Z");
  CHECK(next("0 0 * * *", "2026-12-31T23:59:30Z") == "2027-01-01T00:00:00Z");
}

TEST_CASE("schedule: lists, ranges, steps and names are understood") {
  CHECK(next("15,45 8-10/2 * * *", "2026-11-22T08:15:00Z") == "2026-11-22T08:45:00Z");
  CHECK(next("15,45 8-10/2 * * *", "2026-11-22T08:45:00Z") == "2026-11-22T10:15:00Z");
  CHECK(next("0 3 * feb mon-fri", "2026-11-22T00:00:00Z") == "2027-02-01T03:00:00Z");
  CHECK(next("50/5 * * * *", "2026-11-22T08:15:00Z") == "2026-11-22T08:50:00Z");
}

TEST_CASE("schedule: day of month and day of week are alternatives when both are given") {
  CHECK(next("0 0 13 * 5", "2026-11-12T00:00:00Z") == "2026-11-13T00:00:00Z");
  CHECK(next("0 0 13 * 5", "2026-11-13T00:00:00Z") == "2026-11-20T00:00:00Z");
  CHECK(next("0 0 13 * *", "2026-11-13T00:00:00Z") == "2026-12-13T00:00:00Z");
}

TEST_CASE("schedule: descriptors stand for their lines") {
  CHECK(next("@hourly", "2026-11-22T21:10:00Z") == "2026-11-22T22:00:00Z");
  CHECK(next("@weekly", "2026-11-23T00:00:00Z") == "2026-11-29T00:00:00Z");
  CHECK(next("@every 90m", "2026-11-22T21:10:00Z") == "2026-11-22T22:40:00Z");
}

TEST_CASE("schedule: a day that never comes has no due time, a leap day has one") {
  CHECK(next("0 0 31 2 *", "2026-11-22T21:10:00Z") == "never");
  CHECK(next("0 0 29 2 *", "2026-11-22T21:10:00Z") == "2028-02-29T00:00:00Z");
}

TEST_CASE("schedule: what is no cron line is a usage error that says why") {
  for (const char* line : {"", "* * * *", "* * * * * *", "60 * * * *", "5-1 * * * *", "*/0 * * * *",
                           "a * * * *", "@often", "@every x", "1-2-3 * * * *", "1/2/3 * * * *"}) {
    CAPTURE(line);
    try {
      Schedule::parse(line);
      FAIL("was accepted");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
      CHECK(std::string(error.what()).starts_with("schedule \""));
    }
  }
}
