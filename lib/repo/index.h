#ifndef KUBEDR_REPO_INDEX_H
#define KUBEDR_REPO_INDEX_H

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/call.h"
#include "repo/ids.h"
#include "repo/pack.h"

namespace kubedr::repo {

class Lock;
class UnpackedFiles;

// One pack of an index file.
struct IndexedPack {
  PackId id;
  std::vector<PackEntry> entries;
};

inline constexpr std::size_t kFullIndex = 50'000;  // blobs of one file, as restic has it

// An index file's JSON, read as a stream: each pack is handed over as it is complete.
//
// shape    {"packs":[{"id":..,"blobs":[{"id":..,"type":..,"offset":..,"length":..,
//          "uncompressed_length":..}]}]}, "supersedes" and unknown keys are passed over
// errors   corrupt: not that; numbers beyond 32 bits; in version 1 a compressed blob
void parse_index(std::string_view json, int version, const std::string& where,
                 const std::function<void(IndexedPack&&)>& each);

// The JSON of an index file, with restic's newline.
std::string index_json(const std::vector<IndexedPack>& packs);

// Stores an index file and returns its size there. An index that names packs which a prune removes
// meanwhile would damage the repository; so the lock is looked at before each.
//
// errors   what the lock and the store throw
std::size_t save_index_file(const std::vector<IndexedPack>& packs, const UnpackedFiles& files,
                            Lock& lock, const Call& call);

// Where every blob is: what all index files say, and what this process adds.
//
// units    about 64 bytes a blob
// threads  synchronised; moved by one thread that has it alone
class Index {
 public:
  Index();
  ~Index();
  Index(Index&&) noexcept;
  Index& operator=(Index&&) noexcept;

  struct Place {
    PackId pack;
    PackEntry entry;
  };

  // Everything a pack holds, while loading. Duplicates of a blob are kept as further places.
  void add(const IndexedPack& pack);

  // The first place; nullopt when unknown or only claimed.
  std::optional<Place> find(const BlobHandle& blob) const;

  // Every place of every blob, in no promised order. `visit` must not call the index.
  void each(const std::function<void(const Place&)>& visit) const;

  // Every place of a blob, for falling back to another copy.
  std::vector<Place> find_all(const BlobHandle& blob) const;

  // known: stored already; pending: another worker of this run stores it; mine: the caller has to
  // store it and says so with publish.
  enum class Claim { known, pending, mine };
  Claim claim(const BlobHandle& blob);

  // The packs stored by this run; claimed blobs in them are known from now on.
  void publish(const IndexedPack& pack);

  std::size_t blobs() const;
  std::size_t packs() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_INDEX_H
