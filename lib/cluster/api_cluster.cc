#include "cluster/api_cluster.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "base/time.h"
#include "cluster/missing.h"
#include "cluster/secret_data.h"

namespace kubedr::cluster {
namespace {

using std::chrono::milliseconds;

constexpr int kTries = 3;
constexpr milliseconds kPause{500};

// How long a new resource definition may take until the server serves it.
constexpr milliseconds kEstablish = std::chrono::seconds(15);
constexpr milliseconds kEstablishPause{100};

constexpr char kWorkLabel[] = "kubedr.type";  // of the pods that init, back up and restore

// Of the operator's pods, and of other operators' as well.
constexpr char kOperatorLabel[] = "control-plane=controller-manager";

// How the names of its finalizers end, whatever they hold.
constexpr std::string_view kOperatorFinalizers = ".finalizers.kubedr.catalogicsoftware.com";

std::string collection(crd::Kind kind, const std::string& name_space) {
  const char* plural = crd::plural_name(kind);
  if (name_space.empty()) return kube::path({"apis", crd::kGroup, "v1alpha1", plural});
  return kube::path({"apis", crd::kGroup, "v1alpha1", "namespaces", name_space, plural});
}

std::string name_of(const Json& object) {
  return find_string(object, {"metadata", "name"}).value_or("");
}

std::string version_of(const Json& object) {
  return find_string(object, {"metadata", "resourceVersion"}).value_or("");
}

// What can be addressed by its kind: discovery would cost a request for every kind.
struct KnownKind {
  std::string_view kind;
  std::string_view version;
  std::string_view plural;
  bool namespaced;
};

constexpr std::string_view kRbac = "rbac.authorization.k8s.io/v1";
constexpr std::string_view kAdmission = "admissionregistration.k8s.io/v1";

constexpr std::array kKinds = {
    KnownKind{"Namespace", "v1", "namespaces", false},
    KnownKind{"CustomResourceDefinition", "apiextensions.k8s.io/v1", "customresourcedefinitions",
              false},
    KnownKind{"ClusterRole", kRbac, "clusterroles", false},
    KnownKind{"ClusterRoleBinding", kRbac, "clusterrolebindings", false},
    KnownKind{"Role", kRbac, "roles", true},
    KnownKind{"RoleBinding", kRbac, "rolebindings", true},
    KnownKind{"ValidatingAdmissionPolicy", kAdmission, "validatingadmissionpolicies", false},
    KnownKind{"ValidatingAdmissionPolicyBinding", kAdmission, "validatingadmissionpolicybindings",
              false},
    KnownKind{"ServiceAccount", "v1", "serviceaccounts", true},
    KnownKind{"Secret", "v1", "secrets", true},
    KnownKind{"Pod", "v1", "pods", true},
    KnownKind{"Service", "v1", "services", true},
    KnownKind{"Deployment", "apps/v1", "deployments", true},
    KnownKind{"ServiceMonitor", "monitoring.coreos.com/v1", "servicemonitors", true},
    KnownKind{"CronJob", "batch/v1", "cronjobs", true},
    KnownKind{"Job", "batch/v1", "jobs", true},
    KnownKind{"BackupLocation", crd::kApiVersion, "backuplocations", true},
    KnownKind{"MetadataBackupPolicy", crd::kApiVersion, "metadatabackuppolicies", true},
    KnownKind{"MetadataBackupRecord", crd::kApiVersion, "metadatabackuprecords", true},
    KnownKind{"MetadataRestore", crd::kApiVersion, "metadatarestores", true},
};

const KnownKind& known_kind(const std::string& kind) {
  const auto known = std::find_if(kKinds.begin(), kKinds.end(),
                                  [&](const KnownKind& one) { return one.kind == kind; });
  if (known == kKinds.end()) {
    throw Error(ErrorKind::internal, fmt::format("kubernetes: {}: not a kind we know", kind));
  }
  return *known;
}

// The list that objects of that kind are in; without a namespace: of all namespaces.
std::string list_path(const KnownKind& kind, const std::string& name_space) {
  const std::size_t slash = kind.version.find('/');
  std::string path =
      slash == std::string_view::npos
          ? kube::path({"api", kind.version})
          : kube::path({"apis", kind.version.substr(0, slash), kind.version.substr(slash + 1)});
  if (kind.namespaced && !name_space.empty()) path += kube::path({"namespaces", name_space});
  return path + kube::path({kind.plural});
}

std::string path_of(const ObjectName& object, const std::string& default_namespace) {
  if (object.name.empty()) {
    throw Error(ErrorKind::internal, "kubernetes: " + object.kind + ": no name");
  }
  const KnownKind& kind = known_kind(object.kind);
  const bool elsewhere = !object.name_space.empty();
  return list_path(kind, elsewhere ? object.name_space : default_namespace) +
         kube::path({object.name});
}

ObjectName name_in(const Json& object) {
  return {find_string(object, {"kind"}).value_or(""), name_of(object),
          find_string(object, {"metadata", "namespace"}).value_or("")};
}

// Whether everything that `wanted` says is so in `there`, which may say more.
bool is_within(const Json& wanted, const Json& there) {
  if (wanted.is_object() && there.is_object()) {
    return std::all_of(wanted.items().begin(), wanted.items().end(), [&](const auto& item) {
      const auto found = there.find(item.key());
      return found != there.end() && is_within(item.value(), *found);
    });
  }
  if (wanted.is_array() && there.is_array()) {
    return std::equal(wanted.begin(), wanted.end(), there.begin(), there.end(), is_within);
  }
  return wanted == there;
}

bool is_established(const Json& definition) {
  const Json* conditions = find(definition, {"status", "conditions"});
  if (conditions == nullptr || !conditions->is_array()) return false;
  return std::any_of(conditions->begin(), conditions->end(), [](const Json& condition) {
    return find_string(condition, {"type"}) == "Established" &&
           find_string(condition, {"status"}) == "True";
  });
}

Json::array_t list_at(const Json& object, std::initializer_list<const char*> path) {
  const Json* found = find(object, path);
  return found != nullptr && found->is_array() ? found->get<Json::array_t>() : Json::array_t{};
}

std::string name_field(const Json& object) {
  return find_string(object, {"name"}).value_or("");
}

bool is_at_work(const Json& pod) {
  const std::string phase = find_string(pod, {"status", "phase"}).value_or("");
  return phase != "Succeeded" && phase != "Failed";
}

// When the last container of a pod ended, as far as that is told.
std::optional<WallTime> end_of(const Json& pod) {
  std::optional<WallTime> end;
  for (const Json& status : list_at(pod, {"status", "containerStatuses"})) {
    const auto finished = find_string(status, {"state", "terminated", "finishedAt"});
    const auto time = finished ? parse_time(*finished) : std::nullopt;
    if (time && (!end || *time > *end)) end = time;
  }
  return end;
}

// Each request of one object or list, in terms of our kinds.
class Api {
 public:
  Api(kube::Client& client, const std::string& name_space, const Call& call)
      : client_(client), name_space_(name_space), call_(call) {}

