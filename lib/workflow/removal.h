#ifndef KUBEDR_WORKFLOW_REMOVAL_H
#define KUBEDR_WORKFLOW_REMOVAL_H

#include <vector>

#include "repo/repository.h"
#include "workflow/services.h"

namespace kubedr::workflow {

// Removes a snapshot and what records it, the record first, so that nothing points to nothing. A
// snapshot that cannot be removed gets a record again. Killed in between it is listed without one:
// the next run sees that by its tag; one without, of operator mode, stays until `forget` is told
// its id.
void remove_with_records(const Services& services, repo::Repository& repository, repo::Lock& lock,
                         const std::vector<crd::Record>& records, const crd::Location& location,
                         const repo::SavedSnapshot& victim, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_REMOVAL_H
