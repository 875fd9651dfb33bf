#include "workflow/stats.h"

#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/log.h"
#include "base/sha256.h"
#include "repo/seal.h"
#include "repo/walk.h"
#include "workflow/open.h"

namespace kubedr::workflow {
namespace {

// Bytes of blobs, as they are and as they are stored.
struct Weight {
  std::uint64_t plain = 0;
  std::uint64_t stored = 0;
};

Weight weigh(const repo::Index& index, const repo::BlobSet& blobs) {
  Weight weight;
  for (const repo::BlobHandle& blob : blobs) {
    const std::optional<repo::Index::Place> place = index.find(blob);
    if (!place) continue;
    weight.stored += place->entry.length;
    weight.plain += place->entry.plain_size();
  }
  return weight;
}

std::string policy_path(const ListedSnapshot& listed) {
  if (listed.policy.empty()) return "";
  return listed.name_space.empty() ? listed.policy : listed.name_space + "/" + listed.policy;
}

repo::BlobSet used_by(const repo::Repository& repository, const repo::Index& index,
                      const std::vector<repo::BlobId>& roots, const Call& call) {
  return repo::find_used_blobs(
      repository, index, roots, [](const repo::TreeProblem& met) { log::warn("{}", met.text); },
      call);
}

// Of what used_by has named, or will.
void pass_over(const std::string& /*problem*/) {}

// restic before 0.17, and so operator mode, stores no summary: then the tree tells.
std::uint64_t size_of(const repo::Repository& repository, const repo::Index& index,
                      const repo::Snapshot& snapshot, const Call& call) {
  if (snapshot.summary) return snapshot.summary->total_bytes_processed;
  std::uint64_t bytes = 0;
  repo::walk_tree(
      repository, index, snapshot.tree,
      [&](const std::string&, const repo::Node& node) {
        if (node.type == repo::NodeType::file) bytes += node.size;
      },
      call, pass_over);
  return bytes;
}

// What the snapshots behind the first one added, in bytes as stored; nullopt where one of them does
// not say.
std::optional<std::uint64_t> added_by_summaries(const std::vector<const ListedSnapshot*>& members) {
  std::uint64_t added = 0;
  for (std::size_t i = 1; i < members.size(); ++i) {
    const auto& summary = members[i]->saved.snapshot.summary;
    if (!summary) return std::nullopt;
    added += summary->data_added_packed;
  }
  return added;
}

std::uint64_t growth_of(const std::vector<const ListedSnapshot*>& members, std::uint64_t added) {
  const auto span = members.back()->saved.snapshot.time - members.front()->saved.snapshot.time;
  if (span < std::chrono::hours(1)) return 0;  // too short to tell
  const double days = std::chrono::duration<double, std::ratio<86'400>>(span).count();
  return static_cast<std::uint64_t>(static_cast<double>(added) / days);
}

// What snapshots hold, for whom, and what of it is nobody else's.
class Holdings {
 public:
  Holdings(const repo::Repository& repository, const repo::Index& index, const Call& call)
      : repository_(repository), index_(index), call_(call) {}

  // In the order of their times.
  void add(const ListedSnapshot& listed) {
    Policy& policy = policies_[policy_path(listed)];
    policy.snapshots.push_back(&listed);
    policy.newest_bytes = size_of(repository_, index_, listed.saved.snapshot, call_);
    restore_bytes_ += policy.newest_bytes;
    ++snapshots_;
  }

  // One that was not asked for: what it needs is no waste all the same.
  void pass(const ListedSnapshot& listed) { others_.push_back(listed.saved.snapshot.tree); }

  void fill(StatsReport& report) {
    find_owners(report);
    report.snapshots = snapshots_;
    report.restore_bytes = restore_bytes_;
    for (auto& [name, policy] : policies_) report.policies.push_back(stats_of(name, policy));
    index_.each([&](const repo::Index::Place& place) {
      if (owners_.count(place.entry.blob) == 0) report.unused_bytes += place.entry.length;
    });
  }

