#ifndef KUBEDR_REPO_PACK_H
#define KUBEDR_REPO_PACK_H

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "repo/ids.h"
#include "repo/seal.h"

// A pack: sealed blobs in a row, then a sealed directory of them.
//
// shape    blob[0] .. blob[n-1] | sealed header | uint32 LE, bytes of the sealed header
// units    offsets and lengths count stored (sealed) bytes
// errors   corrupt: MAC mismatch, impossible lengths, unknown entry type
// source   restic doc/design.rst, "Pack Format"
namespace kubedr::repo {

inline constexpr std::size_t kFullPack = std::size_t{8} << 20;  // its last blob may go beyond

inline constexpr std::size_t kPlainEntrySize = 1 + 4 + 32;           // type, length, id
inline constexpr std::size_t kCompressedEntrySize = 1 + 4 + 4 + 32;  // type, length, plain, id

struct PackEntry {
  BlobHandle blob;
  std::uint32_t offset = 0;
  std::uint32_t length = 0;        // stored
  std::uint32_t plain_length = 0;  // 0: stored without compression

  bool compressed() const { return plain_length != 0; }

  std::uint32_t plain_size() const;

  // What it takes in the pack's header.
  std::size_t header_size() const { return compressed() ? kCompressedEntrySize : kPlainEntrySize; }

  friend bool operator==(const PackEntry&, const PackEntry&) = default;
};

// Bytes of a whole pack with these entries: 36 for the sealed header's overhead and its length.
std::uint64_t pack_size(const std::vector<PackEntry>& entries);

// The sealed header with its length, to be appended to the blobs.
Bytes make_pack_header(const std::vector<PackEntry>& entries, Sealer& sealer);

// How many bytes at the end of a pack hold its header, by the last four of them.
std::uint64_t pack_tail_size(ByteView tail, std::uint64_t pack_bytes, const std::string& where);

// The entries of a whole pack's bytes, or of its tail as long as that holds the header;
// `pack_bytes` is the size of the whole file.
std::vector<PackEntry> parse_pack_header(ByteView tail, std::uint64_t pack_bytes, Sealer& sealer,
                                         const std::string& where);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_PACK_H
