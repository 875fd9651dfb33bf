#ifndef KUBEDR_WORKFLOW_NOTES_H
#define KUBEDR_WORKFLOW_NOTES_H

#include <cstddef>
#include <string>

#include "workflow/services.h"

// What is left at a resource for the next run and for `status`. Nothing fails for the want of it:
// where it cannot be written the log says so.
namespace kubedr::workflow {

// At the location: that a prune failed, or, with an empty text, that it did not.
void note_prune(const Services& services, const crd::Location& location, const std::string& failure,
                const Call& call);

// The same at the policy of its retention, with what to do.
void note_retention(const Services& services, const crd::Policy& policy, const std::string& failure,
                    const std::string& remedy, const Call& call);

// And of how many snapshots of the policy the repository lists: the next listing is compared.
void note_snapshots(const Services& services, const crd::Policy& policy, std::size_t listed,
                    const Call& call);

// Takes that back, at every policy, since some were removed on purpose.
void clear_noted_snapshots(const Services& services, const Call& call);

// How a check of the location's repository ended.
void note_check(const Services& services, const crd::Location& location,
                const crd::LastCheck& result, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_NOTES_H
