#ifndef KUBEDR_STORAGE_MEMORY_STORE_H
#define KUBEDR_STORAGE_MEMORY_STORE_H

#include <map>
#include <mutex>

#include "storage/store.h"

namespace kubedr::storage {

// A repository in memory: the reference for what a Store does, and the tests' world.
class MemoryStore final : public Store {
 public:
  const std::string& location() const override { return location_; }

  Bytes load(const FileName& name, std::size_t limit, const Call& call) const override;
  Bytes load_range(const FileName& name, const Range& range, const Call& call) const override;
  std::optional<std::uint64_t> size_of(const FileName& name, const Call& call) const override;
  void list(FileKind kind, const std::function<void(const FileInfo&)>& each,
            const Call& call) const override;
  bool create(const Call& call) override;
  void save(const FileName& name, ByteView bytes, const Digest& digest, SaveMode mode,
            const Call& call) override;
  void remove(const FileName& name, const Call& call) override;

  int connections() const override { return 2; }

 private:
  const std::string location_ = "memory:";
  mutable std::mutex mutex_;
  // Guarded by mutex_:
  bool created_ = false;
  std::map<FileName, Bytes> files_;
};

}  // namespace kubedr::storage

#endif  // KUBEDR_STORAGE_MEMORY_STORE_H
