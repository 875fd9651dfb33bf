#ifndef KUBEDR_WORKFLOW_VERSIONS_H
#define KUBEDR_WORKFLOW_VERSIONS_H

#include <string>
#include <vector>

#include "workflow/services.h"

namespace kubedr::workflow {

// What one of the servers that a backup needs says of itself.
struct ServerVersion {
  std::string of;       // "etcd", "repository"
  std::string name;     // the policy's or the location's
  std::string where;    // endpoint, or the repository's name
  std::string version;  // "3.6.4"; of a repository that of its format; empty: see `error`
  std::string error;
};

// Asks the etcd of every policy and opens the repository of every location. Who does not answer is
// part of the answer.
//
// errors   from listing policies and locations only
std::vector<ServerVersion> server_versions(const Services& services, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_VERSIONS_H
