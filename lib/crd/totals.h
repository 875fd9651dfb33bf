#ifndef KUBEDR_CRD_TOTALS_H
#define KUBEDR_CRD_TOTALS_H

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace kubedr::crd {

inline constexpr char kTotalsAnnotation[] = "kubedr.catalogicsoftware.com/totals";

// Upper bounds, in seconds, of the buckets of a backup's duration; one more takes the longer ones.
//
// source   the operator's kubedr_backup_duration_seconds: up to an hour, then every hour to ten
inline constexpr std::array<int, 17> kDurationBounds = {15,    30,    60,    300,   600,   900,
                                                        1800,  3600,  7200,  10800, 14400, 18000,
                                                        21600, 25200, 28800, 32400, 36000};

// A good backup as far as it is counted.
struct CountedBackup {
  std::string id;         // 8 hex digits of its snapshot
  WallTime time{};        // its snapshot's
  WallTime end{};         // when it was done
  bool measured = false;  // false: restic before 0.17 made it, and tells nothing of what follows
  std::chrono::nanoseconds duration{0};
  std::uint64_t processed_bytes = 0;
  std::uint64_t added_bytes = 0;   // plain
  std::uint64_t stored_bytes = 0;  // the same as packed
  std::uint64_t files = 0;
};

// What a policy's backups amount to. It lives in one annotation of the policy, so that it outlives
// restarts, records and events; what the repository knows can be counted anew from there.
//
// shape    one JSON object in the annotation's text
// units    bytes; durations in seconds
struct Totals {
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
  std::uint64_t processed_bytes = 0;
  std::uint64_t added_bytes = 0;
  std::uint64_t stored_bytes = 0;
  double duration_sum = 0;
  std::array<std::uint64_t, kDurationBounds.size() + 1> duration_counts{};  // each bucket's own
  // The time of the newest snapshot counted; nullopt: the repository's have yet to be.
  std::optional<WallTime> counted_until;
  std::optional<WallTime> last_success;
  std::optional<WallTime> failing_since;  // of the first failure after the last success
  std::uint64_t failures_in_row = 0;
  std::uint64_t last_stored_bytes = 0;  // of the last good backup
  std::uint64_t last_files = 0;
  std::vector<std::uint64_t> recent_sizes;  // bytes that the last good backups read, in their order
  // Snapshots and failures counted last, so that none is counted twice.
  std::vector<std::string> recent;

  friend bool operator==(const Totals&, const Totals&) = default;
};

// Both count what they are given once, however often they are told.
void count_success(Totals& totals, const CountedBackup& backup);
void count_failure(Totals& totals, const std::string& id, WallTime time);

std::string to_annotation(const Totals& totals);

// Nullopt for a text that is no whole one: then nothing is known.
std::optional<Totals> parse_totals(std::string_view text);

}  // namespace kubedr::crd

#endif  // KUBEDR_CRD_TOTALS_H
