#include "base/hex.h"

#include <doctest/doctest.h>

#include "base/id.h"

namespace kubedr {
namespace {

std::string base64(std::string_view text) {
  return to_base64(as_bytes(text));
}

std::string plain(std::string_view base64_text) {
  const std::optional<Bytes> bytes = from_base64(base64_text);
  REQUIRE(bytes);
  return std::string(as_text(*bytes));
}

TEST_CASE("hex: bytes become two lower-case digits each, and come back") {
  const Bytes bytes = {0x00, 0x0f, 0xa5, 0xff};
  CHECK(to_hex(bytes) == "000fa5ff");
  CHECK(from_hex("000fa5ff") == bytes);
  CHECK(from_hex("") == Bytes());
}

TEST_CASE("hex: upper case, odd lengths and other letters are no hex") {
  CHECK_FALSE(from_hex("A5"));
  CHECK_FALSE(from_hex("a5f"));
  CHECK_FALSE(from_hex("0x"));
  CHECK_FALSE(from_hex("a "));
}

// RFC 4648, section 10.
TEST_CASE("base64: the vectors of RFC 4648 hold in both directions") {
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64("foobar") == "Zm9vYmFy");
  CHECK(plain("Zg==") == "f");
  CHECK(plain("Zm8=") == "fo");
  CHECK(plain("Zm9vYmFy") == "foobar");
  CHECK(to_base64(Bytes{0xfb, 0xff}) == "+/8=");
}

TEST_CASE("base64: white space is skipped, as in a wrapped kubeconfig") {
  CHECK(plain("Zm9v\n  YmFy\r\n") == "foobar");
}

TEST_CASE("base64: wrong padding and other letters are refused") {
  for (const char* text : {"Z", "Zg", "Zg=", "Zg===", "Zm9v=", "=", "Zg==Zg==", "Zm9-", "Zm9_"}) {
    CAPTURE(text);
    CHECK_FALSE(from_base64(text));
  }
}

struct PackTag;

TEST_CASE("id: only 64 lower-case hex digits name a thing") {
  const std::string hex = "3fa2c1d0" + std::string(56, '7');
  const std::optional<Id<PackTag>> id = Id<PackTag>::parse(hex);
  REQUIRE(id);
  CHECK(id->hex() == hex);
  CHECK(id->short_hex() == "3fa2c1d0");
  CHECK(*id != Id<PackTag>());
  CHECK_FALSE(Id<PackTag>::parse(hex.substr(1)));
  CHECK_FALSE(Id<PackTag>::parse(hex + "0"));
  CHECK_FALSE(Id<PackTag>::parse("3FA2C1D0" + std::string(56, '7')));
}

}  // namespace
}  // namespace kubedr