  std::string object_path(crd::Kind kind, const std::string& name) const {
    return collection(kind, require_namespace()) + kube::path({name});
  }

  const std::string& require_namespace() const {
    if (name_space_.empty()) {
      throw Error(ErrorKind::usage, "a single resource needs a namespace", "add -n NAMESPACE");
    }
    return name_space_;
  }

  Json get(crd::Kind kind, const std::string& name) const {
    try {
      return client_.get(object_path(kind, name), {}, call_);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) throw;
      throw_missing(kind, name, error);
    }
  }

  // A list is there as soon as its kind is, even if empty and in a namespace that is not: its 404
  // can only mean that the resource definitions are missing.
  void each(crd::Kind kind, const std::function<void(const Json&)>& take) const {
    try {
      client_.list(collection(kind, name_space_), {}, take, call_);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) throw;
      throw Error(ErrorKind::not_found,
                  fmt::format("kubernetes: list {}: the server does not know this kind: KubeDR's "
                              "resource definitions are not installed",
                              crd::plural_name(kind)),
                  "kubectl kubedr install");
    }
  }

  template <class T, class Parse>
  Listed<T> list(crd::Kind kind, const Parse& parse) const {
    Listed<T> listed;
    each(kind, [&](const Json& object) {
      try {
        listed.items.push_back(parse(object));
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::usage) throw;
        listed.malformed.push_back(crd::make_malformed(kind, object, error.what()));
      }
    });
    return listed;
  }

  [[noreturn]] void throw_missing(crd::Kind kind, const std::string& name,
                                  const Error& not_found) const {
    std::vector<std::string> names;
    try {
      each(kind, [&](const Json& object) { names.push_back(name_of(object)); });
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::denied) throw not_found;  // names are not for us to see
      throw;
    }
    throw missing(to_lower(crd::kind_name(kind)), name, name_space_, names);
  }

 private:
  kube::Client& client_;
  const std::string& name_space_;
  const Call& call_;
};

