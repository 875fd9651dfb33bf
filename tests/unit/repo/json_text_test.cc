#include "repo/json_text.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/limits.h"

using namespace kubedr;
using namespace kubedr::repo;

namespace {

struct Pair {
  std::string bytes;
  std::string quoted;
};

// Seen in trees that restic wrote.
const std::vector<Pair>& quoted_names() {
  static const std::vector<Pair> pairs{
      {"plain", "plain"},
      {"with blank", "with blank"},
      {"it's", "it's"},
      {"we\"ird <&>", "we\\\"ird <&>"},
      {"back\\slash", "back\\\\slash"},
      {"\a\b\f\n\r\t\v", "\\a\\b\\f\\n\\r\\t\\v"},
      {std::string("\0\x01\x1f\x7f", 4), "\\x00\\x01\\x1f\\x7f"},
      {"\xff", "\\xff"},
      {"bad\xc3", "bad\\xc3"},
      {"\xc3(", "\\xc3("},
      {"\xe2\x82", "\\xe2\\x82"},
      {"\xc0\x80", "\\xc0\\x80"},                    // overlong
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},           // a surrogate
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // beyond U+10FFFF
      {"\xc2\x85", "\\u0085"},
      {"\xc2\xa0", "\\u00a0"},
      {"\xc2\xad", "\\u00ad"},
      {"\xc3\xbcn\xc3\xaf"
       "code \xe6\x97\xa5\xe6\x9c\xac",
       "\xc3\xbcn\xc3\xaf"
       "code \xe6\x97\xa5\xe6\x9c\xac"},
      {"\xe2\x80\x8b", "\\u200b"},
      {"\xe2\x80\xa8", "\\u2028"},
      {"\xe3\x80\x80", "\\u3000"},
      {"\xcd\xb8", "\\u0378"},
      {"\xee\x80\x80", "\\ue000"},
      {"\xef\xbf\xbd", "\xef\xbf\xbd"},  // U+FFFD itself is printable
      {"emoji\xf0\x9f\x98\x80", "emoji\xf0\x9f\x98\x80"},
      {"\xf0\x90\x90\x80", "\xf0\x90\x90\x80"},
      {"\xf3\xa0\x80\x81", "\\U000e0001"},
      {"e\xcc\x81", "e\xcc\x81"}};  // a combining mark
  return pairs;
}

// Writes down what it is told.
class Recorder final : public JsonEvents {
 public:
  std::string seen;

  bool begin_object() override { return begin('{'); }

  bool begin_array() override { return begin('['); }

  void end() override { seen += ')'; }

  void key(std::string& name) override { last_key = name, seen += name + ':'; }

  void text(std::string& value) override { seen += '"' + value + '"'; }

  void number(std::uint64_t value) override { seen += std::to_string(value) + ' '; }

  void null() override { seen += 'n'; }

  void other() override { seen += '!'; }

 private:
  bool begin(char what) {
    if (last_key == "skip") return last_key.clear(), false;
    seen += what;
    return true;
  }

  std::string last_key;
};

std::string events_of(const std::string& json) {
  Recorder recorder;
  read_json(json, "here", recorder);
  return recorder.seen;
}

}  // namespace

TEST_CASE("names: quoted as restic quotes them, and back") {
  for (const Pair& pair : quoted_names()) {
    CAPTURE(pair.quoted);
    CHECK(go_quote(pair.bytes) == pair.quoted);
    std::string bytes = "old";
    CHECK(go_unquote(pair.quoted, bytes));
    CHECK(bytes == pair.bytes);
  }
}

TEST_CASE("names: any two bytes come back") {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string bytes{static_cast<char>(first), static_cast<char>(second)};
      std::string back;
      REQUIRE(go_unquote(go_quote(bytes), back));
      REQUIRE(back == bytes);
    }
  }
}

TEST_CASE("names: escapes that only others write are taken too") {
  std::string bytes;
  CHECK(go_unquote("\\101\\x41\\u0041\\U00000041\\u00fc", bytes));
  CHECK(bytes == "AAAA\xc3\xbc");
  CHECK(go_unquote("\\377\\xFF", bytes));
  CHECK(bytes == "\xff\xff");
}

TEST_CASE("names: what Go cannot unquote is refused") {
  for (const char* text :
       {"\"", "a\"b", "a\nb", "\\", "\\q", "\\'", "\\x", "\\x4", "\\xg0", "\\u004", "\\ud800",
        "\\U00110000", "\\U0000004", "\\400", "\\12", "\\18a"}) {
    CAPTURE(text);
    std::string bytes;
    CHECK_FALSE(go_unquote(text, bytes));
  }
}

TEST_CASE("json strings: as Go's encoder writes them") {
  CHECK(go_json_string("") == "\"\"");
  CHECK(go_json_string("a\"b\\c") == R"("a\"b\\c")");
  CHECK(go_json_string("\n\r\t\b\f\x01\x7f") == "\"\\n\\r\\t\\u0008\\u000c\\u0001\x7f\"");
  CHECK(go_json_string("<&>'") == R"("\u003c\u0026\u003e'")");
  CHECK(go_json_string("\xe2\x80\xa8\xe2\x80\xa9\xc2\xa0") == "\"\\u2028\\u2029\xc2\xa0\"");
  CHECK(go_json_string("bad\xff\xc3") == R"("bad\ufffd\ufffd")");
  CHECK(go_json_string("\xf0\x9f\x98\x80") == "\"\xf0\x9f\x98\x80\"");
}

TEST_CASE("json strings: a name is escaped twice") {
  CHECK(go_json_string(go_quote("back\\slash")) == R"("back\\\\slash")");
  CHECK(go_json_string(go_quote("we\"ird <&>")) == R"("we\\\"ird \u003c\u0026\u003e")");
  CHECK(go_json_string(go_quote("\t\xff\x7f")) == R"("\\t\\xff\\x7f")");
}

TEST_CASE("utf-8: told from other bytes") {
  CHECK(is_utf8(""));
  CHECK(is_utf8("\xc3\xbc \xf0\x9f\x98\x80"));
  CHECK_FALSE(is_utf8("\xc3"));
  CHECK_FALSE(is_utf8("\xed\xa0\x80"));
}

TEST_CASE("json: events come in the order of the document") {
  CHECK(events_of(R"({"a":[1,"x",null],"b":{"c":18446744073709551615}})") ==
        R"({a:[1 "x"n)b:{c:18446744073709551615 )))");
  CHECK(events_of("[true,-1,1.5,18446744073709551616]") == "[!!!!)");
}

TEST_CASE("json: what is passed over is not reported, however deep") {
  CHECK(events_of(R"({"skip":{"x":[{"y":[1,true]}],"z":null},"a":2})") == "{skip:a:2 )");
}

TEST_CASE("json: nesting is bounded, also where it is passed over") {
  const auto nested = [](std::size_t depth) {
    return R"({"skip":)" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  CHECK(events_of(nested(limits::kJsonDepth)) == "{skip:)");
  CHECK_THROWS_WITH_AS(events_of(nested(limits::kJsonDepth + 1)),
                       "here: not valid JSON: nested too deeply", Error);
  CHECK_THROWS_AS(events_of(std::string(1000000, '[')), Error);
}

TEST_CASE("json: what is no JSON is corrupt") {
  for (const char* text : {"", "{", "[1,]", "{\"a\":1}x", "\"\xff\"", "\x02"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(events_of(text), Error);
  }
}
