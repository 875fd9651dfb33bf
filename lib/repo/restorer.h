#ifndef KUBEDR_REPO_RESTORER_H
#define KUBEDR_REPO_RESTORER_H

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/call.h"
#include "base/random.h"
#include "repo/repository.h"

namespace kubedr::repo {

struct RestoredTree {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::vector<std::string> skipped;   // "data/x: socket"; what a backup of ours never holds
  std::vector<std::string> warnings;  // owners or modes that could not be set
};

// Writes a snapshot's tree below `target`: folders made 0700 and given their modes at the end;
// each file under a temporary name beside its own, every blob's hash checked, synced, then renamed.
// Names that are empty, ".", "..", or hold '/' or NUL are refused; nothing is followed out of the
// target (openat with O_NOFOLLOW). Files are written as sparse as their zeros.
//
// requires `target` is an empty folder
// errors   corrupt: with the path in the snapshot; failed: the disk
RestoredTree restore_tree(const Repository& repository, const Index& index, const BlobId& root,
                          const std::filesystem::path& target, Random& random, const Call& call);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_RESTORER_H
