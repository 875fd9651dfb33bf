#ifndef KUBEDR_REPO_UNPACKED_H
#define KUBEDR_REPO_UNPACKED_H

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/call.h"
#include "base/id.h"
#include "base/random.h"
#include "repo/seal.h"
#include "storage/store.h"

namespace kubedr::repo {

// The files that hold one JSON document each: indexes, snapshots, locks.
//
// shape    sealed; in version 2 the sealed bytes are 0x02 and a zstd frame, or the bare JSON;
//          named by the SHA-256 of what is stored
// errors   corrupt: the name is not the hash, the MAC fails, an unknown encoding; what the store
//          throws
// threads  synchronised; a value, its copies share the store, which must outlive them
class UnpackedFiles {
 public:
  UnpackedFiles(storage::Store& store, const SealKey& key, int version, Random& random);

  struct Sealed {
    storage::FileName name;
    Bytes bytes;
    Digest digest{};
  };

  // Ready to be stored. Its name is known before: who writes can remember what to remove.
  Sealed seal(storage::FileKind kind, std::string_view json) const;
  void save(const Sealed& file, const Call& call) const;

  // The stored bytes, their hash checked; read a second time before they are called corrupt.
  Bytes load_sealed(const storage::FileName& name, const Call& call) const;

  // The JSON in stored bytes.
  Bytes open(const storage::FileName& name, ByteView sealed) const;

  // Both in one.
  Bytes load(const storage::FileName& name, const Call& call) const;

  // A thread's own.
  Sealer make_sealer() const { return {key_, *random_}; }

  storage::Store& store() const { return *store_; }

 private:
  storage::Store* store_;
  SealKey key_;
  int version_;
  Random* random_;
};

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_UNPACKED_H