 private:
  struct Policy {
    std::vector<const ListedSnapshot*> snapshots;
    std::uint64_t newest_bytes = 0;
    repo::BlobSet used;
  };

  void find_owners(StatsReport& report) {
    for (auto& [name, policy] : policies_) {
      std::vector<repo::BlobId> roots;
      for (const ListedSnapshot* listed : policy.snapshots) {
        roots.push_back(listed->saved.snapshot.tree);
      }
      policy.used = used_by(repository_, index_, roots, call_);
      for (const repo::BlobHandle& blob : policy.used) ++owners_[blob];
    }
    repo::BlobSet wanted;
    for (const auto& [blob, owners] : owners_) wanted.insert(blob);
    const Weight all = weigh(index_, wanted);
    report.plain_bytes = all.plain;
    report.stored_bytes = all.stored;
    for (const repo::BlobHandle& blob : used_by(repository_, index_, others_, call_))
      ++owners_[blob];
  }

  PolicyStats stats_of(const std::string& name, Policy& policy) const {
    PolicyStats stats;
    stats.policy = name;
    stats.snapshots = policy.snapshots.size();
    stats.first = policy.snapshots.front()->saved.snapshot.time;
    stats.last = policy.snapshots.back()->saved.snapshot.time;
    stats.restore_bytes = policy.newest_bytes;
    const Weight own = weigh(index_, policy.used);
    stats.unique_bytes = own.plain;
    stats.stored_bytes = own.stored;
    stats.growth_per_day = growth_of(policy.snapshots, added_by(policy, own.stored));
    std::erase_if(policy.used, [&](const repo::BlobHandle& blob) { return owners_.at(blob) > 1; });
    stats.exclusive_bytes = weigh(index_, policy.used).stored;
    return stats;
  }

  // Stored since the first snapshot.
  std::uint64_t added_by(const Policy& policy, std::uint64_t stored) const {
    if (const std::optional<std::uint64_t> added = added_by_summaries(policy.snapshots)) {
      return *added;
    }
    const repo::BlobSet first = repo::find_used_blobs(
        repository_, index_, {policy.snapshots.front()->saved.snapshot.tree},
        [](const repo::TreeProblem&) {}, call_);
    return stored - weigh(index_, first).stored;
  }

  const repo::Repository& repository_;
  const repo::Index& index_;
  const Call& call_;
  std::map<std::string, Policy> policies_;
  std::vector<repo::BlobId> others_;
  std::unordered_map<repo::BlobHandle, int, repo::BlobHandleHash> owners_;
  std::uint64_t snapshots_ = 0;
  std::uint64_t restore_bytes_ = 0;
};

Digest digest_of(const std::vector<repo::BlobId>& content) {
  Sha256 hash;
  for (const repo::BlobId& id : content) hash.update(id.digest());
  return hash.finish();
}

// What is met in trees, as a mode counts it.
class ModeWalk {
 public:
  ModeWalk(const repo::Index& index, StatsMode mode) : index_(index), mode_(mode) {}

  void begin_snapshot() {
    ++stats_.snapshots;
    links_.clear();
  }

  void add(const std::string& path, const repo::Node& node) {
    if (mode_ == StatsMode::restore_size) return add_restored(node);
    if (!contents_.insert(digest_of(node.content)).second) return;
    if (mode_ == StatsMode::blobs_per_file) return add_blobs(path, node);
    ++stats_.files;
    stats_.bytes += node.size;
  }

  const ModeStats& stats() const { return stats_; }

 private:
  void add_restored(const repo::Node& node) {
    ++stats_.files;
    const bool is_linked = node.type != repo::NodeType::dir && node.links != 1 && node.inode != 0;
    if (is_linked && !links_.emplace(node.device_id, node.inode).second) return;
    stats_.bytes += node.size;
  }

