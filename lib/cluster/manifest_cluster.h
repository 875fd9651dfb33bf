#ifndef KUBEDR_CLUSTER_MANIFEST_CLUSTER_H
#define KUBEDR_CLUSTER_MANIFEST_CLUSTER_H

#include <filesystem>

#include "cluster/offline_cluster.h"

namespace kubedr::cluster {

// The same resources and Secrets, read from YAML files. Objects without a namespace are in
// `name_space`; those of another one are left out, and kinds that nobody here reads. What would be
// written is collected, one document for each object, and shows in later reads of this value.
class ManifestCluster final : public OfflineCluster {
 public:
  // Each path is a file, or a folder whose *.yaml, *.yml and *.json are read in order of name.
  //
  // errors   not_found, usage (malformed, or the same object twice)
  ManifestCluster(const std::vector<std::filesystem::path>& paths, std::string name_space,
                  const Clock& clock);
  ~ManifestCluster() override;

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

  const std::string& name_space() const override { return name_space_; }

  bool has_api_server() const override { return false; }

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
  struct Origins;

  void read(const std::filesystem::path& file, Origins& origins);
  Json* find(const std::string& kind, const std::string& name);
  Json& require(const std::string& kind, const std::string& name);
  Json& written(const crd::ObjectRef& ref);

  const std::string name_space_;
  const Clock& clock_;
  std::vector<Json> objects_;
  std::vector<Json> written_;
};

}  // namespace kubedr::cluster

#endif  // KUBEDR_CLUSTER_MANIFEST_CLUSTER_H
