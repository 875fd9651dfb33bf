#ifndef KUBEDR_WORKFLOW_SCHEDULE_H
#define KUBEDR_WORKFLOW_SCHEDULE_H

#include <optional>
#include <string>
#include <vector>

#include "workflow/job.h"
#include "workflow/services.h"

namespace kubedr::workflow {

struct ScheduleRequest {
  std::string policy;  // empty: the only one there is
  std::string image;   // empty: that of the CronJob that is there
  bool force = false;  // replace a CronJob that somebody else made
  // Where its pods push metrics to; empty: nowhere; none: as the CronJob that is there.
  std::optional<std::string> push = std::nullopt;
};

// The policy's CronJob as it would be applied; nothing is written.
//
// errors   usage: no image; as schedule()
Json scheduled_object(const Services& services, const ScheduleRequest& request, const Call& call);

struct ScheduleReport {
  std::string policy;
  std::string object;  // "cronjob.batch/nightly-backup-cronjob"
  std::string image;
  std::string push;
  cluster::Applied applied = cluster::Applied::unchanged;
  bool replaced = false;                    // somebody else's
  std::vector<std::string> deleted_jobs{};  // that could not start as the CronJob was before
};

// Applies the CronJob that takes a policy's backups in the cluster. What its pods will need is
// looked at first: the service account, the Secrets and their keys.
//
// errors   not_found: any of these; exists: somebody else's CronJob, or an operator that makes it
ScheduleReport schedule(const Services& services, const ScheduleRequest& request, const Call& call);

// Deletes it, with its Jobs. Returns its name.
//
// errors   not_found: there is none; exists: an operator runs, which would make it again
std::string unschedule(const Services& services, const std::string& policy, const Call& call);

// What `suspend` and `resume` changed.
struct SuspendReport {
  std::string policy;
  bool changed = false;    // of the policy
  bool scheduled = false;  // it has a CronJob, which says the same now
};

SuspendReport set_suspended(const Services& services, const std::string& policy, bool suspended,
                            const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_SCHEDULE_H
