#ifndef KUBEDR_REPO_PRUNE_H
#define KUBEDR_REPO_PRUNE_H

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/call.h"
#include "repo/ids.h"
#include "repo/lock.h"
#include "repo/repository.h"
#include "repo/walk.h"

namespace kubedr::repo {

// How much waste may stay: a share of what is used, a number of bytes, or all of it.
struct UnusedLimit {
  std::optional<double> percent;  // of the repository's bytes, as restic counts: p/(100-p)*used
  std::optional<std::uint64_t> bytes;  // neither: unlimited
};

struct PruneOptions {
  UnusedLimit max_unused{5.0, std::nullopt};
  std::optional<std::uint64_t> max_repack_bytes;
  bool repack_small = false;  // packs below 80 % of their full size; else below 3.2 MiB
  std::optional<std::uint64_t> repack_smaller_than;  // those below this instead
  bool repack_cacheable_only = false;                // none of data alone, whatever its waste
  // Snapshots, by their ids or the start of those, that somebody knows to be there: a listing that
  // lacks one of them is not believed.
  std::vector<std::string> known;
  bool may_be_empty = false;  // else a listing without any snapshot is not believed either
};

// What a prune would do, in bytes as stored.
struct PruneFigures {
  struct Part {
    std::uint64_t count = 0;
    std::uint64_t bytes = 0;
  };

  Part used_blobs;
  Part unused_blobs;
  Part duplicate_blobs;  // among unused_blobs
  Part packs_kept;
  Part packs_repacked;      // rewritten for the used blobs in them
  Part packs_removed;       // nothing in them is used
  Part packs_unreferenced;  // no index names them: what a killed backup left
  std::uint64_t bytes_freed = 0;
  std::uint64_t unused_after = 0;
  std::uint64_t index_files = 0;  // that are written anew
};

// Good for one execute_prune under the lock that it was made under.
struct PrunePlan {
  PruneFigures figures;

  Index index;
  BlobSet used;
  std::unordered_map<BlobHandle, PackId, BlobHandleHash> keepers;  // of blobs with several copies
  std::vector<PackId> repack;
  std::vector<PackId> remove;        // after no index names them any more
  std::vector<PackId> unreferenced;  // at once
  std::vector<PackId> missing;       // named by an index, absent, and not needed
  std::vector<IndexId> rewrite;      // index files

  bool empty() const {
    return repack.empty() && remove.empty() && unreferenced.empty() && rewrite.empty();
  }
};

// Looks at snapshots, trees, indexes and packs.
//
// errors   corrupt: a snapshot, tree or index that cannot be read, a used blob that no index
//          knows, a needed pack that is absent or of another size; failed: a listing that is not
//          believed. Nothing was changed, and nothing may be: what is needed is not known
// requires an exclusive lock: without it a backup's new packs look unreferenced
// source   restic internal/repository/prune.go
PrunePlan plan_prune(const Repository& repository, const Lock& lock, const PruneOptions& options,
                     const Call& call);

// What a prune would find if those snapshots were forgotten.
PruneFigures rehearse_prune(const Repository& repository, const Lock& lock,
                            const PruneOptions& options, const std::vector<SnapshotId>& forgotten,
                            const Call& call);

// Told of bytes of packs that were repacked, for a progress line; by any thread.
using PruneProgress = std::function<void(std::uint64_t bytes)>;

// Carries a plan out in restic's order: unreferenced packs go; used blobs of repacked packs are
// opened, verified and stored in new packs, with an index; indexes that name removed packs are
// written anew, then the old ones go, then the packs. Killed at any point it leaves waste at most.
// The lock is looked at before each kind of deletion.
//
// errors   corrupt: a used blob that does not open, before anything of its pack is removed
// requires the same exclusive lock that the plan was made under
void execute_prune(const Repository& repository, Lock& lock, const PrunePlan& plan,
                   const PruneProgress& progress, const Call& call);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_PRUNE_H
