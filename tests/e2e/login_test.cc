// Logins that take more than a token: plugins that ask, hang, or see what they should not; and who
// a real API server takes us for.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/text.h"
#include "e2e/faults.h"
#include "e2e/kubectl_stage.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

using std::chrono::seconds;

// Prints a credential with the token in $token.
constexpr char kPrintToken[] =
    "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",'"
    "'\"status\":{\"token\":\"'$token'\"}}'\n";

std::string asking_plugin(const char* mode) {
  return single(kServer,
                fmt::format("exec: {{apiVersion: client.authentication.k8s.io/v1, command: "
                            "./plugin, interactiveMode: {}}}",
                            mode));
}

// Neither running nor stopped; who waits to be reaped is gone too.
bool is_gone(const std::string& pid) {
  const std::string status = read_text("/proc/" + pid + "/status");
  return status.empty() || has(status, "State:\tZ");
}

// A plugin that never comes to its end, and something that it started.
struct Hanging {
  explicit Hanging(const char* mode = "Never") : one{"", asking_plugin(mode), {}, {}, ""} {
    pair.stage().write_plugin("plugin", fmt::format("sleep 1000 &\necho $! > {0}/child\n"
                                                    "echo $$ > {0}/self.new\n"
                                                    "mv {0}/self.new {0}/self\nwait\n",
                                                    pair.stage().folder().path().string()));
  }

  std::string pid(const char* name) {
    return std::string(trim(read_text(pair.stage().folder() / name)));
  }

  bool is_running() { return !pid("self").empty(); }

  Case one;
  Pair pair{one};
};

}  // namespace

TEST_CASE("login: a plugin may ask on the terminal, and is answered there") {
  KUBEDR_NEEDS("kubectl");

  struct Way {
    const char* mode;
    const char* read;
  };

  for (const Way& way : {Way{"IfAvailable", "read token\n"},
                         {"Always", "read token\n"},
                         {"Never", "read token < /dev/tty\n"}}) {
    CAPTURE(way.read);
    const Case one = {"", asking_plugin(way.mode), {}, {}, ""};
    Pair pair(one);
    pair.stage().write_plugin(
        "plugin", std::string("printf 'one-time password: ' >&2\n") + way.read + kPrintToken);
    for (const auto& command : {pair.kubectl_command(), pair.our_command()}) {
      const std::size_t before = pair.stage().told().size();
      ProcessOptions options = pair.options();
      options.terminal = Terminal::all;
      Process process(command, options);
      REQUIRE_MESSAGE(process.wait_for("one-time password: ", seconds(30)), process.screen());
      process.type("123456\n");
      const auto exit = process.wait(seconds(30));
      REQUIRE(exit);
      CHECK_MESSAGE(exit->code == 0, process.screen());
      const std::vector<std::string> told = pair.stage().told();
      REQUIRE(told.size() > before);
      for (std::size_t i = before; i < told.size(); ++i) CHECK(has(told[i], "Bearer 123456"));
    }
  }
}

