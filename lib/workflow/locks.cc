#include "workflow/locks.h"

#include <cerrno>
#include <csignal>

namespace kubedr::workflow {
namespace {

bool process_exists(std::int64_t pid) {
  if (pid <= 0 || pid > INT32_MAX) return false;
  return kill(static_cast<pid_t>(pid), 0) == 0 || errno == EPERM;
}

}  // namespace

bool holder_is_gone(const Services& services, const repo::SavedLock& lock, const Call& call) {
  if (lock.info.hostname != services.owner.hostname) {
    const auto lives = services.cluster.lock_holder_lives(lock.info.hostname, lock.info.time, call);
    if (lives) return !*lives;
  }
  return repo::is_stale(lock, services.owner.hostname, services.clock.now(), process_exists);
}

}  // namespace kubedr::workflow