  void add_blobs(const std::string& path, const repo::Node& node) {
    for (const repo::BlobId& id : node.content) {
      if (paths_.insert(path).second) ++stats_.files;
      if (!blobs_.emplace(path, id).second) continue;
      ++stats_.blobs;
      if (const auto place = index_.find({repo::BlobType::data, id})) {
        stats_.bytes += place->entry.plain_size();
      }
    }
  }

  const repo::Index& index_;
  const StatsMode mode_;
  ModeStats stats_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> links_;  // of one snapshot
  std::set<Digest> contents_;
  std::set<std::string> paths_;
  std::set<std::pair<std::string, repo::BlobId>> blobs_;
};

void add_raw(const repo::Index::Place& place, bool compresses, ModeStats& stats) {
  ++stats.blobs;
  stats.bytes += place.entry.length;
  if (!compresses) return;
  const std::uint64_t uncompressed = place.entry.plain_size() + repo::kSealOverhead;
  stats.uncompressed_bytes += uncompressed;
  if (!place.entry.compressed()) return;
  stats.compressed_bytes += place.entry.length;
  stats.compressed_uncompressed_bytes += uncompressed;
}

}  // namespace

StatsReport stats(const Services& services, const Whose& whose, const SnapshotFilter& filter,
                  const Call& call) {
  const crd::Location location = location_for(services, whose.location, whose.policy, call);
  const std::vector<crd::Record> records = services.cluster.records(call).items;
  OpenedRepository opened = open_repository(services, location, call);
  repo::Lock lock = lock_for_reading(services, opened.repository, call);
  const Call& held = lock.scope();
  const repo::Index index = load_index_to_read(opened, lock, held);
  const std::vector<ListedSnapshot> snapshots =
      join_snapshots(opened.repository.snapshots(held), records, location.ref.name, {});

  Holdings holdings(opened.repository, index, held);
  for (const ListedSnapshot& listed : snapshots) {
    if (filter.matches(listed.saved.snapshot)) {
      holdings.add(listed);
    } else {
      holdings.pass(listed);
    }
  }
  StatsReport report;
  report.repository_url = opened.store->location();
  report.blobs = index.blobs();
  holdings.fill(report);
  opened.store->list(
      storage::FileKind::pack,
      [&](const storage::FileInfo& info) {
        ++report.packs;
        report.pack_bytes += info.size;
      },
      held);
  return report;
}

ModeStats stats_in_mode(const Services& services, const Whose& whose, const SnapshotFilter& filter,
                        StatsMode mode, const Call& call) {
  const crd::Location location = location_for(services, whose.location, whose.policy, call);
  OpenedRepository opened = open_repository(services, location, call);
  repo::Lock lock = lock_for_reading(services, opened.repository, call);
  const Call& held = lock.scope();
  const repo::Index index = load_index_to_read(opened, lock, held);
  std::vector<repo::SavedSnapshot> snapshots = opened.repository.snapshots(held);
  std::erase_if(snapshots, [&](const auto& saved) { return !filter.matches(saved.snapshot); });
  if (mode == StatsMode::raw_data) {
    std::vector<repo::BlobId> roots;
    for (const repo::SavedSnapshot& saved : snapshots) roots.push_back(saved.snapshot.tree);
    const repo::BlobSet used = used_by(opened.repository, index, roots, held);
    ModeStats stats;
    stats.snapshots = snapshots.size();
    for (const repo::BlobHandle& blob : used) {
      const auto place = index.find(blob);
      if (place) add_raw(*place, opened.repository.config().version >= 2, stats);
    }
    return stats;
  }
  ModeWalk walk(index, mode);
  for (const repo::SavedSnapshot& saved : snapshots) {
    walk.begin_snapshot();
    repo::walk_tree(
        opened.repository, index, saved.snapshot.tree,
        [&](const std::string& path, const repo::Node& node) { walk.add(path, node); }, held,
        [](const std::string& text) { log::warn("{}", text); });
  }
  return walk.stats();
}

}  // namespace kubedr::workflow
