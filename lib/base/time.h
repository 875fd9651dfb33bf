#ifndef KUBEDR_BASE_TIME_H
#define KUBEDR_BASE_TIME_H

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace kubedr {

// "2026-11-22T21:16:13Z", UTC, whole seconds: Kubernetes' times.
std::string format_rfc3339(WallTime time);

// "2026-11-22T21:16:13.599961371Z", UTC, fraction without trailing zeros: restic's times.
std::string format_rfc3339_nano(WallTime time);

// "Thu Jan 30 16:02:53 2020", UTC: initTime and backupTime; the day is padded by a blank.
std::string format_asctime(WallTime time);

// "20261122T211613Z": S3's request times.
std::string format_compact(WallTime time);

// "2026-11-22 21:16:13", UTC: for tables.
std::string format_table_time(WallTime time);

// Any of the forms found in the resources: RFC 3339 with or without fraction and offset, asctime,
// and Go's Time.String() ("2020-02-21 21:14:05.1 +0000 UTC m=+0.1"). Nullopt for anything else.
std::optional<WallTime> parse_time(std::string_view text);

// HTTP's date, "Sun, 22 Nov 2026 21:16:13 GMT".
std::optional<WallTime> parse_http_date(std::string_view text);

// An age as kubectl prints it: "5m23s", "3h12m", "26h", "3d4h", "<invalid>".
std::string human_duration(std::chrono::seconds age);

// A time span of Go or restic: "90s", "1h30m", "500ms", or a bare number of seconds; "0" is none.
// Nullopt when it is neither.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

}  // namespace kubedr

#endif  // KUBEDR_BASE_TIME_H
