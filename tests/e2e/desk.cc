#include "e2e/desk.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/text.h"
#include "support/server.h"

namespace kubedr::test {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

Desk::Desk(const std::vector<std::string>& programs) {
  fs::create_directories(home_ / "bin");
  fs::create_symlink(KUBEDR_BINARY, home_ / "bin/kubectl-kubedr");
  for (const std::string& program : programs) {
    fs::create_symlink(find_server(program), home_ / "bin" / program);
  }
  options_.cwd = home_.path();
  options_.env = {{"PATH", (home_ / "bin").string() + ":" + std::getenv("PATH")},
                  {"HOME", home_.path().string()}};
}

RunResult Desk::run(const std::vector<std::string>& argv) const {
  return test::run(argv, options_, std::chrono::minutes(3));
}

RunResult Desk::type(const std::string& commands) const {
  return run({"bash", "-eo", "pipefail", "-c", commands});
}

std::string Desk::typed(const std::string& commands) const {
  const RunResult result = type(commands);
  REQUIRE_MESSAGE(result.ok(), (commands + "\n" + result.out + result.err));
  return result.out;
}

namespace {

ProcessOptions at_terminal(ProcessOptions options) {
  options.terminal = Terminal::all;
  options.env.insert(
      {{"TERM", "xterm"}, {"PS1", "$ "}, {"INPUTRC", "/dev/null"}, {"LANG", "C.UTF-8"}});
  return options;
}

}  // namespace

Shell::Shell(const std::vector<std::string>& argv, const Desk& desk, const std::string& setup)
    : process_(argv, at_terminal(desk.options())) {
  process_.type("stty rows 50 cols 200; " + setup + "; echo rea''dy\n");
  REQUIRE_MESSAGE(process_.wait_for("ready", seconds(30)), process_.screen());
}

void Shell::check(const std::string& keys, const std::string& expected) {
  CAPTURE(keys);
  // A name that comes too late is left out: whoever sees none presses Tab again.
  for (int tries = 0; tries < 5 && !press(keys, expected); ++tries) drop_line();
  CHECK_MESSAGE(shows(expected), fresh());
  CHECK_FALSE(shows("rror"));
  drop_line();
}

void Shell::check_quiet(const std::string& keys, const std::string& line) {
  CAPTURE(keys);
  bool quiet = false;
  // A prompt of before may come late.
  for (int tries = 0; tries < 5 && !quiet; ++tries) {
    quiet = press(keys, line) && !shows("\n");
    CHECK_MESSAGE((quiet || tries < 4), fresh());
    drop_line();
  }
}

bool Shell::press(const std::string& keys, const std::string& expected) {
  seen_ = process_.screen().size();
  process_.type(keys);
  const auto until = std::chrono::steady_clock::now() + seconds(4);
  while (!shows(expected) && std::chrono::steady_clock::now() < until) {
    process_.wait(milliseconds(20));
  }
  return shows(expected);
}

void Shell::drop_line() {
  process_.type("\x03");  // Ctrl-C
  process_.wait(milliseconds(200));
}

std::string Shell::fresh() const {
  static const std::regex kControl("\x1b\\[[0-9;?]*[A-Za-z]|\a");
  return std::regex_replace(process_.screen().substr(seen_), kControl, "");
}

bool Shell::shows(const std::string& text) const {
  return fresh().find(text) != std::string::npos;
}

fs::path document(const std::string& name) {
  return fs::path(KUBEDR_TEST_DATA) / "../.." / name;
}

std::vector<std::string> blocks_of(const std::string& name) {
  std::vector<std::string> blocks;
  bool inside = false;
  for (const std::string& line : split(read_text(document(name)), '\n')) {
    if (line.starts_with("```")) {
      inside = !inside;
      if (inside) blocks.emplace_back();
    } else if (inside) {
      blocks.back() += line + "\n";
    }
  }
  return blocks;
}

std::string block_with(const std::string& name, const std::string& beginning) {
  for (const std::string& block : blocks_of(name)) {
    if (("\n" + block).find("\n" + beginning) != std::string::npos) return block;
  }
  FAIL(name << " has no block with: " << beginning);
  return "";
}

std::string other_key(ControlPlane& plane) {
  const Json list = parsed(plane.kubedr({"key", "list", "-o", "json"}));
  for (const Json& key : list.at("keys")) {
    if (!key.at("current").get<bool>()) return key.at("id").get<std::string>().substr(0, 8);
  }
  FAIL("no second key");
  return "";
}

void replace_all(std::string& text, const std::string& what, const std::string& with) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

}  // namespace kubedr::test
