#include "workflow/install.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "crd/definitions.h"
#include "workflow/access.h"

namespace kubedr::workflow {
namespace {

constexpr std::pair<int, int> kKnowsAdmissionPolicies{1, 30};

// A definition is served a moment after it is accepted; who installs and then creates a location
// at once should not meet a 404.
void wait_until_served(const Services& services, const Call& call) {
  const Call limited = call.within(std::chrono::seconds(30));
  while (true) {
    try {
      services.cluster.locations(limited);
      services.cluster.policies(limited);
      services.cluster.records(limited);
      return;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::denied) return;  // served, and not for the installer to see
      if (error.kind() != ErrorKind::not_found) throw;
    }
    limited.sleep(std::chrono::milliseconds(100));
  }
}

std::vector<Json> definition_objects(const std::string& name_space) {
  std::vector<Json> objects{crd::namespace_object(name_space)};
  for (Json& definition : crd::definitions()) objects.push_back(std::move(definition));
  return objects;
}

}  // namespace

std::string display_name(const Json& object) {
  const std::string kind = to_lower(find_string(object, {"kind"}).value_or(""));
  const std::string version = find_string(object, {"apiVersion"}).value_or("");
  const std::size_t slash = version.find('/');
  const std::string group = slash == std::string::npos ? "" : "." + version.substr(0, slash);
  return kind + group + "/" + find_string(object, {"metadata", "name"}).value_or("");
}

std::vector<Json> install_objects(const std::string& name_space) {
  std::vector<Json> objects = definition_objects(name_space);
  for (Json& object : guard_objects()) objects.push_back(std::move(object));
  for (Json& object : access_objects(name_space, {})) objects.push_back(std::move(object));
  return objects;
}

std::vector<Installed> install(const Services& services, const Call& call) {
  std::vector<Installed> installed;
  const auto apply = [&](const std::vector<Json>& objects) {
    for (const Json& object : objects) {
      installed.push_back({display_name(object), services.cluster.apply(object, call)});
    }
  };
  apply(definition_objects(services.cluster.name_space()));
  wait_until_served(services, call);
  const auto version = services.cluster.server_version(call);
  if (version && *version >= kKnowsAdmissionPolicies) {
    apply(guard_objects());
  } else {
    log::warn(
        "this API server has no admission policies (1.30 has): whoever has the role {} may "
        "change policies, and so choose the Secrets it reads",
        kBackupRole);
  }
  apply(access_objects(services.cluster.name_space(), secrets_in_use(services, call)));
  return installed;
}

}  // namespace kubedr::workflow
