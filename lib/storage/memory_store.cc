#include "storage/memory_store.h"

#include <utility>
#include <vector>

#include "base/error.h"
#include "base/sha256.h"

namespace kubedr::storage {
namespace {

[[noreturn]] void fail(ErrorKind kind, const FileName& name, const char* why) {
  throw Error(kind, "memory: " + name.path() + ": " + why);
}

void require_created(bool created) {
  if (!created) throw Error(ErrorKind::no_repository, "memory: the store was not created");
}

}  // namespace

Bytes MemoryStore::load(const FileName& name, std::size_t limit, const Call& call) const {
  call.require_live();
  const std::lock_guard guard(mutex_);
  require_created(created_);
  const auto file = files_.find(name);
  if (file == files_.end()) fail(ErrorKind::not_found, name, "not there");
  if (file->second.size() > limit) fail(ErrorKind::corrupt, name, "larger than it may be");
  return file->second;
}

Bytes MemoryStore::load_range(const FileName& name, const Range& range, const Call& call) const {
  call.require_live();
  const std::lock_guard guard(mutex_);
  require_created(created_);
  const auto file = files_.find(name);
  if (file == files_.end()) fail(ErrorKind::not_found, name, "not there");
  const std::uint64_t size = file->second.size();
  if (range.offset > size || range.length > size - range.offset) {
    fail(ErrorKind::corrupt, name, "shorter than it must be");
  }
  const ByteView part = ByteView(file->second).subspan(range.offset, range.length);
  return {part.begin(), part.end()};
}

std::optional<std::uint64_t> MemoryStore::size_of(const FileName& name, const Call& call) const {
  call.require_live();
  const std::lock_guard guard(mutex_);
  const auto file = files_.find(name);
  if (file == files_.end()) return std::nullopt;
  return file->second.size();
}

void MemoryStore::list(FileKind kind, const std::function<void(const FileInfo&)>& each,
                       const Call& call) const {
  call.require_live();
  std::vector<FileInfo> found;
  {
    const std::lock_guard guard(mutex_);
    require_created(created_);
    for (const auto& [name, bytes] : files_) {
      if (name.kind == kind && is_id(name.id)) found.push_back({name.id, bytes.size()});
    }
  }
  for (const FileInfo& info : found) each(info);
}

bool MemoryStore::create(const Call& call) {
  call.require_live();
  const std::lock_guard guard(mutex_);
  return !std::exchange(created_, true);
}

void MemoryStore::save(const FileName& name, ByteView bytes, const Digest& digest, SaveMode mode,
                       const Call& call) {
  call.require_live();
  // S3 would refuse it; a caller that gets it wrong is to notice here.
  if (sha256(bytes) != digest) fail(ErrorKind::corrupt, name, "the digest is of other bytes");
  const std::lock_guard guard(mutex_);
  require_created(created_);
  if (mode == SaveMode::create_only && files_.count(name) > 0) {
    fail(ErrorKind::exists, name, "already there");
  }
  files_[name].assign(bytes.begin(), bytes.end());
}

void MemoryStore::remove(const FileName& name, const Call& call) {
  call.require_live();
  const std::lock_guard guard(mutex_);
  files_.erase(name);
}

}  // namespace kubedr::storage
