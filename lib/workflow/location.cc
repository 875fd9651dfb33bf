#include "workflow/location.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
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
  return with_secret(location_object(name_space, location), location.credentials, location.keys);
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
  return create_objects(services, location_object(services.cluster.name_space(), location),
                        location.credentials, location.keys, call);
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
