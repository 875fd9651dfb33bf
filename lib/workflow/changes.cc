#include "workflow/changes.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cluster/secret_data.h"
#include "workflow/access.h"
#include "workflow/install.h"

namespace kubedr::workflow {
namespace {

// Makes a Secret, or finds one of that content. Returns whether it was made.
bool create_secret(const Services& services, const std::string& name,
                   const cluster::SecretData& data, const Call& call) {
  const Json object = cluster::make_secret(services.cluster.name_space(), name, data);
  try {
    services.cluster.create_object(object, call);
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::exists) throw;
  }
  if (services.cluster.secret(name, services.cluster.name_space(), call) == data) return false;
  throw Error(ErrorKind::exists,
              fmt::format("secret \"{}\" is there already, with another content", name),
              "name that Secret to use it as it is, or choose another name");
}

// Lets the roles read the Secrets that are named now, and no others.
std::vector<FailedStep> refresh_access(const Services& services, Steps steps, const Call& call) {
  steps.attempt("access", "kubectl kubedr install", [&] { refresh_roles(services, call); });
  return steps.failed();
}

}  // namespace

std::vector<Json> with_secret(const Json& object, const std::string& name,
                              const std::optional<cluster::SecretData>& keys) {
  if (!keys) return {object};
  return {cluster::make_secret(object.at("metadata").at("namespace"), name, *keys), object};
}

CreateReport create_objects(const Services& services, const Json& object, const std::string& secret,
                            const std::optional<cluster::SecretData>& keys, const Call& call) {
  CreateReport report;
  if (keys && create_secret(services, secret, *keys, call)) {
    report.created.push_back("secret/" + secret);
  }
  services.cluster.create_object(object, call);
  report.created.push_back(display_name(object));
  report.failed_steps = refresh_access(services, {}, call);
  return report;
}

void require_unshared(const Services& services, const std::string& secret,
                      const crd::ObjectRef& owner, const Call& call) {
  const auto locations = services.cluster.locations(call);
  const auto policies = services.cluster.policies(call);
  std::vector<std::string> users;
  const auto look_at = [&](const crd::ObjectRef& ref, const std::string& named) {
    const bool is_owner = ref.kind == owner.kind && ref.name == owner.name;
    if (!is_owner && named == secret) users.push_back(ref.display());
  };
  for (const crd::Location& one : locations.items) look_at(one.ref, one.credentials);
  for (const crd::Policy& one : policies.items) look_at(one.ref, one.etcd_creds);
  for (const auto* malformed : {&locations.malformed, &policies.malformed}) {
    for (const crd::Malformed& one : *malformed) users.push_back(one.text);
  }
  if (users.empty()) return;
  throw Error(ErrorKind::usage,
              fmt::format("secret \"{}\" is also that of {}, or may be", secret, join(users, "; ")),
              "leave --delete-secret out");
}

DeleteReport delete_planned(const Services& services, const DeletePlan& plan,
                            const AgreeToDelete& agree, const Call& call) {
  DeleteReport report;
  if (!agree(plan)) return report;
  const auto remove = [&](const cluster::ObjectName& object) {
    if (services.cluster.delete_object(object, call)) {
      report.deleted.push_back(to_lower(object.kind) + "/" + object.name);
    }
  };
  for (const cluster::ObjectName& object : plan.objects) remove(object);
  Steps steps;
  if (!plan.secret.empty()) {
    steps.attempt(
        "secret " + plan.secret,
        fmt::format("kubectl -n {} delete secret {}", services.cluster.name_space(), plan.secret),
        [&] {
          remove({"Secret", plan.secret});
        });
  }
  report.failed_steps = refresh_access(services, std::move(steps), call);
  report.done = true;
  return report;
}

}  // namespace kubedr::workflow
