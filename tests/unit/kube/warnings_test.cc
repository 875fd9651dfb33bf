#include "kube/warnings.h"

#include <doctest/doctest.h>

namespace kubedr::kube {

using Texts = std::vector<std::string>;

TEST_CASE("warnings: only code 299 is for people") {
  CHECK(parse_warnings(R"(299 - "v1 is deprecated")") == Texts{"v1 is deprecated"});
  CHECK(parse_warnings(R"(199 - "not for people")").empty());
  CHECK(parse_warnings(R"(2990 - "no such code")").empty());
}

TEST_CASE("warnings: one header may hold several, with quotes and times") {
  CHECK(parse_warnings(
            R"(299 - "a \"b\", c" "Sun, 22 Nov 2026 21:16:13 GMT",199 - "x", 299 h "d")") ==
        Texts{"a \"b\", c", "d"});
}

TEST_CASE("warnings: what cannot be read is left out, what would move a terminal is escaped") {
  CHECK(parse_warnings("").empty());
  CHECK(parse_warnings("299 - no quotes").empty());
  CHECK(parse_warnings(R"(299 - "never ends)").empty());
  CHECK(parse_warnings(R"(299 - "ends in \)").empty());
  CHECK(parse_warnings("299 - \"red \x1b[31m\"") == Texts{"red \\x1b[31m"});
}

}  // namespace kubedr::kube
