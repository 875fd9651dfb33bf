#ifndef KUBEDR_REPO_REPOSITORY_H
#define KUBEDR_REPO_REPOSITORY_H

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/call.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/secret.h"
#include "repo/config.h"
#include "repo/ids.h"
#include "repo/index.h"
#include "repo/lock.h"
#include "repo/snapshot.h"
#include "repo/unpacked.h"
#include "repo/writer.h"
#include "storage/store.h"

namespace kubedr::repo {

// A listed snapshot.
struct SavedSnapshot {
  SnapshotId id;
  Snapshot snapshot;
};

struct InitRequest {
  Secret password;
  int version = 2;
  std::string username;
  std::string hostname;
  // Asked once the config is written, the commit point: what it returns is the rest's call, which
  // should outlive the work's own. Empty: there is just one.
  std::function<Call()> committed{};
};

// An opened restic repository: its keys are known.
//
// errors   no_repository (restic's words), wrong_password, corrupt, and what the store throws;
//          usage for a repository version that is not 1 or 2
// threads  synchronised: nothing of it changes; moved by one thread that has it alone
// source   restic doc/design.rst
class Repository {
 public:
  // Makes a repository in a store that has none. `store`, `random` and the call's clock must
  // outlive it.
  //
  // Cannot race: the config is written first, create_only, and decides; then the key; the result is
  // proven by opening it. On stores whose create_only is not atomic, and against restic's own
  // unconditional init, the config is looked at again later: whoever finds another than his removes
  // his key and fails with `exists`. A key of somebody else's that stays is only told of in the
  // log.
  //
  // Takes 3 s, of waiting for such others; up to 13 s where there is somebody else's key. Ended
  // before its commit point it leaves nothing, or a config without any key: one that is still alone
  // after 3 s more is taken over by the next.
  //
  // errors   exists: there is a repository already, or somebody else made one meanwhile, and it is
  //          as it was; usage: a password that is empty or ends in a newline
  static Repository init(storage::Store& store, const InitRequest& request, Random& random,
                         const Call& call);

  // Tries the password on up to 20 keys; one that ends in a newline also without it, and one that
  // does not also with it, with a warning in the log.
  static Repository open(storage::Store& store, const Secret& password, Random& random,
                         const Call& call);

  Repository(Repository&&) noexcept;
  ~Repository();

  const Config& config() const;
  const KeyId& key_id() const;  // the key that the password opened
  const SealKey& master_key() const;
  storage::Store& store() const;

  // The files of one JSON document, and what seals and opens everything else.
  const UnpackedFiles& files() const;

  Sealer make_sealer() const { return files().make_sealer(); }

  // restic's protocol: look, write ours, wait 200 ms, look again. Waits up to `retry` for locks in
  // the way.
  //
  // errors   locked, with restic's words
  Lock lock_shared(const LockOwner& owner, std::chrono::milliseconds retry, const Call& call);
  Lock lock_exclusive(const LockOwner& owner, std::chrono::milliseconds retry, const Call& call);

  // In place of a lock for somebody who only reads and may not, or cannot, write one: a prune may
  // remove what is being read, which is then an error, never wrong bytes.
  Lock unlocked(const Call& call) const;

  // All index files. Needs the lock: without it a prune may be moving packs meanwhile. Damaged ones
  // are named in `damaged`, or thrown where that is not asked for. Only who reads may ask: to
  // whoever writes, what those files know would look new or not needed.
  Index load_index(const Lock& lock, const Call& call,
                   std::vector<std::string>* damaged = nullptr) const;

  // The same for who writes: a blob counts as stored only if its pack is there and as long as it
  // must be, so that nothing new is built on what was lost. The log tells of packs that are not.
  Index load_index_for_writing(const Lock& lock, const Call& call) const;

  // Every index file with its packs, one after the other. Damaged ones are named in `damaged`, or
  // thrown where that is not asked for.
  void each_index_file(const Call& call,
                       const std::function<void(const IndexId&, std::vector<IndexedPack>&&)>& each,
                       std::vector<std::string>* damaged = nullptr) const;

  // Snapshots in order of their time. Damaged ones are named in `damaged`, or in the log, not
  // thrown.
  std::vector<SavedSnapshot> snapshots(const Call& call,
                                       std::vector<std::string>* damaged = nullptr) const;

  // A blob by its id: hash checked, all copies tried.
  Bytes load_blob(const Index& index, const BlobHandle& blob, const Call& call) const;

  // The commit point. `written` proves that all packs and indexes are stored.
  SnapshotId save_snapshot(const Snapshot& snapshot, const Written& written, Lock& lock,
                           const Call& call);

  // Its data stays until a prune. A snapshot that is not there is a success.
  void remove_snapshot(const SnapshotId& id, Lock& lock, const Call& call);

  // Every lock, ours among them; the ids of those that cannot be read go to `damaged`.
  std::vector<SavedLock> locks(const Call& call, std::vector<std::string>* damaged = nullptr) const;
  void remove_lock(const LockId& id, const Call& call);

 private:
  struct Impl;
  explicit Repository(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The one snapshot a user means by an id or a unique prefix of one.
//
// errors   not_found and usage (ambiguous), in restic's words
const SavedSnapshot& find_snapshot(const std::vector<SavedSnapshot>& snapshots,
                                   const std::string& prefix);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_REPOSITORY_H
