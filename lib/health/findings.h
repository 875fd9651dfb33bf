#ifndef KUBEDR_HEALTH_FINDINGS_H
#define KUBEDR_HEALTH_FINDINGS_H

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "health/fleet.h"

namespace kubedr::health {

enum class Severity { info, warning, error };

const char* to_string(Severity severity);

// Something an operator should know. `code` is stable, for scripts.
struct Finding {
  Severity severity = Severity::info;
  std::string code;    // "backup-late"
  std::string object;  // "metadatabackuppolicy/nightly"
  std::string message;
  std::string remedy;      // the command that mends it, in the object's namespace; may be empty
  std::string name_space;  // of the object; empty: it has none, or nobody told
};

struct LocationHealth {
  std::string name;
  std::string name_space;
  std::string repository_url;
  std::string init_status;
  std::optional<WallTime> init_time;
  std::optional<std::uint64_t> snapshots;  // where the repository was looked into
};

struct PolicyHealth {
  std::string name;
  std::string name_space;
  std::string location;
  std::string schedule;
  std::string backup_status;  // of the last attempt
  std::optional<WallTime> last_attempt;
  std::optional<WallTime> last_good;  // of the last backup known to have succeeded
  std::string snapshot_id;
  std::int64_t size = 0;               // bytes of the last good backup
  std::int64_t added = 0;              // bytes it added
  std::optional<std::int64_t> growth;  // of its size since the good backup before
  std::uint64_t largest_before = 0;    // bytes of the largest of some good backups before; 0: none
  std::optional<WallTime> next_due;
  std::optional<WallTime> late_after;  // from then on the last good backup is too old
  bool suspended = false;
  std::string error_message;
};

struct Health {
  std::vector<LocationHealth> locations;
  std::vector<PolicyHealth> policies;
  std::vector<Finding> findings;  // worst first
};

// What is wrong with a clock that is so far ahead of this machine's: "the store's clock is 2h ahead
// of this machine's". Nullopt where they agree, or nobody could compare them.
std::optional<std::string> clock_fault(const std::string& whose,
                                       const std::optional<std::chrono::seconds>& offset);

// Judges what was seen. Pure: the time is the fleet's.
Health judge(const Fleet& fleet);

// The worst severity among findings; nullopt without any.
std::optional<Severity> worst(const std::vector<Finding>& findings);

}  // namespace kubedr::health

#endif  // KUBEDR_HEALTH_FINDINGS_H
