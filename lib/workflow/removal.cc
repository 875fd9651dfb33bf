#include "workflow/removal.h"

#include "base/log.h"
#include "workflow/identity.h"
#include "workflow/steps.h"

namespace kubedr::workflow {
namespace {

// A snapshot that operator mode made has no tag: without a record nobody knows whose it is.
void record_again(const Services& services, const repo::Repository& repository,
                  const crd::Record& record, const repo::SavedSnapshot& victim, const Call& call) {
  const Afterwards afterwards(call);
  try {
    const storage::FileName name{storage::FileKind::snapshot, victim.id.hex()};
    if (!repository.store().size_of(name, afterwards.call())) return;
    services.cluster.create_record(record.policy, record.location, record.snapshot_id,
                                   afterwards.call());
  } catch (const Error& error) {
    log::warn("snapshot {} is still there, and its record could not be made again: {}",
              victim.id.hex().substr(0, 8), error.what());
  }
}

}  // namespace

void remove_with_records(const Services& services, repo::Repository& repository, repo::Lock& lock,
                         const std::vector<crd::Record>& records, const crd::Location& location,
                         const repo::SavedSnapshot& victim, const Call& call) {
  call.require_live();
  std::vector<const crd::Record*> own;
  for (const crd::Record& record : records) {
    if (record.location == location.ref.name && names(record, victim)) own.push_back(&record);
  }
  // A lock that was lost stops the record's deletion too: its snapshot stays.
  if (!own.empty()) lock.require_held(call);
  for (const crd::Record* record : own) services.cluster.delete_record(record->ref, call);
  try {
    repository.remove_snapshot(victim.id, lock, call);
  } catch (const Error&) {
    if (!own.empty()) record_again(services, repository, *own.front(), victim, call);
    throw;
  }
}

}  // namespace kubedr::workflow
