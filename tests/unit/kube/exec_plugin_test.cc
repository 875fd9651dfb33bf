#include "kube/exec_plugin.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "support/fake_clock.h"
#include "support/temp_dir.h"

namespace kubedr::kube {
namespace {

using std::chrono::minutes;
using test::FakeClock;
using test::TempDir;

// The wall clock of the tests; processes take real time beside it.
const WallTime kNow = std::chrono::sys_days(std::chrono::year(2026) / 11 / 22);

constexpr char kBegin[] =
    R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":)";

std::string answer(const std::string& status) {
  return kBegin + status + "}";
}

// A plugin that notes each of its runs and prints a file.
class Plugin {
 public:
  Plugin() {
    config_.command =
        folder_.write("plugin", "#!/bin/sh\necho run >> \"$RUNS\"\ncat \"$ANSWER\"\n");
    make_executable("plugin");
    config_.api_version = "client.authentication.k8s.io/v1";
    config_.interactive_mode = ExecConfig::InteractiveMode::never;
    config_.environment = {"PATH=" + folder_.path().string() + ":/usr/bin:/bin",
                           "RUNS=" + (folder_ / "runs").string(),
                           "ANSWER=" + (folder_ / "answer").string()};
    prints(answer(R"({"token":"t"})"));
  }

  void prints(const std::string& text) const { folder_.write("answer", text); }

  void does(const std::string& script) const {
    folder_.write("plugin", "#!/bin/sh\n" + script);
    make_executable("plugin");
  }

  std::size_t runs() const {
    const std::string text = test::read_text(folder_ / "runs");
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }

  ExecConfig& config() { return config_; }

  const TempDir& folder() const { return folder_; }

  // Logs in once and fails.
  Error failure() const {
    const FakeClock clock(FakeClock::Mode::jumping, kNow);
    ExecPlugin plugin(config_, clock);
    try {
      plugin.credentials(Call(clock));
    } catch (const Error& error) {
      return error;
    }
    FAIL("no failure");
    return Error(ErrorKind::internal, "");
  }

 private:
  void make_executable(const char* name) const {
    std::filesystem::permissions(folder_ / name, std::filesystem::perms::owner_all);
  }

