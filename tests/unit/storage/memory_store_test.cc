#include "storage/memory_store.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "unit/storage/stores.h"

namespace kubedr::storage {
namespace {

TEST_CASE("memory store: a digest that is not that of the bytes is refused, as S3 does") {
  const StillClock clock;
  const Call call(clock);
  MemoryStore store;
  store.create(call);
  const FileName name = name_of(FileKind::index, "one");
  CHECK_THROWS_AS(store.save(name, as_bytes("one"), Digest{}, SaveMode::replace, call), Error);
  CHECK_FALSE(store.size_of(name, call));
}

}  // namespace
}  // namespace kubedr::storage
