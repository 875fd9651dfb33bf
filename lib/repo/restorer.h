#ifndef KUBEDR_REPO_RESTORER_H
#define KUBEDR_REPO_RESTORER_H

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/call.h"
#include "base/random.h"
#include "repo/patterns.h"
#include "repo/repository.h"

namespace kubedr::repo {

struct RestoredTree {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t verified = 0;
  std::uint64_t unchanged = 0;        // files that were left as they are in the target
  std::vector<std::string> skipped;   // "data/x: socket"; what a backup of ours never holds
  std::vector<std::string> warnings;  // owners or modes that could not be set
  std::vector<std::string> damaged;   // "/data/x: blob ..": what is not whole in the repository
};

// What becomes of files that are in the target already. restic's rules, and `refuse`: a target
// that holds anything is not touched.
enum class Overwrite { refuse, always, if_changed, if_newer, never };

struct RestoreOptions {
  Overwrite overwrite = Overwrite::refuse;
  Patterns include;     // empty: everything
  Patterns exclude;     // what is in an excluded folder cannot be had back by a "!"
  bool verify = false;  // each file is read back from the disk before it gets its name
  // Told of each file that was given its name, by its path in the snapshot: "data/x"; or none.
  std::function<void(const std::string& path)> restored = {};
  // Told of restored bytes, by any thread; or none.
  std::function<void(std::uint64_t bytes)> progress = {};
};

// Whether nothing is in that folder but what a file system makes by itself at its top.
bool holds_nothing(const std::filesystem::path& folder);

// Writes a snapshot's tree below `target`: folders made 0700 and given their modes at the end;
// each file under a temporary name beside its own, every blob's hash checked, synced, then renamed.
// Names that are empty, ".", "..", or hold '/' or NUL are refused; nothing is followed out of the
// target (openat with O_NOFOLLOW). Files are written as sparse as their zeros.
//
// What is damaged is named in the result, refused names among it, and the rest restored: on the day
// of need each file counts. A damaged file is not put into the target, not even in part.
//
// A restore that was broken off is finished by another with if_changed: files that have their size
// and time already are not read again, half-written ones go.
//
// requires `target` is a folder, and holds_nothing for Overwrite::refuse
// errors   failed: the disk, or what is in the way of a file or folder; not_found: nothing matches
//          `include`
RestoredTree restore_tree(const Repository& repository, const Index& index, const BlobId& root,
                          const std::filesystem::path& target, const RestoreOptions& options,
                          Random& random, const Call& call);

// What restore_tree would do to `target`, which need not be there.
RestoredTree rehearse_restore(const Repository& repository, const Index& index, const BlobId& root,
                              const std::filesystem::path& target, const RestoreOptions& options,
                              const Call& call);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_RESTORER_H
