#include "repo/content_reader.h"

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"
#include "repo/blob.h"
#include "repo/parallel.h"

// A file's blobs lie in many packs: a database's pages were written in many backups, and each run
// of unchanged pages between two changed ones comes from an older pack. Reading them in the file's
// order would be a request for each run. So they are read in the packs' order, neighbours together,
// and written where they belong:
//
//   file       0 1 2 3 4 5          packs      A: 0 2 5    B: 1 3 4
//   requests   A [0 2 5]   B [1 3 4]           not   A[0] B[1] A[2] B[3 4] A[5]
namespace kubedr::repo {

namespace {

using storage::FileKind;
using storage::FileName;

constexpr std::uint64_t kLoadBytes = 4 * limits::kMiB;
constexpr std::uint64_t kGap = 256 * limits::kKiB;  // read and dropped rather than asked for apart
constexpr int kMaxThreads = 4;                      // times kLoadBytes is what they hold

}  // namespace

ContentReader::ContentReader(const Repository& repository, const Index& index,
                             std::span<const BlobId> blobs)
    : repository_(repository), index_(index) {
  pieces_.reserve(blobs.size());
  for (const BlobId& id : blobs) {
    const std::optional<Index::Place> place = index.find({BlobType::data, id});
    if (!place) throw Error(ErrorKind::corrupt, "blob " + id.hex() + ": not found in index");
    BlobOpener::require_sane(place->entry);
    pieces_.push_back({place->pack, place->entry, size_});
    size_ += place->entry.plain_size();
  }
  std::sort(pieces_.begin(), pieces_.end(), [](const Piece& a, const Piece& b) {
    return std::tie(a.pack, a.entry.offset, a.offset) < std::tie(b.pack, b.entry.offset, b.offset);
  });
}

std::vector<ContentReader::Load> ContentReader::plan_loads() const {
  std::vector<Load> loads;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const Piece& piece = pieces_[i];
    if (!loads.empty()) {
      Load& last = loads.back();
      const std::uint64_t end = last.range.offset + last.range.length;
      const std::uint64_t joined = std::max(end, piece.end()) - last.range.offset;
      if (pieces_[last.first].pack == piece.pack && piece.entry.offset <= end + kGap &&
          joined <= kLoadBytes) {
        last.range.length = joined;
        ++last.count;
        continue;
      }
    }
    loads.push_back({i, 1, {piece.entry.offset, piece.entry.length}});
  }
  return loads;
}

void ContentReader::read(const std::function<void(ByteView bytes, std::uint64_t offset)>& take,
                         const Call& call) const {
  const std::vector<Load> loads = plan_loads();
  const int threads = std::clamp(repository_.store().connections(), 1, kMaxThreads);
  for_each_parallel(loads.size(), static_cast<std::size_t>(threads), call,
                    [&](std::size_t i, const Call& inner) { read_load(loads[i], take, inner); });
}

void ContentReader::read_load(const Load& load,
                              const std::function<void(ByteView bytes, std::uint64_t offset)>& take,
                              const Call& call) const {
  const std::optional<Bytes> bytes = bring(load, call);
  BlobOpener opener(repository_.make_sealer());
  const Piece* last = nullptr;
  Bytes copy;
  ByteView plain;
  for (std::size_t i = load.first; i < load.first + load.count; ++i) {
    const Piece& piece = pieces_[i];
    // Pages of zeros, say: one blob, many places.
    if (last == nullptr || last->entry != piece.entry) {
      plain = open(piece, load, bytes, opener, copy, call);
    }
    last = &piece;
    take(plain, piece.offset);
  }
}

// Nullopt when the pack is not there or too short: then each blob is looked for elsewhere.
std::optional<Bytes> ContentReader::bring(const Load& load, const Call& call) const {
  const FileName name{FileKind::pack, pieces_[load.first].pack.hex()};
  try {
    return repository_.store().load_range(name, load.range, call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt && error.kind() != ErrorKind::not_found) throw;
    log::warn("{}: {}", name.path(), error.what());
    return std::nullopt;
  }
}

ByteView ContentReader::open(const Piece& piece, const Load& from,
                             const std::optional<Bytes>& bytes, BlobOpener& opener, Bytes& copy,
                             const Call& call) const {
  if (bytes) {
    try {
      const ByteView plain = opener.open(
          ByteView(*bytes).subspan(piece.entry.offset - from.range.offset, piece.entry.length),
          piece.entry);
      if (plain.size() == piece.entry.plain_size()) return plain;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      log::warn("{}: {}", FileName{FileKind::pack, piece.pack.hex()}.path(), error.what());
    }
  }
  copy = repository_.load_blob(index_, piece.entry.blob, call);
  if (copy.size() != piece.entry.plain_size()) {
    throw Error(ErrorKind::corrupt,
                "blob " + piece.entry.blob.id.hex() + ": is not as long as the index says");
  }
  return copy;
}

}  // namespace kubedr::repo
