#ifndef KUBEDR_REPO_SPOOL_H
#define KUBEDR_REPO_SPOOL_H

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <mutex>
#include <optional>

#include "base/call.h"
#include "base/file.h"
#include "repo/packer.h"

namespace kubedr::repo {

struct SpoolOptions {
  std::size_t memory_bytes = 0;  // packs in memory, waiting or being stored
  std::uint64_t file_bytes = 0;  // packs in the unlinked file; 0: no file
  std::filesystem::path folder;
  std::size_t pack_bytes = 0;  // about what one pack takes
  std::chrono::milliseconds stall_limit{};
};

// Where sealed packs wait for a slow store: in memory, then in a file without a name, so that
// nothing is left of it whatever happens. A disk that is full or fails while writing only makes
// the spool smaller.
//
// Both bounds are kept by asking for room before work begins, not by blocking in the middle of it:
// what is under way then may exceed the memory by a pack or two.
//
// errors   unavailable: no room for `stall_limit` in which the store finished no pack; corrupt: the
//          file gave back other bytes
// threads  synchronised
class Spool {
 public:
  // `pool` must outlive it.
  Spool(SpoolOptions options, BufferPool& pool);

  // Before packs are made: waits until one more can be put.
  void wait_for_room(const Call& call);

  void put(Pack pack);

  // No more packs; what waits can still be taken.
  void close();

  // The next pack to be stored; nullopt when closed and drained, or when the call is stopped. One
  // that was in the file has no entries: thousands of packs' would fill the memory that the file
  // saves, and the pack's own header has them.
  std::optional<Pack> take(const Call& call);

  // What was taken is stored; its memory counts no more.
  void stored(Pack pack);

 private:
  struct Filed {
    PackId id;
    std::uint64_t offset = 0;
    std::size_t bytes = 0;
  };

  bool has_room() const;
  bool may_read_back() const;
  std::optional<std::uint64_t> reserve(std::size_t bytes);
  bool write(const Pack& pack, std::uint64_t offset);
  Pack read_back(const Filed& filed);

  const SpoolOptions options_;
  BufferPool& pool_;
  FileDescriptor file_;

  std::mutex mutex_;
  // Guarded by mutex_:
  std::condition_variable_any changed_;
  std::deque<Pack> in_memory_;
  std::deque<Filed> in_file_;
  bool file_usable_ = false;
  bool closed_ = false;
  std::size_t memory_used_ = 0;  // in_memory_, and packs taken but not stored yet
  std::uint64_t file_used_ = 0;
  std::uint64_t file_end_ = 0;
  std::uint64_t packs_stored_ = 0;
};

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_SPOOL_H
