#include <nlohmann/json.hpp>

#include "base/yaml.h"
#include "fuzz/replay.h"

using namespace kubedr;

std::vector<std::string> fuzz::seeds() {
  return {
      "a: &x {b: [1, 2.5, \"three\"], c: ~}\nd: *x\ne:\n  <<: *x\n  f: |\n    text\n---\n- 0x1F\n- "
      "on\n",
      "apiVersion: v1\nkind: List\nitems:\n- {kind: Secret, metadata: {name: a}}\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  return fuzz::expect_refusal_at_most([&] { parse_yaml(text, "input"); });
}
