#ifndef KUBEDR_CLUSTER_API_CLUSTER_H
#define KUBEDR_CLUSTER_API_CLUSTER_H

#include "cluster/cluster.h"
#include "kube/client.h"
#include "kube/watch.h"

namespace kubedr::cluster {

// Resources and Secrets of a real API server.
class ApiCluster final : public Cluster {
 public:
  // An empty namespace lists all of them; single objects then need one. `clock` must outlive this.
  ApiCluster(kube::Client client, std::string name_space, const Clock& clock);

  crd::Location location(const std::string& name, const Call& call) override;
  crd::Policy policy(const std::string& name, const Call& call) override;
  Listed<crd::Location> locations(const Call& call) override;
  Listed<crd::Policy> policies(const Call& call) override;
  Listed<crd::Record> records(const Call& call) override;
  crd::Restore restore(const std::string& name, const Call& call) override;
  SecretData secret(const std::string& name, const std::string& name_space,
                    const Call& call) override;
  std::optional<std::string> identity(const Call& call) override;

  std::optional<bool> operator_runs(const Call& call) override;
  std::map<std::string, std::string> claims_of_pod(const std::string& pod,
                                                   const Call& call) override;
  std::optional<bool> lock_holder_lives(const std::string& host, WallTime locked,
                                        const Call& call) override;

  std::optional<Json> find_object(const ObjectName& object, const Call& call) override;
  std::vector<Json> list_objects(const std::string& kind, const std::string& labels, Reach reach,
                                 const Call& call) override;
  std::optional<bool> wait_for_change(const std::string& kind, const std::string& labels,
                                      std::chrono::milliseconds time, const Call& call) override;
  std::string pod_log(const std::string& pod, const Call& call) override;
  std::optional<std::pair<int, int>> server_version(const Call& call) override;

  std::optional<std::chrono::seconds> clock_offset() const override {
    return client_.clock_offset();
  }

  std::optional<bool> may(const Permission& permission, const Call& call) override;

  const std::string& name_space() const override { return name_space_; }

  bool has_api_server() const override { return true; }

  bool has_resources() const override { return true; }

  void patch_status(const crd::ObjectRef& ref, const Json& status, const Call& call) override;
  void annotate(const crd::ObjectRef& ref, const std::string& key, const std::string& value,
                const Call& call) override;
  void annotate_unchanged(const crd::ObjectRef& ref, const std::string& key,
                          const std::string& value, const Call& call) override;
  void create_record(const std::string& policy, const std::string& location,
                     const std::string& snapshot_id, const Call& call) override;
  void delete_record(const crd::ObjectRef& ref, const Call& call) override;
  void post_event(const crd::ObjectRef& ref, const crd::EventText& text,
                  const std::string& component, const Call& call) override;
  Applied apply(const Json& object, const Call& call) override;
  void create_object(const Json& object, const Call& call) override;
  void patch_object(const ObjectName& object, const Json& patch, const Call& call) override;
  bool delete_object(const ObjectName& object, const Call& call) override;
  std::vector<Json> collected() const override;

 private:
  void patch_annotation(const crd::ObjectRef& ref, const Json& patch, const Call& call);
  void release(const ObjectName& object, const Call& call);

  kube::Client client_;
  const std::string name_space_;
  const Clock& clock_;
  std::optional<kube::Watch> watch_;  // of what was last waited for
};

}  // namespace kubedr::cluster

#endif  // KUBEDR_CLUSTER_API_CLUSTER_H
