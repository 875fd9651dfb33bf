#include "workflow/job.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "workflow/access.h"

namespace kubedr::workflow {
namespace {

constexpr char kTypeLabel[] = "kubedr.type";
constexpr char kBackupType[] = "backup";

// Jobs of a CronJob have eleven characters more, and 63 in all.
constexpr std::size_t kLongestName = 52;

constexpr std::chrono::seconds kLongestJob = std::chrono::hours(6);

constexpr char kDataDir[] = "/data";
constexpr char kEtcdDir[] = "/etcd_creds";
constexpr char kCertsDir[] = "/certs_dir";

constexpr char kNodeLabelOption[] = "master-node-label-name";
constexpr char kOldNodeLabel[] = "node-role.kubernetes.io/master";
constexpr char kNodeLabel[] = "node-role.kubernetes.io/control-plane";

constexpr char kPushFlag[] = "--push=";

// Kubelet puts other variables in where it reads $(NAME), Secrets among them.
std::string escaped(const std::string& value) {
  std::string text;
  for (const char c : value) text += c == '$' ? std::string("$$") : std::string(1, c);
  return text;
}

std::string unescaped(const std::string& text) {
  std::string value;
  for (std::size_t i = 0; i < text.size(); ++i) {
    value += text[i];
    if (text.compare(i, 2, "$$") == 0) ++i;
  }
  return value;
}

Json variable(const char* name, const std::string& value) {
  return {{"name", name}, {"value", escaped(value)}};
}

// As the operator joins them, but for a slash at the end of the URL: there would be two.
std::string repository_of(const crd::Location& location) {
  std::string url = location.url;
  while (url.ends_with('/')) url.pop_back();
  return fmt::format("s3:{}/{}", url, location.bucket_name);
}

Json from_field(const char* name, const char* path) {
  return {{"name", name}, {"valueFrom", {{"fieldRef", {{"fieldPath", path}}}}}};
}

Json from_secret(const char* name, const std::string& secret, const char* key, bool optional) {
  Json reference = {{"name", secret}, {"key", key}};
  if (optional) reference["optional"] = true;
  return {{"name", name}, {"valueFrom", {{"secretKeyRef", reference}}}};
}

Json environment_of(const crd::Policy& policy, const crd::Location& location) {
  const std::string& secret = location.credentials;
  Json variables = {
      from_field("MY_POD_NAME", "metadata.name"),
      from_secret("AWS_ACCESS_KEY", secret, "access_key", false),
      from_secret("AWS_SECRET_KEY", secret, "secret_key", false),
      from_secret("RESTIC_PASSWORD", secret, "restic_repo_password", false),
      variable("KDR_POLICY_NAME", policy.ref.name),
      variable("ETCD_ENDPOINT", policy.etcd_endpoint),
      variable("ETCD_SNAP_PATH", "/data/etcd-snapshot.db"),
      variable("RESTIC_REPO", repository_of(location)),
      variable("BACKUP_SRC", kDataDir),
      // Ours: keys that the operator does not know, and where to work.
      from_secret("AWS_SESSION_TOKEN", secret, "session_token", true),
      from_secret("AWS_DEFAULT_REGION", secret, "region", true),
      from_secret("KUBEDR_S3_CA", secret, "ca.crt", true),
      from_secret("KUBEDR_S3_BUCKET_LOOKUP", secret, "bucket_lookup", true),
      from_field("KUBEDR_NAMESPACE", "metadata.namespace"),
      variable("TMPDIR", kDataDir),
  };
  if (crd::uses_tls(policy)) variables.push_back(variable("ETCD_CREDS_DIR", kEtcdDir));
  if (!policy.certs_dir.empty()) {
    variables.push_back(variable("CERTS_SRC_DIR", kCertsDir));
    variables.push_back(variable("CERTS_DEST_DIR", "/data/certificates"));
  }
  return variables;
}

// What the container is given of the node and of Secrets, with the volumes behind it.
struct Mounts {
  Json volumes = Json::array();
  Json mounts = Json::array();

