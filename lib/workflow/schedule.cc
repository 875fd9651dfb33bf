#include "workflow/schedule.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "workflow/access.h"
#include "workflow/in_cluster.h"
#include "workflow/install.h"
#include "workflow/open.h"

namespace kubedr::workflow {
namespace {

constexpr std::pair<int, int> kKnowsTimeZones{1, 25};

cluster::ObjectName cron_job_of(const std::string& policy) {
  return {"CronJob", cron_job_name(policy)};
}

// What a policy's CronJob is made from.
struct Wanted {
  crd::Policy policy;
  crd::Location location;
  std::optional<Json> there;
  Json object;
};

Wanted make_wanted(const Services& services, const ScheduleRequest& request, const Call& call) {
  Wanted wanted;
  wanted.policy = choose_policy(services, request.policy, call);
  wanted.location = services.cluster.location(wanted.policy.destination, call);
  const std::string& name = wanted.policy.ref.name;
  wanted.there = services.cluster.find_object(cron_job_of(name), call);
  JobSettings settings;
  settings.image = request.image;
  const bool ours = wanted.there && is_ours(*wanted.there);
  if (settings.image.empty() && ours) settings.image = image_of(*wanted.there);
  settings.push = request.push.value_or(ours ? push_of(*wanted.there) : "");
  if (settings.image.empty()) {
    throw Error(ErrorKind::usage,
                fmt::format("schedule {}: which image holds this program? --image is needed the "
                            "first time",
                            name),
                kImageHint);
  }
  const auto version = services.cluster.server_version(call);
  settings.with_time_zone = !version || *version >= kKnowsTimeZones;
  wanted.object = make_cron_job(wanted.policy, wanted.location, settings);
  return wanted;
}

// A pod whose Secret lacks a key waits for it without a word.
void require_what_pods_need(const Services& services, const Wanted& wanted, const Call& call) {
  if (!services.cluster.find_object({"ServiceAccount", kJobRole}, call)) {
    throw Error(ErrorKind::not_found,
                fmt::format("serviceaccount \"{}\" not found in namespace \"{}\": backups would "
                            "have no rights",
                            kJobRole, services.cluster.name_space()),
                fmt::format("kubectl kubedr install -n {}", services.cluster.name_space()));
  }
  static_cast<void>(open_store(services, wanted.location, call));
  const crd::Policy& policy = wanted.policy;
  if (!crd::uses_tls(policy)) return;
  const cluster::SecretData keys =
      services.cluster.secret(policy.etcd_creds, policy.ref.name_space, call);
  for (const char* key : {"ca.crt", "client.crt", "client.key"}) {
    require_key(keys, policy.etcd_creds, key);
  }
}

void require_no_operator(const Services& services, const std::string& what, const std::string& hint,
                         const Call& call) {
  if (services.cluster.operator_runs(call) != true) return;
  throw Error(ErrorKind::exists, what + ": an operator is running here, the schedule is its work",
              hint);
}

}  // namespace

Json scheduled_object(const Services& services, const ScheduleRequest& request, const Call& call) {
  return make_wanted(services, request, call).object;
}

ScheduleReport schedule(const Services& services, const ScheduleRequest& request,
                        const Call& call) {
  const Wanted wanted = make_wanted(services, request, call);
  const std::string& name = wanted.policy.ref.name;
  ScheduleReport report{name, display_name(wanted.object), image_of(wanted.object),
                        push_of(wanted.object)};
  if (!request.force) {
    require_no_operator(services, "schedule " + name,
                        "--force replaces its CronJob by one that runs this program", call);
  }
  require_what_pods_need(services, wanted, call);
  if (wanted.there && !is_ours(*wanted.there)) {
    if (!request.force) {
      throw Error(ErrorKind::exists,
                  fmt::format("{} is there already, and somebody else made it", report.object),
                  "--force replaces it");
    }
    // Its fields are not ours to merge with: two containers would come of it.
    services.cluster.delete_object(cron_job_of(name), call);
    report.replaced = true;
  }
  report.applied = services.cluster.apply(wanted.object, call);
  if (report.applied == cluster::Applied::unchanged || report.replaced) return report;
  try {
    report.deleted_jobs = delete_stuck_jobs(services, name, call);
  } catch (const Error& error) {
    call.require_live();
    log::warn("{}; a job that cannot start ends after 6 hours", error.what());
  }
  return report;
}

std::string unschedule(const Services& services, const std::string& policy, const Call& call) {
  const crd::Policy chosen = choose_policy(services, policy, call);
  require_no_operator(services, "unschedule " + chosen.ref.name,
                      "kubectl kubedr suspend " + chosen.ref.name, call);
  const cluster::ObjectName name = cron_job_of(chosen.ref.name);
  const auto there = services.cluster.find_object(name, call);
  if (there && !is_ours(*there)) {
    throw Error(
        ErrorKind::exists, fmt::format("cronjob.batch/{} was made by somebody else", name.name),
        fmt::format("kubectl -n {} delete cronjob {}", services.cluster.name_space(), name.name));
  }
  if (!services.cluster.delete_object(name, call)) {
    throw Error(ErrorKind::not_found,
                fmt::format("metadatabackuppolicy \"{}\" is not scheduled: there is no cronjob "
                            "\"{}\" in namespace \"{}\"",
                            chosen.ref.name, name.name, services.cluster.name_space()),
                "there is nothing to stop here: `kubectl get cronjobs -A` lists what there is "
                "elsewhere");
  }
  return "cronjob.batch/" + name.name;
}

SuspendReport set_suspended(const Services& services, const std::string& policy, bool suspended,
                            const Call& call) {
  const crd::Policy chosen = choose_policy(services, policy, call);
  SuspendReport report{chosen.ref.name, chosen.suspend != suspended};
  const Json patch = {{"spec", {{"suspend", suspended}}}};
  if (report.changed) {
    services.cluster.patch_object({crd::kind_name(crd::Kind::policy), chosen.ref.name}, patch,
                                  call);
  }
  report.scheduled = services.cluster.find_object(cron_job_of(chosen.ref.name), call).has_value();
  if (report.scheduled) {
    services.cluster.patch_object(cron_job_of(chosen.ref.name), patch, call);
  }
  return report;
}

}  // namespace kubedr::workflow
