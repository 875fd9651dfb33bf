#include "workflow/survey.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "repo/keyring.h"
#include "workflow/identity.h"
#include "workflow/locks.h"
#include "workflow/open.h"

namespace kubedr::workflow {
namespace {

// A policy of the same name in another cluster is another one.
PolicyName policy_here(const repo::Snapshot& snapshot, const std::optional<std::string>& cluster) {
  return is_of_cluster(snapshot, cluster) ? policy_of(snapshot) : PolicyName{};
}

void look_at_locks(const Services& services, const repo::Repository& repository,
                   health::SeenRepository& seen, const Call& call) {
  for (const repo::SavedLock& lock : repository.locks(call)) {
    if (holder_is_gone(services, lock, call)) ++seen.stale_locks;
  }
}

health::SeenRepository look_into(const Services& services, const crd::Location& location,
                                 const std::optional<std::string>& cluster, const Call& call) {
  health::SeenRepository seen;
  try {
    const OpenedRepository opened = open_repository(services, location, call);
    seen.keys = repo::list_keys(opened.repository, call).size();
    look_at_locks(services, opened.repository, seen, call);
    for (const repo::SavedSnapshot& saved : opened.repository.snapshots(call)) {
      const PolicyName policy = policy_here(saved.snapshot, cluster);
      health::SeenSnapshot snapshot;
      snapshot.id = saved.id.hex();
      snapshot.time = saved.snapshot.time;
      snapshot.policy = policy.name;
      snapshot.name_space = policy.name_space;
      if (saved.snapshot.summary) {
        snapshot.size = saved.snapshot.summary->total_bytes_processed;
        snapshot.added = saved.snapshot.summary->data_added;
      }
      seen.snapshots.push_back(std::move(snapshot));
    }
  } catch (const Error& error) {
    call.require_live();
    seen.problem = error.what();
    seen.remedy = error.hint();
  }
  return seen;
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
    if (!found) throw Error(ErrorKind::not_found, fmt::format("status: \"{}\" not found", text));
  }
  fleet.policies = std::move(policies);
  fleet.locations = std::move(locations);
  fleet.malformed.clear();
}

}  // namespace

health::Fleet survey(const Services& services, const SurveyRequest& request, const Call& call) {
  health::Fleet fleet;
  fleet.now = services.clock.now();
  fleet.max_age = request.max_age;
  fleet.without_cluster = services.cluster.mode() != "cluster";
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
  select(fleet, request.only);
  if (!request.deep && !fleet.without_cluster) return fleet;
  const std::optional<std::string> cluster = services.cluster.identity(call);
  for (health::SeenLocation& seen : fleet.locations) {
    seen.repository = look_into(services, seen.location, cluster, call);
  }
  return fleet;
}

}  // namespace kubedr::workflow
