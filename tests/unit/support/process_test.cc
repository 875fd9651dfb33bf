#include "support/process.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>

#include "support/temp_dir.h"

namespace kubedr::test {
namespace {

using namespace std::chrono_literals;

TEST_CASE("process: output and exit code arrive apart") {
  const RunResult result = run({"sh", "-c", "echo out; echo err >&2; exit 7"});
  CHECK(result.exit.code == 7);
  CHECK(result.out == "out\n");
  CHECK(result.err == "err\n");
  CHECK(result.exit.peak_memory_bytes > 0);
}

TEST_CASE("process: its peak memory is what it took itself, even if it gave that back") {
  const std::string of_the_test(std::size_t{200} << 20U, 'x');
  CHECK(of_the_test.back() == 'x');
  const RunResult small = run({"sleep", "0.2"});
  CHECK(small.exit.peak_memory_bytes > 0);
  CHECK(small.exit.peak_memory_bytes < std::size_t{50} << 20U);
  const RunResult large = run({"bash", "-c", "x=$(printf '%060000000d' 0); x=; sleep 0.2; true"});
  CHECK(large.exit.peak_memory_bytes > 60'000'000);
  CHECK(large.exit.peak_memory_bytes < of_the_test.size() * 3);
}

TEST_CASE("process: input longer than any pipe holds is read to its end") {
  ProcessOptions options;
  options.input = std::string(1 << 20, 'x');
  CHECK(run({"cat"}, options).out == options.input);
  CHECK(run({"cat"}).out.empty());
}

TEST_CASE("process: only PATH, HOME and what is given is inherited") {
  ::setenv("KUBEDR_TEST_LEAK", "1", 1);
  ProcessOptions options;
  options.env = {{"GIVEN", "yes"}};
  const std::string out = run({"env"}, options).out;
  CHECK(out.find("GIVEN=yes\n") != std::string::npos);
  CHECK(out.find("PATH=") != std::string::npos);
  CHECK(out.find("KUBEDR_TEST_LEAK") == std::string::npos);
  options.inherit_env = true;
  CHECK(run({"env"}, options).out.find("KUBEDR_TEST_LEAK=1") != std::string::npos);
  ::unsetenv("KUBEDR_TEST_LEAK");
}

TEST_CASE("process: a run that takes too long is killed and says so") {
  const RunResult result = run({"sleep", "60"}, {}, 50ms);
  CHECK(result.timed_out);
  CHECK_FALSE(result.ok());
}

TEST_CASE("process: a signal is the way it ended") {
  Process process({"sleep", "60"});
  CHECK_FALSE(process.wait(20ms).has_value());
  process.kill(SIGINT);
  const std::optional<Exit> exit = process.wait(5s);
  REQUIRE(exit.has_value());
  CHECK(exit->code == -1);
  CHECK(exit->signal == SIGINT);
}

TEST_CASE("process: a program that is not there ends with 127") {
  CHECK(run({"/no/such/program"}).exit.code == 127);
}

TEST_CASE("process: what it prints into a log can be waited for") {
  const TempDir dir;
  ProcessOptions options;
  options.log = dir / "echo.log";
  options.cwd = dir.path();
  Process process({"sh", "-c", "pwd; sleep 60"}, options);
  CHECK(process.wait_for(dir.path().string(), 5s));
  CHECK_FALSE(process.wait_for("something else", 20ms));
}

TEST_CASE("process: a prompt on a terminal is seen and answered") {
  ProcessOptions options;
  options.terminal = Terminal::all;
  Process process({"sh", "-c", "test -t 0 && test -t 1 && printf 'name? ' && read n && echo hi $n"},
                  options);
  REQUIRE(process.wait_for("name? ", 5s));
  process.type("anna\n");
  REQUIRE(process.wait(5s).has_value());
  CHECK(process.screen().find("hi anna") != std::string::npos);
}

TEST_CASE("process: with only stdin on a terminal, output is captured apart") {
  ProcessOptions options;
  options.terminal = Terminal::input;
  options.input = "typed\n";
  const RunResult result = run({"sh", "-c", "test -t 0 && read line && echo got $line"}, options);
  CHECK(result.out == "got typed\n");
  CHECK(result.screen.find("typed") != std::string::npos);
}

TEST_CASE("last lines: the end of a log, and all of a short one") {
  const TempDir dir;
  CHECK(last_lines(dir.write("a", "1\n2\n3\n"), 2) == "2\n3\n");
  CHECK(last_lines(dir.write("b", "1\n2\n"), 5) == "1\n2\n");
  CHECK(last_lines(dir / "missing").empty());
}

}  // namespace
}  // namespace kubedr::test
