#ifndef KUBEDR_WORKFLOW_INSTALL_H
#define KUBEDR_WORKFLOW_INSTALL_H

#include <string>
#include <vector>

#include "base/json.h"
#include "workflow/services.h"

namespace kubedr::workflow {

// "cronjob.batch/nightly-backup-cronjob", as kubectl names it.
std::string display_name(const Json& object);

// The namespace, the four definitions, the admission policy and the roles, in the order they are
// applied, as for a namespace that holds no location and no policy yet.
std::vector<Json> install_objects(const std::string& name_space);

struct Installed {
  std::string object;  // "customresourcedefinition.apiextensions.k8s.io/backuplocations..."
  bool changed = false;
};

// Applies them by server-side apply: a second time changes nothing, unless locations or policies
// name other Secrets by then. Waits until the API server serves the resources.
std::vector<Installed> install(const Services& services, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_INSTALL_H
