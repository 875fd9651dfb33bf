// Whoever can use kubectl on a cluster can use kubedr on it: a table of kubeconfigs, flags and
// answers of a server, each run through the real kubectl and through our binary. The same server
// must be reached as the same somebody, or the same refusal be read.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "e2e/kubectl_stage.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

bool has(const std::string& text, const std::string& part) {
  return to_lower(text).find(to_lower(part)) != std::string::npos;
}

int count(const std::string& text, const std::string& part) {
  int times = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++times;
  }
  return times;
}

void check_served(const Case& one, const std::function<void(Stage&)>& prepare = {}) {
  CAPTURE(one.name);
  Pair pair(one);
  if (prepare) prepare(pair.stage());
  const Pair::Run kubectl = pair.kubectl();
  const Pair::Run ours = pair.ours();
  CAPTURE(kubectl.result.err);
  CAPTURE(ours.result.err);
  REQUIRE(kubectl.told.size() == 1);
  REQUIRE(!ours.told.empty());
  CHECK_MESSAGE(has(kubectl.told[0], pair.stage().fill(one.expected)), kubectl.told[0]);
  for (const std::string& told : ours.told) CHECK(told == kubectl.told[0]);
  REQUIRE(ours.proxies.size() <= ours.told.size());
  CHECK(ours.proxies.empty() == kubectl.proxies.empty());
  for (const std::string& asked : ours.proxies) CHECK(asked == kubectl.proxies.at(0));
  CHECK(kubectl.result.ok());
  CHECK(ours.result.exit.code == 0);
}

void check_refused(const Case& one, const std::function<void(Stage&)>& prepare = {}) {
  CAPTURE(one.name);
  Pair pair(one);
  if (prepare) prepare(pair.stage());
  const Pair::Run kubectl = pair.kubectl();
  const Pair::Run ours = pair.ours();
  CHECK(kubectl.result.exit.code == 1);
  CHECK(ours.result.exit.code != 0);
  CHECK(ours.result.out.empty());
  const std::string said = std::string(one.ours).empty() ? one.expected : one.ours;
  CHECK_MESSAGE(has(kubectl.result.err, pair.stage().fill(one.expected)), kubectl.result.err);
  CHECK_MESSAGE(has(ours.result.err, pair.stage().fill(said)), ours.result.err);
  CHECK(kubectl.told.empty());
  CHECK(ours.told.empty());
}

constexpr char kSeveral[] = R"(
current-context: one
clusters:
- {name: c1, cluster: {server: '{server}', certificate-authority-data: '{ca}'}}
- name: c2
  cluster: {server: '{named}', certificate-authority-data: '{ca}', tls-server-name: named.kubedr.test}
contexts:
- {name: one, context: {cluster: c1, user: u1, namespace: not-ours}}
- {name: two, context: {cluster: c2, user: u2}}
- {name: dangling, context: {cluster: c1, user: nobody}}
users:
- {name: u1, user: {token: t1}}
- {name: u2, user: {token: t2}}
)";

constexpr char kExtension[] = R"(
current-context: x
clusters:
- name: c
  cluster:
    server: '{server}/prefix'
    certificate-authority: ca.crt
    proxy-url: 'http://me:pw@{proxy}'
    disable-compression: true
    tls-server-name: api.kubedr.test
    extensions: [{name: client.authentication.k8s.io/exec, extension: {audience: 7}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
users:
- name: u
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: ./plugin
      args: [one, 'two words']
      env: [{name: MINE, value: mine}, {name: SHARED, value: mine}]
      provideClusterInfo: true
)";

}  // namespace

