#include "storage/cached_store.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "storage/directory_store.h"
#include "storage/memory_store.h"
#include "stores.h"
#include "support/temp_dir.h"

namespace kubedr::storage {
namespace {

// A store that counts what is read of it, with its cache at hand.
struct Cached {
  StillClock clock;
  Call call{clock};
  MemoryStore* inner = nullptr;
  MemoryStore* cache = nullptr;
  std::unique_ptr<CachedStore> store;

  Cached() {
    auto far = std::make_unique<MemoryStore>();
    auto near = std::make_unique<MemoryStore>();
    inner = far.get();
    cache = near.get();
    store = std::make_unique<CachedStore>(std::move(far), std::move(near));
    store->create(call);
  }

  std::vector<std::string> list(FileKind kind) {
    std::vector<std::string> ids;
    store->list(
        kind, [&](const FileInfo& info) { ids.push_back(info.id); }, call);
    return ids;
  }
};

const FileName kSnapshot = name_of(FileKind::snapshot, "a snapshot");
const FileName kPack = name_of(FileKind::pack, "a pack of trees");

}  // namespace

TEST_CASE("cached store: what was read once is not asked for again") {
  Cached cached;
  save_text(*cached.inner, kSnapshot, "a snapshot", SaveMode::replace, cached.call);
  CHECK(load_text(*cached.store, kSnapshot, cached.call) == "a snapshot");
  cached.inner->remove(kSnapshot, cached.call);
  CHECK(load_text(*cached.store, kSnapshot, cached.call) == "a snapshot");
}

TEST_CASE("cached store: what was written needs no reading") {
  Cached cached;
  save_text(*cached.store, kSnapshot, "a snapshot", SaveMode::replace, cached.call);
  CHECK(load_text(*cached.cache, kSnapshot, cached.call) == "a snapshot");
}

TEST_CASE("cached store: a copy that was spoiled is fetched anew") {
  Cached cached;
  save_text(*cached.store, kSnapshot, "a snapshot", SaveMode::replace, cached.call);
  save_text(*cached.cache, kSnapshot, "a snapsh0t", SaveMode::replace, cached.call);
  CHECK(load_text(*cached.store, kSnapshot, cached.call) == "a snapshot");
  CHECK(load_text(*cached.cache, kSnapshot, cached.call) == "a snapshot");
}

TEST_CASE("cached store: bytes that are not what their name says are handed on and not kept") {
  Cached cached;
  save_text(*cached.inner, kSnapshot, "damaged", SaveMode::replace, cached.call);
  CHECK(load_text(*cached.store, kSnapshot, cached.call) == "damaged");
  CHECK_FALSE(cached.cache->size_of(kSnapshot, cached.call));
}

TEST_CASE("cached store: keys, locks and the config are never kept") {
  Cached cached;
  for (const FileKind kind : {FileKind::key, FileKind::lock, FileKind::config}) {
    const FileName name = name_of(kind, "text");
    save_text(*cached.store, name, "text", SaveMode::replace, cached.call);
    load_text(*cached.store, name, cached.call);
    CHECK_FALSE(cached.cache->size_of(name, cached.call));
  }
}

TEST_CASE("cached store: a part of a pack of trees brings all of it, other parts do not") {
  Cached cached;
  save_text(*cached.inner, kPack, "a pack of trees", SaveMode::replace, cached.call);
  CHECK(as_text(cached.store->load_range(kPack, {2, 4}, cached.call)) == "pack");
  CHECK_FALSE(cached.cache->size_of(kPack, cached.call));
  CHECK(as_text(cached.store->load_range(kPack, {2, 4, true}, cached.call)) == "pack");
  cached.inner->remove(kPack, cached.call);
  CHECK(as_text(cached.store->load_range(kPack, {10, 5, true}, cached.call)) == "trees");
  CHECK_THROWS_AS(cached.store->load_range(kPack, {10, 6, true}, cached.call), Error);
}

TEST_CASE("cached store: a listing drops the copies of what is gone") {
  Cached cached;
  save_text(*cached.store, kSnapshot, "a snapshot", SaveMode::replace, cached.call);
  CHECK(cached.list(FileKind::snapshot).size() == 1);
  CHECK(cached.cache->size_of(kSnapshot, cached.call));
  cached.inner->remove(kSnapshot, cached.call);
  CHECK(cached.list(FileKind::snapshot).empty());
  CHECK_FALSE(cached.cache->size_of(kSnapshot, cached.call));
}

TEST_CASE("cached store: a cache that cannot be written is passed over") {
  const test::TempDir dir;
  dir.write("file", "no folder can be made below this");
  SystemRandom random;
  StillClock clock;
  const Call call(clock);
  auto far = std::make_unique<MemoryStore>();
  MemoryStore& inner = *far;
  CachedStore store(std::move(far),
                    std::make_unique<DirectoryStore>(dir / "file" / "cache", random));
  store.create(call);
  save_text(inner, kSnapshot, "a snapshot", SaveMode::replace, call);
  CHECK(load_text(store, kSnapshot, call) == "a snapshot");
  CHECK(load_text(store, kSnapshot, call) == "a snapshot");
}

}  // namespace kubedr::storage
