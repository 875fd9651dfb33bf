#include <nlohmann/json.hpp>

#include "base/json.h"
#include "fuzz/replay.h"

using namespace kubedr;

std::vector<std::string> fuzz::seeds() {
  return {R"({"a":[1,2.5e3,{"b":null}],"c":"\u00e9\ud83d\ude00","d":true})", std::string(80, 0x5b)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  return fuzz::expect_refusal_at_most([&] { parse_json(text, "input"); });
}
