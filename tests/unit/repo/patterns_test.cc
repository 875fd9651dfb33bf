#include "repo/patterns.h"

#include <doctest/doctest.h>

using namespace kubedr::repo;

namespace {

bool matches(const char* pattern, const char* path) {
  return Patterns{{pattern}, {}}.match(path);
}

}  // namespace

TEST_CASE("patterns: a path and all below it, a name at any depth, any folders between") {
  for (const char* pattern :
       {"/data", "/data/", "data", "/data/./pki", "/data//pki", "/", "*.crt", "ca.*", "pki/*",
        "/data/**/ca.crt", "/**/ca.crt", "**", "d*/pki", "/data/x/../pki", "[a-d]?.crt"}) {
    CAPTURE(pattern);
    CHECK(matches(pattern, "/data/pki/ca.crt"));
  }
  for (const char* pattern : {"/pki", "crt", "/data/ca.crt", "CA.CRT", "ca.crt/x", "/*/ca.crt",
                              "[!a-d]?.crt", "/data/pki/**/x"}) {
    CAPTURE(pattern);
    CHECK_FALSE(matches(pattern, "/data/pki/ca.crt"));
  }
  CHECK_FALSE(Patterns{}.match("/data"));
}

TEST_CASE("patterns: with ! one takes back what those before it mean") {
  const Patterns patterns{{"*.crt", "!ca.crt"}, {}};
  CHECK(patterns.match("/pki/peer.crt"));
  CHECK_FALSE(patterns.match("/pki/ca.crt"));
  CHECK(Patterns{{"!ca.crt", "*.crt"}, {}}.match("/pki/ca.crt"));
  CHECK_FALSE(Patterns{{"!ca.crt"}, {}}.match("/pki/peer.crt"));
}

TEST_CASE("patterns: the list for which A is a is one of its own") {
  const Patterns patterns{{"*.key"}, {"*.crt", "!*.key"}};
  CHECK(patterns.match("/pki/CA.CRT"));
  CHECK(patterns.match("/pki/ca.key"));
  CHECK_FALSE(patterns.match("/pki/CA.KEY"));
  CHECK(patterns.all() == std::vector<std::string>{"*.key", "*.crt", "!*.key"});
}

TEST_CASE("patterns: a bracket that does not end is none") {
  for (const char* text : {"", "*", "[a]", "[^a-z]x", "[]a]", "a]", "\\[a", "[\\]]", "a/[b]/c"}) {
    CAPTURE(text);
    CHECK(is_pattern(text));
  }
  for (const char* text : {"[", "[a", "x[a-/b]", "[]", "[^]", "a\\", "a\\/b", "[a\\]"}) {
    CAPTURE(text);
    CHECK_FALSE(is_pattern(text));
  }
}