TEST_CASE("kubectl: which server, which context, which file") {
  KUBEDR_NEEDS("kubectl");
  const Case cases[] = {
      {"the current context", kSeveral, {}, {}, "server GET  | authorization: Bearer t1 | gzip"},
      {"--context", kSeveral, {"--context=two"}, {}, "named GET  | called named.kubedr.test"},
      {"--cluster", kSeveral, {"--cluster=c2"}, {}, "Bearer t1"},
      {"--user", kSeveral, {"--user", "u2"}, {}, "server GET  | authorization: Bearer t2"},
      {"--server, which clears the name that belonged to the file's",
       kSeveral,
       {"--context=two", "--server={server}"},
       {},
       "server GET  | authorization: Bearer t2"},
      {"-s and a name of its own",
       kSeveral,
       {"-s", "{server}", "--tls-server-name=api.kubedr.test"},
       {},
       "server GET  | called api.kubedr.test | authorization: Bearer t1"},
      {"no kubeconfig but flags",
       "",
       {"--server={server}", "--token=t", "--certificate-authority={dir}/ca.crt"},
       {},
       "Bearer t"},
      {"a token of the flags for a user that is not there",
       kSeveral,
       {"--context=dangling", "--token=t"},
       {},
       "Bearer t"},
      {"a path in front of every path",
       single("server: '{server}/some/prefix/?q=1#f', certificate-authority-data: '{ca}'",
              "token: t"),
       {},
       {},
       "server GET /some/prefix"},
      {"plain http, where nobody says who he is",
       single("server: '{plain}'", "token: t, as: jane"),
       {},
       {},
       "plain GET  | impersonate-user: jane"},
      {"a server without scheme, which is http whatever else is said",
       single("server: '{plain_host}', certificate-authority-data: '{ca}'", "token: t"),
       {},
       {},
       "plain GET"},
  };
  for (const Case& one : cases) check_served(one);

  const Case home = {"the home folder's", "", {}, {}, "Bearer of-home"};
  check_served(home, [](Stage& stage) {
    stage.folder().write(".kube/config", stage.fill(single(kServer, "token: of-home")));
  });
  const Case merged = {"several files: the first that names something wins",
                       "",
                       {"--context=two"},
                       {{"KUBECONFIG", "{dir}/none:{dir}/first::{dir}/second:{dir}/first"}},
                       "named GET  | called named.kubedr.test | authorization: Bearer of-first"};
  check_served(merged, [](Stage& stage) {
    stage.folder().write("first", "users: [{name: u2, user: {token: of-first}}]");
    stage.folder().write("second", stage.fill(kSeveral));
  });
}

TEST_CASE("kubectl: as whom, by token, password, certificate and in somebody's place") {
  KUBEDR_NEEDS("kubectl");
  const Case cases[] = {
      {"token", single(kServer, "token: t"), {}, {}, "Bearer t"},
      {"tokenFile", single(kServer, "tokenFile: token"), {}, {}, "Bearer token-of-file"},
      {"both: the file wins",
       single(kServer, "token: t, tokenFile: token"),
       {},
       {},
       "Bearer token-of-file"},
      {"--token", single(kServer, "token: t"), {"--token", "mine"}, {}, "Bearer mine"},
      {"--token beside a file: the file wins",
       single(kServer, "tokenFile: token"),
       {"--token=mine"},
       {},
       "Bearer token-of-file"},
      {"--token instead of a plugin",
       single(kServer, plugin("command: no-such-plugin")),
       {"--token=mine"},
       {},
       "Bearer mine"},
      {"password", single(kServer, "username: u, password: p"), {}, {}, "Basic dTpw"},
      {"--username and --password",
       single(kServer, "username: u, password: p"),
       {"--username=me", "--password=pw"},
       {},
       "Basic bWU6cHc="},
      {"certificate",
       single(kServer, "client-certificate-data: '{cert}', client-key-data: '{key}'"),
       {},
       {},
       "certificate of carol"},
      {"certificate in files beside the kubeconfig",
       single("server: '{server}', certificate-authority: ca.crt",
              "client-certificate: carol.crt, client-key: carol.key"),
       {},
       {},
       "certificate of carol"},
      {"certificate of the flags",
       single(kServer, "client-certificate-data: '{cert}', client-key-data: '{key}'"),
       {"--client-certificate={dir}/carol.crt", "--client-key={dir}/carol.key"},
       {},
       "certificate of carol"},
      {"certificate and token",
       single(kServer, "token: t, client-certificate-data: '{cert}', client-key-data: '{key}'"),
       {},
       {},
       "certificate of carol | authorization: Bearer t"},
      {"in somebody's place",
       single(
           kServer,
           "token: t, as: jane, as-uid: '7', as-groups: [a, b], as-user-extra: {'Sc/ope': [x, z]}"),
       {},
       {},
       "impersonate-extra-sc%2fope: x | impersonate-extra-sc%2fope: z | impersonate-group: a | "
       "impersonate-group: b | impersonate-uid: 7 | impersonate-user: jane"},
      {"in the place of whom the flags name",
       single(kServer, "token: t, as: jane, as-groups: [a], as-user-extra: {s: [x], other: [z]}"),
       {"--as=joe", "--as-group=g", "--as-group=h", "--as-uid=8", "--as-user-extra=s=1",
        "--as-user-extra=s=2=3"},
       {},
       "impersonate-extra-other: z | impersonate-extra-s: 1 | impersonate-extra-s: 2=3 | "
       "impersonate-group: g | impersonate-group: h | impersonate-uid: 8 | impersonate-user: joe"},
      {"oidc, whose token is good for a while",
       // {"exp":4102444800}
       single(kServer,
              "auth-provider: {name: oidc, config: {id-token: e30.eyJleHAiOjQxMDI0NDQ4MDB9.c2ln, "
              "idp-issuer-url: 'https://idp', client-id: c}}"),
       {},
       {},
       "Bearer e30.eyJleHAiOjQxMDI0NDQ4MDB9.c2ln"},
  };
  for (const Case& one : cases) check_served(one);
}

