#include "base/secret.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

namespace kubedr {
namespace {

TEST_CASE("secret: a moved-from one holds nothing, also where the text was short") {
  for (const char* text :
       {"short", "a text that is far too long to live inside of the string object"}) {
    CAPTURE(text);
    Secret first{text};
    const Secret second(std::move(first));
    CHECK(second.reveal() == text);
    CHECK(first.empty());  // NOLINT(bugprone-use-after-move): that is what is tested
    Secret third;
    third = second;
    CHECK(third == second);
    third = Secret("other");
    CHECK(third.reveal() == "other");
  }
}

TEST_CASE("secret: moving a short text leaves none of its bytes in the old object") {
  alignas(Secret) unsigned char memory[sizeof(Secret)];
  auto* first = new (memory) Secret("hunter2");
  const Secret second(std::move(*first));
  const std::string_view left(reinterpret_cast<const char*>(memory), sizeof memory);
  CHECK(left.find("hunter2") == std::string_view::npos);
  first->~Secret();
}

TEST_CASE("secret: the text that one is made of is wiped, also where it was short") {
  for (const std::size_t size : {std::size_t{7}, std::size_t{70}}) {
    CAPTURE(size);
    std::string text(size, 'x');
    const char* const there = text.data();
    const Secret secret(std::move(text));
    CHECK(secret.reveal() == std::string(size, 'x'));
    CHECK(text.empty());  // NOLINT(bugprone-use-after-move): that is what is tested
    CHECK(std::string_view(there, size).find('x') == std::string_view::npos);
  }
}

TEST_CASE("secret: one made of several texts") {
  CHECK(concat({"Bearer ", Secret("t").reveal(), ""}).reveal() == "Bearer t");
  CHECK(concat({}).empty());
}

TEST_CASE("secret: destruction leaves none of its bytes behind") {
  alignas(Secret) unsigned char memory[sizeof(Secret)];
  auto* secret = new (memory) Secret("hunter2");
  secret->~Secret();
  const std::string_view left(reinterpret_cast<const char*>(memory), sizeof memory);
  CHECK(left.find("hunter2") == std::string_view::npos);
}

TEST_CASE("secret: trimmed takes the newline that --from-file leaves at the end") {
  CHECK(Secret("key\r\n").trimmed().reveal() == "key");
  CHECK(Secret(" key \t").trimmed().reveal() == " key");
  CHECK(Secret("\n\n").trimmed().empty());
  CHECK(Secret("key").trimmed().reveal() == "key");
}

TEST_CASE("secret: there is no way to print one") {
  CHECK_FALSE(std::is_convertible_v<Secret, std::string>);
  CHECK_FALSE(std::is_convertible_v<Secret, std::string_view>);
}

}  // namespace
}  // namespace kubedr
