#include "fuzz/replay.h"
#include "repo/snapshot.h"

using namespace kubedr;

std::vector<std::string> fuzz::seeds() {
  repo::Snapshot snapshot;
  snapshot.paths = {"/data"};
  snapshot.tags = {"kubedr", "policy=a/b"};
  snapshot.summary = repo::Summary{};
  return {repo::to_json(snapshot)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  return fuzz::expect_refusal_at_most([&] { repo::parse_snapshot(text, "input"); });
}
