#include "fuzz/replay.h"

#include <cstdio>
#include <random>

namespace {

constexpr int kRounds = 4000;  // for each seed

// One to four small damages: a flipped bit, another byte, a cut, a repeated or dropped part.
std::string damage(std::string text, std::mt19937_64& random) {
  const std::uint64_t times = 1 + random() % 4;
  for (std::uint64_t i = 0; i < times && !text.empty(); ++i) {
    const std::size_t at = random() % text.size();
    const std::size_t length = 1 + random() % std::min<std::size_t>(16, text.size() - at);
    switch (random() % 5) {
    case 0:
      text[at] = static_cast<char>(text[at] ^ (1 << (random() % 8)));
      break;
    case 1:
      text[at] = static_cast<char>(random());
      break;
    case 2:
      text.resize(at);
      break;
    case 3:
      text.insert(at, text.substr(at, length));
      break;
    default:
      text.erase(at, length);
    }
  }
  return text;
}

void run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

}  // namespace

int main() {
  std::mt19937_64 random(1);
  int runs = 0;
  for (const std::string& seed : kubedr::fuzz::seeds()) {
    run(seed);
    for (int i = 0; i < kRounds; ++i, ++runs) run(damage(seed, random));
  }
  std::printf("%d inputs, none of them broke the parser\n", runs);
  return runs > 0 ? 0 : 1;
}
