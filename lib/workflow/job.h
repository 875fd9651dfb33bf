#ifndef KUBEDR_WORKFLOW_JOB_H
#define KUBEDR_WORKFLOW_JOB_H

#include <string>
#include <vector>

#include "base/json.h"
#include "crd/resources.h"

// The CronJob of a policy: names, labels, environment and mounts as in operator mode, so that
// neither an operator nor people notice a difference; our own program inside.
//
//   nightly-backup-cronjob      the CronJob, owned by the policy
//   nightly-backup-job-04711    a Job that somebody ran by hand
//
// source   the KubeDR contract 6; its operator's controllers
namespace kubedr::workflow {

// The label of CronJobs, and of the pods of their Jobs, that says whose they are.
inline constexpr char kPolicyLabel[] = "kubedr.backup-policy";

// Where an image has this program, and what to say to who has none.
inline constexpr char kProgram[] = "/usr/local/bin/kubectl-kubedr";
inline constexpr char kImageHint[] =
    "tests/release/image makes one; push it to a registry that the nodes pull from";

// What a container of ours does without: privileges, capabilities, a root that can be written.
Json restricted_container();

// "kubedr.type=backup", and of one policy.
std::string backup_selector();
std::string backup_selector(const std::string& policy);

std::string cron_job_name(const std::string& policy);

// The name of a pod or Job by hand: "nightly-backup-job-" and five digits.
std::string job_name(const std::string& policy, std::uint64_t random);

struct JobSettings {
  std::string image;
  bool with_time_zone = true;  // an API server before 1.25 knows none, and goes by its own
  std::string push = {};       // URL of the Pushgateway that is told of each backup; empty: none
};

// errors   usage: a policy's name that is too long for a CronJob's
Json make_cron_job(const crd::Policy& policy, const crd::Location& location,
                   const JobSettings& settings);

// The Job that a CronJob would make, by hand; as `kubectl create job --from` makes it. Without an
// uid, as in a CronJob that is not there, it is nobody's.
Json make_job(const Json& cron_job, const std::string& name);

// Whether we made it, and not an operator.
bool is_ours(const Json& cron_job);

// The image that a CronJob or Deployment runs, of its first container; empty when there is none.
std::string image_of(const Json& workload);

// The URL that a CronJob of ours pushes metrics to; empty when it pushes none.
std::string push_of(const Json& cron_job);

// What of a CronJob is not as its policy and location say, in the policy's words: "schedule",
// "certsDir". Of somebody else's only the schedule and whether it is suspended count.
std::vector<std::string> drift_of(const Json& cron_job, const crd::Policy& policy,
                                  const crd::Location& location);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_JOB_H