TEST_CASE("login: a signal ends a plugin that hangs, and all that it started") {
  for (const auto& [signal, code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    CAPTURE(signal);
    Hanging hanging;
    // Without a terminal, as in a CronJob.
    std::vector<std::string> command = hanging.pair.our_command();
    command.insert(command.begin(), "setsid");
    Process process(command, hanging.pair.options());
    REQUIRE_MESSAGE(eventually([&] { return hanging.is_running(); }), process.err());
    process.kill(signal);
    const auto exit = process.wait(seconds(10));
    REQUIRE(exit);
    CHECK_MESSAGE(exit->code == code, process.err());
    CHECK(eventually([&] { return is_gone(hanging.pid("self")); }));
    CHECK(eventually([&] { return is_gone(hanging.pid("child")); }));
    CHECK(hanging.pair.stage().told().empty());
  }
}

TEST_CASE("login: Ctrl-C on the terminal reaches the plugin, and we say that it was one") {
  for (const char* mode : {"Never", "IfAvailable"}) {
    CAPTURE(mode);
    Hanging hanging(mode);
    ProcessOptions options = hanging.pair.options();
    options.terminal = Terminal::all;
    Process process(hanging.pair.our_command(), options);
    REQUIRE_MESSAGE(eventually([&] { return hanging.is_running(); }), process.screen());
    process.type("\x03");
    const auto exit = process.wait(seconds(10));
    REQUIRE(exit);
    CHECK_MESSAGE(exit->code == 130, process.screen());
    CHECK(eventually([&] { return is_gone(hanging.pid("self")); }));
  }
}

TEST_CASE("login: a plugin that hangs costs no more than the time a backup may take") {
  Hanging hanging;
  std::vector<std::string> command = hanging.pair.our_command();
  command[1] = "backup";
  command.insert(command.begin(), "setsid");
  command.insert(command.end(), {"any", "--timeout=1s"});
  const RunResult result = run(command, hanging.pair.options());
  CHECK_MESSAGE(result.exit.code == 20, result.err);
  CHECK(eventually([&] { return is_gone(hanging.pid("child")); }));
}

TEST_CASE("login: a limit for requests leaves a person the time to log in") {
  const Case one = {"", asking_plugin("Never"), {"--request-timeout=1s"}, {}, ""};
  Pair pair(one);
  pair.stage().write_plugin("plugin", std::string("sleep 2\ntoken=late\n") + kPrintToken);
  const Pair::Run ours = pair.ours();
  CHECK_MESSAGE(ours.result.ok(), ours.result.err);
  CHECK(has(ours.told.at(0), "Bearer late"));
}

TEST_CASE("login: no token, password or key is ever shown") {
  const std::string fields =
      kServer + ", proxy-url: 'http://me:hush-proxy@{proxy}', insecure-skip-tls-verify: false";
  for (const std::string& user :
       {std::string("token: hush-token"), std::string("username: me, password: hush-password"),
        plugin("command: ./plugin, env: [{name: SECRET, value: hush-env}]"),
        std::string("tokenFile: {dir}/hush")}) {
    CAPTURE(user);
    const Case one = {"", single(fields, user), {"-v=2"}, {}, ""};
    Pair pair(one, [](const SeenRequest&) { return http_answer(401, "no"); });
    pair.stage().folder().write("hush", "hush-file");
    pair.stage().write_plugin("plugin", std::string("token=hush-plugin\n") + kPrintToken);
    const Pair::Run ours = pair.ours();
    CHECK(ours.result.exit.code == 21);
    CHECK(has(ours.result.err, "401"));
    CHECK_MESSAGE(!has(ours.result.err, "hush-"), ours.result.err);
  }
}

TEST_CASE("login: restic's password is none of a plugin's business") {
  const Case secret = {
      "",
      single(kServer, plugin("command: ./plugin")),
      {},
      {{"RESTIC_PASSWORD", kPassword}, {"AWS_SECRET_ACCESS_KEY", "wanted by aws eks get-token"}},
      ""};
  Pair pair(secret);
  pair.stage().write_plugin("plugin", "env > " + (pair.stage().folder() / "env").string() +
                                          "; ls -l /proc/self/fd >&2; exit 1\n");
  const Pair::Run ours = pair.ours();
  CHECK(ours.result.exit.code == 21);
  const std::string env = read_text(pair.stage().folder() / "env");
  CHECK(has(env, "AWS_SECRET_ACCESS_KEY=wanted"));
  CHECK_FALSE(has(env, kPassword));
  CHECK_FALSE(has(env, "RESTIC"));
  CHECK_FALSE(has(ours.result.err, "socket:"));
}

TEST_CASE("login: a refused plugin's token is renewed, and we need no second command for it") {
  KUBEDR_NEEDS("kubectl");
  const Case one = {"", single(kServer, plugin("command: ./plugin")), {}, {}, ""};
  Pair pair(one, [](const SeenRequest& request) {
    return request.header("authorization") == "Bearer 1" ? http_answer(401, "stale")
                                                         : empty_list(request);
  });
  const std::string counter = (pair.stage().folder() / "counter").string();
  pair.stage().write_plugin("plugin",
                            "echo x >> " + counter +
                                "\necho "
                                "'{\"kind\":\"ExecCredential\",\"apiVersion\":\"client."
                                "authentication.k8s.io/v1\",\"status\":{\"token\":\"'$(wc -l < " +
                                counter + ")'\"}}'\n");
  CHECK_FALSE(pair.kubectl().result.ok());
  CHECK(read_text(counter) == "x\nx\n");
  std::filesystem::remove(counter);
  const Pair::Run ours = pair.ours();
  CHECK_MESSAGE(ours.result.ok(), ours.result.err);
  CHECK(read_text(counter) == "x\nx\n");
  CHECK(has(ours.told.at(0), "Bearer 1"));
  for (std::size_t i = 1; i < ours.told.size(); ++i) CHECK(has(ours.told[i], "Bearer 2"));
}

TEST_CASE("login: a plugin's new certificate is shown on a connection of its own") {
  KUBEDR_NEEDS("kube-apiserver");
  const EtcdServer etcd;
  const KubeApi api(etcd);
  REQUIRE(test::kubedr({"install", "--kubeconfig", api.kubeconfig().string()}).ok());
  const TempDir folder;
  const auto credential = [&](const char* name, const Certificate& certificate) {
    const Json status = {{"clientCertificateData", certificate.certificate_pem},
                         {"clientKeyData", certificate.key_pem}};
    folder.write(name, Json{{"kind", "ExecCredential"},
                            {"apiVersion", "client.authentication.k8s.io/v1"},
                            {"status", status}}
                           .dump());
  };
  // Of an authority that the server does not know: it answers 401, and keeps the connection.
  credential("1", Certificates().issue({"stranger"}));
  credential("2", api.certificates().issue({"dora"}));
  const auto script = folder.write("plugin", fmt::format("#!/bin/sh\necho >> {0}/runs\n"
                                                         "cat {0}/$(wc -l < {0}/runs)\n",
                                                         folder.path().string()));
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  folder.write("ca.crt", api.ca_pem());
  const auto config = folder.write(
      "config", single(fmt::format("server: '{}', certificate-authority: ca.crt", api.url()),
                       plugin("command: ./plugin")));
  const RunResult result = test::kubedr({"status", "--kubeconfig", config.string()});
  CHECK(result.exit.code == 21);
  CHECK_MESSAGE(has(result.err, "User \"dora\" cannot list"), result.err);
  CHECK(read_text(folder / "runs") == "\n\n");
}

TEST_CASE("login: a real API server takes us for whom it takes kubectl") {
  KUBEDR_NEEDS("kube-apiserver");
  const TempDir folder;
  const auto policy = folder.write("audit.yaml", R"(
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata, resources: [{group: kubedr.catalogicsoftware.com}]}]
)");
  const std::string log = (folder / "audit.log").string();
  const EtcdServer etcd;
  const KubeApi api(etcd, {{"reader", {"readers"}}},
                    {"--audit-policy-file=" + policy.string(), "--audit-log-path=" + log});
  REQUIRE(test::kubedr({"install", "--kubeconfig", api.kubeconfig().string()}).ok());
  const Certificate dora = api.certificates().issue({"dora", {}, {"devs", "ops"}});
  folder.write("dora.crt", dora.certificate_pem);
  folder.write("dora.key", dora.key_pem);
  REQUIRE(api.kubectl({"create", "serviceaccount", "robot"}).ok());
  const RunResult robot = api.kubectl({"create", "token", "robot"});
  REQUIRE_MESSAGE(robot.ok(), robot.err);
  folder.write("robot", robot.out);
  const auto script =
      folder.write("plugin", "#!/bin/sh\ntoken=token-of-reader\n" + std::string(kPrintToken));
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);

  struct User {
    const char* fields;
    std::vector<std::string> flags;
    const char* name;
    int exit_code;  // ours
  };

  const User users[] = {
      {"token: token-of-admin", {}, "admin", 0},
      {"token: token-of-reader", {}, "reader", 21},
      {"token: nobody's", {}, "", 21},
      {"client-certificate: dora.crt, client-key: dora.key", {}, "dora", 21},
      {"tokenFile: robot", {}, "system:serviceaccount:default:robot", 21},
      {"exec: {command: ./plugin, interactiveMode: Never, apiVersion: "
       "client.authentication.k8s.io/v1}",
       {},
       "reader",
       21},
      {"token: token-of-admin",
       {"--as=jane", "--as-group=system:masters", "--as-uid=7", "--as-user-extra=scope=a"},
       "admin",
       0},
      {"token: token-of-admin", {"--as=jane"}, "admin", 21},
      {"token: token-of-reader", {"--as=admin"}, "reader", 21},
  };
  // The last request to our kind, as the server's own log tells it.
  const auto seen = [&](const std::string& agent) {
    std::istringstream lines(read_text(log));
    std::string line;
    std::string last;
    while (std::getline(lines, line)) last = line;
    REQUIRE(!last.empty());
    const Json entry = Json::parse(last);
    CHECK_MESSAGE(entry.at("userAgent").get<std::string>().starts_with(agent), last);
    Json who = {{"user", entry.value("user", Json())},
                {"as", entry.value("impersonatedUser", Json())},
                {"code", entry.at("responseStatus").at("code")}};
    who["user"].erase("extra");  // of a token and of nothing else: its number
    return who;
  };
  for (const User& user : users) {
    CAPTURE(user.fields);
    const std::string config =
        folder
            .write("config",
                   single(fmt::format("server: '{}', certificate-authority: ca.crt", api.url()),
                          user.fields))
            .string();
    folder.write("ca.crt", api.ca_pem());
    ProcessOptions options;
    options.env = {{"HOME", folder.path()}};
    std::vector<std::string> flags = {"--kubeconfig", config};
    flags.insert(flags.end(), user.flags.begin(), user.flags.end());
    std::vector<std::string> kubectl = {
        find_server("kubectl").string(),
        "-n",
        kNamespace,
        "get",
        "--raw",
        "/apis/kubedr.catalogicsoftware.com/v1alpha1/namespaces/kubedr-system/backuplocations"};
    kubectl.insert(kubectl.end(), flags.begin(), flags.end());
    const RunResult theirs = run(kubectl, options);
    const Json they = seen("kubectl/");
    flags.insert(flags.begin(), "status");
    const RunResult ours = test::kubedr(flags);
    const Json we = seen("kubectl-kubedr/");
    CHECK(we == they);
    CHECK(we.at("user").value("username", "") == user.name);
    CHECK_MESSAGE(ours.exit.code == user.exit_code, ours.err);
    CHECK(theirs.ok() == (user.exit_code == 0));
  }
}
