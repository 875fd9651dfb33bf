#ifndef KUBEDR_REPO_CONTENT_READER_H
#define KUBEDR_REPO_CONTENT_READER_H

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/call.h"
#include "repo/index.h"
#include "repo/repository.h"

namespace kubedr::repo {

class BlobOpener;

// A file's content, or a run of it, brought by as few requests as its packs allow.
//
// units    up to four requests of 4 MiB at a time, a larger blob excepted
// errors   corrupt: a blob that no index knows, or that opens nowhere
class ContentReader {
 public:
  // Repository and index must outlive it.
  ContentReader(const Repository& repository, const Index& index, std::span<const BlobId> blobs);

  // By the index: what a tree says of a file's size may be anything.
  std::uint64_t size() const { return size_; }

  // Hands over each blob at its place, in no promised order and from several threads at a time.
  void read(const std::function<void(ByteView bytes, std::uint64_t offset)>& take,
            const Call& call) const;

 private:
  // One blob at one place of the content.
  struct Piece {
    PackId pack;
    PackEntry entry;
    std::uint64_t offset = 0;  // in the content

    std::uint64_t end() const { return std::uint64_t{entry.offset} + entry.length; }
  };

  // What one request brings: pieces of one pack, in the pack's order.
  struct Load {
    std::size_t first = 0;
    std::size_t count = 0;
    storage::Range range;
  };

  std::vector<Load> plan_loads() const;
  void read_load(const Load& load,
                 const std::function<void(ByteView bytes, std::uint64_t offset)>& take,
                 const Call& call) const;
  std::optional<Bytes> bring(const Load& load, const Call& call) const;
  ByteView open(const Piece& piece, const Load& from, const std::optional<Bytes>& bytes,
                BlobOpener& opener, Bytes& copy, const Call& call) const;

  const Repository& repository_;
  const Index& index_;
  std::vector<Piece> pieces_;  // in the packs' order
  std::uint64_t size_ = 0;
};

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_CONTENT_READER_H
