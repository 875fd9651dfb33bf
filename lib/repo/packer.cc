#include "repo/packer.h"

#include <utility>

#include "base/error.h"
#include "base/sha256.h"

namespace kubedr::repo {

namespace {

constexpr std::size_t kHeaderRoom = std::size_t{128} << 10;  // 3,000 entries

}  // namespace

Bytes BufferPool::take() {
  {
    const std::lock_guard guard(mutex_);
    if (!free_.empty()) {
      Bytes buffer = std::move(free_.back());
      free_.pop_back();
      return buffer;
    }
  }
  Bytes buffer;
  buffer.reserve(reserve_);
  return buffer;
}

void BufferPool::give(Bytes buffer) {
  // One that grew beyond the usual would keep its memory for nothing.
  if (buffer.capacity() > reserve_ + reserve_ / 4) return;
  const std::lock_guard guard(mutex_);
  if (free_.size() < keep_) free_.push_back(std::move(buffer));
}

std::vector<SealedBlobs> Packer::add(const SealedBlobs& blobs) {
  std::vector<SealedBlobs> full;
  const std::lock_guard guard(mutex_);
  for (PackEntry entry : blobs.entries) {
    if (open_.entries.empty()) {
      open_.bytes = pool_.take();
      open_.bytes.clear();
    }
    const ByteView sealed = ByteView(blobs.bytes).subspan(entry.offset, entry.length);
    entry.offset = static_cast<std::uint32_t>(open_.bytes.size());
    // Just what the last blob and the header need: doubling would cost another whole pack.
    const std::size_t needed = open_.bytes.size() + sealed.size() + kHeaderRoom;
    if (needed > open_.bytes.capacity() && needed > pack_bytes_) open_.bytes.reserve(needed);
    append(open_.bytes, sealed);
    open_.entries.push_back(entry);
    if (open_.bytes.size() >= pack_bytes_) full.push_back(std::exchange(open_, {}));
  }
  return full;
}

std::optional<SealedBlobs> Packer::rest() {
  const std::lock_guard guard(mutex_);
  if (open_.entries.empty()) return std::nullopt;
  return std::exchange(open_, {});
}

Pack finish_pack(SealedBlobs&& blobs, Sealer& sealer) {
  Pack pack;
  pack.bytes = std::move(blobs.bytes);
  pack.entries = std::move(blobs.entries);
  append(pack.bytes, make_pack_header(pack.entries, sealer));
  // A pack that cannot be read must not leave: nobody would look at it before the day of need.
  if (parse_pack_header(pack.bytes, pack.bytes.size(), sealer, "new pack") != pack.entries ||
      pack_size(pack.entries) != pack.bytes.size()) {
    throw Error(ErrorKind::corrupt, "new pack: the header read back is not the one written",
                "this computer's memory may be faulty");
  }
  pack.id = PackId(sha256(pack.bytes));
  return pack;
}

}  // namespace kubedr::repo
