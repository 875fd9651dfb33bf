#ifndef KUBEDR_WORKFLOW_SYNC_H
#define KUBEDR_WORKFLOW_SYNC_H

#include <functional>
#include <string>
#include <vector>

#include "workflow/maintain.h"
#include "workflow/services.h"
#include "workflow/snapshots.h"
#include "workflow/steps.h"

namespace kubedr::workflow {

// What records and status would have to become to agree with the repository.
struct SyncPlan {
  std::string location;
  std::string repository_url;
  std::vector<ListedSnapshot> missing;    // snapshots of our policies without a record
  std::vector<crd::Record> dangling;      // records whose snapshot is not there
  std::vector<std::string> stale_status;  // policies whose status does not name the newest snapshot

  bool empty() const { return missing.empty() && dangling.empty() && stale_status.empty(); }
};

struct SyncReport {
  SyncPlan plan;
  bool done = false;
  std::vector<FailedStep> failed_steps;
};

// Adds what is missing, removes records of nothing. Deletes no record on doubt: nothing goes when
// the listing is empty while records are there, or a snapshot file is damaged.
SyncReport sync(const Services& services, const Whose& whose,
                const std::function<bool(const SyncPlan&)>& agree, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_SYNC_H
