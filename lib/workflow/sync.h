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
  std::vector<std::string> uncounted;     // policies whose totals do not know all their snapshots
  bool stale_location = false;  // its status does not say that there is a repository: it opened
  std::vector<cluster::ObjectName> held;  // being deleted, with an operator's finalizer in the way

  bool empty() const {
    return missing.empty() && dangling.empty() && stale_status.empty() && uncounted.empty() &&
           !stale_location && held.empty();
  }
};

struct SyncReport {
  SyncPlan plan;
  bool done = false;
  std::vector<FailedStep> failed_steps;
};

struct SyncRequest {
  Whose whose;
  bool unsafe_allow_remove_all = false;  // a policy may lose every record that it has
};

// Adds what is missing, removes records of nothing, lets go what is being deleted and held by the
// finalizer of an operator that is gone, under a shared lock, which keeps those away who remove
// snapshots; what was agreed to must still be so then. Deletes no record on doubt: nothing
// goes when a policy would lose all of its records (another bucket, a listing that is empty), or a
// snapshot file is damaged.
//
// errors   corrupt, failed: doubt; conflict: the plan is not true any more; locked
SyncReport sync(const Services& services, const SyncRequest& request,
                const std::function<bool(const SyncPlan&)>& agree, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_SYNC_H
