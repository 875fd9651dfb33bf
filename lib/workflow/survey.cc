#include "workflow/survey.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "repo/keyring.h"
#include "repo/walk.h"
#include "workflow/expiry.h"
#include "workflow/identity.h"
#include "workflow/job.h"
#include "workflow/locks.h"
#include "workflow/open.h"
#include "workflow/totals.h"

namespace kubedr::workflow {
namespace {

constexpr std::size_t kMostCertificateBytes = 256 << 10;
constexpr std::size_t kMostCertificates = 200;

void look_at_locks(const Services& services, const repo::Repository& repository,
                   health::SeenRepository& seen, const Call& call) {
  for (const repo::SavedLock& lock : repository.locks(call)) {
    ++seen.locks;
    const bool gone = holder_is_gone(services, lock, call);
    if (gone) ++seen.stale_locks;
    if (lock.info.exclusive && !gone) {
      seen.exclusive_lock =
          fmt::format("{}@{} (process {})", lock.info.username, lock.info.hostname, lock.info.pid);
    }
    if (!seen.oldest_lock || lock.info.time < *seen.oldest_lock) seen.oldest_lock = lock.info.time;
  }
}

bool may_be_certificate(const std::string& path, const repo::Node& node) {
  return node.type == repo::NodeType::file && node.size <= kMostCertificateBytes &&
         (path.ends_with(".crt") || path.ends_with(".pem") || path.ends_with(".cert"));
}

std::string text_of(const repo::Repository& repository, const repo::Index& index,
                    const repo::Node& node, const Call& call) {
  std::string text;
  for (const repo::BlobId& id : node.content) {
    text += as_text(repository.load_blob(index, {repo::BlobType::data, id}, call));
  }
  return text;
}

// Without a lock, which would have to be written: what a prune takes away meanwhile was not in the
// last backup, and what is missing is not told.
void look_at_certificates(const repo::Repository& repository, const repo::Index& index,
                          const repo::SavedSnapshot& saved, RepositoryLook& look,
                          const Call& call) {
  const PolicyName policy = policy_of(saved.snapshot);
  std::size_t count = 0;
  repo::walk_tree(
      repository, index, saved.snapshot.tree,
      [&](const std::string& path, const repo::Node& node) {
        if (!may_be_certificate(path, node) || ++count > kMostCertificates) return;
        const auto end = first_expiry(text_of(repository, index, node, call));
        if (!end) return;
        look.certificates.push_back({policy.name_space, policy.name, path.substr(1), *end, true});
      },
      call);
}

// Of the newest backup of each policy of this cluster.
void look_into_backups(repo::Repository& repository,
                       const std::vector<repo::SavedSnapshot>& snapshots,
                       const std::optional<std::string>& cluster_uid, RepositoryLook& look,
                       const Call& call) {
  std::map<std::string, const repo::SavedSnapshot*> newest;
  for (const repo::SavedSnapshot& saved : snapshots) {
    const std::string policy = tag_value(saved.snapshot, "policy");
    if (!policy.empty() && is_of_cluster(saved.snapshot, cluster_uid)) newest[policy] = &saved;
  }
  if (newest.empty()) return;
  try {
    const repo::Lock none = repository.unlocked(call);
    const repo::Index index = load_index_to_read(repository, none, call);
    for (const auto& [policy, saved] : newest) {
      look_at_certificates(repository, index, *saved, look, call);
    }
  } catch (const Error& error) {
    call.require_live();
    log::info("{}", error.what());
  }
}

bool needs_repositories(const health::Fleet& fleet, const SurveyRequest& request) {
  return request.deep || fleet.without_cluster;
}

// A reader may not be allowed to list CronJobs, and a server may not know them: then nothing is
// said about them, but what right is missing. A pod is not meant to have it. Returns whether there
// was an answer.
bool look_at_schedules(const Services& services, health::Fleet& fleet, const Call& call) {
  std::vector<Json> cron_jobs;
  try {
    cron_jobs =
        services.cluster.list_objects("CronJob", backup_selector(), cluster::Reach::here, call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::denied && error.kind() != ErrorKind::not_found) throw;
    log::info("{}", error.what());
    if (error.kind() == ErrorKind::denied && !services.given) {
      fleet.refusals.push_back({"cronjobs-forbidden", services.cluster.name_space(),
                                "cronjobs.batch", "the CronJobs of the policies", error.what(),
                                error.hint()});
    }
    return false;
  }
  for (const Json& cron_job : cron_jobs) {
    health::SeenSchedule seen;
    seen.name_space = find_string(cron_job, {"metadata", "namespace"}).value_or("");
    seen.policy = find_string(cron_job, {"metadata", "labels", kPolicyLabel}).value_or("");
    seen.cron_job = find_string(cron_job, {"metadata", "name"}).value_or("");
    seen.foreign = !is_ours(cron_job);
    if (!seen.foreign) seen.image = image_of(cron_job);
    for (const crd::Policy& policy : fleet.policies) {
      if (policy.ref.name != seen.policy || policy.ref.name_space != seen.name_space) continue;
      if (const health::SeenLocation* location = health::location_of(fleet, policy)) {
        seen.drift = drift_of(cron_job, policy, location->location);
      }
    }
    fleet.schedules.push_back(std::move(seen));
  }
  return true;
}

template <class T>
void append(std::vector<T>& all, std::vector<T> more) {
  for (T& one : more) all.push_back(std::move(one));
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

// Once, though it may be asked for twice.
template <class T>
void keep(std::vector<const T*>& kept, const T& one) {
  if (std::find(kept.begin(), kept.end(), &one) == kept.end()) kept.push_back(&one);
}

template <class T>
std::vector<T> copied(const std::vector<const T*>& kept) {
  std::vector<T> copies;
  for (const T* one : kept) copies.push_back(*one);
  return copies;
}

// Keeps what was asked for; a policy brings its location along, which its health depends on.
void select(health::Fleet& fleet, const std::vector<std::string>& only) {
  if (only.empty()) return;
  std::vector<const crd::Policy*> policies;
  std::vector<const health::SeenLocation*> locations;
  for (const std::string& text : only) {
    const Selector selector = parse_selector(text);
    bool found = false;
    for (const crd::Policy& policy : fleet.policies) {
      if (selector.kind == crd::Kind::location || policy.ref.name != selector.name) continue;
      found = true;
      keep(policies, policy);
      if (const auto* its = health::location_of(fleet, policy)) keep(locations, *its);
    }
    for (const health::SeenLocation& seen : fleet.locations) {
      if (selector.kind == crd::Kind::policy || seen.location.ref.name != selector.name) continue;
      found = true;
      keep(locations, seen);
    }
    if (!found) throw not_there(text, selector.name, fleet);
  }
  fleet.policies = copied(policies);
  fleet.locations = copied(locations);
  fleet.malformed.clear();
}

}  // namespace

RepositoryLook survey_repository(const Services& services, const crd::Location& location,
                                 const std::optional<std::string>& cluster_uid,
                                 std::chrono::milliseconds time, const Call& call) {
  const Call bounded = call.within(time);
  RepositoryLook look;
  health::SeenRepository& seen = look.repository;
  seen.looked = services.clock.now();
  std::optional<OpenedStore> store;
  bool read = false;
  try {
    const cluster::SecretData keys = location_keys(services, location, bounded);
    read = true;
    for (const auto& [name, value] : keys) {
      if (!value.empty()) seen.secret_keys.push_back(name);
    }
    store = open_store(services, location, keys, Caching::on);
    repo::Repository repository = open_repository_in(*store, services, location, bounded);
    seen.keys = repo::list_keys(repository, bounded).size();
    look_at_locks(services, repository, seen, bounded);
    const std::vector<repo::SavedSnapshot> snapshots = repository.snapshots(bounded);
    for (const repo::SavedSnapshot& saved : snapshots) {
      seen.snapshots.push_back(seen_of(saved, cluster_uid));
    }
    store->store->list(
        storage::FileKind::pack, [&](const storage::FileInfo& pack) { seen.bytes += pack.size; },
        bounded);
    seen.seen = true;
    look_into_backups(repository, snapshots, cluster_uid, look, bounded);
  } catch (const Error& error) {
    call.require_live();
    seen.problem = error.what();
    seen.problem_kind = error.kind();
    seen.remedy = error.hint();
    seen.secret_refused = !read && error.kind() == ErrorKind::denied;
  }
  // Whoever refuses us for our clock says what time it is.
  if (store) seen.clock_offset = store->store->clock_offset();
  return look;
}

namespace {

// What etcd's client needs: each of the three, and the last two of one another.
void require_etcd_keys(const cluster::SecretData& keys, const std::string& secret) {
  for (const char* name : {"ca.crt", "client.crt"}) {
    if (first_expiry(require_key(keys, secret, name).reveal())) continue;
    throw Error(ErrorKind::usage,
                fmt::format("secret \"{}\": its {} is no certificate", secret, name),
                "etcd's clients want PEM: -----BEGIN CERTIFICATE-----");
  }
  const std::string_view certificate = require_key(keys, secret, "client.crt").reveal();
  if (!belong_together(certificate, require_key(keys, secret, "client.key").reveal())) {
    throw Error(
        ErrorKind::usage,
        fmt::format("secret \"{}\": its client.key is not the key of its client.crt", secret));
  }
}

}  // namespace

SeenKeys survey_keys(const Services& services, const crd::Policy& policy, const Call& call) {
  SeenKeys seen;
  // A plain etcd asks for none, and bare backups are told theirs by flags.
  if (policy.etcd_creds.empty() || !crd::uses_tls(policy)) return seen;
  try {
    const cluster::SecretData keys =
        services.cluster.secret(policy.etcd_creds, policy.ref.name_space, call);
    for (const char* name : {"ca.crt", "client.crt"}) {
      const auto found = keys.find(name);
      if (found == keys.end()) continue;
      if (const std::optional<WallTime> end = first_expiry(found->second.reveal())) {
        seen.certificates.push_back({policy.ref.name_space, policy.ref.name, name, *end});
      }
    }
    require_etcd_keys(keys, policy.etcd_creds);
  } catch (const Error& error) {
    call.require_live();
    // Who may not read Secrets can say nothing of them, and a pod is not meant to.
    if (error.kind() == ErrorKind::denied || error.kind() == ErrorKind::unavailable) {
      log::info("{}: {}", policy.ref.display(), error.what());
      if (error.kind() == ErrorKind::denied && !services.given) {
        seen.refusals.push_back({"etcd-secret-forbidden", policy.ref.name_space,
                                 policy.ref.display(), "its Secret of etcd", error.what(),
                                 error.hint()});
      }
      return seen;
    }
    seen.problems.push_back({policy.ref.name_space, policy.ref.name, error.what()});
  }
  return seen;
}

void complete_totals(health::Fleet& fleet) {
  for (crd::Policy& policy : fleet.policies) {
    const health::SeenLocation* seen = health::location_of(fleet, policy);
    if (seen == nullptr || !seen->repository || !seen->repository->seen) continue;
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
  fleet.without_cluster = !services.cluster.has_api_server();
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
  const bool answered = look_at_schedules(services, fleet, call);
  fleet.schedules_known = answered && request.deep && !fleet.without_cluster &&
                          services.cluster.operator_runs(call) == false;
  fleet.clock_offset = services.cluster.clock_offset();
  select(fleet, request.only);
  return fleet;
}

namespace {

// A pod has the keys of one repository: of the others it says nothing.
bool may_look(const Services& services, const health::SeenLocation& seen) {
  return !services.given || services.given->repository_url == seen.repository_url;
}

}  // namespace

health::Fleet survey(const Services& services, const SurveyRequest& request, const Call& call) {
  health::Fleet fleet = survey_cluster(services, request, call);
  if (!needs_repositories(fleet, request)) return fleet;
  const std::optional<std::string> cluster_uid = services.cluster.identity(call);
  for (health::SeenLocation& seen : fleet.locations) {
    if (!may_look(services, seen)) continue;
    RepositoryLook look =
        survey_repository(services, seen.location, cluster_uid, request.longest_look, call);
    seen.repository = std::move(look.repository);
    append(fleet.certificates, std::move(look.certificates));
  }
  for (const crd::Policy& policy : fleet.policies) {
    SeenKeys keys = survey_keys(services, policy, call);
    append(fleet.certificates, std::move(keys.certificates));
    append(fleet.etcd_problems, std::move(keys.problems));
    append(fleet.refusals, std::move(keys.refusals));
  }
  complete_totals(fleet);
  return fleet;
}

}  // namespace kubedr::workflow
