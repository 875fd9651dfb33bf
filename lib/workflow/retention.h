#ifndef KUBEDR_WORKFLOW_RETENTION_H
#define KUBEDR_WORKFLOW_RETENTION_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "crd/resources.h"
#include "repo/prune.h"
#include "workflow/identity.h"
#include "workflow/open.h"
#include "workflow/services.h"
#include "workflow/steps.h"

namespace kubedr::workflow {

// automatic: unless an operator is running, which does it itself; two must not fight.
enum class Retention { automatic, always, never };

// Which of a policy's snapshots have to go, oldest first. Pure.
//
// Counts the policy's own by their own time: those with its tag, and untagged ones that a record of
// the policy names. Never the newest; with `keep` below 1 as with 1. Nothing goes on doubt:
//   - the listing lacks the backup just made, or a snapshot that a record of this policy names
//   - the listing is shorter than the one after the backup before; the next one is believed again
//   - the backup just made is not the newest: another one ran at the same time, or a clock is wrong
//   - one of them has another "cluster" or "etcd" tag than the newest, and the newest is not tagged
//     as adopted: a restored or cloned cluster. Snapshots of another identity are never counted and
//     never go.
struct RetentionInput {
  const crd::Policy& policy;
  std::vector<repo::SavedSnapshot> snapshots;  // of the whole repository, by time
  std::vector<crd::Record> records;            // of the namespace
  std::string own;                             // the id of the backup just made
  std::int64_t keep = 0;
  std::optional<std::int64_t> listed_before;  // the policy's own, after the backup before
};

struct RetentionVerdict {
  std::vector<repo::SavedSnapshot> victims;  // oldest first
  std::string doubt;                         // why nothing is deleted; empty: nothing is in the way
  std::string remedy;
  std::size_t listed = 0;  // the policy's own, the victims among them
};

RetentionVerdict choose_victims(const RetentionInput& input);

// Whether a prune is worth reading and writing packs again: when it frees half as much as is used,
// or, in large repositories, 64 MiB that are a tenth of it. Pure.
bool prune_pays(const repo::PruneFigures& plan);

struct RetentionReport {
  std::vector<std::string> removed;  // snapshot ids
  bool left_to_operator = false;
  std::string doubt;
  std::string remedy;
  std::optional<repo::PruneFigures> pruned;  // only when it paid
};

struct RetentionRequest {
  const crd::Policy& policy;
  const crd::Location& location;
  std::string own;  // the id of the backup just made
  Retention retention = Retention::automatic;
};

// After a backup: per victim first the record, then the snapshot, then a prune if so much is unused
// that it pays. Takes an exclusive lock, for which it waits as `services.lock_retry` says. What
// fails is named in `steps`; what was removed until then is in the report.
RetentionReport retain(const Services& services, OpenedRepository& opened,
                       const RetentionRequest& request, Steps& steps, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_RETENTION_H
