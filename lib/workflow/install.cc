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

void append(std::vector<Json>& objects, std::vector<Json> more) {
  for (Json& object : more) objects.push_back(std::move(object));
}

// The listener, with what it may do before it.
std::vector<Json> listener_objects(const std::string& name_space,
                                   const std::vector<std::string>& secrets,
                                   const MetricsService& metrics) {
  std::vector<Json> objects = metrics_access_objects(name_space, secrets);
  append(objects, metrics_objects(name_space, metrics));
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

std::vector<Json> install_objects(const std::string& name_space, const InstallRequest& request) {
  std::vector<Json> objects = definition_objects(name_space);
  append(objects, guard_objects());
  append(objects, access_objects(name_space, {}));
  if (request.metrics) append(objects, listener_objects(name_space, {}, *request.metrics));
  return objects;
}

std::vector<Installed> install(const Services& services, const InstallRequest& request,
                               const Call& call) {
  std::optional<MetricsService> metrics;
  if (request.metrics) metrics = require_metrics_service(services, *request.metrics, call);
  std::vector<Installed> installed;
  const auto apply = [&](const std::vector<Json>& objects) {
    for (const Json& object : objects) {
      installed.push_back({display_name(object), services.cluster.apply(object, call)});
    }
  };
  const std::string& name_space = services.cluster.name_space();
  apply(definition_objects(name_space));
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
  const std::vector<std::string> secrets = secrets_in_use(services, call);
  apply(access_objects(name_space, secrets));
  if (metrics) {
    apply(listener_objects(name_space, secrets, *metrics));
  } else {
    refresh_metrics_role(services, secrets, call);
  }
  return installed;
}

}  // namespace kubedr::workflow
