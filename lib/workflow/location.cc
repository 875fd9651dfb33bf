#include "workflow/location.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cluster/secret_data.h"
#include "workflow/access.h"
#include "workflow/install.h"
#include "workflow/open.h"

namespace kubedr::workflow {
namespace {

constexpr const char* kNeededKeys[] = {"access_key", "secret_key", "restic_repo_password"};

Json location_object(const std::string& name_space, const NewLocation& location) {
  return {{"apiVersion", crd::kApiVersion},
          {"kind", crd::kind_name(crd::Kind::location)},
          {"metadata", {{"name", location.name}, {"namespace", name_space}}},
          {"spec",
           {{"url", location.url},
            {"bucketName", location.bucket},
            {"credentials", location.credentials}}}};
}

cluster::SecretData keys_of(const Services& services, const NewLocation& location,
                            const Call& call) {
  cluster::SecretData keys =
      location.keys
          ? *location.keys
          : services.cluster.secret(location.credentials, services.cluster.name_space(), call);
  for (const char* key : kNeededKeys) require_key(keys, location.credentials, key);
  return keys;
}

// Before anything is made: opening a store finds out what cannot be used, and asks nobody.
void require_usable(const Services& services, const NewLocation& location,
                    const cluster::SecretData& keys) {
  crd::Location parsed =
      crd::parse_location(location_object(services.cluster.name_space(), location));
  static_cast<void>(services.open_store(parsed, keys, Caching::off));
}

}  // namespace

std::vector<Json> location_objects(const std::string& name_space, const NewLocation& location) {
  std::vector<Json> objects;
  if (location.keys) {
    objects.push_back(cluster::make_secret(name_space, location.credentials, *location.keys));
  }
  objects.push_back(location_object(name_space, location));
  return objects;
}

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

CreateReport create_location(const Services& services, const NewLocation& location,
                             const Call& call) {
  require_usable(services, location, keys_of(services, location, call));
  const cluster::ObjectName name{crd::kind_name(crd::Kind::location), location.name};
  if (services.cluster.find_object(name, call)) {
    throw Error(ErrorKind::exists,
                fmt::format("backuplocation \"{}\" is there already", location.name),
                "kubectl kubedr location delete removes it, and leaves the repository alone");
  }
  CreateReport report;
  if (location.keys && create_secret(services, location.credentials, *location.keys, call)) {
    report.created.push_back("secret/" + location.credentials);
  }
  const Json object = location_object(services.cluster.name_space(), location);
  services.cluster.create_object(object, call);
  report.created.push_back(display_name(object));
  Steps steps;
  steps.attempt("access", "kubectl kubedr install", [&] { refresh_backup_role(services, call); });
  report.failed_steps = steps.failed();
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
    users.insert(users.end(), malformed->begin(), malformed->end());
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
  steps.attempt("access", "kubectl kubedr install", [&] { refresh_backup_role(services, call); });
  report.failed_steps = steps.failed();
  report.done = true;
  return report;
}

DeleteReport delete_location(const Services& services, const std::string& name, bool delete_secret,
                             const AgreeToDelete& agree, const Call& call) {
  const crd::Location location = services.cluster.location(name, call);
  std::vector<std::string> users;
  for (const crd::Policy& policy : services.cluster.policies(call).items) {
    if (policy.destination == name) users.push_back(policy.ref.name);
  }
  if (!users.empty()) {
    throw Error(
        ErrorKind::usage,
        fmt::format("backuplocation \"{}\" is the destination of: {}", name, join(users, ", ")),
        "delete those first: kubectl kubedr policy delete " + users.front());
  }
  DeletePlan plan;
  plan.objects.push_back({crd::kind_name(crd::Kind::location), name});
  if (delete_secret) {
    require_unshared(services, location.credentials, location.ref, call);
    plan.secret = location.credentials;
  }
  const auto records = services.cluster.records(call).items;
  plan.records = static_cast<std::size_t>(
      std::count_if(records.begin(), records.end(),
                    [&](const crd::Record& record) { return record.location == name; }));
  return delete_planned(services, plan, agree, call);
}

}  // namespace kubedr::workflow
