#include "workflow/identity.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"

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

bool same_identity(const repo::Snapshot& a, const repo::Snapshot& b) {
  const auto differ = [&](const char* tag) {
    const std::string one = tag_value(a, tag);
    const std::string other = tag_value(b, tag);
    return !one.empty() && !other.empty() && one != other;
  };
  return !differ("cluster") && !differ("etcd");
}

std::string identity_of(const repo::Snapshot& snapshot) {
  for (const char* tag : {"cluster", "etcd"}) {
    const std::string value = tag_value(snapshot, tag);
    if (!value.empty()) return fmt::format("{} {}", tag, value);
  }
  return "";
}

bool is_of_cluster(const repo::Snapshot& snapshot, const std::optional<std::string>& uid) {
  const std::string tagged = tag_value(snapshot, "cluster");
  return !uid || tagged.empty() || tagged == *uid;
}

bool names(const crd::Record& record, const repo::SavedSnapshot& saved) {
  return health::names_snapshot(record, saved.id.hex());
}

health::SnapshotIds ids_of(const std::vector<repo::SavedSnapshot>& snapshots) {
  std::vector<std::string> ids;
  ids.reserve(snapshots.size());
  for (const repo::SavedSnapshot& saved : snapshots) ids.push_back(saved.id.hex());
  return health::SnapshotIds(std::move(ids));
}

void require_free_tag(const std::string& tag) {
  bool reserved = tag == kTag || tag == kAdoptedTag || tag == kSecretsEncryptedTag;
  for (const char* name : {"policy=", "cluster=", "etcd=", "revision="}) {
    reserved = reserved || tag.starts_with(name);
  }
  if (!reserved) return;
  throw Error(
      ErrorKind::usage,
      fmt::format("--tag {}: this tag says whose a snapshot is, and retention goes by it", tag),
      "choose another tag");
}

std::string backup_pod_name(const Services& services, const crd::Policy& policy) {
  const std::string& before = policy.status.backup_pod;
  const std::string& pod = services.pod_name;
  const bool again = before == pod || before.starts_with(pod + "-");
  if (!pod.empty() && !again) return pod;
  const std::string base = pod.empty() ? policy.ref.name + "-backup-job" : pod;
  std::string name;
  do {
    name = fmt::format("{}-{:05}", base, services.random.next() % 100'000);
  } while (name == before);
  return name;
}

}  // namespace kubedr::workflow