Json annotation_patch(const std::string& key, const std::string& value) {
  const Json content = value.empty() ? Json(nullptr) : Json(value);
  return {{"metadata", {{"annotations", {{key, content}}}}}};
}

// Whether a create may be repeated, since whoever asks compares what is there already.
bool went_unanswered(const Error& error) {
  return error.kind() == ErrorKind::unavailable && error.transport().transient;
}

// The same event from an earlier try whose answer was lost.
bool is_same_event(const Json& there, const Json& event) {
  for (const char* field : {"message", "reason", "firstTimestamp", "source"}) {
    if (there.value(field, Json()) != event.value(field, Json())) return false;
  }
  return find_string(there, {"involvedObject", "uid"}) ==
         find_string(event, {"involvedObject", "uid"});
}

}  // namespace

ApiCluster::ApiCluster(kube::Client client, std::string name_space, const Clock& clock)
    : client_(std::move(client)), name_space_(std::move(name_space)), clock_(clock) {}

crd::Location ApiCluster::location(const std::string& name, const Call& call) {
  return crd::parse_location(Api(client_, name_space_, call).get(crd::Kind::location, name));
}

crd::Policy ApiCluster::policy(const std::string& name, const Call& call) {
  return crd::parse_policy(Api(client_, name_space_, call).get(crd::Kind::policy, name));
}

Listed<crd::Location> ApiCluster::locations(const Call& call) {
  return Api(client_, name_space_, call)
      .list<crd::Location>(crd::Kind::location, crd::parse_location);
}

Listed<crd::Policy> ApiCluster::policies(const Call& call) {
  return Api(client_, name_space_, call).list<crd::Policy>(crd::Kind::policy, crd::parse_policy);
}

Listed<crd::Record> ApiCluster::records(const Call& call) {
  return Api(client_, name_space_, call).list<crd::Record>(crd::Kind::record, crd::parse_record);
}

crd::Restore ApiCluster::restore(const std::string& name, const Call& call) {
  return crd::parse_restore(Api(client_, name_space_, call).get(crd::Kind::restore, name));
}

SecretData ApiCluster::secret(const std::string& name, const std::string& name_space,
                              const Call& call) {
  try {
    return parse_secret(client_.get(
        kube::path({"api", "v1", "namespaces", name_space, "secrets", name}), {}, call));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
    // Listing the names there are would fetch every Secret's content.
    throw Error(ErrorKind::not_found,
                fmt::format("secret \"{}\" not found in namespace \"{}\"", name, name_space),
                fmt::format("kubectl -n {} get secrets", name_space));
  }
}

std::optional<std::string> ApiCluster::identity(const Call& call) {
  try {
    const Json object =
        client_.get(kube::path({"api", "v1", "namespaces", "kube-system"}), {}, call);
    return find_string(object, {"metadata", "uid"});
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::denied || error.kind() == ErrorKind::not_found) {
      return std::nullopt;
    }
    throw;
  }
}

