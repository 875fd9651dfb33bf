#include <doctest/doctest.h>

#include <filesystem>

#include "contract/store_contract.h"
#include "storage/cached_store.h"
#include "storage/directory_store.h"
#include "storage/memory_store.h"
#include "storage/retrying_store.h"
#include "support/temp_dir.h"

namespace kubedr::storage {
namespace {

std::unique_ptr<Store> retrying(std::unique_ptr<Store> inner, Random& random) {
  return std::make_unique<RetryingStore>(std::move(inner), random);
}

TEST_CASE("memory store: keeps what every store promises") {
  SystemRandom random;
  check_store([] { return std::make_unique<MemoryStore>(); });
  check_store([&] { return retrying(std::make_unique<MemoryStore>(), random); });
}

TEST_CASE("cached store: keeps what every store promises") {
  check_store([] {
    return std::make_unique<CachedStore>(std::make_unique<MemoryStore>(),
                                         std::make_unique<MemoryStore>());
  });
}

TEST_CASE("directory store: keeps what every store promises") {
  SystemRandom random;
  const test::TempDir dir;
  int number = 0;
  const MakeStore make = [&] {
    const std::filesystem::path root = dir / ("repo-" + std::to_string(++number));
    return std::make_unique<DirectoryStore>(root, random);
  };
  check_store(make);
  check_store([&] { return retrying(make(), random); });
}

}  // namespace
}  // namespace kubedr::storage
