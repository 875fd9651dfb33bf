#ifndef KUBEDR_REPO_BLOB_H
#define KUBEDR_REPO_BLOB_H

#include "base/bytes.h"
#include "repo/compress.h"
#include "repo/ids.h"
#include "repo/pack.h"
#include "repo/packer.h"
#include "repo/seal.h"

namespace kubedr::repo {

// Turns plain bytes into what a pack holds.
//
// threads  one thread
class BlobSealer {
 public:
  // Version 1 of the format knows no compression.
  BlobSealer(Sealer sealer, int version);

  // Appends the blob and opens again what was sealed. Data that compression does not make smaller
  // is stored plain; trees never are in version 2, or prune would pack them anew each time.
  //
  // errors   corrupt: what was sealed does not open to the same bytes
  void seal(const BlobHandle& blob, ByteView plain, SealedBlobs& out);

  Sealer& sealer() { return sealer_; }

 private:
  Sealer sealer_;
  const int version_;
  Compressor compressor_;
  Bytes frame_;
};

// Turns what a pack holds into plain bytes.
//
// errors   corrupt: it does not open, or is not what its id says
// threads  one thread
class BlobOpener {
 public:
  explicit BlobOpener(Sealer sealer) : sealer_(std::move(sealer)) {}

  // Throws when an index entry asks for more than any blob may be, before anything is loaded.
  static void require_sane(const PackEntry& entry);

  // Valid until the next call.
  ByteView open(ByteView sealed, const PackEntry& entry);

 private:
  Sealer sealer_;
  Compressor compressor_;
  Bytes opened_;
  Bytes plain_;
};

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_BLOB_H
