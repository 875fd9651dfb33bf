#include "workflow/access.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "crd/resources.h"

namespace kubedr::workflow {
namespace {

using Words = std::vector<std::string>;

constexpr char kRbacGroup[] = "rbac.authorization.k8s.io";
constexpr char kRbacVersion[] = "rbac.authorization.k8s.io/v1";
constexpr char kCore[] = "";
constexpr char kGuardVersion[] = "admissionregistration.k8s.io/v1";
constexpr char kGuard[] = "kubedr-policies";

Json rule(const char* group, const Words& resources, const Words& verbs, const Words& names = {}) {
  Json rule = {{"apiGroups", {group}}, {"resources", resources}, {"verbs", verbs}};
  if (!names.empty()) rule["resourceNames"] = names;
  return rule;
}

void append(Json& rules, const Json& more) {
  rules.insert(rules.end(), more.begin(), more.end());
}

// The view of a person, and what `status` asks for.
Json reader_rules() {
  return {rule(crd::kGroup,
               {"backuplocations", "metadatabackuppolicies", "metadatabackuprecords",
                "metadatarestores"},
               {"get", "list", "watch"}),
          rule("batch", {"cronjobs"}, {"list"})};
}

// One backup and its retention, the Secrets aside. A location is never written, but for its status:
// who may write its spec decides where Secrets are sent to. Of a policy annotations are patched:
// totals, and how retention went.
Json job_rules() {
  return {
      rule(crd::kGroup, {"backuplocations", "metadatabackuppolicies"}, {"get", "list"}),
      rule(crd::kGroup, {"metadatabackuprecords"}, {"get", "list", "create", "delete", "patch"}),
      rule(crd::kGroup,
           {"backuplocations/status", "metadatabackuppolicies", "metadatabackuppolicies/status"},
           {"patch"}),
      rule(kCore, {"events"}, {"create", "get"}),
      // Whether the operator runs, and its jobs.
      rule(kCore, {"pods"}, {"list"}),
      rule("apps", {"deployments"}, {"get"}, {cluster::kOperatorDeployment})};
}

Json backup_rules(const Words& secrets) {
  Json rules = job_rules();
  append(rules, {rule("batch", {"cronjobs"}, {"list"}), rule(kCore, {"secrets"}, {"get"}, secrets),
                 // `status --watch`.
                 rule(crd::kGroup, {"metadatabackuppolicies"}, {"watch"}),
                 // Whether the pod that holds a lock is at work.
                 rule(kCore, {"pods"}, {"get"})});
  return rules;
}

// What `metrics` asks for: into repositories it needs their Secrets, and whether the pod that holds
// a lock is at work.
Json metrics_rules(const Words& secrets) {
  return {rule(crd::kGroup, {"backuplocations", "metadatabackuppolicies", "metadatabackuprecords"},
               {"list"}),
          rule("batch", {"cronjobs"}, {"list"}), rule(kCore, {"secrets"}, {"get"}, secrets),
          rule(kCore, {"pods"}, {"get"})};
}

// To patch the roles that name Secrets, an admin must hold what is in them: RBAC lets nobody give
// more.
Json admin_rules() {
  Json rules = job_rules();
  append(rules,
         {rule(crd::kGroup,
               {"backuplocations", "metadatabackuppolicies", "metadatabackuprecords",
                "metadatarestores"},
               {"get", "list", "watch", "create", "patch", "delete"}),
          rule(crd::kGroup, {"metadatarestores/status"}, {"patch"}),
          rule(kCore, {"secrets"}, {"get", "create", "delete"}),
          rule(kCore, {"pods"}, {"get", "watch"}),
          rule("batch", {"cronjobs"}, {"get", "list", "create", "patch", "delete"}),
          rule("batch", {"jobs"}, {"get", "create", "delete"}), rule(kCore, {"pods/log"}, {"get"}),
          rule(kCore, {"serviceaccounts"}, {"get"}, {kJobRole}),
          rule(kRbacGroup, {"roles"}, {"get", "patch"}, {kBackupRole, kMetricsRole})});
  return rules;
}

// The identity of a cluster is the uid of this namespace. The operator works for all namespaces,
// wherever it runs.
Json identity_rules() {
  return {rule(kCore, {"namespaces"}, {"get"}, {"kube-system"}),
          rule("apps", {"deployments"}, {"get"}, {cluster::kOperatorDeployment})};
}

// An empty namespace: a kind without one.
Json object(const char* version, const char* kind, const std::string& name,
            const std::string& name_space) {
  Json object = {{"apiVersion", version},
                 {"kind", kind},
                 {"metadata", {{"name", name}, {"labels", managed_labels("access")}}}};
  if (!name_space.empty()) object["metadata"]["namespace"] = name_space;
  return object;
}

Json role(const std::string& name, const std::string& name_space, Json rules) {
  Json role = object(kRbacVersion, name_space.empty() ? "ClusterRole" : "Role", name, name_space);
  role["rules"] = std::move(rules);
  return role;
}

// A service account that is called as its Role, with what binds it to that and to the role that
// tells clusters apart.
std::vector<Json> account_objects(const char* role, const std::string& name_space,
                                  const std::string& identity_binding) {
  const Json subjects =
      Json::array({{{"kind", "ServiceAccount"}, {"name", role}, {"namespace", name_space}}});
  Json here = object(kRbacVersion, "RoleBinding", role, name_space);
  here["roleRef"] = {{"apiGroup", kRbacGroup}, {"kind", "Role"}, {"name", role}};
  here["subjects"] = subjects;
  Json everywhere = object(kRbacVersion, "ClusterRoleBinding", identity_binding, "");
  everywhere["roleRef"] = {
      {"apiGroup", kRbacGroup}, {"kind", "ClusterRole"}, {"name", kIdentityRole}};
  everywhere["subjects"] = subjects;
  return {object("v1", "ServiceAccount", role, name_space), here, everywhere};
}

void refresh(const Services& services, const char* name, const Json& rules, const Call& call) {
  const auto there = services.cluster.find_object({"Role", name}, call);
  if (!there || find_string(*there, {"metadata", "labels", kManagedBy}) != kManager) return;
  services.cluster.apply(role(name, services.cluster.name_space(), rules), call);
}

Words with_default(const Words& secrets) {
  std::set<std::string> names(secrets.begin(), secrets.end());
  // An empty list would mean all Secrets there are.
  names.insert(crd::Policy().etcd_creds);
  return {names.begin(), names.end()};
}

}  // namespace

Json managed_labels(const std::string& component) {
  return {{"app.kubernetes.io/name", "kubedr"},
          {"app.kubernetes.io/component", component},
          {kManagedBy, kManager}};
}

std::string identity_binding(const std::string& name_space) {
  return std::string(kIdentityRole) + "-" + name_space;
}

std::string metrics_binding(const std::string& name_space) {
  return std::string(kMetricsRole) + "-" + name_space;
}

std::vector<Json> access_objects(const std::string& name_space, const Words& secrets) {
  Json reader = role(kReaderRole, "", reader_rules());
  reader["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] = "true";
  std::vector<Json> objects = {reader, role(kIdentityRole, "", identity_rules()),
                               role(kBackupRole, name_space, backup_rules(with_default(secrets))),
                               role(kAdminRole, name_space, admin_rules()),
                               role(kJobRole, name_space, job_rules())};
  for (Json& one : account_objects(kJobRole, name_space, identity_binding(name_space))) {
    objects.push_back(std::move(one));
  }
  return objects;
}

std::vector<Json> metrics_access_objects(const std::string& name_space, const Words& secrets) {
  std::vector<Json> objects = {
      role(kMetricsRole, name_space, metrics_rules(with_default(secrets)))};
  for (Json& one : account_objects(kMetricsRole, name_space, metrics_binding(name_space))) {
    objects.push_back(std::move(one));
  }
  return objects;
}

// Who may patch a policy, but not create one, changes nothing of it but annotations: an owner that
// does not exist would have it deleted, a finalizer would keep it for ever. Owners and finalizers
// may go, as they do when Kubernetes collects garbage. The refusal is worded as RBAC words it.
std::vector<Json> guard_objects() {
  const std::string group = crd::kGroup;
  const std::string may_create =
      "authorizer.group('" + group +
      "').resource('metadatabackuppolicies').namespace(object.metadata.namespace)"
      ".check('create').allowed()";
  const std::string only_annotations =
      "object.spec == oldObject.spec"
      " && object.metadata.?labels.orValue({}) == oldObject.metadata.?labels.orValue({})"
      " && object.metadata.?ownerReferences.orValue([]).all(owner,"
      " oldObject.metadata.?ownerReferences.orValue([]).exists(old, old.uid == owner.uid))"
      " && object.metadata.?finalizers.orValue([]).all(one,"
      " one in oldObject.metadata.?finalizers.orValue([]))";
  const std::string refusal =
      "'User \"' + request.userInfo.username + '\" cannot create resource "
      "\"metadatabackuppolicies\" in API group \"" +
      group +
      "\" in the namespace \"' + object.metadata.namespace + "
      "'\", and so changes nothing of one but annotations'";
  Json policy = object(kGuardVersion, "ValidatingAdmissionPolicy", kGuard, "");
  policy["spec"] = {
      {"matchConstraints",
       {{"resourceRules", Json::array({{{"apiGroups", {group}},
                                        {"apiVersions", {"*"}},
                                        {"operations", {"UPDATE"}},
                                        {"resources", {"metadatabackuppolicies"}}}})}}},
      {"validations", Json::array({{{"expression", "(" + only_annotations + ") || " + may_create},
                                    {"messageExpression", refusal},
                                    {"reason", "Forbidden"}}})}};
  Json binding = object(kGuardVersion, "ValidatingAdmissionPolicyBinding", kGuard, "");
  binding["spec"] = {{"policyName", kGuard}, {"validationActions", {"Deny"}}};
  return {policy, binding};
}

std::vector<std::string> secrets_in_use(const Services& services, const Call& call) {
  std::set<std::string> names;
  for (const crd::Location& location : services.cluster.locations(call).items) {
    names.insert(location.credentials);
  }
  for (const crd::Policy& policy : services.cluster.policies(call).items) {
    names.insert(policy.etcd_creds);
  }
  return {names.begin(), names.end()};
}

void refresh_metrics_role(const Services& services, const Words& secrets, const Call& call) {
  refresh(services, kMetricsRole, metrics_rules(with_default(secrets)), call);
}

void refresh_roles(const Services& services, const Call& call) {
  const Words secrets = secrets_in_use(services, call);
  refresh(services, kBackupRole, backup_rules(with_default(secrets)), call);
  refresh_metrics_role(services, secrets, call);
}

}  // namespace kubedr::workflow
