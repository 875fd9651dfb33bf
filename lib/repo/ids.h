#ifndef KUBEDR_REPO_IDS_H
#define KUBEDR_REPO_IDS_H

#include <cstdint>

#include "base/id.h"

namespace kubedr::repo {

using BlobId = Id<struct BlobTag>;  // SHA-256 of the plain bytes; trees are blobs too
using PackId = Id<struct PackTag>;
using IndexId = Id<struct IndexTag>;
using SnapshotId = Id<struct SnapshotTag>;
using LockId = Id<struct LockTag>;
using KeyId = Id<struct KeyTag>;

// The same bytes may be stored as data and as a tree: a blob is known by type and id.
enum class BlobType : std::uint8_t { data, tree };

struct BlobHandle {
  BlobType type = BlobType::data;
  BlobId id;
  friend auto operator<=>(const BlobHandle&, const BlobHandle&) = default;
};

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_IDS_H
