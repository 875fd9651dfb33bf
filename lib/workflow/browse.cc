#include "workflow/browse.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "repo/content_reader.h"
#include "repo/walk.h"
#include "workflow/open.h"
#include "workflow/steps.h"
#include "workflow/tar.h"

namespace kubedr::workflow {
namespace {

constexpr std::uint64_t kWindow = 32 * limits::kMiB;  // of a file, in memory while it is dumped

// A snapshot with what is needed to read it. The lock keeps a prune away meanwhile.
class Reading {
 public:
  Reading(const Services& services, const SnapshotChoice& choice, const Call& call)
      : records_(services.cluster.records(call).items),
        location_(location_of_snapshot(services, choice, records_, call)),
        opened_(open_repository(services, location_, call)),
        lock_(lock_for_reading(services, opened_.repository, call)),
        index_(load_index_to_read(opened_, lock_, lock_.scope())),
        snapshot_(find_snapshot(opened_.repository, records_, location_.ref.name, choice,
                                lock_.scope())) {}

  const Call& call() const { return lock_.scope(); }

  const ListedSnapshot& snapshot() const { return snapshot_; }

  const repo::Repository& repository() const { return opened_.repository; }

  const repo::Index& index() const { return index_; }

  std::string repository_url() const { return opened_.store->location(); }

  void each_node(const repo::VisitNode& visit) const {
    repo::walk_tree(opened_.repository, index_, snapshot_.saved.snapshot.tree, visit, call());
  }

 private:
  const std::vector<crd::Record> records_;
  const crd::Location location_;
  OpenedRepository opened_;
  repo::Lock lock_;
  const repo::Index index_;
  const ListedSnapshot snapshot_;
};

// "/data" for "data/", "/data" and "data".
std::string normalized(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path.starts_with('/') ? path : "/" + path;
}

bool is_listed(const std::string& path, const std::string& wanted, bool recursive) {
  if (path == wanted) return true;
  const std::string folder = wanted == "/" ? wanted : wanted + "/";
  return path.starts_with(folder) &&
         (recursive || path.find('/', folder.size()) == std::string::npos);
}

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

// Of what find_used_blobs has named, or will.
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

using Write = std::function<void(ByteView bytes)>;

// How many of these blobs are brought at a time, one at least.
std::size_t window_of(const repo::Index& index, std::span<const repo::BlobId> blobs) {
  std::uint64_t bytes = 0;
  std::size_t count = 0;
  while (count < blobs.size()) {
    const auto place = index.find({repo::BlobType::data, blobs[count]});
    bytes += place ? place->entry.plain_size() : 0;
    if (count > 0 && bytes > kWindow) break;
    ++count;
  }
  return count;
}

void dump_content(const Reading& reading, const repo::Node& file, const Write& write) {
  std::span<const repo::BlobId> left(file.content);
  while (!left.empty()) {
    const std::size_t count = window_of(reading.index(), left);
    const repo::ContentReader part(reading.repository(), reading.index(), left.first(count));
    Bytes bytes(part.size());
    part.read(
        [&](ByteView piece, std::uint64_t offset) {
          std::copy(piece.begin(), piece.end(),
                    bytes.begin() + static_cast<std::ptrdiff_t>(offset));
        },
        reading.call());
    write(bytes);
    left = left.subspan(count);
  }
}

// By the index: what an entry says of its size may be wrong.
std::uint64_t content_size(const Reading& reading, const repo::Node& file) {
  std::uint64_t size = 0;
  for (const repo::BlobId& id : file.content) {
    const auto place = reading.index().find({repo::BlobType::data, id});
    if (place) size += place->entry.plain_size();
  }
  return size;
}

// What is in the folder, by its path in the snapshot, as restic does.
void dump_folder(const Reading& reading, const std::string& folder, const Write& write) {
  TarWriter tar(write);
  reading.each_node([&](const std::string& path, const repo::Node& node) {
    if (path == folder || !is_listed(path, folder, true)) return;
    if (!repo::is_safe_name(node.name)) {
      throw Error(ErrorKind::corrupt,
                  printable(path) + ": refused: such a name leads out of where it is unpacked");
    }
    tar.begin(path.substr(1), node, content_size(reading, node));
    if (node.type != repo::NodeType::file) return;
    dump_content(reading, node, [&](ByteView bytes) { tar.write(bytes); });
  });
  tar.finish();
}

}  // namespace

Listing list_files(const Services& services, const ListRequest& request,
                   const std::function<void(const std::string& path, const repo::Node& node)>& each,
                   const Call& call) {
  const Reading reading(services, request.choice, call);
  std::vector<std::string> paths;
  for (const std::string& path : request.paths) paths.push_back(normalized(path));
  reading.each_node([&](const std::string& path, const repo::Node& node) {
    const bool is_wanted = std::any_of(paths.begin(), paths.end(), [&](const std::string& wanted) {
      return is_listed(path, wanted, request.recursive);
    });
    if (paths.empty() || is_wanted) each(path, node);
  });
  return {reading.snapshot(), reading.repository_url()};
}

void dump(const Services& services, const SnapshotChoice& choice, const std::string& path,
          const std::function<void(ByteView bytes)>& write, const Call& call) {
  const Reading reading(services, choice, call);
  const std::string wanted = normalized(path);
  std::optional<repo::Node> found;
  if (wanted == "/") {
    found.emplace().type = repo::NodeType::dir;
  }
  reading.each_node([&](const std::string& at, const repo::Node& node) {
    if (at == wanted) found = node;
  });
  if (!found) {
    throw Error(ErrorKind::not_found,
                fmt::format("{}: not in snapshot {}", printable(wanted),
                            reading.snapshot().saved.id.short_hex()),
                "`kubectl kubedr ls` shows what is");
  }
  switch (found->type) {
  case repo::NodeType::file:
    return dump_content(reading, *found, write);
  case repo::NodeType::dir:
    return dump_folder(reading, wanted, write);
  case repo::NodeType::symlink:
  case repo::NodeType::dev:
  case repo::NodeType::chardev:
  case repo::NodeType::fifo:
  case repo::NodeType::socket:
  case repo::NodeType::irregular:
    throw Error(ErrorKind::usage, printable(wanted) + ": is neither a file nor a folder",
                "`ls` shows what the snapshot holds");
  }
}

namespace {

// What snapshots hold, for whom, and what of it is nobody else's.
class StatsCount {
 public:
  StatsCount(const repo::Repository& repository, const repo::Index& index, const Call& call)
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
    for (auto& [name, policy] : policies_) report.policies.push_back(count(name, policy));
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

