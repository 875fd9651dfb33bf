#ifndef KUBEDR_WORKFLOW_LOCKS_H
#define KUBEDR_WORKFLOW_LOCKS_H

#include "repo/lock.h"
#include "repo/repository.h"
#include "workflow/services.h"

namespace kubedr::workflow {

// Whether a lock's holder is gone. A holder that is a pod is looked up: one that is still at work
// keeps its lock, however old that is (old restics go on when a refresh fails), and one that
// has ended since keeps none. Everybody else is judged by restic's rule.
bool holder_is_gone(const Services& services, const repo::SavedLock& lock, const Call& call);

// A lock for `services.owner`, waited for as long as `services.lock_retry` says. One that is in its
// way and abandoned is removed and warned of: a killed backup must not keep retention away until
// somebody types `unlock`. Abandoned is less than what `unlock` removes: nobody looks on here, and
// a process that is no more on this host may live in a container that has its name.
repo::Lock lock_shared(const Services& services, repo::Repository& repository, const Call& call);
repo::Lock lock_exclusive(const Services& services, repo::Repository& repository, const Call& call);

// Gives a lock back, also when the call has ended. What it was taken for is done: where it stays,
// the log says so.
void release(repo::Lock& lock, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_LOCKS_H