  TempDir folder_;
  ExecConfig config_;
};

// What the plugin got to see in that variable.
std::string seen(Plugin& plugin, const std::string& name) {
  const std::string file = (plugin.folder() / "seen").string();
  plugin.does("printf %s \"$" + name + "\" > " + file + "\ncat \"$ANSWER\"\n");
  const FakeClock clock;
  ExecPlugin(plugin.config(), clock).credentials(Call(clock));
  return test::read_text(file);
}

}  // namespace

TEST_CASE("exec plugin: credentials without an end are asked for once") {
  Plugin plugin;
  FakeClock clock(FakeClock::Mode::manual, kNow);
  ExecPlugin exec(plugin.config(), clock);
  CHECK(exec.credentials(Call(clock)).token.reveal() == "t");
  clock.advance(std::chrono::hours(1000));
  CHECK(exec.credentials(Call(clock)).token.reveal() == "t");
  CHECK(plugin.runs() == 1);
}

TEST_CASE("exec plugin: what has expired is asked for again") {
  Plugin plugin;
  plugin.prints(answer(R"({"token":"one","expirationTimestamp":"2026-11-22T01:00:00+01:00"})"));
  FakeClock clock(FakeClock::Mode::manual, kNow - minutes(5));
  ExecPlugin exec(plugin.config(), clock);
  exec.credentials(Call(clock));
  clock.advance(minutes(5));  // the very end still counts
  CHECK(exec.credentials(Call(clock)).token.reveal() == "one");
  CHECK(plugin.runs() == 1);
  plugin.prints(answer(R"({"token":"two"})"));
  clock.advance(std::chrono::seconds(1));
  CHECK(exec.credentials(Call(clock)).token.reveal() == "two");
  CHECK(plugin.runs() == 2);
}

TEST_CASE("exec plugin: renewing runs it and tells whether that helped") {
  Plugin plugin;
  const FakeClock clock;
  ExecPlugin exec(plugin.config(), clock);
  exec.credentials(Call(clock));
  CHECK_FALSE(exec.renew(Call(clock)));
  plugin.prints(answer(R"({"clientCertificateData":"c","clientKeyData":"k"})"));
  CHECK(exec.renew(Call(clock)));
  CHECK(plugin.runs() == 3);
  CHECK(exec.credentials(Call(clock)).certificate_pem == "c");
  CHECK(exec.credentials(Call(clock)).key_pem.reveal() == "k");
  CHECK(exec.credentials(Call(clock)).token.empty());
}

TEST_CASE("exec plugin: it is told what the protocol promises, in one line") {
  Plugin plugin;
  CHECK(seen(plugin, "KUBERNETES_EXEC_INFO") ==
        R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",)"
        R"("spec":{"interactive":false}})"
        "\n");
  plugin.config().cluster_info = R"({"server":"https://h"})";
  const Json info = Json::parse(seen(plugin, "KUBERNETES_EXEC_INFO"));
  CHECK(info["spec"]["cluster"] == Json{{"server", "https://h"}});
}

TEST_CASE("exec plugin: its own variables win over ours") {
  Plugin plugin;
  plugin.config().environment.push_back("WHO=ours");
  CHECK(seen(plugin, "WHO") == "ours");
  plugin.config().variables = {{"WHO", "its"}, {"KUBERNETES_EXEC_INFO", "never"}};
  CHECK(seen(plugin, "WHO") == "its");
  CHECK(seen(plugin, "KUBERNETES_EXEC_INFO") != "never");
}

TEST_CASE("exec plugin: a terminal is passed on unless the plugin never wants it") {
  using Mode = ExecConfig::InteractiveMode;
  Plugin plugin;
  const auto interactive = [&](Mode mode, bool terminal) {
    plugin.config().interactive_mode = mode;
    plugin.config().terminal = terminal;
    return Json::parse(seen(plugin, "KUBERNETES_EXEC_INFO"))["spec"]["interactive"].get<bool>();
  };
  CHECK_FALSE(interactive(Mode::never, true));
  CHECK_FALSE(interactive(Mode::if_available, false));
  CHECK(interactive(Mode::if_available, true));
  CHECK(interactive(Mode::always, true));
  plugin.config().terminal = false;
  const Error error = plugin.failure();
  CHECK(error.kind() == ErrorKind::usage);
  CHECK(std::string(error.what()) ==
        "getting credentials: exec plugin cannot support interactive mode: standard input is not a "
        "terminal");
}

TEST_CASE("exec plugin: one that is not installed comes with its hint") {
  Plugin plugin;
  plugin.config().command = "kubedr-no-such-plugin";
  const Error plain = plugin.failure();
  CHECK(plain.kind() == ErrorKind::usage);
  CHECK(std::string(plain.what()) ==
        "getting credentials: exec: executable kubedr-no-such-plugin not found");
  CHECK(plain.hint().find("client-go credential plugin") != std::string::npos);
  plugin.config().install_hint = "apt install it";
  CHECK(plugin.failure().hint() == "apt install it");
  plugin.config().command = "/no/such/plugin";
  CHECK(plugin.failure().kind() == ErrorKind::usage);
  CHECK(std::string(plugin.failure().what()) ==
        "getting credentials: exec: fork/exec /no/such/plugin: no such file or directory");
  plugin.config().command = "plugin";
  const FakeClock clock;
  CHECK(ExecPlugin(plugin.config(), clock).credentials(Call(clock)).token.reveal() == "t");
}

TEST_CASE("exec plugin: one that fails, or prints no credentials, is refused in kubectl's words") {
  struct Case {
    std::string output;
    const char* text;
  };

  const Case cases[] = {
      {"hush", "decoding stdout: not valid JSON"},
      {R"({"kind":"Secret","apiVersion":"v1"})", "decoding stdout: no ExecCredential in it"},
      {R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1"})",
       "exec plugin is configured to use API version client.authentication.k8s.io/v1, plugin "
       "returned version client.authentication.k8s.io/v1beta1"},
      {answer("null"), "exec plugin didn't return a status field"},
      {answer("{}"), "exec plugin didn't return a token or cert/key pair"},
      {answer(R"({"clientKeyData":"hush"})"),
       "exec plugin returned only certificate or key, not both"},
      {answer(R"({"token":"hush","expirationTimestamp":"soon"})"),
       "decoding stdout: expirationTimestamp is no RFC 3339 time"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.output);
    const Plugin plugin;
    plugin.prints(one.output);
    const Error error = plugin.failure();
    CHECK(error.kind() == ErrorKind::denied);
    CHECK(error.what() == "getting credentials: " + std::string(one.text));
    CHECK(error.hint().find("hush") == std::string::npos);
  }
  const Plugin plugin;
  plugin.does("exit 3\n");
  CHECK(plugin.failure().kind() == ErrorKind::denied);
  CHECK(std::string(plugin.failure().what()).ends_with("plugin failed with exit code 3"));
}

}  // namespace kubedr::kube
