#include "workflow/maintain.h"

#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "workflow/locks.h"
#include "workflow/notes.h"
#include "workflow/snapshots.h"

namespace kubedr::workflow {
namespace {

OpenedRepository open_theirs(const Services& services, const Whose& whose, const Call& call,
                             Caching caching = Caching::on) {
  const crd::Location location = location_for(services, whose.location, whose.policy, call);
  return open_repository(services, location, call, caching);
}

// What the records of a location say is in its repository.
std::vector<std::string> recorded_ids(const Services& services, const crd::Location& location,
                                      const Call& call) {
  std::vector<std::string> ids;
  for (crd::Record& record : services.cluster.records(call).items) {
    if (record.location == location.ref.name) ids.push_back(std::move(record.snapshot_id));
  }
  return ids;
}

}  // namespace

PruneReport prune_locked(const Services& services, const OpenedRepository& opened, repo::Lock& lock,
                         const repo::PruneOptions& options,
                         const std::function<bool(const repo::PruneFigures&)>& agree,
                         const Call& call) {
  const repo::PrunePlan plan = [&] {
    const Step step(services.progress, "looking at what is used");
    return repo::plan_prune(opened.repository, lock, options, call);
  }();
  PruneReport report{opened.store->location(), plan.figures, false};
  if (plan.empty() || !agree(plan.figures)) return report;
  const Step step(services.progress, "prune", plan.figures.packs_repacked.bytes);
  repo::execute_prune(
      opened.repository, lock, plan, [&](std::uint64_t bytes) { services.progress.advance(bytes); },
      call);
  report.done = true;
  return report;
}

PruneReport prune(const Services& services, const Whose& whose, repo::PruneOptions options,
                  const std::function<bool(const repo::PruneFigures&)>& agree, const Call& call) {
  const crd::Location location = location_for(services, whose.location, whose.policy, call);
  OpenedRepository opened = open_repository(services, location, call);
  repo::Lock lock = lock_exclusive(services, opened.repository, call);
  if (!options.may_be_empty) options.known = recorded_ids(services, location, lock.scope());
  PruneReport report = prune_locked(services, opened, lock, options, agree, lock.scope());
  release(lock, call);
  if (report.done) note_prune(services, location, "", call);
  return report;
}

CheckedRepository check(const Services& services, const CheckRequest& request, const Call& call) {
  const crd::Location location =
      location_for(services, request.whose.location, request.whose.policy, call);
  const OpenedStore opened = open_store(services, location, call);
  repo::Repository repository = open_repository_in(opened, services, location, call);
  repo::Lock lock =
      services.no_lock ? repository.unlocked(call) : lock_exclusive(services, repository, call);
  bool reads = false;
  const auto read = [&](std::uint64_t bytes, std::uint64_t total) {
    if (!reads) services.progress.begin("read data", total);
    reads = true;
    services.progress.advance(bytes);
  };
  CheckedRepository checked{opened.store->location(), [&] {
                              const Step step(services.progress, "check");
                              return repo::check(repository, opened.password, request.read_data,
                                                 read, services.random, lock.scope());
                            }()};
  // Backups wait for the lock; the API server may take its time.
  release(lock, call);
  const crd::LastCheck result{services.clock.now(), checked.report.errors() > 0};
  note_check(services, location, result, call);
  return checked;
}

RepairReport repair_index(const Services& services, const Whose& whose, bool read_all_packs,
                          const Call& call) {
  OpenedRepository opened = open_theirs(services, whose, call, Caching::off);
  repo::Lock lock = lock_exclusive(services, opened.repository, call);
  RepairReport report{opened.store->location(),
                      repo::repair_index(opened.repository, lock, read_all_packs, lock.scope())};
  release(lock, call);
  return report;
}

UnlockReport unlock(const Services& services, const Whose& whose, bool all, const Call& call) {
  OpenedRepository opened = open_theirs(services, whose, call);
  UnlockReport report;
  report.repository_url = opened.store->location();
  std::vector<std::string> unreadable;
  for (repo::SavedLock& lock : opened.repository.locks(call, &unreadable)) {
    if (!all && !holder_is_gone(services, lock, call)) {
      report.kept.push_back(std::move(lock));
      continue;
    }
    opened.repository.remove_lock(lock.id, call);
    report.removed.push_back(lock.id);
  }
  for (const std::string& id : unreadable) {
    const repo::LockId lock = repo::LockId::parse(id).value_or(repo::LockId());
    if (!all) {
      log::warn("locks/{}: cannot be read; `unlock --remove-all` removes it", id);
      continue;
    }
    opened.repository.remove_lock(lock, call);
    report.removed.push_back(lock);
  }
  return report;
}

KeysReport list_keys(const Services& services, const Whose& whose, const Call& call) {
  const OpenedRepository opened = open_theirs(services, whose, call);
  KeysReport report;
  report.repository_url = opened.store->location();
  report.keys = repo::list_keys(opened.repository, call, &report.damaged);
  return report;
}

repo::KeyId add_key(const Services& services, const Whose& whose, const Secret& password,
                    const std::string& username, const std::string& hostname, const Call& call) {
  OpenedRepository opened = open_theirs(services, whose, call);
  repo::Lock lock = lock_shared(services, opened.repository, call);
  const repo::KeyId id = repo::add_key(
      opened.repository, password, username.empty() ? services.owner.username : username,
      hostname.empty() ? services.host : hostname, services.random, lock.scope());
  release(lock, call);
  return id;
}

repo::KeyId remove_key(const Services& services, const Whose& whose, const std::string& prefix,
                       const Call& call) {
  OpenedRepository opened = open_theirs(services, whose, call);
  repo::Lock lock = lock_exclusive(services, opened.repository, call);
  const repo::KeyId id = repo::remove_key(opened.repository, lock, prefix, lock.scope());
  release(lock, call);
  return id;
}

}  // namespace kubedr::workflow
