#include "storage/cached_store.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/sha256.h"

namespace kubedr::storage {
namespace {

// Trees go into packs of their own, which hardly ever come near a pack's full size. What is larger
// is read in parts, as without a cache.
constexpr std::size_t kLargestKept = 32 * limits::kMiB;

bool is_kept(FileKind kind) {
  return kind == FileKind::index || kind == FileKind::snapshot;
}

bool is_whole(const FileName& name, ByteView bytes) {
  return to_hex(sha256(bytes)) == name.id;
}

}  // namespace

CachedStore::CachedStore(std::unique_ptr<Store> inner, std::unique_ptr<Store> cache)
    : inner_(std::move(inner)), cache_(std::move(cache)) {}

void CachedStore::attempt(const Call& call, const std::function<void()>& work) const {
  if (!usable_) return;
  try {
    work();
  } catch (const Error& error) {
    call.require_live();
    if (usable_.exchange(false)) log::info("the cache is not used: {}", error.what());
  }
}

std::optional<Bytes> CachedStore::find(const FileName& name, std::size_t limit,
                                       const Call& call) const {
  std::optional<Bytes> found;
  attempt(call, [&] {
    if (!cache_->size_of(name, call)) return;
    try {
      found = cache_->load(name, limit, call);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::not_found) return;  // another process dropped it
      if (error.kind() != ErrorKind::corrupt) throw;
    }
    if (found && is_whole(name, *found)) return;
    found.reset();
    cache_->remove(name, call);
  });
  return found;
}

void CachedStore::keep(const FileName& name, ByteView bytes, const Call& call) const {
  attempt(call, [&] {
    std::call_once(made_, [&] { cache_->create(call); });
    cache_->save(name, bytes, sha256(bytes), SaveMode::replace, call);
  });
}

Bytes CachedStore::load(const FileName& name, std::size_t limit, const Call& call) const {
  if (!is_kept(name.kind)) return inner_->load(name, limit, call);
  if (std::optional<Bytes> copy = find(name, limit, call)) return std::move(*copy);
  Bytes bytes = inner_->load(name, limit, call);
  if (is_whole(name, bytes)) keep(name, bytes, call);
  return bytes;
}

// Of a copy whose hash was looked at before, which took all of it, the part is enough.
std::optional<Bytes> CachedStore::find_part(const FileName& name, const Range& range,
                                            const Call& call) const {
  {
    const std::lock_guard guard(mutex_);
    if (verified_.count(name.id) == 0) return std::nullopt;
  }
  std::optional<Bytes> part;
  attempt(call, [&] {
    try {
      part = cache_->load_range(name, range, call);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) throw;  // another process dropped it
    }
  });
  return part;
}

Bytes CachedStore::load_range(const FileName& name, const Range& range, const Call& call) const {
  if (!range.keep_file) return inner_->load_range(name, range, call);
  if (std::optional<Bytes> part = find_part(name, range, call)) return std::move(*part);
  std::optional<Bytes> whole = find(name, kLargestKept, call);
  bool verified = whole.has_value();
  if (!whole) {
    const std::optional<std::uint64_t> size = inner_->size_of(name, call);
    if (!size || *size > kLargestKept) return inner_->load_range(name, range, call);
    whole = inner_->load(name, kLargestKept, call);
    // A damaged pack may still have the part that is asked for.
    verified = is_whole(name, *whole);
    if (verified) keep(name, *whole, call);
  }
  if (verified) {
    const std::lock_guard guard(mutex_);
    verified_.insert(name.id);
  }
  if (range.offset > whole->size() || range.length > whole->size() - range.offset) {
    throw Error(ErrorKind::corrupt, name.path() + ": shorter than it must be");
  }
  const auto begin = whole->begin() + static_cast<std::ptrdiff_t>(range.offset);
  return {begin, begin + static_cast<std::ptrdiff_t>(range.length)};
}

std::optional<std::uint64_t> CachedStore::size_of(const FileName& name, const Call& call) const {
  return inner_->size_of(name, call);
}

void CachedStore::list(FileKind kind, const std::function<void(const FileInfo&)>& each,
                       const Call& call) const {
  if (!is_kept(kind) && kind != FileKind::pack) return inner_->list(kind, each, call);
  std::set<std::string> there;
  inner_->list(
      kind,
      [&](const FileInfo& info) {
        there.insert(info.id);
        each(info);
      },
      call);
  attempt(call, [&] {
    std::vector<std::string> gone;
    try {
      cache_->list(
          kind,
          [&](const FileInfo& info) {
            if (there.count(info.id) == 0) gone.push_back(info.id);
          },
          call);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::no_repository) throw;  // nothing was ever kept
    }
    for (const std::string& id : gone) cache_->remove({kind, id}, call);
  });
}

bool CachedStore::create(const Call& call) {
  return inner_->create(call);
}

void CachedStore::save(const FileName& name, ByteView bytes, const Digest& digest, SaveMode mode,
                       const Call& call) {
  inner_->save(name, bytes, digest, mode, call);
  if (is_kept(name.kind) && to_hex(digest) == name.id) keep(name, bytes, call);
}

void CachedStore::remove(const FileName& name, const Call& call) {
  inner_->remove(name, call);
  if (is_kept(name.kind)) attempt(call, [&] { cache_->remove(name, call); });
}

void CachedStore::remove_leftovers(WallTime before, const Call& call) {
  inner_->remove_leftovers(before, call);
  attempt(call, [&] { cache_->remove_leftovers(before, call); });
}

}  // namespace kubedr::storage
