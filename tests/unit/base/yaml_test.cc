#include "base/yaml.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace kubedr {
namespace {

Json only(std::string_view text) {
  const std::vector<Json> documents = parse_yaml(text, "file.yaml");
  REQUIRE(documents.size() == 1);
  return documents[0];
}

std::string failure(std::string_view text) {
  try {
    parse_yaml(text, "file.yaml");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    return error.what();
  }
  return "no failure";
}

TEST_CASE("yaml: plain scalars have the core types, quoted ones are strings") {
  const Json json = only(R"(
i: 7
n: -3
h: 0x1f
f: 1.5
t: true
z: null
e:
s: text
qi: "7"
qt: 'true'
on: yes
version: 1.10.1
tag: !!str 7
)");
  CHECK(json["i"] == 7);
  CHECK(json["n"] == -3);
  CHECK(json["h"] == 31);
  CHECK(json["f"] == 1.5);
  CHECK(json["t"] == true);
  CHECK(json["z"].is_null());
  CHECK(json["e"].is_null());
  CHECK(json["s"] == "text");
  CHECK(json["qi"] == "7");
  CHECK(json["qt"] == "true");
  CHECK(json["on"] == "yes");
  CHECK(json["version"] == "1.10.1");
  CHECK(json["tag"] == "7");
}

TEST_CASE("yaml: every document is read, and a List is taken apart") {
  const auto documents = parse_yaml(
      "kind: A\n---\n# nothing\n---\nkind: List\nitems:\n- kind: B\n- kind: C\n---\nkind: D\n",
      "f");
  REQUIRE(documents.size() == 4);
  CHECK(documents[0]["kind"] == "A");
  CHECK(documents[1]["kind"] == "B");
  CHECK(documents[2]["kind"] == "C");
  CHECK(documents[3]["kind"] == "D");
  CHECK(parse_yaml("", "f").empty());
}

TEST_CASE("yaml: JSON is read too, also when tabs indent it") {
  CHECK(only("{\n\t\"a\": [1, \"2\"]\n}") == Json({{"a", {1, "2"}}}));
}

TEST_CASE("yaml: an alias stands for its anchor's value, and << merges a map") {
  const Json json = only("base: &b {x: 1, y: 2}\nuse: *b\nmore:\n  <<: *b\n  y: 3\n");
  CHECK(json["use"] == Json({{"x", 1}, {"y", 2}}));
  CHECK(json["more"] == Json({{"x", 1}, {"y", 3}}));
}

TEST_CASE("yaml: a billion laughs are not built") {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int level = 1; level <= 9; ++level) {
    const std::string inner = "*a" + std::to_string(level - 1);
    text += "a" + std::to_string(level) + ": &a" + std::to_string(level) + " [" + inner;
    for (int i = 1; i < 10; ++i) text += ", " + inner;
    text += "]\n";
  }
  CHECK(failure(text).find("too many values or aliases") != std::string::npos);
}

TEST_CASE("yaml: one long text, or key, is not copied for each of many aliases") {
  const auto uses = [](std::size_t count) {
    std::string text = "b: [*a";
    for (std::size_t i = 1; i < count; ++i) text += ",*a";
    return text + "]\n";
  };
  constexpr const char* kRefusal = "too much text, or too many aliases of it";
  const std::string long_text(3'900'000, 'x');
  CHECK(failure("a: &a " + long_text + "\n" + uses(30'000)).find(kRefusal) != std::string::npos);
  CHECK(failure("a: &a {" + std::string(1000, 'x') + ": 1}\n" + uses(30'000)).find(kRefusal) !=
        std::string::npos);
  CHECK(failure("a: &a {k: " + long_text +
                "}\nb:\n- {<<: *a}\n- {<<: *a}\n- {<<: *a}\n"
                "- {<<: *a}\n- {<<: *a}\n")
            .find(kRefusal) != std::string::npos);
  CHECK(only("a: &a " + long_text + "\n" + uses(3))["b"][2] == long_text);
}

TEST_CASE("yaml: deep nesting and a value that contains itself are refused") {
  CHECK(failure(std::string(100, '[') + std::string(100, ']')).find("nested too deeply") !=
        std::string::npos);
  CHECK(failure(std::string(100'000, '[')) != "no failure");
  CHECK(failure("a: &a [*a]\n") != "no failure");
  CHECK(failure("{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}") != "no failure");
}

TEST_CASE("yaml: what is wrong is said with file and line") {
  CHECK(failure("a: 1\nb: [1\nc: 2\n").find("file.yaml: line ") == 0);
  CHECK(failure("a: 1\nb: 2\na: 3\n").find("file.yaml: line 3: ") == 0);
  CHECK(failure("a: .nan\n").find("file.yaml: line 1: ") == 0);
  CHECK(failure("a: \xff\n") != "no failure");
  CHECK(failure(std::string(5 << 20, ' ')).find("larger than") != std::string::npos);
}

TEST_CASE("yaml: written as kubectl writes it") {
  const Json json = {
      {"kind", "Secret"},
      {"data", {{"b", "7"}, {"a", "true"}, {"plain", "some text"}, {"empty", ""}}},
      {"list", {1, "two", {{"k", "v"}, {"l", {1}}}}},
      {"none", Json::array()},
      {"map", Json::object()},
      {"text", "line 1\nline 2\n"},
  };
  CHECK(to_yaml(json) ==
        "data:\n"
        "  a: \"true\"\n"
        "  b: \"7\"\n"
        "  empty: \"\"\n"
        "  plain: some text\n"
        "kind: Secret\n"
        "list:\n"
        "- 1\n"
        "- two\n"
        "- k: v\n"
        "  l:\n"
        "  - 1\n"
        "map: {}\n"
        "none: []\n"
        "text: |\n"
        "  line 1\n"
        "  line 2\n");
}

TEST_CASE("yaml: whatever string is written is read again") {
  for (const std::string text : {"",
                                 " ",
                                 "yes",
                                 "no",
                                 "null",
                                 "~",
                                 "1e3",
                                 "0x10",
                                 "0o7",
                                 "1_000",
                                 "12:30:45",
                                 "2026-11-22",
                                 "- a",
                                 "a: b",
                                 "a #b",
                                 "#",
                                 "*a",
                                 "&a",
                                 "!a",
                                 "%a",
                                 "@a",
                                 "`a",
                                 "'",
                                 "\"",
                                 "\\",
                                 "{",
                                 "[",
                                 "a\n",
                                 "a\n\n",
                                 "\na",
                                 "a\nb",
                                 " a\nb",
                                 "a\n b",
                                 "a\tb",
                                 "\t",
                                 "\x1b[2J",
                                 "a\r\nb",
                                 "---",
                                 "...",
                                 "<<",
                                 "=",
                                 "-",
                                 "?",
                                 ":",
                                 "a:",
                                 "-1",
                                 "+1",
                                 ".5",
                                 ".inf",
                                 "caf\xC3\xA9",
                                 "a\xC2\x85"
                                 "b",
                                 "\xEF\xBB\xBFx",
                                 "key with a long text that is longer than eighty columns "
                                 "so that some writers would break the line here"}) {
    CAPTURE(text);
    const Json json = {{"v", text}, {"l", {text}}, {text.empty() ? "k" : text, 1}};
    const std::string yaml = to_yaml(json);
    CAPTURE(yaml);
    CHECK(only(yaml) == json);
  }
}

TEST_CASE("yaml: a stray comma between documents ends in an error, not in endless documents") {
  try {
    parse_yaml("a: 1\n---\n, 0x", "input");
    FAIL("was accepted");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
  }
}

}  // namespace
}  // namespace kubedr
