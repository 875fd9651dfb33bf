#ifndef KUBEDR_REPO_LOCK_H
#define KUBEDR_REPO_LOCK_H

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/call.h"
#include "base/clock.h"
#include "repo/ids.h"

namespace kubedr::repo {

// A lock file's content.
//
// shape    JSON {time, exclusive, hostname, username, pid, uid?, gid?}, stored as an unpacked file
struct LockInfo {
  WallTime time{};
  bool exclusive = false;
  std::string hostname;
  std::string username;
  std::int64_t pid = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

std::string to_json(const LockInfo& lock);
LockInfo parse_lock(std::string_view json, const std::string& where);

// A lock as it lies in the store.
struct SavedLock {
  LockId id;
  LockInfo info;
  std::optional<WallTime> modified;  // when the file was written, where the store knows

  // When its holder was last heard of: old restics refresh a lock with the time it had at first.
  WallTime fresh() const { return modified ? std::max(*modified, info.time) : info.time; }
};

// Whether a lock's holder is gone: not heard of for longer than kLockStale, or of this host with a
// process that is no more. `process_exists` is asked only for a lock of `hostname`.
bool is_stale(const SavedLock& lock, const std::string& hostname, WallTime now,
              const std::function<bool(std::int64_t pid)>& process_exists);

// Who we are to others that meet our lock. In a container `hostname` is the pod's: another host's
// restic must not judge our pid.
struct LockOwner {
  std::string hostname;
  std::string username;
  std::int64_t pid = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

inline constexpr std::chrono::minutes kLockRefresh{5};                 // restic's
inline constexpr std::chrono::minutes kLockStale{30};                  // others may remove it then
inline constexpr std::chrono::seconds kLockMustRefresh{22 * 60 + 30};  // we stop writing then

// restic's words for a lock that is in the way.
std::string lock_conflict_text(const LockInfo& lock, const LockId& id, WallTime now);

class UnpackedFiles;

// A held lock: refreshed in the background until released. Made by Repository.
//
// errors   from require_held and the scope's calls: unavailable when it could not be refreshed in
//          time, locked when somebody removed it
// threads  synchronised
class Lock {
 public:
  Lock(Lock&&) noexcept;
  ~Lock();  // removes the file as well as it can, within a few seconds

  // A call that ends when the lock is lost.
  const Call& scope() const;

  // Looks at the store: our file must still be there, refreshed in time.
  void require_held(const Call& call);

  // Removes the file and reports a failure to do so.
  void release(const Call& call);

 private:
  friend class Repository;
  struct Impl;
  explicit Lock(std::unique_ptr<Impl> impl);

  // The whole protocol of restic, tried again until `retry` is over.
  static Lock take(const UnpackedFiles& files, const LockInfo& wanted,
                   std::chrono::milliseconds retry, const Call& call);
  static Lock none(const UnpackedFiles& files, const Call& call);
  static Lock take_once(const UnpackedFiles& files, const LockInfo& wanted, const Call& call);

  std::unique_ptr<Impl> impl_;
};

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_LOCK_H
