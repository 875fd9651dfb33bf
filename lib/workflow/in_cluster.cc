#include "workflow/in_cluster.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "workflow/job.h"
#include "workflow/open.h"
#include "workflow/schedule.h"

namespace kubedr::workflow {
namespace {

constexpr std::chrono::seconds kLook{1};

std::string name_of(const Json& object) {
  return find_string(object, {"metadata", "name"}).value_or("");
}

std::string phase_of(const Json& pod) {
  return find_string(pod, {"status", "phase"}).value_or("");
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

// Follows the only pod of a job; our jobs never start a second one.
class Following {
 public:
  Following(const Services& services, const std::string& job, const JobWatch& watch,
            const Call& call)
      : s_(services), job_(job), watch_(watch), call_(call) {}

  Json until_ended() {
    while (true) {
      const std::optional<Json> pod = find_pod();
      if (pod) {
        remark(trouble_of(*pod));
        read_log(*pod);
        if (has_ended(*pod)) return *pod;
      } else {
        require_job_alive();
      }
      call_.sleep(kLook);
    }
  }

 private:
  std::optional<Json> find_pod() const {
    std::vector<Json> pods =
        s_.cluster.list_objects("Pod", "job-name=" + job_, cluster::Reach::here, call_);
    if (pods.empty()) return std::nullopt;
    return std::move(pods.front());
  }

  // Without a pod only the job itself tells that there will be none.
  void require_job_alive() const {
    const auto job = s_.cluster.find_object({"Job", job_}, call_);
    if (!job) {
      throw Error(ErrorKind::failed, fmt::format("job/{}: somebody deleted it", job_));
    }
    for (const Json& condition :
         job->value("status", Json::object()).value("conditions", Json::array())) {
      if (find_string(condition, {"type"}) != "Failed") continue;
      throw Error(ErrorKind::failed,
                  fmt::format("job/{}: failed without a pod: {}", job_,
                              find_string(condition, {"message"}).value_or("")),
                  fmt::format("kubectl -n {} describe job {}", s_.cluster.name_space(), job_));
    }
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
  const JobWatch& watch_;
  const Call& call_;
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

}  // namespace

void require_no_job(const Services& services, const std::string& policy, const Call& call) {
  std::vector<Json> pods;
  try {
    pods =
        services.cluster.list_objects("Pod", backup_selector(policy), cluster::Reach::here, call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::denied) throw;
    log::info("{}", error.what());  // locks of the repository still keep the two apart
  }
  for (const Json& pod : pods) {
    // One that cannot start, for want of an image or a node, is in nobody's way.
    if (has_ended(pod) || name_of(pod) == services.pod_name || !trouble_of(pod).empty()) continue;
    throw Error(ErrorKind::locked,
                fmt::format("metadatabackuppolicy/{}: pod {} is backing it up right now", policy,
                            name_of(pod)),
                "wait until it has ended, or say --force");
  }
}

InClusterReport backup_in_cluster(const Services& services, const InClusterRequest& request,
                                  const JobWatch& watch, const Call& call) {
  const crd::Policy policy = choose_policy(services, request.policy, call);
  const Json cron_job = cron_job_for(services, policy, request, call);
  if (!request.force) require_no_job(services, policy.ref.name, call);
  InClusterReport report;
  report.policy = policy.ref.name;
  report.job = job_name(policy.ref.name, services.random.next());
  services.cluster.create_object(make_job(cron_job, report.job), call);
  if (!request.wait) return report;
  const Json pod = Following(services, report.job, watch, call).until_ended();
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
  const crd::PolicyStatus status = services.cluster.policy(policy.ref.name, call).status;
  if (status.backup_pod == report.pod) report.snapshot_id = status.snapshot_id;
  return report;
}

}  // namespace kubedr::workflow
