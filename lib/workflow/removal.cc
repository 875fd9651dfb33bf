#include "workflow/removal.h"

#include "workflow/identity.h"

namespace kubedr::workflow {

void remove_with_records(const Services& services, repo::Repository& repository, repo::Lock& lock,
                         const std::vector<crd::Record>& records, const crd::Location& location,
                         const repo::SavedSnapshot& victim, const Call& call) {
  call.require_live();
  for (const crd::Record& record : records) {
    if (record.location == location.ref.name && names(record, victim)) {
      services.cluster.delete_record(record.ref, call);
    }
  }
  repository.remove_snapshot(victim.id, lock, call);
}

}  // namespace kubedr::workflow
