#include "base/random.h"
#include "fuzz/replay.h"
#include "repo/pack.h"

using namespace kubedr;

// The plain entries: sealed here, since damage to the sealed form ends at its MAC.
std::vector<std::string> fuzz::seeds() {
  const std::string data = std::string("\x00\x64\x00\x00\x00", 5) + std::string(32, 'a');
  const std::string tree =
      std::string("\x03\x64\x00\x00\x00\xfa\x00\x00\x00", 9) + std::string(32, 'b');
  return {data + data, tree};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static SystemRandom random;
  static repo::Sealer sealer(repo::SealKey{}, random);
  Bytes tail;
  sealer.seal(ByteView(data, size), tail);
  const auto length = static_cast<std::uint32_t>(tail.size());
  for (int shift = 0; shift < 32; shift += 8) {
    tail.push_back(static_cast<std::uint8_t>(length >> shift));
  }
  return fuzz::expect_refusal_at_most(
      [&] { repo::parse_pack_header(tail, tail.size() + 200, sealer, "input"); });
}
