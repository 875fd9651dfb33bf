#ifndef KUBEDR_CLUSTER_CLUSTER_H
#define KUBEDR_CLUSTER_CLUSTER_H

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/call.h"
#include "base/json.h"
#include "base/secret.h"
#include "crd/resources.h"
#include "crd/wording.h"

namespace kubedr::cluster {

// A Secret's keys and decoded values.
using SecretData = std::map<std::string, Secret>;

// A list that may contain objects nobody can read: those are named with their error, not thrown.
template <class T>
struct Listed {
  std::vector<T> items;
  std::vector<crd::Malformed> malformed;
};

// The operator's Deployment is always there under this name, which its pods' names begin with.
inline constexpr char kOperatorDeployment[] = "kubedr-controller-manager";

// An object of a kind that apply() knows, ours or Kubernetes' own.
struct ObjectName {
  std::string kind;  // "CronJob"
  std::string name;
  std::string name_space = {};  // empty: the cluster's own, where the kind has one
};

// Of the cluster's own namespace, or of all there are.
enum class Reach { here, everywhere };

// What an apply did.
enum class Applied { created, configured, unchanged };

// Something that may be done to resources of one kind, or to one of them.
struct Permission {
  std::string verb;   // "get"
  std::string group;  // empty: the core one
  std::string resource;
  std::string subresource;
  std::string name_space;  // empty: of no namespace
  std::string name;        // empty: of all of them
};

// The half of a cluster that cannot change it.
//
// errors   not_found: `backuplocation "x" not found in namespace "n"` with the names there are;
//          usage: a malformed object; denied, unavailable: from the API server
// threads  one thread
class ClusterReader {
 public:
  virtual ~ClusterReader() = default;

  virtual crd::Location location(const std::string& name, const Call& call) = 0;
  virtual crd::Policy policy(const std::string& name, const Call& call) = 0;
  virtual Listed<crd::Location> locations(const Call& call) = 0;
  virtual Listed<crd::Policy> policies(const Call& call) = 0;
  virtual Listed<crd::Record> records(const Call& call) = 0;
  virtual crd::Restore restore(const std::string& name, const Call& call) = 0;

  // The Secret that an object of `name_space` names.
  virtual SecretData secret(const std::string& name, const std::string& name_space,
                            const Call& call) = 0;

  // uid of the kube-system namespace, this cluster's identity; nullopt where there is no API server
  // or it does not tell.
  virtual std::optional<std::string> identity(const Call& call) = 0;

  // Whether KubeDR's operator is running here: then retention is its work. False where there is no
  // API server; nullopt where it may not be asked, which is no leave to undo the operator's work.
  virtual std::optional<bool> operator_runs(const Call& call) = 0;

  // PersistentVolumeClaims that a pod mounts, by where its containers see them. Empty where there
  // is no API server.
  virtual std::map<std::string, std::string> claims_of_pod(const std::string& pod,
                                                           const Call& call) = 0;

  // Whether the pod that a lock's host name stands for is still at work: the pod of that name, or
  // one of operator mode's that uses the network, and so the name, of the node of that name. False
  // only for a pod that has ended since `locked`: another cluster may have one of that name too.
  // Nullopt where nobody can tell: no such pod, no API server, or it may not be asked.
  virtual std::optional<bool> lock_holder_lives(const std::string& host, WallTime locked,
                                                const Call& call) = 0;

  // An object as it is there; nullopt where it, or its kind, is not.
  virtual std::optional<Json> find_object(const ObjectName& object, const Call& call) = 0;

  // Those of a kind with these labels ("a=b,c=d"; empty: whatever their labels are).
  virtual std::vector<Json> list_objects(const std::string& kind, const std::string& labels,
                                         Reach reach, const Call& call) = 0;

  // Waits until objects of that kind with these labels, of the cluster's own namespaces, are not
  // what they were when last listed, for `time` at the most. True: they may have changed; false:
  // they have not; nullopt where nobody can tell.
  virtual std::optional<bool> wait_for_change(const std::string& kind, const std::string& labels,
                                              std::chrono::milliseconds time, const Call& call) = 0;

  // What the only container of a pod has written so far.
  //
  // errors   usage: it has not started
  virtual std::string pod_log(const std::string& pod, const Call& call) = 0;

  // {1, 22}; nullopt where there is no API server.
  virtual std::optional<std::pair<int, int>> server_version(const Call& call) = 0;

  // By how much the API server's clock is ahead of ours, as of its last answer; nullopt where there
  // is none.
  virtual std::optional<std::chrono::seconds> clock_offset() const = 0;

  // Whether we may do that, by the API server's own word; nullopt where there is none.
  virtual std::optional<bool> may(const Permission& permission, const Call& call) = 0;

  virtual const std::string& name_space() const = 0;

  // Whether there is an API server: one that has an identity to compare, rights to ask for, pods.
  virtual bool has_api_server() const = 0;

  // Whether locations and Secrets are somebody's objects, that advice can name.
  virtual bool has_resources() const = 0;
};

class Cluster : public ClusterReader {
 public:
  // Merges into the object's status subresource.
  virtual void patch_status(const crd::ObjectRef& ref, const Json& status, const Call& call) = 0;
  // An empty value removes the annotation.
  virtual void annotate(const crd::ObjectRef& ref, const std::string& key, const std::string& value,
                        const Call& call) = 0;

  // The same, if the object still is in the state that `ref` names.
  //
  // errors   conflict: it was changed since
  virtual void annotate_unchanged(const crd::ObjectRef& ref, const std::string& key,
                                  const std::string& value, const Call& call) = 0;

  // A record that is there already with equal content is a success.
  virtual void create_record(const std::string& policy, const std::string& location,
                             const std::string& snapshot_id, const Call& call) = 0;

  // A record that is not there is a success. One whose deletion only waits for a finalizer of an
  // operator that is gone loses that finalizer.
  virtual void delete_record(const crd::ObjectRef& ref, const Call& call) = 0;

  // Gets the event in even if its name is taken.
  virtual void post_event(const crd::ObjectRef& ref, const crd::EventText& text,
                          const std::string& component, const Call& call) = 0;

  // Server-side apply.
  virtual Applied apply(const Json& object, const Call& call) = 0;

  // errors   exists: there is one of that name, and it is not the one of an earlier try
  virtual void create_object(const Json& object, const Call& call) = 0;

  // Merges into the object (RFC 7396).
  virtual void patch_object(const ObjectName& object, const Json& patch, const Call& call) = 0;

  // False: there was none. One whose deletion only waits for finalizers of an operator that is gone
  // loses those.
  virtual bool delete_object(const ObjectName& object, const Call& call) = 0;

  // What would have been written where nothing can be: empty for an API server.
  virtual std::vector<Json> collected() const = 0;
};

}  // namespace kubedr::cluster

#endif  // KUBEDR_CLUSTER_CLUSTER_H