// A Deployment that is to run counts before its pod does, and while that is being replaced. One of
// the default namespace works in all of them.
std::optional<bool> ApiCluster::operator_runs(const Call& call) {
  const std::string& space = Api(client_, name_space_, call).require_namespace();
  bool denied = false;
  const auto unless_denied = [&](const std::function<bool()>& ask) {
    try {
      return ask();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::denied && error.kind() != ErrorKind::not_found) throw;
      denied = denied || error.kind() == ErrorKind::denied;
      return false;
    }
  };
  const auto deployed = [&](const std::string& in) {
    return unless_denied([&] {
      const auto deployment = find_object({"Deployment", kOperatorDeployment, in}, call);
      return deployment && find_integer(*deployment, {"spec", "replicas"}).value_or(1) > 0;
    });
  };
  if (deployed(space) || (space != crd::kDefaultNamespace && deployed(crd::kDefaultNamespace))) {
    return true;
  }
  const bool has_pod = unless_denied([&] {
    const std::vector<Json> pods = list_objects("Pod", kOperatorLabel, Reach::here, call);
    return std::any_of(pods.begin(), pods.end(), [](const Json& pod) {
      return name_of(pod).starts_with(kOperatorDeployment) &&
             find_string(pod, {"status", "phase"}) == "Running";
    });
  });
  if (!has_pod && denied) return std::nullopt;
  return has_pod;
}

std::map<std::string, std::string> ApiCluster::claims_of_pod(const std::string& pod,
                                                             const Call& call) {
  const std::string& space = Api(client_, name_space_, call).require_namespace();
  const Json object =
      client_.get(kube::path({"api", "v1", "namespaces", space, "pods", pod}), {}, call);
  std::map<std::string, std::string> claims;  // by volume
  for (const Json& volume : list_at(object, {"spec", "volumes"})) {
    const auto claim = find_string(volume, {"persistentVolumeClaim", "claimName"});
    if (claim) claims.emplace(name_field(volume), *claim);
  }
  std::map<std::string, std::string> mounted;
  for (const Json& container : list_at(object, {"spec", "containers"})) {
    for (const Json& mount : list_at(container, {"volumeMounts"})) {
      const auto claim = claims.find(name_field(mount));
      const auto path = find_string(mount, {"mountPath"});
      const bool part_only = find_string(mount, {"subPath"}) || find_string(mount, {"subPathExpr"});
      if (claim != claims.end() && path && !part_only) mounted.emplace(*path, claim->second);
    }
  }
  return mounted;
}

std::optional<bool> ApiCluster::lock_holder_lives(const std::string& host, WallTime locked,
                                                  const Call& call) {
  if (name_space_.empty()) return std::nullopt;  // all of them: whose pod would it be?
  const std::string pods = kube::path({"api", "v1", "namespaces", name_space_, "pods"});
  try {
    const Json pod = client_.get(pods + kube::path({host}), {}, call);
    if (is_at_work(pod)) return true;
    const std::optional<WallTime> ended = end_of(pod);
    return ended && *ended > locked ? std::optional(false) : std::nullopt;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::denied) return std::nullopt;
    if (error.kind() != ErrorKind::not_found) throw;
  }
  std::optional<bool> lives;
  try {
    client_.list(
        pods, {{"labelSelector", kWorkLabel}},
        [&](const Json& pod) {
          if (find_string(pod, {"spec", "nodeName"}) == host && is_at_work(pod)) lives = true;
        },
        call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::denied && error.kind() != ErrorKind::not_found) throw;
  }
  return lives;
}

std::optional<bool> ApiCluster::may(const Permission& permission, const Call& call) {
  const Json review = {{"apiVersion", "authorization.k8s.io/v1"},
                       {"kind", "SelfSubjectAccessReview"},
                       {"spec",
                        {{"resourceAttributes",
                          {{"verb", permission.verb},
                           {"group", permission.group},
                           {"resource", permission.resource},
                           {"subresource", permission.subresource},
                           {"namespace", permission.name_space},
                           {"name", permission.name}}}}}};
  const Json answer = client_.create(
      kube::path({"apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"}), review, call);
  return find_bool(answer, {"status", "allowed"}).value_or(false);
}

