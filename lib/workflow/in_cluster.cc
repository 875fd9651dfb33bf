#include "workflow/in_cluster.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "workflow/job.h"
#include "workflow/open.h"
#include "workflow/schedule.h"

namespace kubedr::workflow {
namespace {

constexpr std::chrono::seconds kLook{1};
// While its pod is watched: a job may be over, or gone, without its pod.
constexpr std::chrono::seconds kLongestLook{10};
// After so long without a word it is said where one may be found.
constexpr std::chrono::seconds kPatience{30};
// A pod that has not started by then is in nobody's way: its image, its Secret or its folder is not
// there.
constexpr std::chrono::minutes kLongestStart{5};
constexpr std::size_t kLongestLabel = 63;

std::string name_of(const Json& object) {
  return find_string(object, {"metadata", "name"}).value_or("");
}

std::string phase_of(const Json& pod) {
  return find_string(pod, {"status", "phase"}).value_or("");
}

// In the order in which they were made.
std::pair<std::string, std::string> age_of(const Json& pod) {
  return {find_string(pod, {"metadata", "creationTimestamp"}).value_or(""), name_of(pod)};
}

bool has_ended(const Json& pod) {
  return phase_of(pod) == "Succeeded" || phase_of(pod) == "Failed";
}

const Json* container_state(const Json& pod, const char* state) {
  const Json* statuses = find(pod, {"status", "containerStatuses"});
  if (statuses == nullptr || !statuses->is_array() || statuses->empty()) return nullptr;
  return find(statuses->front(), {"state", state});
}

// Why a pod has not started; empty while that is nothing to worry about.
std::string trouble_of(const Json& pod) {
  if (const Json* waiting = container_state(pod, "waiting")) {
    const std::string reason = find_string(*waiting, {"reason"}).value_or("");
    if (reason.empty() || reason == "ContainerCreating" || reason == "PodInitializing") return "";
    return fmt::format("{}: {}", reason, find_string(*waiting, {"message"}).value_or(""));
  }
  const Json* conditions = find(pod, {"status", "conditions"});
  if (conditions == nullptr || !conditions->is_array()) return "";
  for (const Json& condition : *conditions) {
    if (find_string(condition, {"type"}) == "PodScheduled" &&
        find_string(condition, {"status"}) == "False") {
      return find_string(condition, {"message"}).value_or("not scheduled to a node yet");
    }
  }
  return "";
}

bool is_late(const Json& pod, WallTime now) {
  const auto made = parse_time(find_string(pod, {"metadata", "creationTimestamp"}).value_or(""));
  return phase_of(pod) == "Pending" && made && now - *made > kLongestStart;
}

// Follows the last pod of a job; ours never start a second one, an operator's may.
class Following {
 public:
  // `retries`: a pod that failed may be followed by another.
  Following(const Services& services, const std::string& job, bool retries, const JobWatch& watch,
            const Call& call)
      : s_(services),
        job_(job),
        pods_("job-name=" + job),
        retries_(retries),
        watch_(watch),
        call_(call),
        begun_(call.clock().steady()) {}

  // Its pod as it ended; nullopt where the job was done and the pod was gone before anybody looked.
  std::optional<Json> until_ended() {
    while (true) {
      try {
        if (look()) return pod_;
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::unavailable) throw;
        call_.require_live();
        remark(error.what());
      }
      wait();
    }
  }

 private:
  // Until there may be something to see. While its pod is known to be what it was, only its log can
  // have grown.
  void wait() {
    const SteadyTime end = call_.clock().steady() + kLongestLook;
    do {
      if (s_.cluster.wait_for_change("Pod", pods_, kLook, call_) != false) return;
      if (!pod_ || has_ended(*pod_)) return;  // the job is what tells
      read_log(*pod_);
    } while (call_.clock().steady() < end);
  }

  // Whether it is over. The job itself is asked only where its pod does not tell.
  bool look() {
    pod_ = find_pod();
    if (!pod_) {
      const bool done = job_is_done();
      if (!done) remark_when_due("job", job_);
      return done;
    }
    const std::string trouble = trouble_of(*pod_);
    remark(trouble);
    if (phase_of(*pod_) == "Pending" && trouble.empty()) remark_when_due("pod", name_of(*pod_));
    read_log(*pod_);
    return has_ended(*pod_) && (!retries_ || job_is_done());
  }

  void remark_when_due(const char* kind, const std::string& name) {
    if (call_.clock().steady() - begun_ < kPatience) return;
    remark(fmt::format("job/{}: nothing runs yet: kubectl -n {} describe {} {}", job_,
                       s_.cluster.name_space(), kind, name));
  }

  std::optional<Json> find_pod() const {
    std::vector<Json> pods = s_.cluster.list_objects("Pod", pods_, cluster::Reach::here, call_);
    if (pods.empty()) return std::nullopt;
    return *std::max_element(pods.begin(), pods.end(), [](const Json& one, const Json& other) {
      return age_of(one) < age_of(other);
    });
  }

  // A job that failed may have no pod to tell why.
  bool job_is_done() const {
    const auto job = s_.cluster.find_object({"Job", job_}, call_);
    if (!job) {
      throw Error(ErrorKind::failed, fmt::format("job/{}: somebody deleted it", job_),
                  "run the same command again");
    }
    const Json conditions = job->value("status", Json::object()).value("conditions", Json::array());
    for (const Json& condition : conditions) {
      if (find_string(condition, {"status"}) != "True") continue;
      const std::string type = find_string(condition, {"type"}).value_or("");
      if (type == "Complete") return true;
      if (type != "Failed") continue;
      if (pod_) return true;
      throw Error(ErrorKind::failed,
                  fmt::format("job/{}: {}", job_,
                              find_string(condition, {"message"}).value_or("it failed")),
                  fmt::format("kubectl -n {} describe job {}", s_.cluster.name_space(), job_));
    }
    return false;
  }

