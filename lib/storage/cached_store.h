#ifndef KUBEDR_STORAGE_CACHED_STORE_H
#define KUBEDR_STORAGE_CACHED_STORE_H

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "storage/store.h"

namespace kubedr::storage {

// A store with copies near at hand of what is read again and again: indexes, snapshots, and packs
// of trees, sealed as they are stored. A copy counts only if its name is its hash, so that nobody
// who shares or spoils the cache can do harm, and it may be deleted at any time. What a listing no
// longer names is dropped.
//
// A cache that fails is passed over from then on; it never fails a request.
class CachedStore final : public Store {
 public:
  CachedStore(std::unique_ptr<Store> inner, std::unique_ptr<Store> cache);

  const std::string& location() const override { return inner_->location(); }

  Bytes load(const FileName& name, std::size_t limit, const Call& call) const override;
  Bytes load_range(const FileName& name, const Range& range, const Call& call) const override;
  std::optional<std::uint64_t> size_of(const FileName& name, const Call& call) const override;
  void list(FileKind kind, const std::function<void(const FileInfo&)>& each,
            const Call& call) const override;
  bool create(const Call& call) override;
  void save(const FileName& name, ByteView bytes, const Digest& digest, SaveMode mode,
            const Call& call) override;
  void remove(const FileName& name, const Call& call) override;
  void remove_leftovers(WallTime before, const Call& call) override;

  int connections() const override { return inner_->connections(); }

  std::optional<std::chrono::seconds> clock_offset() const override {
    return inner_->clock_offset();
  }

 private:
  std::optional<Bytes> find(const FileName& name, std::size_t limit, const Call& call) const;
  std::optional<Bytes> find_part(const FileName& name, const Range& range, const Call& call) const;
  void keep(const FileName& name, ByteView bytes, const Call& call) const;
  void attempt(const Call& call, const std::function<void()>& work) const;

  const std::unique_ptr<Store> inner_;
  const std::unique_ptr<Store> cache_;
  mutable std::atomic<bool> usable_ = true;
  mutable std::once_flag made_;  // the cache's folders
  mutable std::mutex mutex_;
  mutable std::set<std::string> verified_;  // packs; guarded by mutex_
};

}  // namespace kubedr::storage

#endif  // KUBEDR_STORAGE_CACHED_STORE_H
