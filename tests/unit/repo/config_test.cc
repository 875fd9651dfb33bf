#include "repo/config.h"

#include <doctest/doctest.h>

#include <string>

#include "base/error.h"

using namespace kubedr;
using namespace kubedr::repo;

namespace {

constexpr const char* kResticConfig =
    R"({"version":2,"id":"12256a3b1688dc6ec5934a9704ff69fa42696e565afb4458864bcab74d11085d",)"
    R"("chunker_polynomial":"222d103d4a5867"})";

std::string with(const std::string& what, const std::string& instead) {
  std::string text = kResticConfig;
  return text.replace(text.find(what), what.size(), instead);
}

ErrorKind kind_of(const std::string& json) {
  try {
    parse_config(json, "config");
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::findings;
}

}  // namespace

TEST_CASE("config: restic's is read, and written again byte for byte") {
  const Config config = parse_config(kResticConfig, "config");
  CHECK(config.version == 2);
  CHECK(config.id == "12256a3b1688dc6ec5934a9704ff69fa42696e565afb4458864bcab74d11085d");
  CHECK(config.polynomial == 0x222d103d4a5867);
  CHECK(to_json(config) == kResticConfig);
}

TEST_CASE("config: other versions than 1 and 2 are refused in restic's words") {
  CHECK(parse_config(with(":2,", ":1,"), "config").version == 1);
  CHECK_THROWS_WITH_AS(parse_config(with(":2,", ":3,"), "config"),
                       "unsupported repository version 3", Error);
  CHECK(kind_of(with(":2,", ":3,")) == ErrorKind::usage);
  CHECK(kind_of(with(":2,", ":0,")) == ErrorKind::usage);
  CHECK(kind_of(with(":2,", ":-9223372036854775808,")) == ErrorKind::usage);
  SystemRandom random;
  CHECK_THROWS_AS(make_config(3, random), Error);
}

TEST_CASE("config: a reducible or impossible polynomial is corrupt") {
  for (const char* polynomial :
       {"38f1e565e288df", "0", "", "1", "3", "xyz", "0x222d103d4a5867", "222d103d4a5867ffff",
        "222d103d4a5867 ", "-222d103d4a5867", "ffffffffffffffff"}) {
    CAPTURE(polynomial);
    CHECK_THROWS_WITH_AS(parse_config(with("222d103d4a5867", polynomial), "config"),
                         "config: invalid chunker polynomial", Error);
  }
}

TEST_CASE("config: what is no config is corrupt") {
  CHECK_THROWS_WITH_AS(parse_config("", "config"),
                       "config: config file has zero size, invalid repository?", Error);
  CHECK(kind_of("{}") == ErrorKind::corrupt);
  CHECK(kind_of("[]") == ErrorKind::corrupt);
  CHECK(kind_of("null") == ErrorKind::corrupt);
  CHECK(kind_of(with("12256a", "../../")) == ErrorKind::corrupt);
  CHECK(kind_of(with(":2,", ":\"2\",")) == ErrorKind::corrupt);
  CHECK(kind_of(with(":2,", ":2.0,")) == ErrorKind::corrupt);
}

TEST_CASE("config: a made one is valid and new each time") {
  SystemRandom random;
  const Config first = make_config(2, random);
  const Config second = make_config(1, random);
  CHECK(first.version == 2);
  CHECK(second.version == 1);
  CHECK(first.id != second.id);
  CHECK(first.polynomial != second.polynomial);
  CHECK(parse_config(to_json(first), "config").polynomial == first.polynomial);
  const std::uint64_t top = first.polynomial >> 53;
  CHECK(top == 1);
}

TEST_CASE("polynomials: known irreducible and reducible ones are told apart") {
  for (const std::uint64_t good : {0x3DA3358B4DC173ull, 0x2482734cacca49ull, 0x26869c2410b7b1ull,
                                   0x222d103d4a5867ull, 0b111ull, 0b1011ull, 0b10011ull, 0b10ull}) {
    CAPTURE(good);
    CHECK(is_irreducible(good));
  }
  for (const std::uint64_t bad :
       {0x38f1e565e288dfull, 0x30a8295b9d5c91ull, 0x255f4350b962cbull, 0x312daf4b284899ull,
        0x2026a59efb219bull, 0b101ull, 0b100ull, 0b10101ull, 0b11ull << 40, 0ull, 1ull}) {
    CAPTURE(bad);
    CHECK_FALSE(is_irreducible(bad));
  }
}

TEST_CASE("polynomials: of degree 8 there are just 30 irreducible ones") {
  int count = 0;
  for (std::uint64_t polynomial = 256; polynomial < 512; ++polynomial) {
    count += is_irreducible(polynomial) ? 1 : 0;
  }
  CHECK(count == 30);
}