  void read_log(const Json& pod) {
    if (phase_of(pod) == "Pending") return;
    try {
      const std::string log = s_.cluster.pod_log(name_of(pod), call_);
      if (log.size() > seen_) watch_.log(std::string_view(log).substr(seen_));
      seen_ = std::max(seen_, log.size());
    } catch (const Error& error) {
      call_.require_live();
      remark(std::string(error.what()) + (error.hint().empty() ? "" : "\n  " + error.hint()));
    }
  }

  void remark(const std::string& text) {
    if (text.empty() || text == last_remark_) return;
    last_remark_ = text;
    watch_.remark(text);
  }

  const Services& s_;
  const std::string& job_;
  const std::string pods_;  // the selector of its pods
  const bool retries_;
  const JobWatch& watch_;
  const Call& call_;
  const SteadyTime begun_;
  std::optional<Json> pod_;  // as of the last look
  std::size_t seen_ = 0;
  std::string last_remark_;
};

Json cron_job_for(const Services& services, const crd::Policy& policy,
                  const InClusterRequest& request, const Call& call) {
  const auto there =
      services.cluster.find_object({"CronJob", cron_job_name(policy.ref.name)}, call);
  if (there) return *there;
  if (request.image.empty()) {
    throw Error(
        ErrorKind::usage,
        fmt::format("metadatabackuppolicy \"{}\" is not scheduled, so nothing says how its "
                    "job runs",
                    policy.ref.name),
        fmt::format("kubectl kubedr schedule {}, or name an image with --image", policy.ref.name));
  }
  return scheduled_object(services, {policy.ref.name, request.image}, call);
}

// Whoever stops waiting leaves the job to go on.
std::optional<Json> follow(const Services& services, const std::string& name, const Json& job,
                           const JobWatch& watch, const Call& call) {
  const bool retries = find_integer(job, {"spec", "backoffLimit"}) != 0;
  try {
    return Following(services, name, retries, watch, call).until_ended();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::failed) throw;
    const std::string goes_on = fmt::format("job/{} goes on: kubectl -n {} logs -f job/{}", name,
                                            services.cluster.name_space(), name);
    throw Error(error.kind(), error.what(),
                error.hint().empty() ? goes_on : error.hint() + "\n  " + goes_on);
  }
}

}  // namespace

void require_no_job(const Services& services, const std::string& policy, const Call& call) {
  if (policy.size() > kLongestLabel) return;  // no pod bears it
  std::vector<Json> pods;
  try {
    pods =
        services.cluster.list_objects("Pod", backup_selector(policy), cluster::Reach::here, call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::denied) throw;
    log::info("{}", error.what());  // locks of the repository still keep the two apart
  }
  const auto own = std::find_if(pods.begin(), pods.end(),
                                [&](const Json& pod) { return name_of(pod) == services.pod_name; });
  for (const Json& pod : pods) {
    // Of two that meet, the older goes on: else both would give way.
    if (own != pods.end() && age_of(pod) >= age_of(*own)) continue;
    // One that cannot start, for want of an image or a node, is in nobody's way.
    if (has_ended(pod) || !trouble_of(pod).empty() || is_late(pod, services.clock.now())) continue;
    throw Error(ErrorKind::locked,
                fmt::format("metadatabackuppolicy/{}: pod {} is backing it up right now", policy,
                            name_of(pod)),
                "wait until it has ended, or say --force");
  }
}

std::vector<std::string> delete_stuck_jobs(const Services& services, const std::string& policy,
                                           const Call& call) {
  std::vector<std::string> jobs;
  for (const Json& pod :
       services.cluster.list_objects("Pod", backup_selector(policy), cluster::Reach::here, call)) {
    const auto job = find_string(pod, {"metadata", "labels", "job-name"});
    if (!job || phase_of(pod) != "Pending" || trouble_of(pod).empty()) continue;
    if (services.cluster.delete_object({"Job", *job}, call)) jobs.push_back(*job);
  }
  return jobs;
}

InClusterReport backup_in_cluster(const Services& services, const InClusterRequest& request,
                                  const JobWatch& watch, const Call& call) {
  const crd::Policy policy = choose_policy(services, request.policy, call);
  const Json cron_job = cron_job_for(services, policy, request, call);
  if (!request.force) require_no_job(services, policy.ref.name, call);
  InClusterReport report;
  report.policy = policy.ref.name;
  report.job = job_name(policy.ref.name, services.random.next());
  const Json job = make_job(cron_job, report.job);
  services.cluster.create_object(job, call);
  if (!request.wait) return report;
  const std::optional<Json> followed = follow(services, report.job, job, watch, call);
  if (!followed) {
    report.exit_code = 0;  // or the job would not have been complete
    return report;
  }
  const Json& pod = *followed;
  report.pod = name_of(pod);
  if (const Json* ended = container_state(pod, "terminated")) {
    report.exit_code = static_cast<int>(find_integer(*ended, {"exitCode"}).value_or(1));
  }
  if (!report.exit_code) {
    throw Error(
        ErrorKind::failed,
        fmt::format("pod/{}: ended before its program did: {}", report.pod,
                    find_string(pod, {"status", "message"}).value_or(phase_of(pod))),
        fmt::format("kubectl -n {} describe pod {}", services.cluster.name_space(), report.pod));
  }
  try {
    const crd::PolicyStatus status = services.cluster.policy(policy.ref.name, call).status;
    if (status.backup_pod == report.pod) report.snapshot_id = status.snapshot_id;
  } catch (const Error& error) {
    watch.remark(error.what());  // the backup is what it is
  }
  return report;
}

}  // namespace kubedr::workflow
