#include "fuzz/replay.h"
#include "repo/lock.h"

using namespace kubedr;

std::vector<std::string> fuzz::seeds() {
  repo::LockInfo lock;
  lock.hostname = "node";
  lock.pid = 42;
  return {repo::to_json(lock)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  return fuzz::expect_refusal_at_most([&] { repo::parse_lock(text, "input"); });
}
