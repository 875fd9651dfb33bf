#include "base/random.h"

#include <openssl/rand.h>

#include <array>
#include <cstring>

#include "base/error.h"

namespace kubedr {

std::uint64_t Random::next() {
  std::array<std::uint8_t, 8> bytes{};
  fill(bytes);
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

void SystemRandom::fill(std::span<std::uint8_t> bytes) {
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    throw Error(ErrorKind::internal, "random: the system's generator failed");
  }
}

}  // namespace kubedr
