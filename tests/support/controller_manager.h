#ifndef KUBEDR_SUPPORT_CONTROLLER_MANAGER_H
#define KUBEDR_SUPPORT_CONTROLLER_MANAGER_H

#include <memory>

#include "support/kube_api.h"
#include "support/process.h"
#include "support/temp_dir.h"

namespace kubedr::test {

// A real kube-controller-manager for an API server, with the controllers that our stories need:
// CronJobs make Jobs, Jobs and Deployments make Pods, what lost its owner is collected, every
// namespace gets the cluster's CA, and aggregated roles are filled. Ready when the constructor
// returns.
//
// threads  one thread; the API server must outlive it
class ControllerManager {
 public:
  explicit ControllerManager(const KubeApi& api);

 private:
  TempDir dir_;
  const int port_ = free_port();
  std::unique_ptr<Process> process_;
};

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_CONTROLLER_MANAGER_H
