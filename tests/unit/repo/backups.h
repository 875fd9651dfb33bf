#ifndef KUBEDR_UNIT_REPO_BACKUPS_H
#define KUBEDR_UNIT_REPO_BACKUPS_H

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "repo/tree.h"
#include "repo/walk.h"
#include "repositories.h"

// Snapshots of a few files, and whether all of them can still be read.
namespace kubedr::repo::test {

inline WallTime day(int number) {
  return WallTime(std::chrono::hours(24 * 20'000 + 24 * number));
}

inline Node file_node(const std::string& name, SavedFile saved) {
  Node node;
  node.name = name;
  node.mode = 0600;
  node.size = saved.size;
  node.content = std::move(saved.content);
  node.links = 1;
  return node;
}

// Stores one file of pages of noise, a page for each seed, and a snapshot of it.
inline SnapshotId back_up(World& world, storage::Store& store, const std::vector<int>& seeds,
                          WallTime time, const std::vector<std::string>& tags = {}) {
  constexpr std::size_t kPage = 16 * 1024;
  Repository repository = world.open(store);
  Lock lock = repository.lock_shared(kOwner, kNoRetry, world.call);
  Index index = repository.load_index(lock, world.call);
  Writer writer(repository, lock, index, small_packs());
  Bytes bytes;
  for (const int seed : seeds) {
    const Bytes page = noise(kPage, static_cast<std::uint64_t>(seed));
    bytes.insert(bytes.end(), page.begin(), page.end());
  }
  BytesSource source(bytes);
  Snapshot snapshot;
  SavedFile saved = writer.save_file(source, Cut::fixed(kPage), lock.scope());
  snapshot.tree = writer.save_tree(tree_json({file_node("db", std::move(saved))}), lock.scope());
  snapshot.time = time;
  snapshot.paths = {"/data"};
  snapshot.hostname = "node-1";
  snapshot.tags = tags;
  const Written written = writer.finish(lock.scope());
  const SnapshotId id = repository.save_snapshot(snapshot, written, lock, lock.scope());
  lock.release(world.call);
  return id;
}

// Seeds `from` .. `to` - 1.
inline std::vector<int> pages(int from, int to) {
  std::vector<int> seeds;
  for (int seed = from; seed < to; ++seed) seeds.push_back(seed);
  return seeds;
}

inline void forget(World& world, storage::Store& store, const SnapshotId& id) {
  Repository repository = world.open(store);
  Lock lock = repository.lock_exclusive(kOwner, kNoRetry, world.call);
  repository.remove_snapshot(id, lock, world.call);
  lock.release(world.call);
}

// Those of processes that were killed.
inline void remove_locks(World& world, storage::Store& store) {
  Repository repository = world.open(store);
  for (const SavedLock& left : repository.locks(world.call)) {
    repository.remove_lock(left.id, world.call);
  }
}

// How many snapshots there are, each blob of them read and compared with its id. Locks go.
inline std::size_t read_everything(World& world, storage::Store& store) {
  remove_locks(world, store);
  Repository repository = world.open(store);
  Lock lock = repository.lock_shared(kOwner, kNoRetry, world.call);
  const Index index = repository.load_index(lock, world.call);
  const std::vector<SavedSnapshot> snapshots = repository.snapshots(world.call);
  for (const SavedSnapshot& saved : snapshots) {
    const BlobSet used = find_used_blobs(
        repository, index, {saved.snapshot.tree},
        [](const TreeProblem& problem) { FAIL_CHECK(problem.text); }, world.call);
    for (const BlobHandle& blob : used) repository.load_blob(index, blob, world.call);
  }
  lock.release(world.call);
  return snapshots.size();
}

inline void copy_store(const storage::Store& from, storage::Store& to, const Call& call) {
  to.create(call);
  const Bytes config = from.load({FileKind::config, {}}, 1 << 20, call);
  to.save({FileKind::config, {}}, config, sha256(config), SaveMode::replace, call);
  for (const FileKind kind : {FileKind::key, FileKind::pack, FileKind::index, FileKind::snapshot}) {
    for (const std::string& id : names(from, kind, call)) {
      const Bytes bytes = from.load({kind, id}, 1 << 28, call);
      to.save({kind, id}, bytes, sha256(bytes), SaveMode::replace, call);
    }
  }
}

}  // namespace kubedr::repo::test

#endif  // KUBEDR_UNIT_REPO_BACKUPS_H
