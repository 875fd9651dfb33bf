// How far long work is: on a terminal, in a log, as JSON, and not at all.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "base/text.h"
#include "e2e/world.h"
#include "support/byte_proxy.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;
using std::chrono::seconds;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

bool matches(const std::string& text, const char* expression) {
  return std::regex_search(text, std::regex(expression));
}

// An etcd of some 6 MB behind a slow line, and a repository in a folder.
class SlowEtcd {
 public:
  SlowEtcd() : proxy_(etcd_.port()) {
    etcd_.fill("/registry/pods/", 1000, 5000);
    REQUIRE(test::kubedr({"init", "--repo", repository()}, env()).ok());
  }

  std::string repository() const { return (folder_ / "repository").string(); }

  std::vector<std::string> command(std::uint64_t bytes_per_second,
                                   const std::vector<std::string>& flags) {
    ProxyRules rules;
    rules.bytes_per_second = bytes_per_second;
    proxy_.set(rules);
    std::vector<std::string> args{"backup", "--repo", repository(), "--etcd-endpoint",
                                  fmt::format("http://127.0.0.1:{}", proxy_.port())};
    args.insert(args.end(), flags.begin(), flags.end());
    return args;
  }

  // So that a part of what was stored is of no use any more.
  void change() { etcd_.fill("/registry/pods/", 100, 5000); }

  // What a person sees.
  std::string on_a_terminal(std::uint64_t bytes_per_second, const std::vector<std::string>& flags) {
    std::vector<std::string> argv = command(bytes_per_second, flags);
    argv.insert(argv.begin(), KUBEDR_BINARY);
    ProcessOptions options;
    options.terminal = Terminal::all;
    options.env = env();
    options.env["TERM"] = "xterm";
    const RunResult result = run(argv, options);
    CHECK_MESSAGE(result.ok(), result.screen);
    return result.screen;
  }

  std::map<std::string, std::string> env() const {
    return {{"RESTIC_PASSWORD", kPassword}, {"HOME", folder_.path().string()}};
  }

  std::filesystem::path folder(const std::string& name) const { return folder_ / name; }

 private:
  TempDir folder_;
  EtcdServer etcd_;
  ByteProxy proxy_;
};

// The progress of one step, line by line.
std::vector<Json> progress_of(const RunResult& result, const std::string& step) {
  std::vector<Json> lines;
  for (const std::string& line : split(result.err, '\n')) {
    if (line.empty()) continue;
    const Json progress = parse_json(line, "stderr").at("progress");
    if (progress.at("step") == step) lines.push_back(progress);
  }
  return lines;
}

// Told to its end, and of all its bytes.
void check_whole(const RunResult& result, const std::string& step, std::uint64_t least) {
  CAPTURE(step);
  CHECK_MESSAGE(result.ok(), result.err);
  const std::vector<Json> lines = progress_of(result, step);
  REQUIRE_FALSE(lines.empty());
  CHECK(lines.back().at("done") == true);
  CHECK(lines.back().at("bytesDone") >= least);
  CHECK(lines.back().at("bytesDone") == lines.back().at("bytesTotal"));
}

}  // namespace

TEST_CASE("progress: a terminal shows bytes, rate and what is left, and nothing of it at the end") {
  KUBEDR_NEEDS("etcd");
  SlowEtcd etcd;
  const std::string screen = etcd.on_a_terminal(2'000'000, {});
  CHECK_MESSAGE(matches(screen,
                        "\r\x1b\\[Ketcd  [0-9.]+ MiB of [0-9.]+ MiB  [0-9]+%  "
                        "[0-9.]+ [KM]iB/s  [0-9]+s left"),
                screen);
  const std::size_t last = screen.rfind("\x1b[K");
  REQUIRE(last != std::string::npos);
  CHECK(has(screen.substr(last), "metadatabackuppolicy/bare backed up"));
  CHECK_FALSE(has(screen.substr(last), "left"));

  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{"-q"}, {"--progress", "none"}}) {
    CHECK_FALSE(has(etcd.on_a_terminal(0, flags), "\x1b[K"));
  }
}

TEST_CASE("progress: a log has a line now and then, of steps that take long") {
  KUBEDR_NEEDS("etcd");
  SlowEtcd etcd;
  const RunResult slow = test::kubedr(etcd.command(450'000, {}), etcd.env());
  REQUIRE(slow.ok());
  CHECK_MESSAGE(matches(slow.err,
                        "^etcd: [0-9.]+ MiB of [0-9.]+ MiB, [0-9]+%, [0-9.]+ KiB/s, "
                        "[0-9]+s left\netcd: [0-9.]+ MiB in [0-9]+s\n"),
                slow.err);
  const RunResult quick = test::kubedr(etcd.command(0, {}), etcd.env());
  CHECK_FALSE(has(quick.err, "etcd:"));
}

TEST_CASE("progress: as JSON, each step to its end, in each verb that may take long") {
  KUBEDR_NEEDS("etcd");
  SlowEtcd etcd;
  constexpr std::uint64_t kMuch = 1'000'000;
  const std::vector<std::string> flags{"--progress", "json"};
  const RunResult backup = test::kubedr(etcd.command(2'000'000, flags), etcd.env());
  REQUIRE(backup.ok());
  const std::vector<Json> lines = progress_of(backup, "etcd");
  REQUIRE(lines.size() >= 3);
  CHECK(lines.front().at("bytesDone") == 0);
  const Json& midway = lines[lines.size() / 2];
  CHECK(midway.at("bytesPerSecond") > 0);
  CHECK(midway.at("secondsLeft").is_number());
  CHECK(midway.at("done") == false);
  check_whole(backup, "etcd", kMuch);
  check_whole(backup, "upload", 1);

  const auto run = [&](std::vector<std::string> args) {
    args.insert(args.end(), {"--repo", etcd.repository(), "--progress", "json"});
    return test::kubedr(args, etcd.env());
  };
  const RunResult restored =
      run({"restore", "latest", "--target", etcd.folder("restored").string()});
  check_whole(restored, "restore", kMuch);
  check_whole(restored, "verify", kMuch);
  check_whole(run({"check", "--read-data"}), "read data", kMuch);

  etcd.change();
  REQUIRE(test::kubedr(etcd.command(0, {}), etcd.env()).ok());
  REQUIRE(run({"forget", "--keep-last", "1", "--yes"}).ok());
  check_whole(run({"prune", "--max-unused", "0", "--yes"}), "prune", 1);
}

TEST_CASE("progress: a failure stays the last line, behind what was said until then") {
  KUBEDR_NEEDS("etcd");
  SlowEtcd etcd;
  const RunResult result = test::kubedr(
      etcd.command(500'000, {"--progress", "json", "-o", "json", "--timeout", "8s"}), etcd.env());
  CHECK(result.exit.code == 20);
  const std::vector<std::string> lines = split(std::string(trim(result.err)), '\n');
  REQUIRE(lines.size() >= 2);
  CHECK(parse_json(lines.back(), "stderr").at("error").at("kind") == "unavailable");
  CHECK(parse_json(lines.front(), "stderr").contains("progress"));
  const Json last = parse_json(lines.at(lines.size() - 2), "stderr").at("progress");
  CHECK(last.at("step") == "etcd");
  CHECK(last.at("done") == false);
  CHECK(last.at("failed") == true);
}