TEST_CASE("kubectl: trust, names, limits and compression") {
  KUBEDR_NEEDS("kubectl");
  const std::string other = "server: '{server}', certificate-authority-data: '{other_ca}'";
  const Case cases[] = {
      {"insecure",
       single("server: '{server}', insecure-skip-tls-verify: true", "token: t"),
       {},
       {},
       "Bearer t"},
      {"--insecure-skip-tls-verify in spite of a CA",
       single(other, "token: t"),
       {"--insecure-skip-tls-verify"},
       {},
       "Bearer t"},
      {"--certificate-authority instead of the file's",
       single(other, "token: t"),
       {"--certificate-authority={dir}/ca.crt"},
       {},
       "Bearer t"},
      {"tls-server-name",
       single("server: '{named}', certificate-authority-data: '{ca}', "
              "tls-server-name: named.kubedr.test",
              "token: t"),
       {},
       {},
       "named GET  | called named.kubedr.test"},
      {"a time limit in seconds",
       single(kServer, "token: t"),
       {"--request-timeout=7"},
       {},
       "timeout=7s"},
      {"a time limit with its unit",
       single(kServer, "token: t"),
       {"--request-timeout=30s"},
       {},
       "timeout=30s"},
      {"no time limit", single(kServer, "token: t"), {"--request-timeout=0"}, {}, "Bearer t"},
      {"--disable-compression",
       single(kServer, "token: t"),
       {"--disable-compression"},
       {},
       "Bearer t"},
      {"disable-compression",
       single(kServer + ", disable-compression: true", "token: t"),
       {},
       {},
       "Bearer t"},
  };
  for (const Case& one : cases) check_served(one);

  const Case insecure = {
      "", single("server: '{server}', insecure-skip-tls-verify: true", ""), {}, {}, ""};
  CHECK(count(Pair(insecure).ours().result.err, "warning: https://127.0.0.1") == 1);
}

TEST_CASE("kubectl: through proxies") {
  KUBEDR_NEEDS("kubectl");
  // Only the proxy knows where that is.
  const std::string far =
      "server: 'https://api.kubedr.test:6443', certificate-authority-data: '{ca}'";
  const Case cases[] = {
      {"proxy-url",
       single(far + ", proxy-url: 'http://{proxy}'", "token: t"),
       {},
       {},
       "called api.kubedr.test"},
      {"proxy-url with a password",
       single(far + ", proxy-url: 'http://me:p%40w@{proxy}'", "token: t"),
       {},
       {},
       "Bearer t"},
      {"proxy-url of SOCKS, which resolves the name",
       single(far + ", proxy-url: 'socks5://{proxy}'", "token: t"),
       {},
       {},
       "Bearer t"},
      {"proxy-url with TLS, by the cluster's authority",
       single(far + ", proxy-url: 'https://{tls_proxy}'", "token: t"),
       {},
       {},
       "Bearer t"},
      {"proxy-url for this machine",
       single(kServer + ", proxy-url: 'http://{proxy}'", "token: t"),
       {},
       {},
       "Bearer t"},
      {"proxy-url and a name to check",
       single(kServer + ", proxy-url: 'http://{proxy}', tls-server-name: api.kubedr.test",
              "token: t"),
       {},
       {},
       "called api.kubedr.test"},
      {"HTTPS_PROXY", single(far, "token: t"), {}, {{"HTTPS_PROXY", "http://{proxy}"}}, "Bearer t"},
      {"https_proxy without a scheme",
       single(far, "token: t"),
       {},
       {{"https_proxy", "{proxy}"}},
       "Bearer t"},
      {"HTTPS_PROXY of SOCKS",
       single(far, "token: t"),
       {},
       {{"HTTPS_PROXY", "socks5://{proxy}"}},
       "Bearer t"},
      {"upper case before lower case",
       single(far, "token: t"),
       {},
       {{"HTTPS_PROXY", "{proxy}"}, {"https_proxy", "127.0.0.1:1"}},
       "Bearer t"},
      {"proxy-url before the environment's",
       single(far + ", proxy-url: 'http://{proxy}'", "token: t"),
       {},
       {{"HTTPS_PROXY", "127.0.0.1:1"}, {"NO_PROXY", "*"}},
       "Bearer t"},
      {"this machine needs no proxy of the environment",
       single(kServer, "token: t"),
       {},
       {{"HTTPS_PROXY", "127.0.0.1:1"}, {"ALL_PROXY", "127.0.0.1:1"}},
       "Bearer t"},
      {"nor does ALL_PROXY count, or HTTP_PROXY for https",
       single(far, "token: t"),
       {},
       {{"HTTPS_PROXY", "{proxy}"}, {"ALL_PROXY", "127.0.0.1:1"}, {"HTTP_PROXY", "127.0.0.1:1"}},
       "Bearer t"},
      {"NO_PROXY for others",
       single(far, "token: t"),
       {},
       {{"HTTPS_PROXY", "{proxy}"}, {"NO_PROXY", "10.0.0.0/8,.other.test,api.kubedr.test:443"}},
       "Bearer t"},
  };
  for (const Case& one : cases) check_served(one);
}