  void add(const char* name, const char* path, bool read_only, Json volume) {
    volume["name"] = name;
    volumes.push_back(std::move(volume));
    mounts.push_back({{"name", name}, {"mountPath", path}, {"readOnly", read_only}});
  }
};

Mounts mounts_of(const crd::Policy& policy) {
  Mounts mounts;
  // Sealed packs that S3 cannot take yet: nothing else is ever written.
  mounts.add("target-dir", kDataDir, false, {{"emptyDir", Json::object()}});
  if (crd::uses_tls(policy)) {
    constexpr int kOwnerReads = 0400;
    mounts.add("etcd-creds", kEtcdDir, true,
               {{"secret", {{"secretName", policy.etcd_creds}, {"defaultMode", kOwnerReads}}}});
  }
  if (!policy.certs_dir.empty()) {
    mounts.add("certs-dir", kCertsDir, true,
               {{"hostPath", {{"path", policy.certs_dir}, {"type", "Directory"}}}});
  }
  return mounts;
}

// Terms are alternatives: a node of today has the first label, one before 1.24 the second. A label
// that a policy chose is meant alone.
Json affinity_of(const crd::Policy& policy) {
  const auto chosen = policy.options.find(kNodeLabelOption);
  const bool is_default =
      chosen == policy.options.end() || chosen->second.empty() || chosen->second == kOldNodeLabel;
  const std::vector<std::string> labels = is_default
                                              ? std::vector<std::string>{kNodeLabel, kOldNodeLabel}
                                              : std::vector<std::string>{chosen->second};
  Json terms = Json::array();
  for (const std::string& label : labels) {
    terms.push_back(
        {{"matchExpressions", Json::array({{{"key", label}, {"operator", "Exists"}}})}});
  }
  return {{"nodeAffinity",
           {{"requiredDuringSchedulingIgnoredDuringExecution", {{"nodeSelectorTerms", terms}}}}}};
}

// Root, as only root reads the certificates of a control plane, but without any capability.
Json container_of(const crd::Policy& policy, const crd::Location& location,
                  const JobSettings& settings, Json mounts) {
  Json security = restricted_container();
  security["runAsUser"] = 0;
  Json args = {"backup", "--no-cache"};
  if (!settings.push.empty()) args.push_back(kPushFlag + escaped(settings.push));
  return {{"name", kBackupType},
          {"image", settings.image},
          {"command", Json::array({kProgram})},
          {"args", std::move(args)},
          {"env", environment_of(policy, location)},
          {"volumeMounts", std::move(mounts)},
          {"securityContext", std::move(security)}};
}

Json pod_of(const crd::Policy& policy, const crd::Location& location, const JobSettings& settings) {
  Mounts mounts = mounts_of(policy);
  return {{"restartPolicy", "Never"},
          {"serviceAccountName", kJobRole},
          {"hostNetwork", true},
          // An S3 in the cluster is found by its service's name.
          {"dnsPolicy", "ClusterFirstWithHostNet"},
          {"affinity", affinity_of(policy)},
          {"tolerations", Json::array({{{"operator", "Exists"}, {"effect", "NoSchedule"}}})},
          {"securityContext", {{"seccompProfile", {{"type", "RuntimeDefault"}}}}},
          {"containers",
           Json::array({container_of(policy, location, settings, std::move(mounts.mounts))})},
          {"volumes", std::move(mounts.volumes)}};
}

Json labels_of(const crd::Policy& policy) {
  Json labels = managed_labels(kBackupType);
  labels[kTypeLabel] = kBackupType;
  labels[kPolicyLabel] = policy.ref.name;
  return labels;
}

Json owner(const char* version, const char* kind, const std::string& name, const std::string& uid) {
  return Json::array({{{"apiVersion", version},
                       {"kind", kind},
                       {"name", name},
                       {"uid", uid},
                       {"controller", true},
                       {"blockOwnerDeletion", true}}});
}

const Json* pod_in(const Json& cron_job) {
  return find(cron_job, {"spec", "jobTemplate", "spec", "template", "spec"});
}

// Of a CronJob or a Deployment; an empty object when there is none.
Json first_container(const Json& workload) {
  const Json* pod = pod_in(workload);
  if (pod == nullptr) pod = find(workload, {"spec", "template", "spec"});
  if (pod == nullptr) return Json::object();
  const Json containers = pod->value("containers", Json::array());
  return containers.empty() ? Json::object() : containers[0];
}

Json value_or_null(const Json* value) {
  return value == nullptr ? Json() : *value;
}

// What drift is looked for in, by the policy's word for it.
std::vector<std::pair<std::string, Json>> facets(const Json& cron_job, bool all) {
  std::vector<std::pair<std::string, Json>> facets = {
      {"schedule", value_or_null(find(cron_job, {"spec", "schedule"}))},
      {"suspend", find_bool(cron_job, {"spec", "suspend"}).value_or(false)}};
  const Json* pod = pod_in(cron_job);
  if (!all || pod == nullptr) return facets;
  Json variables = Json::object();
  Json volumes = Json::object();
  for (const Json& container : pod->value("containers", Json::array())) {
    for (const Json& one : container.value("env", Json::array())) {
      variables[one.value("name", "")] = one.value("value", one.value("valueFrom", Json()));
    }
  }
  for (const Json& one : pod->value("volumes", Json::array())) volumes[one.value("name", "")] = one;
  const auto source = [&](const char* volume, const char* kind, const char* field) {
    return value_or_null(find(volumes, {volume, kind, field}));
  };
  facets.emplace_back(
      "destination",
      Json::array({variables.value("RESTIC_REPO", Json()),
                   value_or_null(find(variables, {"RESTIC_PASSWORD", "secretKeyRef", "name"}))}));
  facets.emplace_back("etcdEndpoint", variables.value("ETCD_ENDPOINT", Json()));
  facets.emplace_back("etcdCreds", source("etcd-creds", "secret", "secretName"));
  facets.emplace_back("certsDir", source("certs-dir", "hostPath", "path"));
  facets.emplace_back("options", pod->value("affinity", Json()));
  return facets;
}

}  // namespace

Json restricted_container() {
  return {{"readOnlyRootFilesystem", true},
          {"allowPrivilegeEscalation", false},
          {"capabilities", {{"drop", Json::array({"ALL"})}}}};
}

std::string backup_selector() {
  return fmt::format("{}={}", kTypeLabel, kBackupType);
}

std::string backup_selector(const std::string& policy) {
  return fmt::format("{},{}={}", backup_selector(), kPolicyLabel, policy);
}

std::string cron_job_name(const std::string& policy) {
  return policy + "-backup-cronjob";
}

std::string job_name(const std::string& policy, std::uint64_t random) {
  return fmt::format("{}-backup-job-{:05}", policy, random % 100'000);
}

Json make_cron_job(const crd::Policy& policy, const crd::Location& location,
                   const JobSettings& settings) {
  const std::string name = cron_job_name(policy.ref.name);
  if (name.size() > kLongestName) {
    throw Error(ErrorKind::usage,
                fmt::format("metadatabackuppolicy/{}: its CronJob would be called {}, and {} "
                            "characters are the most that Kubernetes allows",
                            policy.ref.name, name, kLongestName),
                "choose a shorter name for the policy");
  }
  const Json labels = labels_of(policy);
  Json spec = {
      {"schedule", policy.schedule},
      {"suspend", policy.suspend},
      {"concurrencyPolicy", "Forbid"},
      {"jobTemplate",
       {{"metadata", {{"name", policy.ref.name + "-backup-job"}, {"labels", labels}}},
        {"spec",
         // A backup that is safe but for a later step must not be made again, and push an
         // older one out each time.
         {{"backoffLimit", 0},
          // One that never starts would keep all later ones from running.
          {"activeDeadlineSeconds", kLongestJob.count()},
          {"template",
           {{"metadata", {{"labels", labels}}}, {"spec", pod_of(policy, location, settings)}}}}}}}};
  if (settings.with_time_zone) spec["timeZone"] = "Etc/UTC";
  Json metadata = {{"name", name}, {"namespace", policy.ref.name_space}, {"labels", labels}};
  if (!policy.ref.uid.empty()) {
    metadata["ownerReferences"] =
        owner(crd::kApiVersion, crd::kind_name(crd::Kind::policy), policy.ref.name, policy.ref.uid);
  }
  return {{"apiVersion", "batch/v1"}, {"kind", "CronJob"}, {"metadata", metadata}, {"spec", spec}};
}

Json make_job(const Json& cron_job, const std::string& name) {
  const Json& job_template = cron_job.at("spec").at("jobTemplate");
  Json metadata = {{"name", name},
                   {"annotations", {{"cronjob.kubernetes.io/instantiate", "manual"}}}};
  if (const Json* labels = find(job_template, {"metadata", "labels"})) metadata["labels"] = *labels;
  if (const auto uid = find_string(cron_job, {"metadata", "uid"})) {
    metadata["ownerReferences"] =
        owner("batch/v1", "CronJob", cron_job.at("metadata").at("name"), *uid);
    metadata["ownerReferences"][0].erase("blockOwnerDeletion");
  }
  return {{"apiVersion", "batch/v1"},
          {"kind", "Job"},
          {"metadata", metadata},
          {"spec", job_template.at("spec")}};
}

bool is_ours(const Json& cron_job) {
  return find_string(cron_job, {"metadata", "labels", kManagedBy}) == kManager;
}

std::string image_of(const Json& workload) {
  return first_container(workload).value("image", "");
}

std::string push_of(const Json& cron_job) {
  for (const Json& arg : first_container(cron_job).value("args", Json::array())) {
    const std::string text = arg.get<std::string>();
    if (text.starts_with(kPushFlag)) return unescaped(text.substr(sizeof kPushFlag - 1));
  }
  return "";
}

std::vector<std::string> drift_of(const Json& cron_job, const crd::Policy& policy,
                                  const crd::Location& location) {
  const bool all = is_ours(cron_job);
  const auto there = facets(cron_job, all);
  const auto wanted = facets(make_cron_job(policy, location, {image_of(cron_job)}), all);
  std::vector<std::string> drift;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (i >= there.size() || there[i] != wanted[i]) drift.push_back(wanted[i].first);
  }
  return drift;
}

}  // namespace kubedr::workflow
