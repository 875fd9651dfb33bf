#ifndef KUBEDR_WORKFLOW_LOCKS_H
#define KUBEDR_WORKFLOW_LOCKS_H

#include "repo/lock.h"
#include "workflow/services.h"

namespace kubedr::workflow {

// Whether a lock's holder is gone. A holder that is a pod is looked up: one that is still at work
// keeps its lock, however old that is (old restics go on when a refresh fails), and one that
// has ended keeps none. Everybody else is judged by restic's rule.
bool holder_is_gone(const Services& services, const repo::SavedLock& lock, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_LOCKS_H
