#ifndef KUBEDR_WORKFLOW_TOTALS_H
#define KUBEDR_WORKFLOW_TOTALS_H

#include <optional>
#include <string>
#include <vector>

#include "health/fleet.h"
#include "repo/repository.h"
#include "workflow/services.h"

// A policy's totals: counted by every backup, and made to agree with the repository. Whoever counts
// at the same time is waited for: nothing is counted twice, and nothing is lost.
//
// errors   what the cluster throws; conflict: the policy was changed by others at every try
namespace kubedr::workflow {

// A snapshot as health sees it. One of another cluster is nobody's: a policy of the same name there
// is another one.
health::SeenSnapshot seen_of(const repo::SavedSnapshot& saved,
                             const std::optional<std::string>& cluster_uid);

// Counts the backup `own`, and with it what was missed before: where the totals were lost, all that
// the repository held when the backup began.
void count_success(const Services& services, const crd::Policy& policy,
                   const std::vector<health::SeenSnapshot>& before, const health::SeenSnapshot& own,
                   const Call& call);

// `id` tells this failure from every other.
void count_failure(const Services& services, const crd::Policy& policy, const std::string& id,
                   const Call& call);

// Counts what was missed.
void recount(const Services& services, const crd::Policy& policy,
             const std::vector<health::SeenSnapshot>& snapshots,
             const std::vector<crd::Record>& records, const Call& call);

// Whether there is anything to recount.
bool needs_recount(const crd::Policy& policy, const std::vector<health::SeenSnapshot>& snapshots,
                   const std::vector<crd::Record>& records);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_TOTALS_H
