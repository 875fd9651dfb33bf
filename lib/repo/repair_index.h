#ifndef KUBEDR_REPO_REPAIR_INDEX_H
#define KUBEDR_REPO_REPAIR_INDEX_H

#include <cstdint>
#include <string>
#include <vector>

#include "base/call.h"
#include "repo/lock.h"
#include "repo/repository.h"

namespace kubedr::repo {

// What `repair index` did.
struct RepairedIndex {
  std::uint64_t packs_read = 0;  // in no index, or of another size than theirs
  std::uint64_t packs_unreadable = 0;
  std::uint64_t packs_dropped = 0;  // named by an index and absent
  std::uint64_t index_files_removed = 0;
  std::uint64_t index_files_written = 0;
  std::vector<std::string> problems;  // one text for each pack or index file that is beyond repair
};

// Makes the index files tell what packs there are, by the headers of those that they miss.
// `read_all_packs`: without trusting any index file.
//
// requires an exclusive lock
// source   restic internal/repository/repair_index.go
RepairedIndex repair_index(const Repository& repository, Lock& lock, bool read_all_packs,
                           const Call& call);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_REPAIR_INDEX_H
