#include "base/text.h"

#include <doctest/doctest.h>

namespace kubedr {
namespace {

TEST_CASE("text: trim takes white space from both ends only") {
  CHECK(trim(" \t a b\r\n") == "a b");
  CHECK(trim(" \n ").empty());
  CHECK(trim("").empty());
}

TEST_CASE("text: split keeps empty parts, and join puts them together again") {
  CHECK(split("a,,b,", ',') == std::vector<std::string>{"a", "", "b", ""});
  CHECK(split("", ',') == std::vector<std::string>{""});
  CHECK(join(split("a,,b,", ','), ",") == "a,,b,");
  CHECK(join({}, ",").empty());
}

TEST_CASE("text: sizes have three digits at the most and binary units") {
  CHECK(human_size(0) == "0 B");
  CHECK(human_size(1023) == "1023 B");
  CHECK(human_size(1024) == "1.0 KiB");
  CHECK(human_size(1536) == "1.5 KiB");
  CHECK(human_size(1024 * 1024 - 1) == "1.0 MiB");
  CHECK(human_size(88'290'099) == "84.2 MiB");
  CHECK(human_size(std::uint64_t{512} << 20) == "512 MiB");
  CHECK(human_size(std::uint64_t{3} << 30) == "3.0 GiB");
  CHECK(human_size(UINT64_MAX) == "16384 PiB");
}

TEST_CASE("text: shortening marks the cut and never splits a character") {
  CHECK(shorten("short", 5) == "short");
  CHECK(shorten("longer", 5) == "lo...");
  CHECK(shorten("a\xC3\xA4zzz", 5) == "a...");
  CHECK(shorten("\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC", 8) == "\xE2\x82\xAC...");
  CHECK(shorten("longer", 2).size() == 2);
}

TEST_CASE("text: what would steer a terminal is shown, not sent") {
  CHECK(printable("\x1b[2Jgone\x07") == "\\x1b[2Jgone\\x07");
  CHECK(printable("\x7f") == "\\x7f");
  CHECK(printable("two\nlines\tand a tab") == "two\nlines\tand a tab");
  CHECK(printable("caf\xC3\xA9") == "caf\xC3\xA9");
}

TEST_CASE("text: a shell reads every word back") {
  CHECK(shell_word("kubedr-system") == "kubedr-system");
  CHECK(shell_word("https://10.0.0.1:2380,a=b") == "https://10.0.0.1:2380,a=b");
  CHECK(shell_word("") == "''");
  CHECK(shell_word("CN=Jo Doe") == "'CN=Jo Doe'");
  CHECK(shell_word("~/a") == "'~/a'");
  CHECK(shell_word("it's; $(reboot)") == R"('it'\''s; $(reboot)')");
}

TEST_CASE("text: the closest candidate is the one that was probably meant") {
  const std::vector<std::string> verbs = {"backup", "restore", "status", "ls", "prune"};
  CHECK(closest("bakcup", verbs) == "backup");
  CHECK(closest("statsu", verbs) == "status");
  CHECK(closest("prun", verbs) == "prune");
  CHECK(closest("frobnicate", verbs).empty());
  CHECK(closest("xs", verbs).empty());
}

}  // namespace
}  // namespace kubedr
