#include "workflow/count.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/sha256.h"
#include "repo/seal.h"
#include "repo/walk.h"
#include "workflow/open.h"
#include "workflow/snapshots.h"

namespace kubedr::workflow {
namespace {

Digest digest_of(const std::vector<repo::BlobId>& content) {
  Sha256 hash;
  for (const repo::BlobId& id : content) hash.update(id.digest());
  return hash.finish();
}

// Walks trees and counts what is met.
class Counter {
 public:
  Counter(const repo::Index& index, CountMode mode) : index_(index), mode_(mode) {}

  void begin_snapshot() {
    ++counted_.snapshots;
    links_.clear();
  }

  void add(const std::string& path, const repo::Node& node) {
    if (mode_ == CountMode::restore_size) return add_restored(node);
    if (!contents_.insert(digest_of(node.content)).second) return;
    if (mode_ == CountMode::blobs_per_file) return add_blobs(path, node);
    ++counted_.files;
    counted_.bytes += node.size;
  }

  const Counted& counted() const { return counted_; }

 private:
  void add_restored(const repo::Node& node) {
    ++counted_.files;
    const bool is_linked = node.type != repo::NodeType::dir && node.links != 1 && node.inode != 0;
    if (is_linked && !links_.emplace(node.device_id, node.inode).second) return;
    counted_.bytes += node.size;
  }

  void add_blobs(const std::string& path, const repo::Node& node) {
    for (const repo::BlobId& id : node.content) {
      if (paths_.insert(path).second) ++counted_.files;
      if (!blobs_.emplace(path, id).second) continue;
      ++counted_.blobs;
      if (const auto place = index_.find({repo::BlobType::data, id})) {
        counted_.bytes += place->entry.plain_size();
      }
    }
  }

  const repo::Index& index_;
  const CountMode mode_;
  Counted counted_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> links_;  // of one snapshot
  std::set<Digest> contents_;
  std::set<std::string> paths_;
  std::set<std::pair<std::string, repo::BlobId>> blobs_;
};

void add_raw(const repo::Index::Place& place, bool compresses, Counted& counted) {
  ++counted.blobs;
  counted.bytes += place.entry.length;
  if (!compresses) return;
  const std::uint64_t uncompressed = place.entry.plain_size() + repo::kSealOverhead;
  counted.uncompressed_bytes += uncompressed;
  if (!place.entry.compressed()) return;
  counted.compressed_bytes += place.entry.length;
  counted.compressed_uncompressed_bytes += uncompressed;
}

}  // namespace

Counted count(const Services& services, const Whose& whose, const SnapshotFilter& filter,
              CountMode mode, const Call& call) {
  const crd::Location location = location_for(services, whose.location, whose.policy, call);
  OpenedRepository opened = open_repository(services, location, call);
  repo::Lock lock = lock_for_reading(services, opened.repository, call);
  const Call& held = lock.scope();
  const repo::Index index = load_index_to_read(opened, lock, held);
  std::vector<repo::SavedSnapshot> snapshots = opened.repository.snapshots(held);
  std::erase_if(snapshots, [&](const auto& saved) { return !filter.matches(saved.snapshot); });
  if (mode == CountMode::raw_data) {
    std::vector<repo::BlobId> roots;
    for (const repo::SavedSnapshot& saved : snapshots) roots.push_back(saved.snapshot.tree);
    const repo::BlobSet used = repo::find_used_blobs(
        opened.repository, index, roots,
        [](const repo::TreeProblem& met) { log::warn("{}", met.text); }, held);
    Counted counted;
    counted.snapshots = snapshots.size();
    for (const repo::BlobHandle& blob : used) {
      const auto place = index.find(blob);
      if (place) add_raw(*place, opened.repository.config().version >= 2, counted);
    }
    return counted;
  }
  Counter counter(index, mode);
  for (const repo::SavedSnapshot& saved : snapshots) {
    counter.begin_snapshot();
    repo::walk_tree(
        opened.repository, index, saved.snapshot.tree,
        [&](const std::string& path, const repo::Node& node) { counter.add(path, node); }, held,
        [](const std::string& text) { log::warn("{}", text); });
  }
  return counter.counted();
}

}  // namespace kubedr::workflow
