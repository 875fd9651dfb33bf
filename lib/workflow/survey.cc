#include "workflow/survey.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "repo/keyring.h"
#include "workflow/expiry.h"
#include "workflow/job.h"
#include "workflow/locks.h"
#include "workflow/open.h"
#include "workflow/totals.h"

namespace kubedr::workflow {
namespace {

void look_at_locks(const Services& services, const repo::Repository& repository,
                   health::SeenRepository& seen, const Call& call) {
  for (const repo::SavedLock& lock : repository.locks(call)) {
    ++seen.locks;
    if (holder_is_gone(services, lock, call)) ++seen.stale_locks;
    if (!seen.oldest_lock || lock.info.time < *seen.oldest_lock) seen.oldest_lock = lock.info.time;
  }
}

constexpr std::array kEtcdCertificates = {"ca.crt", "client.crt"};

bool needs_repositories(const health::Fleet& fleet, const SurveyRequest& request) {
  return request.deep || fleet.without_cluster;
}

// A reader may not be allowed to list CronJobs, and a server may not know them: then nothing is
// said about them.
void look_at_schedules(const Services& services, health::Fleet& fleet, const Call& call) {
  std::vector<Json> cron_jobs;
  try {
    cron_jobs =
        services.cluster.list_objects("CronJob", backup_selector(), cluster::Reach::here, call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::denied && error.kind() != ErrorKind::not_found) throw;
    log::info("{}", error.what());
  }
  for (const Json& cron_job : cron_jobs) {
    health::SeenSchedule seen;
    seen.name_space = find_string(cron_job, {"metadata", "namespace"}).value_or("");
    seen.policy = find_string(cron_job, {"metadata", "labels", kPolicyLabel}).value_or("");
    for (const crd::Policy& policy : fleet.policies) {
      if (policy.ref.name != seen.policy || policy.ref.name_space != seen.name_space) continue;
      for (const health::SeenLocation& location : fleet.locations) {
        const crd::ObjectRef& ref = location.location.ref;
        if (ref.name != policy.destination || ref.name_space != policy.ref.name_space) continue;
        seen.drift = drift_of(cron_job, policy, location.location);
      }
    }
    fleet.schedules.push_back(std::move(seen));
  }
}

struct Selector {
  std::optional<crd::Kind> kind;  // none: either
  std::string name;
};

Selector parse_selector(const std::string& text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) return {std::nullopt, text};
  const std::string kind = to_lower(text.substr(0, slash));
  const std::string name = text.substr(slash + 1);
  for (const char* word : {"backuplocation", "backuplocations", "location", "bl"}) {
    if (kind == word) return {crd::Kind::location, name};
  }
  for (const char* word : {"metadatabackuppolicy", "metadatabackuppolicies", "policy", "mbp"}) {
    if (kind == word) return {crd::Kind::policy, name};
  }
  throw Error(ErrorKind::usage, fmt::format("status: \"{}\": unknown kind", text),
              "name a backuplocation/NAME, a policy/NAME or just a NAME");
}

Error not_there(const std::string& text, const std::string& name, const health::Fleet& fleet) {
  std::vector<std::string> names;
  for (const crd::Policy& policy : fleet.policies) names.push_back(policy.ref.name);
  for (const health::SeenLocation& seen : fleet.locations) names.push_back(seen.location.ref.name);
  const std::string meant = closest(name, names);
  return Error(ErrorKind::not_found, fmt::format("status: \"{}\" not found", text),
               meant.empty() ? "kubectl kubedr status lists what there is"
                             : "did you mean \"" + meant + "\"?");
}

// Keeps what was asked for; a policy brings its location along, which its health depends on.
void select(health::Fleet& fleet, const std::vector<std::string>& only) {
  if (only.empty()) return;
  std::vector<crd::Policy> policies;
  std::vector<health::SeenLocation> locations;
  const auto keep_location = [&](const health::SeenLocation& seen) {
    const bool there = std::any_of(locations.begin(), locations.end(), [&](const auto& kept) {
      return kept.location.ref.name == seen.location.ref.name &&
             kept.location.ref.name_space == seen.location.ref.name_space;
    });
    if (!there) locations.push_back(seen);
  };
  for (const std::string& text : only) {
    const Selector selector = parse_selector(text);
    bool found = false;
    for (const crd::Policy& policy : fleet.policies) {
      if (selector.kind == crd::Kind::location || policy.ref.name != selector.name) continue;
      found = true;
      policies.push_back(policy);
      for (const health::SeenLocation& seen : fleet.locations) {
        if (seen.location.ref.name == policy.destination) keep_location(seen);
      }
    }
    for (const health::SeenLocation& seen : fleet.locations) {
      if (selector.kind == crd::Kind::policy || seen.location.ref.name != selector.name) continue;
      found = true;
      keep_location(seen);
    }
    if (!found) throw not_there(text, selector.name, fleet);
  }
  fleet.policies = std::move(policies);
  fleet.locations = std::move(locations);
  fleet.malformed.clear();
}

}  // namespace

