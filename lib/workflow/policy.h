#ifndef KUBEDR_WORKFLOW_POLICY_H
#define KUBEDR_WORKFLOW_POLICY_H

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "workflow/changes.h"
#include "workflow/services.h"

namespace kubedr::workflow {

struct NewPolicy {
  std::string name;
  std::string destination;
  std::string schedule;
  std::string certs_dir;                         // empty: none
  std::string etcd_endpoint;                     // empty: the default
  std::string etcd_creds;                        // name of the Secret
  std::optional<cluster::SecretData> etcd_keys;  // of the Secret to make; none: it is there already
  std::int64_t retain = 0;                       // 0: the default
  bool suspend = false;
  std::string node_label;  // of the nodes that run backups; empty: any control plane's
};

// The Secret of etcd, if one is to be made, and the MetadataBackupPolicy.
std::vector<Json> policy_objects(const std::string& name_space, const NewPolicy& policy);

// Makes both and lets kubedr-backup read the Secret. A Secret of the same content is taken as it
// is.
//
// errors   exists: the policy, or a Secret with another content; usage: a schedule that is none;
//          not_found: the location, or a Secret that should be there
CreateReport create_policy(const Services& services, const NewPolicy& policy, const Call& call);

// With its CronJob; records and snapshots stay, and so does the Secret of etcd unless its deletion
// is asked for.
//
// errors   not_found; usage: the Secret is used elsewhere
DeleteReport delete_policy(const Services& services, const std::string& name, bool delete_secret,
                           const AgreeToDelete& agree, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_POLICY_H
