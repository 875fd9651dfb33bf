#ifndef KUBEDR_CLUSTER_OFFLINE_CLUSTER_H
#define KUBEDR_CLUSTER_OFFLINE_CLUSTER_H

#include "cluster/cluster.h"

namespace kubedr::cluster {

// What only an API server could tell, where there is none.
class OfflineCluster : public Cluster {
 public:
  std::optional<std::string> identity(const Call&) override { return std::nullopt; }

  std::optional<bool> operator_runs(const Call&) override { return false; }

  std::map<std::string, std::string> claims_of_pod(const std::string&, const Call&) override {
    return {};
  }

  std::optional<bool> lock_holder_lives(const std::string&, WallTime, const Call&) override {
    return std::nullopt;
  }

  std::optional<bool> wait_for_change(const std::string&, const std::string&,
                                      std::chrono::milliseconds time, const Call& call) override {
    call.sleep(time);
    return std::nullopt;
  }

  std::string pod_log(const std::string&, const Call&) override { return {}; }

  std::optional<std::pair<int, int>> server_version(const Call&) override { return std::nullopt; }

  std::optional<std::chrono::seconds> clock_offset() const override { return std::nullopt; }

  std::optional<bool> may(const Permission&, const Call&) override { return std::nullopt; }
};

}  // namespace kubedr::cluster

#endif  // KUBEDR_CLUSTER_OFFLINE_CLUSTER_H