TEST_CASE("kubectl: a plugin is run the same way and told the same") {
  KUBEDR_NEEDS("kubectl");
  const auto says = [](const std::string& status) {
    return [status](Stage& stage) {
      stage.write_plugin(
          "plugin",
          "echo \"$KUBERNETES_EXEC_INFO\" >> " + (stage.folder() / "info").string() +
              "\nprintf '%s|' \"$@\" \"$MINE\" \"$SHARED\" \"$OURS\" \"$RESTIC_PASSWORD\" >> " +
              (stage.folder() / "seen").string() +
              "\ncat "
              "<<E\n{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/" +
              status + "}\nE\n");
    };
  };
  const std::string token = R"(v1","status":{"token":"of-plugin"})";
  const Case in_folder = {"a path beside the kubeconfig",
                          single(kServer, plugin("command: ./plugin")),
                          {},
                          {},
                          "Bearer of-plugin"};
  check_served(in_folder, says(token));
  const Case in_path = {"a name",
                        single(kServer, plugin("command: plugin")),
                        {},
                        {{"PATH", "{dir}:/usr/bin:/bin"}},
                        "Bearer of-plugin"};
  check_served(in_path, says(token));
  const Case expired = {"one that has expired already",
                        single(kServer, plugin("command: ./plugin")),
                        {},
                        {},
                        "Bearer of-plugin"};
  check_served(
      expired,
      says(R"(v1","status":{"token":"of-plugin","expirationTimestamp":"2020-01-01T00:00:00Z"})"));
  const Case over_http = {"not over plain http",
                          single("server: '{plain}'", plugin("command: ./no")),
                          {},
                          {},
                          "plain GET"};
  check_served(over_http);

  const Case certificate = {"a certificate",
                            single(kServer, plugin("command: ./plugin")),
                            {},
                            {},
                            "certificate of carol"};
  check_served(certificate, [](Stage& stage) {
    const Json credential = {{"kind", "ExecCredential"},
                             {"apiVersion", "client.authentication.k8s.io/v1"},
                             {"status",
                              {{"clientCertificateData", read_text(stage.folder() / "carol.crt")},
                               {"clientKeyData", read_text(stage.folder() / "carol.key")}}}};
    stage.folder().write("credential", credential.dump());
    stage.write_plugin("plugin", "cat " + (stage.folder() / "credential").string() + "\n");
  });

  const Case told = {"told of the cluster",
                     kExtension,
                     {},
                     {{"OURS", "ours"}, {"SHARED", "ours"}},
                     "called api.kubedr.test | authorization: Bearer of-plugin"};
  Pair pair(told);
  says(R"(v1beta1","status":{"token":"of-plugin"})")(pair.stage());
  const Pair::Run kubectl = pair.kubectl();
  const std::string info = read_text(pair.stage().folder() / "info");
  const std::string seen = read_text(pair.stage().folder() / "seen");
  REQUIRE(kubectl.told.size() == 1);
  const Pair::Run ours = pair.ours();
  REQUIRE_MESSAGE(!ours.told.empty(), ours.result.err);
  CHECK(ours.told[0] == kubectl.told[0]);
  CHECK(ours.proxies.at(0) == kubectl.proxies.at(0));
  CHECK(seen == "one|two words|mine|mine|ours||");
  CHECK(read_text(pair.stage().folder() / "seen") == seen + seen);
  const std::string our_info = read_text(pair.stage().folder() / "info").substr(info.size());
  CHECK(Json::parse(our_info) == Json::parse(info));
  CHECK(std::count(our_info.begin(), our_info.end(), '\n') == 2);  // echo's own is one
  CHECK(has(info, "\"audience\":7"));
}

