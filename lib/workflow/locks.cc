#include "workflow/locks.h"

#include <cerrno>
#include <csignal>

#include "base/error.h"
#include "base/log.h"
#include "workflow/steps.h"

namespace kubedr::workflow {
namespace {

bool process_exists(std::int64_t pid) {
  if (pid <= 0 || pid > INT32_MAX) return false;
  return kill(static_cast<pid_t>(pid), 0) == 0 || errno == EPERM;
}

bool is_abandoned(const Services& services, const repo::SavedLock& lock, const Call& call) {
  const auto lives = services.cluster.lock_holder_lives(lock.info.hostname, lock.info.time, call);
  if (lives) return !*lives;
  return services.clock.now() - lock.fresh() > repo::kLockStale;
}

bool remove_abandoned(const Services& services, repo::Repository& repository, const Call& call) {
  bool removed = false;
  try {
    std::vector<std::string> unreadable;  // whose they are cannot be known: they stay
    for (const repo::SavedLock& lock : repository.locks(call, &unreadable)) {
      if (!is_abandoned(services, lock, call)) continue;
      repository.remove_lock(lock.id, call);
      log::warn("removed the lock {} of {}@{} (process {}), which is gone", lock.id.short_hex(),
                lock.info.username, lock.info.hostname, lock.info.pid);
      removed = true;
    }
  } catch (const Error& error) {
    call.require_live();
    log::warn("locks that are in the way could not be removed: {}", error.what());
  }
  return removed;
}

using Take = std::function<repo::Lock(std::chrono::milliseconds retry)>;

repo::Lock take(const Services& services, repo::Repository& repository, const Take& lock,
                const Call& call) {
  try {
    return lock(std::chrono::milliseconds(0));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::locked) throw;
    const bool is_waited_for = services.lock_retry > std::chrono::milliseconds(0);
    if (!remove_abandoned(services, repository, call) && !is_waited_for) throw;
  }
  return lock(services.lock_retry);
}

}  // namespace

bool holder_is_gone(const Services& services, const repo::SavedLock& lock, const Call& call) {
  if (lock.info.hostname != services.owner.hostname) {
    const auto lives = services.cluster.lock_holder_lives(lock.info.hostname, lock.info.time, call);
    if (lives) return !*lives;
  }
  return repo::is_stale(lock, services.owner.hostname, services.clock.now(), process_exists);
}

repo::Lock lock_shared(const Services& services, repo::Repository& repository, const Call& call) {
  const Take lock = [&](auto retry) { return repository.lock_shared(services.owner, retry, call); };
  return take(services, repository, lock, call);
}

repo::Lock lock_exclusive(const Services& services, repo::Repository& repository,
                          const Call& call) {
  const Take lock = [&](auto retry) {
    return repository.lock_exclusive(services.owner, retry, call);
  };
  return take(services, repository, lock, call);
}

void release(repo::Lock& lock, const Call& call) {
  const Afterwards afterwards(call);
  try {
    lock.release(afterwards.call());
  } catch (const Error& error) {
    log::warn("the lock could not be removed: {}", error.what());
  }
}

}  // namespace kubedr::workflow
