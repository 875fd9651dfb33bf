#ifndef KUBEDR_REPO_WRITER_H
#define KUBEDR_REPO_WRITER_H

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/call.h"
#include "repo/cut.h"
#include "repo/ids.h"
#include "repo/index.h"
#include "repo/lock.h"
#include "repo/pack.h"

namespace kubedr::repo {

class Repository;

// Bytes to be stored, pulled.
class Source {
 public:
  virtual ~Source() = default;

  // At least one byte, 0 at the end.
  virtual std::size_t read(std::span<std::uint8_t> buffer, const Call& call) = 0;
};

struct WriterOptions {
  int workers = 0;  // 0: one per processor; at most 4
  std::size_t pack_bytes = kFullPack;
  std::size_t memory_bytes = std::size_t{8} << 20;     // sealed packs waiting in memory
  std::uint64_t spool_bytes = std::uint64_t{4} << 30;  // then in an unlinked file; 0: none
  std::filesystem::path spool_folder = "/var/tmp";
  std::chrono::milliseconds stall_limit = std::chrono::seconds(60);
};

struct WriterStats {
  std::uint64_t data_blobs = 0;  // new ones
  std::uint64_t tree_blobs = 0;
  std::uint64_t data_added = 0;         // plain bytes of new blobs
  std::uint64_t data_added_packed = 0;  // what they take in packs, header entries included
  std::uint64_t packs = 0;
  std::uint64_t bytes_stored = 0;  // packs and indexes
};

// A file's content in the repository.
struct SavedFile {
  std::vector<BlobId> content;
  std::uint64_t size = 0;
};

// Told of packs' bytes as they are stored, and of how many there are: first of none, by the
// caller's thread, then by any that stores.
using UploadProgress = std::function<void(std::uint64_t bytes, std::uint64_t total)>;

// Proof that all packs of a writer are stored, and the indexes that name them.
class Written {
 public:
  const WriterStats& stats() const { return stats_; }

 private:
  friend class Writer;
  Written() = default;
  WriterStats stats_;
};

// The pipeline that turns bytes into packs: the caller's thread cuts, workers hash, look up,
// compress and seal, a packer gathers, uploaders store. Threads hand over about a MiB at a time.
//
// A worker's or uploader's failure ends the run: every call here then throws its cause. A source's
// does not: what it gave is stored, and another attempt at it finds that again.
//
// errors   what the store, the source and the lock throw; unavailable: the store finished no pack
//          for `stall_limit` while memory and spool were full; corrupt: a sealed blob did not open
// threads  one thread calls; the lock, index and repository must outlive it
class Writer {
 public:
  Writer(const Repository& repository, Lock& lock, Index& index, const WriterOptions& options);
  ~Writer();  // ends the threads; what is not finished stays unreferenced

  // Stores all bytes of a source.
  SavedFile save_file(Source& source, const Cut& cut, const Call& call);

  // Stores a tree's JSON.
  BlobId save_tree(std::string_view json, const Call& call);

  // Waits for all packs, then stores the index files that name them. The progress is of those that
  // were not stored yet.
  Written finish(const Call& call, UploadProgress progress = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_WRITER_H
