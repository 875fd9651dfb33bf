#include "workflow/versions.h"

#include <fmt/core.h>

#include "base/error.h"
#include "workflow/database.h"
#include "workflow/open.h"

namespace kubedr::workflow {
namespace {

constexpr std::chrono::seconds kPatience{10};  // with each

template <class Ask>
ServerVersion asked(ServerVersion of, const Call& call, const Ask& ask) {
  try {
    ask(of, call.within(kPatience));
  } catch (const Error& error) {
    call.require_live();
    of.error = error.what();
  }
  return of;
}

}  // namespace

std::vector<ServerVersion> server_versions(const Services& services, const Call& call) {
  std::vector<ServerVersion> versions;
  for (const crd::Policy& policy : services.cluster.policies(call).items) {
    versions.push_back(asked({"etcd", policy.ref.name, policy.etcd_endpoint, "", ""}, call,
                             [&](ServerVersion& etcd, const Call& limited) {
                               DatabaseRequest request;
                               request.any_etcd = true;
                               const ChosenMember member =
                                   choose_member(services, policy, request, limited);
                               etcd.where = member.endpoint.url;
                               etcd.version = member.status.version;
                             }));
  }
  for (const crd::Location& location : services.cluster.locations(call).items) {
    const std::string url = services.repository_url(location);
    versions.push_back(asked({"repository", location.ref.name, url, "", ""}, call,
                             [&](ServerVersion& repository, const Call& limited) {
                               const OpenedRepository opened =
                                   open_repository(services, location, limited);
                               const int version = opened.repository.config().version;
                               repository.version = std::to_string(version);
                             }));
  }
  return versions;
}

}  // namespace kubedr::workflow