health::SeenRepository survey_repository(const Services& services, const crd::Location& location,
                                         const std::optional<std::string>& cluster_uid,
                                         std::chrono::milliseconds time, const Call& call) {
  const Call bounded = call.within(time);
  health::SeenRepository seen;
  seen.looked = services.clock.now();
  try {
    const OpenedRepository opened = open_repository(services, location, bounded);
    seen.keys = repo::list_keys(opened.repository, bounded).size();
    look_at_locks(services, opened.repository, seen, bounded);
    for (const repo::SavedSnapshot& saved : opened.repository.snapshots(bounded)) {
      seen.snapshots.push_back(seen_of(saved, cluster_uid));
    }
    opened.store->list(
        storage::FileKind::pack, [&](const storage::FileInfo& pack) { seen.bytes += pack.size; },
        bounded);
  } catch (const Error& error) {
    call.require_live();
    seen.problem = error.what();
    seen.remedy = error.hint();
  }
  return seen;
}

std::vector<health::SeenCertificate> survey_certificates(const Services& services,
                                                         const crd::Policy& policy,
                                                         const Call& call) {
  std::vector<health::SeenCertificate> certificates;
  cluster::SecretData keys;
  try {
    keys = services.cluster.secret(policy.etcd_creds, policy.ref.name_space, call);
  } catch (const Error& error) {
    call.require_live();
    log::info("{}: {}", policy.ref.display(), error.what());
    return certificates;
  }
  for (const char* name : kEtcdCertificates) {
    const auto found = keys.find(name);
    if (found == keys.end()) continue;
    if (const std::optional<WallTime> end = first_expiry(found->second.reveal())) {
      certificates.push_back({policy.ref.name_space, policy.ref.name, name, *end});
    }
  }
  return certificates;
}

void complete_totals(health::Fleet& fleet) {
  for (crd::Policy& policy : fleet.policies) {
    const health::SeenLocation* seen = health::location_of(fleet, policy);
    if (seen == nullptr || !seen->repository || !seen->repository->problem.empty()) continue;
    if (!policy.totals) policy.totals = crd::Totals{};
    health::count_missed(*policy.totals, policy, seen->repository->snapshots, fleet.records);
  }
}

health::Fleet survey_cluster(const Services& services, const SurveyRequest& request,
                             const Call& call) {
  health::Fleet fleet;
  fleet.now = services.clock.now();
  fleet.surveyed = fleet.now;
  fleet.max_age = request.max_age;
  fleet.without_cluster = services.cluster.mode() != "cluster";
  fleet.all_namespaces = services.cluster.name_space().empty();
  auto locations = services.cluster.locations(call);
  auto policies = services.cluster.policies(call);
  auto records = services.cluster.records(call);
  for (crd::Location& location : locations.items) {
    health::SeenLocation seen;
    seen.repository_url = services.repository_url(location);
    seen.location = std::move(location);
    fleet.locations.push_back(std::move(seen));
  }
  fleet.policies = std::move(policies.items);
  fleet.records = std::move(records.items);
  for (auto* malformed : {&locations.malformed, &policies.malformed, &records.malformed}) {
    fleet.malformed.insert(fleet.malformed.end(), malformed->begin(), malformed->end());
  }
  look_at_schedules(services, fleet, call);
  select(fleet, request.only);
  return fleet;
}

health::Fleet survey(const Services& services, const SurveyRequest& request, const Call& call) {
  health::Fleet fleet = survey_cluster(services, request, call);
  if (!needs_repositories(fleet, request)) return fleet;
  const std::optional<std::string> cluster_uid = services.cluster.identity(call);
  for (health::SeenLocation& seen : fleet.locations) {
    seen.repository =
        survey_repository(services, seen.location, cluster_uid, request.longest_look, call);
  }
  for (const crd::Policy& policy : fleet.policies) {
    for (health::SeenCertificate& seen : survey_certificates(services, policy, call)) {
      fleet.certificates.push_back(std::move(seen));
    }
  }
  complete_totals(fleet);
  return fleet;
}

}  // namespace kubedr::workflow
