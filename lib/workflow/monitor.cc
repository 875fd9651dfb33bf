#include "workflow/monitor.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"

namespace kubedr::workflow {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kForResources = std::chrono::seconds(30);
constexpr milliseconds kForRepository = std::chrono::seconds(60);

// After so long in repositories the API server is asked again; the others' turn comes then.
constexpr milliseconds kForRepositories = std::chrono::seconds(20);

// A repository that could not be opened is tried again sooner than one that could.
constexpr milliseconds kAfterProblem = std::chrono::seconds(60);

std::pair<std::string, std::string> name_of(const crd::ObjectRef& ref) {
  return {ref.name_space, ref.name};
}

// The policies that store there.
std::vector<crd::Policy> policies_of(const health::Fleet& fleet, const crd::Location& location) {
  std::vector<crd::Policy> policies;
  for (const crd::Policy& policy : fleet.policies) {
    const bool here =
        policy.destination == location.ref.name && policy.ref.name_space == location.ref.name_space;
    if (here) policies.push_back(policy);
  }
  return policies;
}

// Another last backup is worth a look.
std::vector<std::string> last_snapshots(const health::Fleet& fleet, const crd::Location& location) {
  std::vector<std::string> ids;
  for (const crd::Policy& policy : policies_of(fleet, location)) {
    ids.push_back(policy.status.snapshot_id);
  }
  return ids;
}

}  // namespace

Monitor::Monitor(const Services& services, milliseconds repository_interval)
    : services_(services), interval_(repository_interval) {
  fleet_.without_cluster = !services.cluster.has_api_server();
}

void Monitor::look(const Call& call) {
  try {
    look_at_fleet(call);
  } catch (const Error& error) {
    call.require_live();
    log::warn("{}", error.what());
    const std::lock_guard guard(mutex_);
    fleet_.problem = error.what();
  }
  const std::lock_guard guard(mutex_);
  last_look_ = services_.clock.steady();
}

// What the API server tells is there for everybody before S3 is asked, which may take its time.
void Monitor::look_at_fleet(const Call& call) {
  SurveyRequest request;
  request.deep = true;  // as `status --deep`: its findings are counted
  const health::Fleet fleet = survey_cluster(services_, request, call.within(kForResources));
  publish(fleet);
  std::vector<const health::SeenLocation*> due;
  for (const health::SeenLocation& seen : fleet.locations) {
    if (is_due(fleet, seen)) due.push_back(&seen);
  }
  if (due.empty()) return;
  // Whoever waits longest comes first: else a store that hangs might keep the others waiting.
  const auto next_of = [&](const health::SeenLocation* seen) {
    const auto known = repositories_.find(name_of(seen->location.ref));
    return known == repositories_.end() ? SteadyTime() : known->second.next;
  };
  std::stable_sort(due.begin(), due.end(),
                   [&](const auto* a, const auto* b) { return next_of(a) < next_of(b); });
  const SteadyTime begun = services_.clock.steady();
  const std::optional<std::string> uid = services_.cluster.identity(call.within(kForResources));
  for (const health::SeenLocation* seen : due) {
    keep(name_of(seen->location.ref), look_into(fleet, *seen, uid, call));
    publish(fleet);
    if (services_.clock.steady() - begun > kForRepositories) return;
  }
}

// What was seen of a repository stays, and a problem is noted beside it.
void Monitor::keep(const Name& name, Looked looked) {
  const auto known = repositories_.find(name);
  if (!looked.repository.problem.empty() && known != repositories_.end()) {
    known->second.repository.problem = looked.repository.problem;
    known->second.repository.problem_kind = looked.repository.problem_kind;
    known->second.repository.remedy = looked.repository.remedy;
    known->second.repository.secret_refused = looked.repository.secret_refused;
    known->second.repository.secret_keys = looked.repository.secret_keys;
    known->second.repository.clock_offset = looked.repository.clock_offset;
    known->second.refusals = looked.refusals;
    known->second.next = looked.next;
    known->second.snapshots = looked.snapshots;
    return;
  }
  repositories_[name] = std::move(looked);
}

bool Monitor::is_due(const health::Fleet& fleet, const health::SeenLocation& seen) const {
  const auto known = repositories_.find(name_of(seen.location.ref));
  if (known == repositories_.end() || services_.clock.steady() >= known->second.next) return true;
  return known->second.snapshots != last_snapshots(fleet, seen.location);
}

Monitor::Looked Monitor::look_into(const health::Fleet& fleet, const health::SeenLocation& seen,
                                   const std::optional<std::string>& cluster_uid,
                                   const Call& call) const {
  Looked looked;
  RepositoryLook look =
      survey_repository(services_, seen.location, cluster_uid, kForRepository, call);
  looked.repository = std::move(look.repository);
  looked.certificates = std::move(look.certificates);
  looked.snapshots = last_snapshots(fleet, seen.location);
  for (const crd::Policy& policy : policies_of(fleet, seen.location)) {
    SeenKeys keys = survey_keys(services_, policy, call.within(kForResources));
    for (auto& certificate : keys.certificates) {
      looked.certificates.push_back(std::move(certificate));
    }
    for (auto& problem : keys.problems) looked.etcd_problems.push_back(std::move(problem));
    for (auto& refusal : keys.refusals) looked.refusals.push_back(std::move(refusal));
  }
  const bool opened = looked.repository.problem.empty();
  looked.next =
      services_.clock.steady() + (opened ? interval_ : std::min(interval_, kAfterProblem));
  return looked;
}

// Joins the resources with what is known of the repositories.
void Monitor::publish(health::Fleet fleet) {
  for (health::SeenLocation& seen : fleet.locations) {
    const auto known = repositories_.find(name_of(seen.location.ref));
    if (known == repositories_.end()) continue;
    seen.repository = known->second.repository;
    const auto& certificates = known->second.certificates;
    fleet.certificates.insert(fleet.certificates.end(), certificates.begin(), certificates.end());
    const auto& problems = known->second.etcd_problems;
    fleet.etcd_problems.insert(fleet.etcd_problems.end(), problems.begin(), problems.end());
    const auto& refusals = known->second.refusals;
    fleet.refusals.insert(fleet.refusals.end(), refusals.begin(), refusals.end());
  }
  complete_totals(fleet);
  const std::lock_guard guard(mutex_);
  fleet_ = std::move(fleet);
}

health::Fleet Monitor::fleet() const {
  const std::lock_guard guard(mutex_);
  health::Fleet fleet = fleet_;
  fleet.now = services_.clock.now();
  fleet.watched = true;
  return fleet;
}

std::optional<SteadyTime> Monitor::last_look() const {
  const std::lock_guard guard(mutex_);
  return last_look_;
}

}  // namespace kubedr::workflow
