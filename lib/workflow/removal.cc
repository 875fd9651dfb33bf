#include "workflow/removal.h"

#include "workflow/identity.h"

namespace kubedr::workflow {

void remove_with_records(const Services& services, repo::Repository& repository, repo::Lock& lock,
                         const std::vector<crd::Record>& records, const crd::Location& location,
                         const repo::SavedSnapshot& victim, const Call& call) {
  call.require_live();
  std::vector<crd::ObjectRef> own;
  for (const crd::Record& record : records) {
    if (record.location == location.ref.name && names(record, victim)) own.push_back(record.ref);
  }
  // A lock that was lost stops the record's deletion too: its snapshot stays.
  if (!own.empty()) lock.require_held(call);
  for (const crd::ObjectRef& ref : own) services.cluster.delete_record(ref, call);
  repository.remove_snapshot(victim.id, lock, call);
}

}  // namespace kubedr::workflow
