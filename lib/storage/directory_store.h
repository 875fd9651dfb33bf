#ifndef KUBEDR_STORAGE_DIRECTORY_STORE_H
#define KUBEDR_STORAGE_DIRECTORY_STORE_H

#include <filesystem>

#include "base/random.h"
#include "storage/store.h"

namespace kubedr::storage {

// A repository in a local folder, as restic's local backend lays it out: folders 0700, files 0400,
// the 256 data/XX folders made at creation; a file is written under another name beside its own,
// synced, and linked (create_only) or renamed into place.
class DirectoryStore final : public Store {
 public:
  // `random` must outlive the store.
  DirectoryStore(std::filesystem::path root, Random& random);

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
  void remove_leftovers(WallTime before, const Call& call) override;

  int connections() const override { return 2; }

 private:
  const std::filesystem::path root_;
  const std::string location_;
  Random& random_;
};

}  // namespace kubedr::storage

#endif  // KUBEDR_STORAGE_DIRECTORY_STORE_H
