#ifndef KUBEDR_REPO_CUT_H
#define KUBEDR_REPO_CUT_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace kubedr::repo {

inline constexpr std::size_t kLargestChunk = std::size_t{8} << 20;

// Where a stream of bytes is cut into chunks. The opening comment of cut.cc tells why a database is
// cut at pages and everything else by content.
class Cut {
 public:
  // Multiples of `size` bytes, at most kLargestChunk.
  static Cut fixed(std::size_t size);

  // restic's rolling hash: 512 KiB to 8 MiB, 1 MiB wanted, by the repository's polynomial.
  static Cut rabin(std::uint64_t polynomial);

  bool is_fixed() const { return fixed_size_ != 0; }

  std::size_t fixed_size() const { return fixed_size_; }

  std::uint64_t polynomial() const { return polynomial_; }

 private:
  std::size_t fixed_size_ = 0;
  std::uint64_t polynomial_ = 0;
};

// Finds the borders in a stream fed piece by piece.
//
// threads  one thread
class Cutter {
 public:
  explicit Cutter(const Cut& cut);
  ~Cutter();
  Cutter(Cutter&&) noexcept;

  // Looks at the bytes that follow the last ones; appends to `ends` the offset in `bytes` just
  // behind each chunk's last byte. What lies behind the last border belongs to the next call's
  // first chunk; at the end of the stream that rest is the last chunk.
  void feed(ByteView bytes, std::vector<std::size_t>& ends);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_CUT_H