TEST_CASE("kubectl: the same refusals before anybody is asked") {
  KUBEDR_NEEDS("kubectl");
  const std::string far = "server: 'https://api.kubedr.test:6443'";
  const Case cases[] = {
      {"no such file",
       "",
       {"--kubeconfig={dir}/none"},
       {},
       "stat {dir}/none: no such file or directory"},
      // kubectl tries localhost:8080 then. Nobody's backups are there, so ours says what is
      // missing.
      {"no kubeconfig",
       "",
       {},
       {},
       "localhost:8080",
       "invalid configuration: no configuration has been provided"},
      {"no file of several",
       "",
       {},
       {{"KUBECONFIG", "{dir}/none:{dir}/nor-this"}},
       "localhost:8080",
       "invalid configuration: no configuration has been provided"},
      {"no such context", kSeveral, {"--context=nope"}, {}, "context \"nope\" does not exist"},
      {"no such current context",
       "current-context: nope",
       {},
       {},
       "context was not found for specified context: nope"},
      {"no such cluster", kSeveral, {"--cluster=nope"}, {}, "cluster \"nope\" does not exist"},
      {"no such user", kSeveral, {"--user=nope"}, {}, "auth info \"nope\" does not exist"},
      {"no YAML", "a: [b", {}, {}, "error loading config file \"{dir}/config\": "},
      {"two of one name", "users: [{name: u}, {name: u}]", {}, {}, "duplicate name \"u\" in list"},
      {"a token that is no string",
       single(kServer, "token: 123"),
       {},
       {},
       "error loading config file \"{dir}/config\": "},
      {"two ways to say who, even to plain http",
       single("server: '{plain}'", "token: t, username: u"),
       {},
       {},
       "more than one authentication method found for u"},
      {"two ways to say who",
       single(kServer, "token: t, username: u"),
       {},
       {},
       "more than one authentication method found for u; found [token basicAuth], only one is "
       "allowed"},
      {"a certificate without its key",
       single(kServer, "client-certificate-data: '{cert}'"),
       {},
       {},
       "client-key-data or client-key must be specified for u to use the clientCert authentication "
       "method"},
      {"a CA twice",
       single(kServer + ", certificate-authority: ca.crt", ""),
       {},
       {},
       "certificate-authority-data and certificate-authority are both specified for c"},
      {"a CA that is not to be used",
       single(kServer + ", insecure-skip-tls-verify: true", "token: t"),
       {},
       {},
       "specifying a root certificates file with the insecure flag is not allowed"},
      {"a CA's file that is not there",
       single("server: '{server}', certificate-authority: none", "token: t"),
       {},
       {},
       "unable to read certificate-authority"},
      {"a group without a user",
       single(kServer, "token: t"),
       {"--as-group=g"},
       {},
       "requesting uid, groups or user-extra for u without impersonating a user"},
      {"a time limit that is none",
       single(kServer, "token: t"),
       {"--request-timeout=soon"},
       {},
       "Invalid timeout value"},
      {"a proxy that nobody speaks",
       single(kServer + ", proxy-url: 'ftp://p'", "token: t"),
       {},
       {},
       "unsupported scheme \"ftp\", must be http, https, or socks5"},
      {"the plugin of long ago",
       single(kServer, "auth-provider: {name: gcp}"),
       {},
       {},
       "The gcp auth plugin has been removed"},
      {"a provider nobody knows",
       single(kServer, "auth-provider: {name: x}"),
       {},
       {},
       "no Auth Provider found for name \"x\""},
      {"exec without interactiveMode",
       single(kServer, "exec: {command: c, apiVersion: client.authentication.k8s.io/v1}"),
       {},
       {},
       "interactiveMode must be specified for u to use exec authentication plugin"},
      {"exec without command",
       single(kServer, plugin("args: []")),
       {},
       {},
       "command must be specified for u to use exec authentication plugin"},
      {"exec of an old version",
       single(kServer,
              "exec: {command: c, interactiveMode: Never, apiVersion: "
              "client.authentication.k8s.io/v1alpha1}"),
       {},
       {},
       "exec plugin: invalid apiVersion \"client.authentication.k8s.io/v1alpha1\""},
      {"exec that is not installed",
       single(kServer, plugin("command: no-such-plugin, installHint: \"brew\\e[1m install it\"")),
       {},
       {},
       "getting credentials: exec: executable no-such-plugin not found"},
      {"a path that is not there",
       single(kServer, plugin("command: ./none")),
       {},
       {},
       "getting credentials: exec: fork/exec {dir}/none: no such file or directory"},
      {"exec that needs a terminal",
       single(kServer,
              "exec: {command: 'true', interactiveMode: Always, apiVersion: "
              "client.authentication.k8s.io/v1}"),
       {},
       {},
       "exec plugin cannot support interactive mode: standard input is not a terminal"},
      {"exec that fails",
       single(kServer, plugin("command: 'false'")),
       {},
       {},
       "getting credentials: exec: executable false failed with exit code 1"},
      {"nobody there",
       single("server: 'https://127.0.0.1:1'", "token: t"),
       {},
       {},
       "did you specify the right host or port?"},
      {"an authority we do not know",
       single("server: '{server}', certificate-authority-data: '{other_ca}'", "token: t"),
       {},
       {},
       "unable to connect to the server: "},
      {"another name in the certificate",
       single("server: '{named}', certificate-authority-data: '{ca}'", "token: t"),
       {},
       {},
       "unable to connect to the server: "},
      {"TLS spoken to who does not",
       single("server: 'https://{plain_host}'", "token: t"),
       {},
       {},
       "unable to connect to the server: "},
      {"a proxy that is not there",
       single(far + ", proxy-url: 'http://127.0.0.1:1'", "token: t"),
       {},
       {},
       "did you specify the right host or port?"},
  };
  for (const Case& one : cases) check_refused(one);
}

