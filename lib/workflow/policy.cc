#include "workflow/policy.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "health/schedule.h"
#include "workflow/job.h"

namespace kubedr::workflow {
namespace {

Json policy_object(const std::string& name_space, const NewPolicy& policy) {
  Json spec = {{"destination", policy.destination}, {"schedule", policy.schedule}};
  const auto add = [&](const char* field, const std::string& value) {
    if (!value.empty()) spec[field] = value;
  };
  add("certsDir", policy.certs_dir);
  add("etcdEndpoint", policy.etcd_endpoint);
  add("etcdCreds", policy.etcd_creds);
  if (policy.retain > 0) spec["retainNumBackups"] = policy.retain;
  if (policy.suspend) spec["suspend"] = true;
  if (!policy.node_label.empty()) spec["options"] = {{"master-node-label-name", policy.node_label}};
  return {{"apiVersion", crd::kApiVersion},
          {"kind", crd::kind_name(crd::Kind::policy)},
          {"metadata", {{"name", policy.name}, {"namespace", name_space}}},
          {"spec", spec}};
}

}  // namespace

std::vector<Json> policy_objects(const std::string& name_space, const NewPolicy& policy) {
  return with_secret(policy_object(name_space, policy), policy.etcd_creds, policy.etcd_keys);
}

CreateReport create_policy(const Services& services, const NewPolicy& policy, const Call& call) {
  const Json object = policy_object(services.cluster.name_space(), policy);
  const crd::Policy parsed = crd::parse_policy(object);
  static_cast<void>(health::Schedule::parse(parsed.schedule));
  services.cluster.location(parsed.destination, call);
  if (!policy.etcd_keys && crd::uses_tls(parsed)) {
    services.cluster.secret(parsed.etcd_creds, parsed.ref.name_space, call);
  }
  if (services.cluster.find_object({crd::kind_name(crd::Kind::policy), policy.name}, call)) {
    throw Error(ErrorKind::exists,
                fmt::format("metadatabackuppolicy \"{}\" is there already", policy.name),
                fmt::format("kubectl -n {} edit metadatabackuppolicy {}",
                            services.cluster.name_space(), policy.name));
  }
  return create_objects(services, object, policy.etcd_creds, policy.etcd_keys, call);
}

DeleteReport delete_policy(const Services& services, const std::string& name, bool delete_secret,
                           const AgreeToDelete& agree, const Call& call) {
  const crd::Policy policy = services.cluster.policy(name, call);
  DeletePlan plan;
  const cluster::ObjectName cron_job{"CronJob", cron_job_name(name)};
  // Another's CronJob goes with the policy if that owns it, and stays if not.
  const auto scheduled = services.cluster.find_object(cron_job, call);
  if (scheduled && is_ours(*scheduled)) plan.objects.push_back(cron_job);
  plan.objects.push_back({crd::kind_name(crd::Kind::policy), name});
  if (delete_secret) {
    require_unshared(services, policy.etcd_creds, policy.ref, call);
    plan.secret = policy.etcd_creds;
  }
  const auto records = services.cluster.records(call).items;
  plan.records = static_cast<std::size_t>(
      std::count_if(records.begin(), records.end(),
                    [&](const crd::Record& record) { return record.policy == name; }));
  return delete_planned(services, plan, agree, call);
}

}  // namespace kubedr::workflow
