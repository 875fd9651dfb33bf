#ifndef KUBEDR_CLUSTER_BARE_CLUSTER_H
#define KUBEDR_CLUSTER_BARE_CLUSTER_H

#include "cluster/offline_cluster.h"

namespace kubedr::cluster {

// No cluster at all: one repository given on the command line, seen as one location and one policy,
// both named "bare", with the Secrets that the command line and the environment gave. What would be
// written is forgotten, but for the policy's status and totals, which later reads of this value
// see.
class BareCluster : public OfflineCluster {
 public:
  struct Settings {
    crd::Location location;
    crd::Policy policy;
    std::map<std::string, SecretData> secrets;
  };

  explicit BareCluster(Settings settings);

  crd::Location location(const std::string& name, const Call& call) override;
  crd::Policy policy(const std::string& name, const Call& call) override;
  Listed<crd::Location> locations(const Call& call) override;
  Listed<crd::Policy> policies(const Call& call) override;
  Listed<crd::Record> records(const Call& call) override;
  crd::Restore restore(const std::string& name, const Call& call) override;
  SecretData secret(const std::string& name, const std::string& name_space,
                    const Call& call) override;

  std::optional<Json> find_object(const ObjectName& object, const Call& call) override;
  std::vector<Json> list_objects(const std::string& kind, const std::string& labels, Reach reach,
                                 const Call& call) override;

  const std::string& name_space() const override { return settings_.location.ref.name_space; }

  bool has_api_server() const override { return false; }

  bool has_resources() const override { return false; }

  void patch_status(const crd::ObjectRef& ref, const Json& status, const Call& call) override;
  void annotate(const crd::ObjectRef& ref, const std::string& key, const std::string& value,
                const Call& call) override;
  void annotate_unchanged(const crd::ObjectRef& ref, const std::string& key,
                          const std::string& value, const Call& call) override;

  // Nothing stands behind these: they succeed and leave no trace.
  void create_record(const std::string&, const std::string&, const std::string&,
                     const Call&) override {}

  void delete_record(const crd::ObjectRef&, const Call&) override {}

  void post_event(const crd::ObjectRef&, const crd::EventText&, const std::string&,
                  const Call&) override {}

  Applied apply(const Json& object, const Call& call) override;
  void create_object(const Json& object, const Call& call) override;
  void patch_object(const ObjectName& object, const Json& patch, const Call& call) override;
  bool delete_object(const ObjectName& object, const Call& call) override;
  std::vector<Json> collected() const override;

 private:
  Settings settings_;
};

}  // namespace kubedr::cluster

#endif  // KUBEDR_CLUSTER_BARE_CLUSTER_H
