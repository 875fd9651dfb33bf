#ifndef KUBEDR_WORKFLOW_REMOVAL_H
#define KUBEDR_WORKFLOW_REMOVAL_H

#include <vector>

#include "repo/repository.h"
#include "workflow/services.h"

namespace kubedr::workflow {

// Removes a snapshot and what records it, the record first: killed in between, the snapshot is
// listed without one, which the next run sees, and nothing points to nothing.
void remove_with_records(const Services& services, repo::Repository& repository, repo::Lock& lock,
                         const std::vector<crd::Record>& records, const crd::Location& location,
                         const repo::SavedSnapshot& victim, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_REMOVAL_H
