#include "base/limits.h"
#include "fuzz/replay.h"
#include "repo/compress.h"

using namespace kubedr;

std::vector<std::string> fuzz::seeds() {
  repo::Compressor compressor;
  Bytes frame;
  compressor.compress(as_bytes(std::string(5000, 0x61) + "end"), frame);
  return {std::string(as_text(frame))};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  return fuzz::expect_refusal_at_most([&] {
    repo::Compressor compressor;
    Bytes plain;
    compressor.decompress(as_bytes(text), limits::kMiB, plain);
  });
}
