#include "fuzz/replay.h"
#include "kube/watch.h"

using namespace kubedr;

std::vector<std::string> fuzz::seeds() {
  return {
      R"({"type":"ADDED","object":{"kind":"PartialObjectMetadata","metadata":{"name":"nightly","resourceVersion":"17"}}})"
      "\n"
      R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"18"}}})"
      "\n"
      R"({"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old resource version"}})"
      "\n"};
}

// Comes in two pieces.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  return fuzz::expect_refusal_at_most([&] {
    kube::Lines lines;
    for (const std::string_view piece : {text.substr(0, size / 2), text.substr(size / 2)}) {
      lines.add(piece);
      while (const auto line = lines.next()) kube::parse_watch_event(*line);
    }
  });
}
