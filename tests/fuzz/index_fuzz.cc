#include "fuzz/replay.h"
#include "repo/index.h"

using namespace kubedr;

std::vector<std::string> fuzz::seeds() {
  const std::string id(64, 0x61);
  return {R"({"supersedes":[")" + id + R"("],"packs":[{"id":")" + id + R"(","blobs":[{"id":")" +
          id + R"(","type":"data","offset":0,"length":42,"uncompressed_length":7}]}]})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  return fuzz::expect_refusal_at_most(
      [&] { repo::parse_index(text, 2, "input", [](repo::IndexedPack&&) {}); });
}
