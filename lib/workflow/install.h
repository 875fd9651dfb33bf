#ifndef KUBEDR_WORKFLOW_INSTALL_H
#define KUBEDR_WORKFLOW_INSTALL_H

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "workflow/metrics_service.h"
#include "workflow/services.h"

namespace kubedr::workflow {

// "cronjob.batch/nightly-backup-cronjob", as kubectl names it.
std::string display_name(const Json& object);

struct InstallRequest {
  std::optional<MetricsService> metrics;  // none: what is there of it stays as it is
};

// The namespace, the four definitions, the admission policy, the roles and the listener that is
// asked for, in the order they are applied, as for a namespace that holds no location and no policy
// yet.
std::vector<Json> install_objects(const std::string& name_space, const InstallRequest& request);

struct Installed {
  std::string object;  // "customresourcedefinition.apiextensions.k8s.io/backuplocations..."
  cluster::Applied applied = cluster::Applied::unchanged;
};

// Applies them by server-side apply: a second time changes nothing, unless locations or policies
// name other Secrets by then. Waits until the API server serves the resources.
//
// errors   as require_metrics_service, before anything is applied
std::vector<Installed> install(const Services& services, const InstallRequest& request,
                               const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_INSTALL_H
