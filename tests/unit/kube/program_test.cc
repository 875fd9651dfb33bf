#include "kube/program.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "support/temp_dir.h"

namespace kubedr::kube {
namespace {

using std::chrono::seconds;

const SystemClock kClock;

Call a_minute() {
  return Call(kClock).within(seconds(60));
}

Program shell(const std::string& script) {
  Program program;
  program.path = "/bin/sh";
  program.arguments = {"-c", script};
  program.environment = {"PATH=/usr/bin:/bin"};
  return program;
}

std::string output_of(const Program& program) {
  const ProgramEnd end = run_program(program, 10'000, a_minute());
  CHECK(end.code == 0);
  return std::string(as_text(end.output));
}

Error failure_of(const Program& program, const Call& call, std::size_t limit = 10'000) {
  try {
    run_program(program, limit, call);
  } catch (const Error& error) {
    return error;
  }
  FAIL("no failure");
  return Error(ErrorKind::internal, "");
}

}  // namespace

TEST_CASE("program: it sees its arguments as they are, its environment and nothing else") {
  Program program = shell("printf '%s|' \"$@\"; env | sort");
  program.arguments.insert(program.arguments.end(), {"name", "a b", "", "$X"});
  program.environment = {"PATH=/usr/bin:/bin", "ONLY=this one"};
  const std::string text = output_of(program);
  CHECK(text.starts_with("a b||$X|"));
  CHECK(text.find("ONLY=this one\n") != std::string::npos);
  CHECK(text.find("HOME=") == std::string::npos);
}

TEST_CASE("program: how it ended is told with what it wrote") {
  const ProgramEnd end = run_program(shell("echo half; exit 7"), 10'000, a_minute());
  CHECK(end.code == 7);
  CHECK(as_text(end.output) == "half\n");
  CHECK(run_program(shell("kill -KILL $$"), 10'000, a_minute()).code == -1);
}

TEST_CASE("program: no descriptor of ours is open in it, and its input is empty") {
  const FileDescriptor inherited(::open("/dev/null", O_RDONLY));
  REQUIRE(fcntl(inherited.get(), F_GETFD) == 0);
  CHECK(output_of(shell("cat; ls /proc/self/fd | tr '\\n' ' '")) == "0 1 2 3 ");  // 3 is ls's own
}

TEST_CASE("program: signals that we block or ignore reach it") {
  sigset_t blocked;
  sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const auto old = std::signal(SIGPIPE, SIG_IGN);
  CHECK(run_program(shell("kill -TERM $$; exit 0"), 10'000, a_minute()).code == -1);
  CHECK(run_program(shell("kill -PIPE $$; exit 0"), 10'000, a_minute()).code == -1);
  std::signal(SIGPIPE, old);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE("program: one that takes too long is ended, however it resists") {
  const SteadyTime begun = kClock.steady();
  const Call short_call = Call(kClock).within(std::chrono::milliseconds(200));
  CHECK(failure_of(shell("sleep 100"), short_call).kind() == ErrorKind::unavailable);
  CHECK(failure_of(shell("trap '' TERM; sleep 100; sleep 100"), short_call).kind() ==
        ErrorKind::unavailable);
  CHECK(kClock.steady() - begun < seconds(20));
}

TEST_CASE("program: a helper that keeps its output open is not waited for") {
  const SteadyTime begun = kClock.steady();
  CHECK(output_of(shell("sleep 30 & echo done")) == "done\n");
  CHECK(kClock.steady() - begun < seconds(20));
}

TEST_CASE("program: one that closes its output early is waited for") {
  CHECK(run_program(shell("echo x; exec 1>&-; sleep 0.2; exit 3"), 10'000, a_minute()).code == 3);
}

TEST_CASE("program: all of a long output arrives, up to the limit") {
  const std::string text = output_of(shell("head -c 9999 /dev/zero | tr '\\0' a"));
  CHECK(text == std::string(9999, 'a'));
  CHECK(failure_of(shell("cat /dev/zero"), a_minute(), 100'000).kind() == ErrorKind::corrupt);
}

TEST_CASE("program: what cannot be started says why") {
  const test::TempDir folder;
  Program program;
  program.path = folder / "none";
  const Error error = failure_of(program, a_minute());
  CHECK(error.kind() == ErrorKind::failed);
  CHECK(error.what() == "fork/exec " + (folder / "none").string() + ": no such file or directory");
  program.path = folder.write("plain", "text");
  CHECK(std::string(failure_of(program, a_minute()).what()).ends_with(": permission denied"));
}

TEST_CASE("program: a name is looked for in the absolute folders of PATH") {
  const test::TempDir folder;
  folder.write("a/tool", "not executable");
  const auto tool = folder.write("b/tool", "#!/bin/sh\n");
  std::filesystem::permissions(tool, std::filesystem::perms::owner_all);
  std::filesystem::create_directories(folder / "c/tool");
  const auto path = [&](const char* name) { return (folder / name).string(); };
  CHECK(find_program("tool", path("c") + ":" + path("a") + ":" + path("b")) == tool);
  CHECK(find_program("tool", path("a")).empty());
  CHECK(find_program("tool", ":.:relative").empty());
  CHECK(find_program("tool", "").empty());
}

}  // namespace kubedr::kube
