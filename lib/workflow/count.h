#ifndef KUBEDR_WORKFLOW_COUNT_H
#define KUBEDR_WORKFLOW_COUNT_H

#include <cstdint>

#include "workflow/maintain.h"
#include "workflow/services.h"

namespace kubedr::workflow {

// What restic's `stats --mode` counts, over the snapshots of a repository that a filter finds.
enum class CountMode {
  restore_size,       // every file of every snapshot, hard links once
  files_by_contents,  // files that differ in content
  blobs_per_file,     // blobs, anew for each path that has them
  raw_data,           // blobs as they are stored
};

// units    bytes of plain content; of raw data as sealed
struct Counted {
  std::uint64_t snapshots = 0;
  std::uint64_t files = 0;  // folders and links among them, as restic counts
  std::uint64_t blobs = 0;
  std::uint64_t bytes = 0;
  // Of raw data in a repository of version 2; else 0.
  std::uint64_t uncompressed_bytes = 0;             // of all blobs, were none compressed
  std::uint64_t compressed_bytes = 0;               // of those that are
  std::uint64_t compressed_uncompressed_bytes = 0;  // and what those would be
};

// source   restic cmd/restic/cmd_stats.go
Counted count(const Services& services, const Whose& whose, const SnapshotFilter& filter,
              CountMode mode, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_COUNT_H
