#include "base/json.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/limits.h"

namespace kubedr {
namespace {

std::string nested(std::size_t depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

ErrorKind kind_of_parsing(const std::string& text) {
  try {
    parse_json(text, "here");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("here: not valid JSON") == 0);
    return error.kind();
  }
  return ErrorKind::internal;  // none at all
}

TEST_CASE("json: nesting up to the limit is read, one level more is corrupt") {
  CHECK(parse_json(nested(limits::kJsonDepth), "here").is_array());
  CHECK(kind_of_parsing(nested(limits::kJsonDepth + 1)) == ErrorKind::corrupt);
  CHECK(kind_of_parsing(nested(1'000'000)) == ErrorKind::corrupt);
  CHECK(kind_of_parsing(std::string(1'000'000, '[')) == ErrorKind::corrupt);
}

TEST_CASE("json: what is cut short, empty or followed by more is corrupt") {
  for (const char* text : {"", "{", "{\"a\":", "{} x", "[1,]", "\"\xff\"", "nul"}) {
    CAPTURE(text);
    CHECK(kind_of_parsing(text) == ErrorKind::corrupt);
  }
}

TEST_CASE("json: a path that is missing, null or of another type finds nothing") {
  const Json json = parse_json(R"({"a":{"s":"x","n":7,"b":true,"z":null,"f":1.5}})", "here");
  CHECK(find_string(json, {"a", "s"}) == "x");
  CHECK(find_integer(json, {"a", "n"}) == 7);
  CHECK(find_bool(json, {"a", "b"}) == true);
  CHECK_FALSE(find_string(json, {"a", "n"}));
  CHECK_FALSE(find_string(json, {"a", "z"}));
  CHECK_FALSE(find_string(json, {"a", "s", "deeper"}));
  CHECK_FALSE(find_integer(json, {"a", "f"}));
  CHECK_FALSE(find_integer(json, {"a", "s"}));
  CHECK_FALSE(find_bool(json, {"b"}));
  CHECK(find(json, {"a"})->is_object());
  CHECK(find(json, {"nope"}) == nullptr);
}

}  // namespace
}  // namespace kubedr
