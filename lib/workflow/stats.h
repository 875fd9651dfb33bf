#ifndef KUBEDR_WORKFLOW_STATS_H
#define KUBEDR_WORKFLOW_STATS_H

#include <cstdint>
#include <string>
#include <vector>

#include "workflow/services.h"
#include "workflow/snapshots.h"

// What a repository holds, for whom, and how fast it grows; or, in one of restic's modes, what its
// `stats` tells. Changes nothing.
namespace kubedr::workflow {

struct PolicyStats {
  std::string policy;  // "kubedr-system/nightly"; empty: of nobody we know
  std::uint64_t snapshots = 0;
  WallTime first{};
  WallTime last{};
  std::uint64_t restore_bytes = 0;    // of the newest
  std::uint64_t unique_bytes = 0;     // plain bytes of all blobs its snapshots use
  std::uint64_t stored_bytes = 0;     // what those take in packs
  std::uint64_t exclusive_bytes = 0;  // of that, what no other snapshot uses
  std::uint64_t growth_per_day = 0;   // stored bytes added by its snapshots, per day between them
};

struct StatsReport {
  std::string repository_url;
  // Of the snapshots that the filter finds.
  std::uint64_t snapshots = 0;
  std::uint64_t restore_bytes = 0;  // as if each stood alone
  std::uint64_t plain_bytes = 0;    // of the blobs they use
  std::uint64_t stored_bytes = 0;   // of the same
  // Of the whole repository.
  std::uint64_t pack_bytes = 0;    // of all packs there are
  std::uint64_t unused_bytes = 0;  // of blobs that no snapshot needs
  std::uint64_t packs = 0;
  std::uint64_t blobs = 0;
  std::vector<PolicyStats> policies;
};

StatsReport stats(const Services& services, const Whose& whose, const SnapshotFilter& filter,
                  const Call& call);

// What restic's `stats --mode` counts, over the snapshots of a repository that a filter finds.
enum class StatsMode {
  restore_size,       // every file of every snapshot, hard links once
  files_by_contents,  // files that differ in content
  blobs_per_file,     // blobs, anew for each path that has them
  raw_data,           // blobs as they are stored
};

// units    bytes of plain content; of raw data as sealed
struct ModeStats {
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
ModeStats stats_in_mode(const Services& services, const Whose& whose, const SnapshotFilter& filter,
                        StatsMode mode, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_STATS_H
