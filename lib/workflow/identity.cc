#include "workflow/identity.h"

#include <fmt/core.h>

#include <algorithm>

namespace kubedr::workflow {

std::string policy_tag(const crd::Policy& policy) {
  return fmt::format("policy={}/{}", policy.ref.name_space, policy.ref.name);
}

std::vector<std::string> tags_of(const crd::Policy& policy,
                                 const std::optional<std::string>& cluster_uid,
                                 std::uint64_t etcd_cluster_id, std::int64_t etcd_revision) {
  std::vector<std::string> tags{kTag, policy_tag(policy)};
  if (cluster_uid) tags.push_back("cluster=" + *cluster_uid);
  if (etcd_cluster_id != 0) tags.push_back(fmt::format("etcd={:x}", etcd_cluster_id));
  if (etcd_revision != 0) tags.push_back(fmt::format("revision={}", etcd_revision));
  return tags;
}

bool has_tag(const repo::Snapshot& snapshot, const std::string& tag) {
  return std::find(snapshot.tags.begin(), snapshot.tags.end(), tag) != snapshot.tags.end();
}

std::string tag_value(const repo::Snapshot& snapshot, const std::string& name) {
  const std::string prefix = name + "=";
  for (const std::string& tag : snapshot.tags) {
    if (tag.starts_with(prefix)) return tag.substr(prefix.size());
  }
  return "";
}

PolicyName policy_of(const repo::Snapshot& snapshot) {
  const std::string value = tag_value(snapshot, "policy");
  const std::size_t slash = value.find('/');
  if (slash == std::string::npos) return {"", value};
  return {value.substr(0, slash), value.substr(slash + 1)};
}

std::string backup_pod_name(const Services& services, const crd::Policy& policy) {
  const bool in_pod = !services.pod_name.empty();
  if (in_pod && services.pod_name != policy.status.backup_pod) return services.pod_name;
  const std::string base = in_pod ? services.pod_name : policy.ref.name + "-backup-job";
  std::string name;
  do {
    name = fmt::format("{}-{:05}", base, services.random.next() % 100'000);
  } while (name == policy.status.backup_pod);
  return name;
}

}  // namespace kubedr::workflow
