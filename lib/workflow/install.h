#ifndef KUBEDR_WORKFLOW_INSTALL_H
#define KUBEDR_WORKFLOW_INSTALL_H

#include <string>
#include <vector>

#include "base/json.h"
#include "workflow/services.h"

namespace kubedr::workflow {

// The namespace and the four definitions, in the order they are applied.
std::vector<Json> install_objects(const std::string& name_space);

struct Installed {
  std::string object;  // "customresourcedefinition.apiextensions.k8s.io/backuplocations..."
  bool changed = false;
};

// Applies them by server-side apply: a second time changes nothing. Waits until the API server
// serves the resources.
std::vector<Installed> install(const Services& services, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_INSTALL_H
