#ifndef KUBEDR_REPO_SNAPSHOT_H
#define KUBEDR_REPO_SNAPSHOT_H

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "repo/ids.h"

namespace kubedr::repo {

// What restic 0.17 and later store beside a snapshot.
struct Summary {
  WallTime backup_start{};
  WallTime backup_end{};
  std::uint64_t files_new = 0;
  std::uint64_t files_changed = 0;
  std::uint64_t files_unmodified = 0;
  std::uint64_t dirs_new = 0;
  std::uint64_t dirs_changed = 0;
  std::uint64_t dirs_unmodified = 0;
  std::uint64_t data_blobs = 0;
  std::uint64_t tree_blobs = 0;
  std::uint64_t data_added = 0;         // plain bytes of new blobs
  std::uint64_t data_added_packed = 0;  // what they take in packs, header entries included
  std::uint64_t total_files_processed = 0;
  std::uint64_t total_bytes_processed = 0;
};

// shape    JSON with restic's keys in restic's order; empty ones are left out
// errors   corrupt: not that, or a time that is none
struct Snapshot {
  WallTime time{};
  std::chrono::minutes utc_offset{};  // of the clock that `time` was read from; we write UTC
  std::optional<SnapshotId> parent;
  BlobId tree;
  std::vector<std::string> paths;
  std::string hostname;
  std::string username;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::string> tags;
  std::optional<SnapshotId> original;
  std::string program_version;
  std::optional<Summary> summary;
};

// A snapshot without tags has the empty one.
//
// source   restic internal/data/snapshot.go (HasTags)
bool has_all_tags(const Snapshot& snapshot, const std::vector<std::string>& tags);

std::string to_json(const Snapshot& snapshot);
Snapshot parse_snapshot(std::string_view json, const std::string& where);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_SNAPSHOT_H