TEST_CASE("kubectl: plugins that print no credentials are refused in the same words") {
  KUBEDR_NEEDS("kubectl");

  struct Output {
    const char* text;
    const char* refusal;
    const char* ours = "";  // where it is not the same
  };

  const Output outputs[] = {
      {R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{"token":"t"}})",
       "exec plugin is configured to use API version client.authentication.k8s.io/v1, plugin "
       "returned version client.authentication.k8s.io/"},
      {R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1"})",
       "exec plugin didn't return a status field"},
      {R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{}})",
       "exec plugin didn't return a token or cert/key pair"},
      {R"({"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"clientKeyData":"k"}})",
       "exec plugin returned only certificate or key, not both"},
      {R"({"kind":"Secret","apiVersion":"v1"})", "decoding stdout"},
      {"good morning", "decoding stdout"},
      {"", "exec plugin is configured to use API version", "decoding stdout: not valid JSON"},
  };
  for (const Output& output : outputs) {
    CAPTURE(output.text);
    const Case one = {
        output.refusal, single(kServer, plugin("command: ./plugin")), {}, {}, output.refusal,
        output.ours};
    check_refused(one, [&](Stage& stage) {
      stage.folder().write("output", output.text);
      stage.write_plugin("plugin", "cat " + (stage.folder() / "output").string() + "\n");
    });
  }
}

TEST_CASE("kubectl: the same refusals of a server") {
  KUBEDR_NEEDS("kubectl");

  struct Answer {
    int status;
    std::string body;
    const char* refusal;
    int exit_code;
    const char* ours = "";  // where it is not the same
  };

  const auto status = [](const char* reason, const char* message) {
    return Json({{"kind", "Status"},
                 {"apiVersion", "v1"},
                 {"status", "Failure"},
                 {"reason", reason},
                 {"message", message},
                 {"code", 0}})
        .dump();
  };
  // What a server says of an object, and what it says of each field.
  const auto invalid = [](const char* message, const std::vector<const char*>& fields) {
    Json causes = Json::array();
    for (const char* field : fields) {
      causes.push_back(
          {{"reason", "FieldValueRequired"}, {"message", "Required value"}, {"field", field}});
    }
    return Json({{"kind", "Status"},
                 {"apiVersion", "v1"},
                 {"status", "Failure"},
                 {"reason", "Invalid"},
                 {"message", message},
                 {"details", {{"kind", "Thing"}, {"name", "x"}, {"causes", causes}}},
                 {"code", 422}})
        .dump();
  };
  const char kDenied[] = "admission webhook \"w.example.com\" denied the request: not today";
  const char kOne[] = "Thing \"x\" is invalid: spec.a: Required value";
  const char kTwo[] = "Thing \"x\" is invalid: [spec.a: Required value, spec.b: Required value]";
  const Answer answers[] = {
      {400, status("BadRequest", kDenied), kDenied, 2},
      {403, status("Forbidden", kDenied), kDenied, 21},
      // Of a whole kind that says what is missing; we know what it is.
      {404, status("NotFound", "the server could not find the requested resource"),
       "the server could not find the requested resource", 4,
       "KubeDR's resource definitions are not installed"},
      {409, status("Conflict", "the object has been modified; please apply your changes"),
       "the object has been modified; please apply your changes", 1},
      {409, status("AlreadyExists", "things \"x\" already exists"), "things \"x\" already exists",
       1},
      {413, status("RequestEntityTooLarge", "Request entity too large: limit is 3145728"),
       "Request entity too large: limit is 3145728", 1},
      // kubectl tells the fields, we what the server says of them.
      {422, invalid(kOne, {"spec.a"}), "The Thing \"x\" is invalid: spec.a: Required value", 2,
       kOne},
      {422, invalid(kTwo, {"spec.a", "spec.b"}),
       "The Thing \"x\" is invalid: \n* spec.a: Required value\n* spec.b: Required value", 2, kTwo},
      {401, status("Unauthorized", "Unauthorized"), "you must be logged in to the server (", 21},
      {401, "nobody", "you must be logged in to the server (", 21},
      {403, status("Forbidden", "locations are forbidden: User \"jane\" cannot"),
       "locations are forbidden: User \"jane\" cannot", 21},
      {410, status("Expired", "too old resource version"), "too old resource version", 1},
      {422, "<html>", "The request is invalid: ", 2,
       "the server rejected our request due to an error in our request"},
      {429, "slow down",
       "the server has received too many requests and has asked us to try again later", 20},
      {500, "<html>hi</html>",
       "an error on the server (\"<html>hi</html>\") has prevented the request from succeeding",
       20},
      {503, "<html>hi</html>", "the server is currently unable to handle the request", 20},
      {504, status("Timeout", "Timeout: request did not complete within 34s"),
       "request did not complete within 34s", 20},
  };
  for (const Answer& answer : answers) {
    CAPTURE(answer.status);
    const Case one = {"", single(kServer, "token: t"), {}, {}, ""};
    Pair pair(one, [&](const SeenRequest&) {
      const char* type = answer.body.starts_with("{") ? "application/json" : "text/plain";
      return http_answer(answer.status, answer.body, fmt::format("Content-Type: {}\r\n", type));
    });
    const Pair::Run kubectl = pair.kubectl();
    const Pair::Run ours = pair.ours();
    CHECK(kubectl.result.exit.code == 1);
    CHECK_MESSAGE(has(kubectl.result.err, answer.refusal), kubectl.result.err);
    const std::string said = std::string(answer.ours).empty() ? answer.refusal : answer.ours;
    CHECK_MESSAGE(has(ours.result.err, said), ours.result.err);
    CHECK(ours.result.exit.code == answer.exit_code);
    CHECK(ours.told.at(0) == kubectl.told.at(0));
  }
}

