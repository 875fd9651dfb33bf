#ifndef KUBEDR_REPO_PACKER_H
#define KUBEDR_REPO_PACKER_H

#include <cstddef>
#include <mutex>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "repo/ids.h"
#include "repo/pack.h"
#include "repo/seal.h"

namespace kubedr::repo {

// Sealed blobs in a row; the entries' offsets count from the start of `bytes`.
struct SealedBlobs {
  Bytes bytes;
  std::vector<PackEntry> entries;
};

// A whole pack, ready to be stored.
struct Pack {
  PackId id;
  Bytes bytes;
  std::vector<PackEntry> entries;
};

// Large buffers that are used again: fresh pages cost more than what is written to them.
//
// threads  synchronised
class BufferPool {
 public:
  BufferPool(std::size_t reserve, std::size_t keep) : reserve_(reserve), keep_(keep) {}

  // Its content and size are what they were.
  Bytes take();
  void give(Bytes buffer);

 private:
  const std::size_t reserve_;
  const std::size_t keep_;
  std::mutex mutex_;
  std::vector<Bytes> free_;  // guarded by mutex_
};

// Gathers sealed blobs until a pack is full. One packer per type of blob: trees and data are never
// mixed in a pack.
//
// threads  synchronised
class Packer {
 public:
  // `pool` must outlive it.
  Packer(std::size_t pack_bytes, BufferPool& pool) : pack_bytes_(pack_bytes), pool_(pool) {}

  // Appends blobs and returns what became full, still without a header. A blob is never split, so
  // a pack is larger than its size by up to one blob.
  std::vector<SealedBlobs> add(const SealedBlobs& blobs);

  // What is left at the end.
  std::optional<SealedBlobs> rest();

 private:
  const std::size_t pack_bytes_;
  BufferPool& pool_;
  std::mutex mutex_;
  SealedBlobs open_;  // guarded by mutex_
};

// Appends the sealed header, reads it back and names the pack.
//
// errors   corrupt: the header read back is not the one written
Pack finish_pack(SealedBlobs&& blobs, Sealer& sealer);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_PACKER_H
