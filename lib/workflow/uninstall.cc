#include "workflow/uninstall.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "workflow/access.h"

namespace kubedr::workflow {
namespace {

// Records before what they refer to.
constexpr std::array kKinds = {crd::Kind::restore, crd::Kind::record, crd::Kind::policy,
                               crd::Kind::location};

constexpr std::chrono::seconds kLongestWait{60};
constexpr std::chrono::milliseconds kPause{200};

cluster::ObjectName name_of(const std::string& kind, const Json& object) {
  return {kind, find_string(object, {"metadata", "name"}).value_or(""),
          find_string(object, {"metadata", "namespace"}).value_or("")};
}

class Uninstalling {
 public:
  Uninstalling(const Services& services, const UninstallRequest& request, const Call& call)
      : s_(services), request_(request), call_(call) {}

  UninstallPlan plan() {
    if (request_.delete_records) require_no_operator();
    plan_.delete_records = request_.delete_records;
    // What acts goes before what it may do.
    for (const char* kind : {"CronJob", "Deployment", "ServiceMonitor", "Service", "RoleBinding",
                             "Role", "ServiceAccount"}) {
      take(kind, cluster::Reach::here);
    }
    take_cluster_wide();
    if (request_.delete_records) take_records();
    return std::move(plan_);
  }

  std::vector<std::string> carry_out(const UninstallPlan& plan) {
    if (request_.delete_records) require_no_operator();  // the question may have taken its time
    std::vector<std::string> deleted;
    for (const cluster::ObjectName& object : plan.objects) {
      if (s_.cluster.delete_object(object, call_)) deleted.push_back(describe(object));
    }
    for (const cluster::ObjectName& object : plan.objects) {
      if (object.kind == "CustomResourceDefinition") wait_until_gone(object);
    }
    return deleted;
  }

 private:
  static std::string describe(const cluster::ObjectName& object) {
    return to_lower(object.kind) + "/" + object.name;
  }

  // Records of all namespaces go, and the operator of any would see it.
  void require_no_operator() const {
    std::string where;
    if (s_.cluster.operator_runs(call_) != false) where = s_.cluster.name_space();
    for (const Json& deployment :
         s_.cluster.list_objects("Deployment", "", cluster::Reach::everywhere, call_)) {
      const cluster::ObjectName name = name_of("Deployment", deployment);
      const bool runs = find_integer(deployment, {"spec", "replicas"}).value_or(1) > 0;
      if (runs && name.name == cluster::kOperatorDeployment) where = name.name_space;
    }
    if (where.empty()) return;
    throw Error(
        ErrorKind::usage,
        fmt::format("uninstall: an operator is running in namespace \"{}\": it would delete "
                    "the snapshot of every record that goes",
                    where),
        fmt::format("stop it first: kubectl -n {} scale deployment {} --replicas=0", where,
                    cluster::kOperatorDeployment));
  }

  // None where the server does not know the kind.
  std::vector<Json> ours(const std::string& kind, cluster::Reach reach) const {
    try {
      return s_.cluster.list_objects(kind, fmt::format("{}={}", kManagedBy, kManager), reach,
                                     call_);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) throw;
      return {};
    }
  }

  void take(const std::string& kind, cluster::Reach reach) {
    for (const Json& object : ours(kind, reach)) plan_.objects.push_back(name_of(kind, object));
  }

  // Another namespace's installation needs them as well.
  void take_cluster_wide() {
    const std::string& space = s_.cluster.name_space();
    for (const Json& object : ours("ClusterRoleBinding", cluster::Reach::here)) {
      const cluster::ObjectName name = name_of("ClusterRoleBinding", object);
      const bool is_here =
          name.name == identity_binding(space) || name.name == metrics_binding(space);
      if (is_here) plan_.objects.push_back(name);
    }
    const std::vector<Json> accounts = ours("ServiceAccount", cluster::Reach::everywhere);
    const bool shared = std::any_of(accounts.begin(), accounts.end(), [&](const Json& account) {
      return find_string(account, {"metadata", "namespace"}) != s_.cluster.name_space();
    });
    if (shared) return;
    for (const char* kind :
         {"ClusterRole", "ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"}) {
      take(kind, cluster::Reach::here);
    }
  }

  void take_records() {
    const auto definition_of = [](crd::Kind kind) {
      return cluster::ObjectName{"CustomResourceDefinition",
                                 std::string(crd::plural_name(kind)) + "." + crd::kGroup};
    };
    std::vector<cluster::ObjectName> definitions;
    for (const crd::Kind kind : kKinds) {
      if (!s_.cluster.find_object(definition_of(kind), call_)) continue;
      definitions.push_back(definition_of(kind));
      for (const Json& object :
           s_.cluster.list_objects(crd::kind_name(kind), "", cluster::Reach::everywhere, call_)) {
        const cluster::ObjectName name = name_of(crd::kind_name(kind), object);
        plan_.objects.push_back(name);
        ++plan_.losses[fmt::format("{} in namespace {}", crd::plural_name(kind), name.name_space)];
      }
    }
    plan_.objects.insert(plan_.objects.end(), definitions.begin(), definitions.end());
  }

  // Who installs anew at once must not meet one that is on its way out.
  void wait_until_gone(const cluster::ObjectName& object) const {
    const Call limited = call_.within(kLongestWait);
    while (s_.cluster.find_object(object, limited)) limited.sleep(kPause);
  }

  const Services& s_;
  const UninstallRequest& request_;
  const Call& call_;
  UninstallPlan plan_;
};

}  // namespace

UninstallReport uninstall(const Services& services, const UninstallRequest& request,
                          const std::function<bool(const UninstallPlan&)>& agree,
                          const Call& call) {
  Uninstalling work(services, request, call);
  UninstallReport report;
  report.plan = work.plan();
  if (!agree(report.plan)) return report;
  report.deleted = work.carry_out(report.plan);
  report.done = true;
  return report;
}

}  // namespace kubedr::workflow