TEST_CASE("kubectl: who asks us to come again later is asked again later") {
  KUBEDR_NEEDS("kubectl");
  for (const int code : {429, 503, 500}) {
    CAPTURE(code);
    const Case one = {"", single(kServer, "token: t"), {}, {}, ""};
    std::atomic<int> asked = 0;
    Pair pair(one, [&](const SeenRequest& request) {
      return asked++ == 0 ? http_answer(code, "later", "Retry-After: 1\r\n") : empty_list(request);
    });
    const Pair::Run kubectl = pair.kubectl();
    CHECK(kubectl.result.ok());
    CHECK(kubectl.told.size() == 2);
    asked = 0;
    const auto begun = std::chrono::steady_clock::now();
    const Pair::Run ours = pair.ours();
    CHECK_MESSAGE(ours.result.ok(), ours.result.err);
    CHECK(ours.told.at(1) == kubectl.told.at(1));
    CHECK(std::chrono::steady_clock::now() - begun >= std::chrono::seconds(1));
  }
}

TEST_CASE("kubectl: a server's warnings are shown, each once") {
  KUBEDR_NEEDS("kubectl");
  const Case one = {"", single(kServer, "token: t"), {}, {}, ""};
  Pair pair(one, [](const SeenRequest&) {
    return http_answer(200, R"({"kind":"List","metadata":{},"items":[]})",
                       "Warning: 299 - \"v1alpha1 is \\\"old\\\"\", 199 - \"not for people\"\r\n"
                       "Warning: 299 - \"second\"\r\nWarning: 299 - \"second\"\r\n");
  });
  const Pair::Run kubectl = pair.kubectl();
  const Pair::Run ours = pair.ours();
  REQUIRE(ours.told.size() > 1);
  CHECK(kubectl.result.err == "Warning: v1alpha1 is \"old\"\nWarning: second\n");
  CHECK_MESSAGE(ours.result.err.starts_with("warning: v1alpha1 is \"old\"\nwarning: second\n"),
                ours.result.err);
  CHECK(count(ours.result.err, "warning: ") == 2);
}

