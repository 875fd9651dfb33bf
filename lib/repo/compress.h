#ifndef KUBEDR_REPO_COMPRESS_H
#define KUBEDR_REPO_COMPRESS_H

#include <memory>

#include "base/bytes.h"

namespace kubedr::repo {

// zstd frames, with contexts that are reused.
//
// errors   corrupt: not a frame, or more than `limit` bytes of it; frames without a content size
//          are read too, restic writes them for small input
// threads  one thread
class Compressor {
 public:
  explicit Compressor(int level = 1);
  ~Compressor();
  Compressor(Compressor&&) noexcept;

  // Appends one frame to `out`.
  void compress(ByteView plain, Bytes& out);

  // Replaces what is in `plain`.
  void decompress(ByteView frame, std::size_t limit, Bytes& plain);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_COMPRESS_H
