#include "repo/blob.h"

#include <utility>

#include "base/error.h"
#include "base/limits.h"
#include "base/sha256.h"

namespace kubedr::repo {

namespace {

constexpr std::size_t kKeptScratch = 2 * limits::kMiB;

// A worker that met one large chunk must not hold its memory for the rest of the run.
void trim(Bytes& scratch) {
  if (scratch.capacity() > kKeptScratch) Bytes().swap(scratch);
}

}  // namespace

BlobSealer::BlobSealer(Sealer sealer, int version)
    : sealer_(std::move(sealer)), version_(version) {}

void BlobSealer::seal(const BlobHandle& blob, ByteView plain, SealedBlobs& out) {
  if (plain.empty() || plain.size() > limits::kBlobBytes) {
    throw Error(ErrorKind::internal, "a blob of " + std::to_string(plain.size()) + " bytes");
  }
  ByteView stored = plain;
  PackEntry entry;
  entry.blob = blob;
  if (version_ >= 2) {
    frame_.clear();
    compressor_.compress(plain, frame_);
    if (blob.type == BlobType::tree || frame_.size() < plain.size()) {
      stored = frame_;
      entry.plain_length = static_cast<std::uint32_t>(plain.size());
    } else {
      trim(frame_);
    }
  }
  const std::size_t offset = out.bytes.size();
  sealer_.seal(stored, out.bytes);
  const ByteView sealed = ByteView(out.bytes).subspan(offset);
  if (!sealer_.opens_to(sealed, stored)) {
    throw Error(ErrorKind::corrupt, "blob " + blob.id.hex() + ": does not open to what was sealed",
                "this computer's memory may be faulty");
  }
  trim(frame_);
  entry.offset = static_cast<std::uint32_t>(offset);
  entry.length = static_cast<std::uint32_t>(sealed.size());
  out.entries.push_back(entry);
}

void BlobOpener::require_sane(const PackEntry& entry) {
  if (entry.length <= limits::kBlobBytes + kSealOverhead &&
      entry.plain_length <= limits::kBlobBytes) {
    return;
  }
  throw Error(ErrorKind::corrupt, "blob " + entry.blob.id.hex() + ": larger than any blob may be");
}

ByteView BlobOpener::open(ByteView sealed, const PackEntry& entry) {
  require_sane(entry);
  sealer_.open(sealed, opened_);
  if (entry.compressed()) compressor_.decompress(opened_, entry.plain_length, plain_);
  const Bytes& plain = entry.compressed() ? plain_ : opened_;
  if (BlobId(sha256(plain)) != entry.blob.id) {
    throw Error(ErrorKind::corrupt, "blob " + entry.blob.id.hex() + ": its bytes are others");
  }
  return plain;
}

}  // namespace kubedr::repo
