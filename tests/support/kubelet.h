#ifndef KUBEDR_SUPPORT_KUBELET_H
#define KUBEDR_SUPPORT_KUBELET_H

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "support/kube_api.h"

namespace kubedr::test {

struct NodeOptions {
  std::string name = "node-1";
  std::map<std::string, std::string> labels;
  std::vector<std::string> taints;  // keys, effect NoSchedule
  // What its registry has: the root folder of each image, by its name.
  std::map<std::string, std::filesystem::path> images;
};

// A node with a small kubelet, and the scheduler for it: it takes pods that its labels and taints
// fit, and runs what they say. The image's files are the pod's root, read-only if the pod says so;
// Secrets, the service account's token, empty folders and the node's own are where it mounts them;
// it sees its own environment and nothing else, and has no capability. Log, exit code and the
// reason why nothing runs go into the pod's status, as a kubelet writes them.
//
// One container a pod, the node's network, no restarts, and ready is what runs: what the workloads
// of this project need.
//
// threads  synchronised; the API server must outlive it
class Kubelet {
 public:
  Kubelet(const KubeApi& api, NodeOptions options);
  Kubelet(const Kubelet&) = delete;
  Kubelet& operator=(const Kubelet&) = delete;
  ~Kubelet();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_KUBELET_H
