#ifndef KUBEDR_WORKFLOW_MAINTAIN_H
#define KUBEDR_WORKFLOW_MAINTAIN_H

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "repo/check.h"
#include "repo/keyring.h"
#include "repo/prune.h"
#include "repo/repair_index.h"
#include "workflow/open.h"
#include "workflow/services.h"
#include "workflow/snapshots.h"

// The care of one repository, a recipe a verb. All of them find it by the location's name, else the
// policy's, else take the only one there is.
namespace kubedr::workflow {

struct PruneReport {
  std::string repository_url;
  repo::PruneFigures figures;
  bool done = false;  // false: there was nothing to do, or `agree` said no
};

// `agree` is shown the plan, under the lock, and decides. The location's records must all have
// their snapshots, unless the options say that there may be none.
PruneReport prune(const Services& services, const Whose& whose, repo::PruneOptions options,
                  const std::function<bool(const repo::PruneFigures&)>& agree, const Call& call);

// The same under an exclusive lock that is held already.
PruneReport prune_locked(const Services& services, const OpenedRepository& opened, repo::Lock& lock,
                         const repo::PruneOptions& options,
                         const std::function<bool(const repo::PruneFigures&)>& agree,
                         const Call& call);

struct CheckRequest {
  Whose whose;
  repo::ReadData read_data;
};

struct CheckedRepository {
  std::string repository_url;
  repo::CheckReport report;
};

CheckedRepository check(const Services& services, const CheckRequest& request, const Call& call);

struct RepairReport {
  std::string repository_url;
  repo::RepairedIndex repaired;
};

RepairReport repair_index(const Services& services, const Whose& whose, bool read_all_packs,
                          const Call& call);

struct UnlockReport {
  std::string repository_url;
  std::vector<repo::LockId> removed;
  std::vector<repo::SavedLock> kept;  // alive, or not known to be dead
};

// Removes stale locks; with `all` every one.
UnlockReport unlock(const Services& services, const Whose& whose, bool all, const Call& call);

struct KeysReport {
  std::string repository_url;
  std::vector<repo::SavedKey> keys;
  std::vector<std::string> damaged;
};

KeysReport list_keys(const Services& services, const Whose& whose, const Call& call);

// The new key's id. Empty names: ours.
repo::KeyId add_key(const Services& services, const Whose& whose, const Secret& password,
                    const std::string& username, const std::string& hostname, const Call& call);

repo::KeyId remove_key(const Services& services, const Whose& whose, const std::string& prefix,
                       const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_MAINTAIN_H
