#include "repo/pack.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/limits.h"

namespace kubedr::repo {
namespace {

constexpr std::size_t kLengthSize = 4;
constexpr std::size_t kSmallestPack = kSealOverhead + kPlainEntrySize + kLengthSize;
constexpr std::uint8_t kTreeBit = 1;
constexpr std::uint8_t kCompressedBit = 2;

void append_uint32(Bytes& out, std::size_t value) {
  for (int shift = 0; shift < 32; shift += 8)
    out.push_back(static_cast<std::uint8_t>(value >> shift));
}

std::uint32_t uint32_at(ByteView bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i > 0; --i) value = value << 8 | bytes[at + i - 1];
  return value;
}

void append_entry(Bytes& out, const PackEntry& entry) {
  std::uint8_t type = entry.blob.type == BlobType::tree ? kTreeBit : 0;
  if (entry.compressed()) type |= kCompressedBit;
  out.push_back(type);
  append_uint32(out, entry.length);
  if (entry.compressed()) append_uint32(out, entry.plain_length);
  append(out, entry.blob.id.digest());
}

// Takes entries from the front of a header.
class EntryReader {
 public:
  EntryReader(ByteView header, const std::string& where) : rest_(header), where_(where) {}

  bool at_end() const { return rest_.empty(); }

  std::uint64_t offset() const { return offset_; }

  PackEntry next() {
    const std::uint8_t type = rest_[0];
    if (type > (kTreeBit | kCompressedBit)) fail(fmt::format("invalid type {}", type));
    const bool compressed = (type & kCompressedBit) != 0;
    const std::size_t size = compressed ? kCompressedEntrySize : kPlainEntrySize;
    if (rest_.size() < size) fail("its last entry is cut off");
    PackEntry entry;
    entry.blob.type = (type & kTreeBit) != 0 ? BlobType::tree : BlobType::data;
    entry.length = uint32_at(rest_, 1);
    if (compressed) entry.plain_length = uint32_at(rest_, 5);
    Digest digest;
    std::copy_n(rest_.begin() + static_cast<std::ptrdiff_t>(size - digest.size()), digest.size(),
                digest.begin());
    entry.blob.id = BlobId(digest);
    place(entry, compressed);
    rest_ = rest_.subspan(size);
    return entry;
  }

 private:
  void place(PackEntry& entry, bool compressed) {
    if (entry.length < kSealOverhead) fail("a blob is shorter than its seal");
    // A length of 0 says "not compressed" everywhere else.
    if (compressed && entry.plain_length == 0) fail("a compressed blob without bytes");
    if (offset_ + entry.length > UINT32_MAX) fail("blobs beyond 4 GiB");
    entry.offset = static_cast<std::uint32_t>(offset_);
    offset_ += entry.length;
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw Error(ErrorKind::corrupt, where_ + ": not a pack header: " + why);
  }

  ByteView rest_;
  const std::string& where_;
  std::uint64_t offset_ = 0;
};

// Of the sealed header, which ends 4 bytes before the pack does.
std::uint32_t header_length(ByteView tail, std::uint64_t pack_bytes, const std::string& where) {
  if (pack_bytes < kSmallestPack || tail.size() < kLengthSize || tail.size() > pack_bytes) {
    throw Error(ErrorKind::corrupt, where + ": not a pack: too short");
  }
  const std::uint32_t length = uint32_at(tail, tail.size() - kLengthSize);
  if (length < kSealOverhead + kPlainEntrySize || length > limits::kPackHeader ||
      length > pack_bytes - kLengthSize) {
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: not a pack: a header of {} bytes is not possible", where, length));
  }
  return length;
}

}  // namespace

std::uint32_t PackEntry::plain_size() const {
  constexpr auto kSeal = static_cast<std::uint32_t>(kSealOverhead);
  if (compressed()) return plain_length;
  return length > kSeal ? length - kSeal : 0;
}

std::uint64_t pack_size(const std::vector<PackEntry>& entries) {
  std::uint64_t size = kSealOverhead + kLengthSize;
  for (const PackEntry& entry : entries) size += entry.length + entry.header_size();
  return size;
}

Bytes make_pack_header(const std::vector<PackEntry>& entries, Sealer& sealer) {
  Bytes plain;
  plain.reserve(entries.size() * kCompressedEntrySize);
  for (const PackEntry& entry : entries) append_entry(plain, entry);
  if (plain.size() + kSealOverhead > limits::kPackHeader) {
    throw Error(ErrorKind::internal, "pack: too many entries for one header");
  }
  Bytes header;
  header.reserve(plain.size() + kSealOverhead + kLengthSize);
  sealer.seal(plain, header);
  append_uint32(header, header.size());
  return header;
}

std::uint64_t pack_tail_size(ByteView tail, std::uint64_t pack_bytes, const std::string& where) {
  return header_length(tail, pack_bytes, where) + kLengthSize;
}

std::vector<PackEntry> parse_pack_header(ByteView tail, std::uint64_t pack_bytes, Sealer& sealer,
                                         const std::string& where) {
  const std::size_t length = header_length(tail, pack_bytes, where);
  if (length > tail.size() - kLengthSize) {
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: a header of {} bytes, read only {}", where, length, tail.size()));
  }
  const ByteView sealed = tail.subspan(tail.size() - kLengthSize - length, length);
  Bytes header;
  if (!sealer.try_open(sealed, header)) {
    throw Error(ErrorKind::corrupt, where + ": pack header: ciphertext verification failed");
  }
  std::vector<PackEntry> entries;
  entries.reserve(header.size() / kPlainEntrySize);
  EntryReader reader(header, where);
  while (!reader.at_end()) entries.push_back(reader.next());
  if (reader.offset() + length + kLengthSize != pack_bytes) {
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: unexpected file size: got {}, expected {}", where, pack_bytes,
                            reader.offset() + length + kLengthSize));
  }
  return entries;
}

}  // namespace kubedr::repo