void ApiCluster::patch_status(const crd::ObjectRef& ref, const Json& status, const Call& call) {
  const Api api(client_, ref.name_space, call);
  const std::string path = api.object_path(ref.kind, ref.name);
  const Json patch = {{"status", status}};
  try {
    client_.patch(path + "/status", kube::PatchType::merge, patch, {}, call);
    return;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
  }
  // Either the object is gone, or definitions that are not ours leave the subresource out.
  api.get(ref.kind, ref.name);
  client_.patch(path, kube::PatchType::merge, patch, {}, call);
}

void ApiCluster::annotate(const crd::ObjectRef& ref, const std::string& key,
                          const std::string& value, const Call& call) {
  patch_annotation(ref, annotation_patch(key, value), call);
}

void ApiCluster::annotate_unchanged(const crd::ObjectRef& ref, const std::string& key,
                                    const std::string& value, const Call& call) {
  Json patch = annotation_patch(key, value);
  patch["metadata"]["resourceVersion"] = ref.resource_version;
  patch_annotation(ref, patch, call);
}

void ApiCluster::patch_annotation(const crd::ObjectRef& ref, const Json& patch, const Call& call) {
  const Api api(client_, ref.name_space, call);
  try {
    client_.patch(api.object_path(ref.kind, ref.name), kube::PatchType::merge, patch, {}, call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
    api.throw_missing(ref.kind, ref.name, error);
  }
}

void ApiCluster::create_record(const std::string& policy, const std::string& location,
                               const std::string& snapshot_id, const Call& call) {
  const Api api(client_, name_space_, call);
  const Json record = crd::make_record(api.require_namespace(), policy, location, snapshot_id);
  for (int tries = 1;; ++tries) {
    try {
      client_.create(collection(crd::Kind::record, name_space_), record, call);
      return;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::exists) break;
      if (error.kind() == ErrorKind::not_found) {
        api.each(crd::Kind::record, [](const Json&) {});  // throws where the kind is not known
        throw;
      }
      if (!went_unanswered(error) || tries == kTries) throw;
    }
    call.sleep(kPause);
  }
  const Json there = api.get(crd::Kind::record, name_of(record));
  if (there.value("spec", Json()) == record["spec"]) return;
  throw Error(ErrorKind::conflict,
              fmt::format("metadatabackuprecord/{}: create: it is there with another content",
                          name_of(record)),
              fmt::format("kubectl -n {} get mbr {} -o yaml", name_space_, name_of(record)));
}

void ApiCluster::delete_record(const crd::ObjectRef& ref, const Call& call) {
  delete_object({crd::kind_name(ref.kind), ref.name, ref.name_space}, call);
}

void ApiCluster::post_event(const crd::ObjectRef& ref, const crd::EventText& text,
                            const std::string& component, const Call& call) {
  const std::string path = kube::path({"api", "v1", "namespaces", ref.name_space, "events"});
  const WallTime now = clock_.now();
  Json event = crd::make_event(ref, text, component, now);
  const std::string base = name_of(event);
  // Two events about one state of an object want one name; client-go's names end like this.
  auto suffix = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count());
  for (int tries = 1;; ++tries) {
    bool taken = false;
    try {
      client_.create(path, event, call);
      return;
    } catch (const Error& error) {
      taken = error.kind() == ErrorKind::exists;
      if ((!taken && !went_unanswered(error)) || tries == kTries) throw;
    }
    if (!taken) {
      call.sleep(kPause);
      continue;
    }
    if (tries > 1 &&
        is_same_event(client_.get(path + kube::path({name_of(event)}), {}, call), event)) {
      return;
    }
    event["metadata"]["name"] = fmt::format("{}.{:x}", base, suffix++);
  }
}

Applied ApiCluster::apply(const Json& object, const Call& call) {
  const std::string path = path_of(name_in(object), name_space_);
  std::string before;
  bool is_new = false;
  try {
    before = version_of(client_.get(path, {}, call));
  } catch (const Error& error) {
    // An apply needs the right to patch, and only that.
    if (error.kind() != ErrorKind::not_found && error.kind() != ErrorKind::denied) throw;
    is_new = error.kind() == ErrorKind::not_found;
  }
  Json after = client_.patch(path, kube::PatchType::apply, object, {{"force", "true"}}, call);
  const Applied applied = is_new                        ? Applied::created
                          : version_of(after) == before ? Applied::unchanged
                                                        : Applied::configured;
  if (find_string(object, {"kind"}) != "CustomResourceDefinition") return applied;

  // Until then the new kind answers 404.
  const Call bounded = call.within(kEstablish);
  while (!is_established(after)) {
    bounded.sleep(kEstablishPause);
    after = client_.get(path, {}, bounded);
  }
  return applied;
}

