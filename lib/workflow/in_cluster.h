#ifndef KUBEDR_WORKFLOW_IN_CLUSTER_H
#define KUBEDR_WORKFLOW_IN_CLUSTER_H

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "workflow/services.h"

namespace kubedr::workflow {

struct InClusterRequest {
  std::string policy;  // empty: the only one there is
  std::string image;   // for a policy without a CronJob
  bool wait = false;   // until the job has ended
  bool force = false;  // although another job of the policy runs
};

// Told of what happens while a job is waited for.
struct JobWatch {
  std::function<void(std::string_view text)> log;       // of its pod, as it comes
  std::function<void(const std::string& text)> remark;  // why nothing happens yet
};

struct InClusterReport {
  std::string policy;
  std::string job;
  std::string pod;               // empty: not waited for
  std::optional<int> exit_code;  // of the pod's program, ours: see the table of exit codes
  std::string snapshot_id;       // of the backup, if it was good
};

// Runs a policy's job once, as its CronJob would, for whoever cannot reach etcd.
//
// errors   usage: no CronJob, and no image; locked: a job of the policy runs already; failed: it
//          ended without any program having run
InClusterReport backup_in_cluster(const Services& services, const InClusterRequest& request,
                                  const JobWatch& watch, const Call& call);

// errors   locked: a pod backs this policy up right now, other than the one we run in
void require_no_job(const Services& services, const std::string& policy, const Call& call);

// Deletes the jobs of a policy whose pods cannot start, as for want of an image: while one waits,
// its CronJob begins no other. Returns their names.
std::vector<std::string> delete_stuck_jobs(const Services& services, const std::string& policy,
                                           const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_IN_CLUSTER_H