TEST_CASE("kubectl: what its preferences say of plugins counts for ours too") {
  KUBEDR_NEEDS("kubectl");
  const std::string config = single(kServer, plugin("command: ./plugin"));
  const std::string by_name = single(kServer, plugin("command: the-plugin"));
  const auto prefer = [](Stage& stage, const std::string& file, const std::string& preferences) {
    stage.folder().write(file, stage.fill("apiVersion: kubectl.config.k8s.io/v1beta1\n"
                                          "kind: Preference\n" +
                                          preferences));
    const std::string script =
        R"(echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1",)"
        R"("status":{"token":"plugins"}}')"
        "\n";
    stage.write_plugin("plugin", script);
    stage.write_plugin("bin/the-plugin", script);
  };
  const char kHome[] = ".kube/kuberc";
  const std::string deny = "credentialPluginPolicy: DenyAll\n";
  const auto allow = [](const std::string& entry) {
    return "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist: [" + entry + "]\n";
  };

  struct Row {
    Case one;
    std::string file;
    std::string preferences;
  };

  const std::map<std::string, std::string> path = {{"PATH", "{dir}/bin:/usr/bin:/bin"}};
  const char kServed[] = "Bearer plugins";
  const Row served[] = {
      {{"no policy", config, {}, {}, kServed}, kHome, ""},
      {{"AllowAll", config, {}, {}, kServed}, kHome, "credentialPluginPolicy: AllowAll\n"},
      {{"a listed path", config, {}, {}, kServed}, kHome, allow("{command: '{dir}/plugin'}")},
      {{"a listed name", by_name, {}, path, kServed}, kHome, allow("{name: the-plugin}")},
      {{"the path of a name", by_name, {}, path, kServed},
       kHome,
       allow("{command: other}, {command: '{dir}/bin/the-plugin'}")},
      {{"the name of a path",
        single(kServer, plugin("command: ./bin/the-plugin")),
        {},
        path,
        kServed},
       kHome,
       allow("{command: the-plugin}")},
      {{"KUBERC=off", config, {}, {{"KUBERC", "off"}}, kServed}, kHome, deny},
      {{"KUBECTL_KUBERC", config, {}, {{"KUBECTL_KUBERC", "False"}}, kServed}, kHome, deny},
      {{"another file", config, {"--kuberc={dir}/mine"}, {{"KUBERC", "{dir}/none"}}, kServed},
       "mine",
       ""},
      {{"not readable, and not asked for", config, {}, {}, kServed}, kHome, "aliases: [[\n"},
      {{"another kind", config, {}, {}, kServed}, kHome, "kind: Other\n" + deny},
  };
  for (const Row& row : served) {
    check_served(row.one, [&](Stage& stage) { prefer(stage, row.file, row.preferences); });
  }
  const Row refused[] = {
      {{"DenyAll",
        config,
        {},
        {},
        "getting credentials: plugin \"{dir}/plugin\" not allowed: policy set to \"DenyAll\""},
       kHome,
       deny},
      {{"--kuberc", config, {"--kuberc", "{dir}/mine"}, {}, "policy set to \"DenyAll\""},
       "mine",
       deny},
      {{"KUBERC", config, {}, {{"KUBERC", "{dir}/mine"}}, "policy set to \"DenyAll\""},
       "mine",
       deny},
      {{"not listed",
        by_name,
        {},
        path,
        "plugin path \"{dir}/bin/the-plugin\" is not permitted by the credential plugin allowlist"},
       kHome,
       allow("{command: other}, {command: '{dir}/the-plugin'}")},
      {{"not there, and so not the one that is listed",
        single(kServer, plugin("command: ./none")),
        {},
        {},
        "plugin path \"{dir}/none\" cannot be resolved for credential plugin allowlist check"},
       kHome,
       allow("{command: '{dir}/plugin'}")},
      {{"a list and no policy",
        config,
        {},
        {},
        "misconfigured credential plugin allowlist: plugin policy is \"\" but allowlist is "
        "non-nil"},
       kHome,
       "credentialPluginAllowlist: [{command: other}]\n"},
      {{"a policy and no list",
        config,
        {},
        {},
        "credential plugin policy set to \"Allowlist\", but allowlist is unspecified"},
       kHome,
       "credentialPluginPolicy: Allowlist\n"},
      {{"an empty list", config, {}, {}, "but allowlist is empty; use \"DenyAll\" policy instead"},
       kHome,
       allow("")},
      {{"an empty entry", config, {}, {}, "empty allowlist entry #2"},
       kHome,
       allow("{command: other}, {}")},
      {{"a path that is not plain",
        config,
        {},
        {},
        "non-normalized file path: \"/a/../b\" vs \"/b\""},
       kHome,
       allow("{command: /a/../b}")},
      {{"a policy that nobody knows", config, {}, {}, "unknown plugin policy: \"Maybe\""},
       kHome,
       "credentialPluginPolicy: Maybe\n"},
      {{"a file that is not there", config, {"--kuberc={dir}/none"}, {}, "kuberc error kuberc: "},
       kHome,
       ""},
      {{"a file that nobody can read", config, {"--kuberc={dir}/mine"}, {}, "no valid preferences"},
       "mine",
       allow("{name: a, command: b}")},
      {{"both ways at once",
        config,
        {"--kuberc={dir}/mine"},
        {{"KUBERC", "off"}},
        "KUBERC=off and passing kuberc flag are mutually exclusive"},
       "mine",
       ""},
  };
  for (const Row& row : refused) {
    check_refused(row.one, [&](Stage& stage) { prefer(stage, row.file, row.preferences); });
  }
}