std::optional<Json> ApiCluster::find_object(const ObjectName& object, const Call& call) {
  try {
    return client_.get(path_of(object, name_space_), {}, call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
    return std::nullopt;
  }
}

std::vector<Json> ApiCluster::list_objects(const std::string& kind, const std::string& labels,
                                           Reach reach, const Call& call) {
  const std::string path =
      list_path(known_kind(kind), reach == Reach::everywhere ? "" : name_space_);
  kube::Query query;
  if (!labels.empty()) query.emplace_back("labelSelector", labels);
  std::vector<Json> objects;
  client_.list(
      path, query, [&](const Json& object) { objects.push_back(object); }, call);
  return objects;
}

std::optional<bool> ApiCluster::wait_for_change(const std::string& kind, const std::string& labels,
                                                milliseconds time, const Call& call) {
  const std::string path = list_path(known_kind(kind), name_space_);
  if (!watch_ || !watch_->is_of(path, labels)) watch_.emplace(client_, path, labels);
  return watch_->wait(time, call);
}

std::string ApiCluster::pod_log(const std::string& pod, const Call& call) {
  return client_.get_text(path_of({"Pod", pod}, name_space_) + "/log", {}, call);
}

// Distributions write minors such as "22+".
std::optional<std::pair<int, int>> ApiCluster::server_version(const Call& call) {
  const Json version = client_.get("/version", {}, call);
  const auto number = [&](const char* field) {
    const std::string text = find_string(version, {field}).value_or("");
    int value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  };
  return std::pair(number("major"), number("minor"));
}

void ApiCluster::create_object(const Json& object, const Call& call) {
  const ObjectName name = name_in(object);
  const std::string path =
      list_path(known_kind(name.kind), name.name_space.empty() ? name_space_ : name.name_space);
  for (int tries = 1;; ++tries) {
    try {
      client_.create(path, object, call);
      return;
    } catch (const Error& error) {
      // The answer to an earlier try was lost, not the object.
      if (error.kind() == ErrorKind::exists && tries > 1 &&
          is_within(object, find_object(name, call).value_or(Json()))) {
        return;
      }
      if (!went_unanswered(error) || tries == kTries) throw;
    }
    call.sleep(kPause);
  }
}

void ApiCluster::patch_object(const ObjectName& object, const Json& patch, const Call& call) {
  client_.patch(path_of(object, name_space_), kube::PatchType::merge, patch, {}, call);
}

bool ApiCluster::delete_object(const ObjectName& object, const Call& call) {
  // What a Job made stays unless it is said that it goes, with no other kind.
  kube::Query query;
  if (object.kind == "Job") query.emplace_back("propagationPolicy", "Background");
  try {
    client_.remove(path_of(object, name_space_), query, call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
    return false;
  }
  if (known_kind(object.kind).version == crd::kApiVersion) release(object, call);
  return true;
}

// Whoever should take these finalizers off is gone.
void ApiCluster::release(const ObjectName& object, const Call& call) {
  const auto is_theirs = [](const Json& finalizer) {
    return finalizer.is_string() &&
           finalizer.get_ref<const std::string&>().ends_with(kOperatorFinalizers);
  };
  try {
    client_.modify(
        path_of(object, name_space_),
        [&](const Json& left) -> Json {
          if (!find_string(left, {"metadata", "deletionTimestamp"})) return nullptr;
          Json::array_t finalizers = list_at(left, {"metadata", "finalizers"});
          if (std::erase_if(finalizers, is_theirs) == 0) return nullptr;
          if (operator_runs(call) != false) return nullptr;
          return {{"metadata", {{"finalizers", finalizers}}}};
        },
        call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
  }
}

std::vector<Json> ApiCluster::collected() const {
  return {};
}

}  // namespace kubedr::cluster
