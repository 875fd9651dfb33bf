#ifndef KUBEDR_WORKFLOW_IDENTITY_H
#define KUBEDR_WORKFLOW_IDENTITY_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "crd/resources.h"
#include "health/fleet.h"
#include "repo/repository.h"
#include "repo/snapshot.h"
#include "workflow/services.h"

// How snapshots say whose they are: cluster and policy, never the host.
namespace kubedr::workflow {

inline constexpr char kTag[] = "kubedr";

// Set on every backup since `backup --adopt` of another etcd or cluster, so that retention knows.
inline constexpr char kAdoptedTag[] = "adopted";

// Set on a backup without certificates whose database has encrypted Secrets: `status` warns of it.
inline constexpr char kSecretsEncryptedTag[] = "secrets-encrypted";

// "policy=<namespace>/<name>".
std::string policy_tag(const crd::Policy& policy);

// Every tag of a backup of ours; what is not known is left out.
std::vector<std::string> tags_of(const crd::Policy& policy,
                                 const std::optional<std::string>& cluster_uid,
                                 std::uint64_t etcd_cluster_id, std::int64_t etcd_revision);

bool has_tag(const repo::Snapshot& snapshot, const std::string& tag);

// What follows "NAME=" in the first such tag; empty when there is none.
std::string tag_value(const repo::Snapshot& snapshot, const std::string& name);

// Namespace and name of the policy in a snapshot's tag; both empty without one.
struct PolicyName {
  std::string name_space;
  std::string name;
};

PolicyName policy_of(const repo::Snapshot& snapshot);

// False when both say which cluster, or which etcd, they are of, and say it differently.
bool same_identity(const repo::Snapshot& a, const repo::Snapshot& b);

// "cluster <uid>", else "etcd <id>", else empty.
std::string identity_of(const repo::Snapshot& snapshot);

// Whether the snapshot is one of the cluster with that uid, as far as both are known.
bool is_of_cluster(const repo::Snapshot& snapshot, const std::optional<std::string>& uid);

// Whether that record is of that snapshot.
bool names(const crd::Record& record, const repo::SavedSnapshot& saved);

health::SnapshotIds ids_of(const std::vector<repo::SavedSnapshot>& snapshots);

// errors   usage: a tag that says whose a snapshot is, which none but us may say
void require_free_tag(const std::string& tag);

// `status.backupPod`: the pod we run in, for its second backup and later ones with five digits
// more, or a name such as operator mode would have given. Differs for every backup, since the
// operator's metrics tell them apart by it.
std::string backup_pod_name(const Services& services, const crd::Policy& policy);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_IDENTITY_H