  repo::BlobSet used_by(const std::vector<repo::BlobId>& roots) const {
    return repo::find_used_blobs(
        repository_, index_, roots, [](const repo::TreeProblem& met) { log::warn("{}", met.text); },
        call_);
  }

  void find_owners(StatsReport& report) {
    for (auto& [name, policy] : policies_) {
      std::vector<repo::BlobId> roots;
      for (const ListedSnapshot* listed : policy.snapshots) {
        roots.push_back(listed->saved.snapshot.tree);
      }
      policy.used = used_by(roots);
      for (const repo::BlobHandle& blob : policy.used) ++owners_[blob];
    }
    repo::BlobSet wanted;
    for (const auto& [blob, owners] : owners_) wanted.insert(blob);
    const Weight all = weigh(index_, wanted);
    report.plain_bytes = all.plain;
    report.stored_bytes = all.stored;
    for (const repo::BlobHandle& blob : used_by(others_)) ++owners_[blob];
  }

  PolicyStats count(const std::string& name, Policy& policy) const {
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

  StatsCount count(opened.repository, index, held);
  for (const ListedSnapshot& listed : snapshots) {
    if (filter.matches(listed.saved.snapshot)) {
      count.add(listed);
    } else {
      count.pass(listed);
    }
  }
  StatsReport report;
  report.repository_url = opened.store->location();
  report.blobs = index.blobs();
  count.fill(report);
  opened.store->list(
      storage::FileKind::pack,
      [&](const storage::FileInfo& info) {
        ++report.packs;
        report.pack_bytes += info.size;
      },
      held);
  return report;
}

}  // namespace kubedr::workflow
