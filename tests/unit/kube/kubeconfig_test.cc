#include "kube/kubeconfig.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "base/error.h"
#include "base/hex.h"

namespace kubedr::kube {
namespace {

namespace fs = std::filesystem;

// A folder for one test, gone with it.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "kubedr-kube-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) FAIL("no temporary folder");
    path_ = name;
  }

  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  fs::path write(const std::string& name, const std::string& text) const {
    const fs::path path = path_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path;
  }

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

constexpr char kOne[] = R"(
apiVersion: v1
kind: Config
current-context: one
clusters:
- name: c1
  cluster: {server: "https://one:6443/prefix/"}
- name: shared
  cluster: {server: "https://shared-of-one"}
contexts:
- name: one
  context: {cluster: c1, user: u1, namespace: ignored}
- name: bare
  context: {cluster: c1}
users:
- name: u1
  user: {token: t1}
)";

constexpr char kTwo[] = R"(
current-context: two
clusters:
- name: c2
  cluster: {server: "https://two:6443", tls-server-name: name-of-two, proxy-url: "http://proxy:1"}
- name: shared
  cluster: {server: "https://shared-of-two", tls-server-name: never}
contexts:
- name: two
  context: {cluster: c2, user: u2}
- name: shared
  context: {cluster: shared, user: u2}
users:
- name: u2
  user: {username: me, password: secret}
)";

Config load(const Folder& folder, const std::string& text, Flags flags = {}) {
  flags.kubeconfig = folder.write("config", text).string();
  return load_config(flags, {});
}

std::string failure(const std::function<void()>& function) {
  try {
    function();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    return error.what();
  }
  return "no failure";
}

// One cluster and one user with the given fields.
std::string single(const std::string& cluster, const std::string& user) {
  return "current-context: x\n"
         "clusters: [{name: c, cluster: {" +
         cluster +
         "}}]\n"
         "contexts: [{name: x, context: {cluster: c, user: u}}]\n"
         "users: [{name: u, user: {" +
         user + "}}]\n";
}

}  // namespace

TEST_CASE("the current context chooses server and token; the path prefix stays") {
  const Folder folder;
  const Config config = load(folder, kOne);
  CHECK(config.server == "https://one:6443/prefix");
  CHECK(config.token.reveal() == "t1");
  CHECK(config.context == "one");
  CHECK_FALSE(config.in_cluster);
  CHECK(config.tls.verify);
}

TEST_CASE("files are merged by whole entries: the first that defines a name wins") {
  const Folder folder;
  const fs::path one = folder.write("one", kOne);
  const fs::path two = folder.write("two", kTwo);
  Surroundings surroundings;
  surroundings.kubeconfig = one.string() + "::" + (folder.path() / "missing").string() + ":" +
                            two.string() + ":" + one.string();
  CHECK(load_config({}, surroundings).server == "https://one:6443/prefix");

  Flags flags;
  flags.context = "shared";
  const Config shared = load_config(flags, surroundings);
  CHECK(shared.server == "https://shared-of-one");
  CHECK(shared.tls.server_name.empty());
  CHECK(shared.username == "me");

  flags.context = "two";
  const Config config = load_config(flags, surroundings);
  CHECK(config.server == "https://two:6443");
  CHECK(config.tls.server_name == "name-of-two");
  CHECK(config.proxy_url == "http://proxy:1");
  CHECK(config.password.reveal() == "secret");
}

TEST_CASE("--kubeconfig is read alone and must exist") {
  const Folder folder;
  Surroundings surroundings;
  surroundings.kubeconfig = folder.write("one", kOne).string();
  Flags flags;
  flags.kubeconfig = folder.write("two", kTwo).string();
  CHECK(load_config(flags, surroundings).context == "two");
  flags.kubeconfig = "/no/such/file";
  CHECK(failure([&] { load_config(flags, surroundings); }) ==
        "stat /no/such/file: no such file or directory");
}

TEST_CASE("without KUBECONFIG the home folder's config is read; a missing one is no error") {
  const Folder folder;
  Surroundings surroundings;
  surroundings.home = folder.path();
  CHECK(failure([&] {
          load_config({}, surroundings);
        }).starts_with("invalid configuration: no configuration has been provided"));
  folder.write(".kube/config", kOne);
  CHECK(load_config({}, surroundings).context == "one");
}

TEST_CASE("KUBECONFIG with only missing files does not fall back to the home folder") {
  const Folder folder;
  folder.write(".kube/config", kOne);
  Surroundings surroundings;
  surroundings.home = folder.path();
  surroundings.kubeconfig = "/no/such/file";
  CHECK(failure([&] {
          load_config({}, surroundings);
        }).starts_with("invalid configuration: no configuration has been provided"));
}

TEST_CASE("names that are not there are said in kubectl's words") {
  const Folder folder;
  Flags flags;
  flags.context = "nope";
  CHECK(failure([&] { load(folder, kOne, flags); }) == "context \"nope\" does not exist");
  CHECK(failure([&] { load(folder, "current-context: nope"); }) ==
        "context was not found for specified context: nope");
  flags = {};
  flags.cluster = "nope";
  CHECK(failure([&] { load(folder, kOne, flags); }) == "cluster \"nope\" does not exist");
  flags = {};
  flags.user = "nope";
  CHECK(failure([&] { load(folder, kOne, flags); }) == "auth info \"nope\" does not exist");
}

TEST_CASE("malformed files are named, with the line where there is one") {
  struct Case {
    const char* text;
    const char* part;
  };

  const Case cases[] = {
      {"clusters: [\n", "line "},
      {"clusters:\n- name: a\n  name: b\n", "line 3"},
      {"[]\n", "is no kubeconfig"},
      {"clusters: {}\n", "clusters: must be a list"},
      {"users: [{user: {}}]\n", "users: an entry has no name"},
      {"users: [{name: u, user: 7}]\n", "\"u\" must be a map"},
      {"contexts: [{name: a}, {name: a}]\n", "duplicate name \"a\" in list"},
  };
  for (const Case& one : cases) {
    const Folder folder;
    const std::string text = failure([&] { load(folder, one.text); });
    INFO(text);
    CHECK(text.starts_with("error loading config file \"" + folder.path().string() + "/config\""));
    CHECK(text.find(one.part) != std::string::npos);
  }
}

TEST_CASE("fields of a wrong type or damaged base64 are named without their value") {
  struct Case {
    const char* cluster;
    const char* user;
    const char* part;
  };

  const Case cases[] = {
      {"server: 'https://h'", "token: 12345", "user \"u\": token: must be a string"},
      {"server: 'https://h', insecure-skip-tls-verify: 'yes'", "",
       "cluster \"c\": insecure-skip-tls-verify: must be true or false"},
      {"server: 'https://h', certificate-authority-data: 'hush!'", "",
       "cluster \"c\": certificate-authority-data: not base64"},
      {"server: 'https://h'", "as-groups: hush", "user \"u\": as-groups: must be a list"},
  };
  for (const Case& one : cases) {
    const Folder folder;
    const std::string text = failure([&] { load(folder, single(one.cluster, one.user)); });
    INFO(text);
    CHECK(text.find(one.part) != std::string::npos);
    CHECK(text.find("hush") == std::string::npos);
    CHECK(text.find("12345") == std::string::npos);
  }
}

TEST_CASE("relative paths start at the folder of the file that names them") {
  const Folder folder;
  folder.write("sub/pki/ca.pem", "the ca");
  folder.write("sub/pki/cert.pem", "the cert");
  folder.write("sub/pki/key.pem", "the key");
  Flags flags;
  flags.kubeconfig =
      folder
          .write("sub/config", single("server: 'https://h', certificate-authority: pki/ca.pem",
                                      "client-certificate: pki/cert.pem, client-key: pki/key.pem, "
                                      "tokenFile: token"))
          .string();
  const Config config = load_config(flags, {});
  CHECK(config.tls.ca_pem == "the ca");
  CHECK(config.tls.client_certificate_pem == "the cert");
  CHECK(config.tls.client_key_pem.reveal() == "the key");
  CHECK(config.token_file == folder.path() / "sub" / "token");
}

TEST_CASE("data fields are decoded; data and file together are an error") {
  const Folder folder;
  const std::string data = to_base64(as_bytes("the ca"));
  CHECK(load(folder, single("server: 'https://h', certificate-authority-data: " + data, ""))
            .tls.ca_pem == "the ca");
  CHECK(failure([&] {
          load(folder, single("server: 'https://h', certificate-authority: x, "
                              "certificate-authority-data: " +
                                  data,
                              ""));
        }).find("are both specified") != std::string::npos);
}

TEST_CASE("--server replaces the server and the TLS name that belonged to it") {
  const Folder folder;
  const std::string text = single("server: 'https://h', tls-server-name: name-of-h", "");
  Flags flags;
  flags.server = "https://other:1/";
  CHECK(load(folder, text, flags).server == "https://other:1");
  CHECK(load(folder, text, flags).tls.server_name.empty());
  flags.tls_server_name = "mine";
  CHECK(load(folder, text, flags).tls.server_name == "mine");
}

TEST_CASE("a trust flag replaces all that the file says about trust") {
  const Folder folder;
  const std::string text =
      single("server: 'https://h', certificate-authority-data: " + to_base64(as_bytes("ca")), "");
  Flags flags;
  flags.insecure_skip_tls_verify = true;
  CHECK_FALSE(load(folder, text, flags).tls.verify);
  CHECK(load(folder, text, flags).tls.ca_pem.empty());
  flags = {};
  flags.certificate_authority = folder.write("mine.pem", "mine").string();
  CHECK(load(folder, text, flags).tls.ca_pem == "mine");
  CHECK(load(folder, single("server: 'https://h', insecure-skip-tls-verify: true", ""), flags)
            .tls.verify);
}

TEST_CASE("a CA and insecure together in a file are refused") {
  const Folder folder;
  const std::string text = single(
      "server: 'https://h', insecure-skip-tls-verify: true, "
      "certificate-authority-data: " +
          to_base64(as_bytes("ca")),
      "");
  CHECK(failure([&] { load(folder, text); }).find("insecure flag is not allowed") !=
        std::string::npos);
}

TEST_CASE("--token replaces the token, but a token file wins over it") {
  const Folder folder;
  Flags flags;
  flags.token = Secret("mine");
  CHECK(load(folder, single("server: 'https://h'", "token: t"), flags).token.reveal() == "mine");
  const Config config = load(folder, single("server: 'https://h'", "tokenFile: /run/token"), flags);
  CHECK(config.token_file == "/run/token");
}

TEST_CASE("a credential plugin is read whole, and left out where there is another way") {
  const Folder folder;
  const std::string exec = single("server: 'https://h'", R"(exec: {
      command: bin/login, args: [a, b], env: [{name: N, value: v}], provideClusterInfo: true,
      installHint: "brew install login\e[1m", interactiveMode: Never,
      apiVersion: client.authentication.k8s.io/v1}
  )");
  const Config config = load(folder, exec);
  REQUIRE(config.exec);
  CHECK(config.exec->command == folder.path() / "bin/login");
  CHECK(config.exec->arguments == std::vector<std::string>{"a", "b"});
  CHECK(config.exec->variables == std::vector<std::pair<std::string, std::string>>{{"N", "v"}});
  CHECK(config.exec->install_hint == "brew install login\\x1b[1m");
  CHECK(config.exec->interactive_mode == ExecConfig::InteractiveMode::never);
  CHECK(config.exec->cluster_info == R"({"config":null,"server":"https://h"})");
  Flags flags;
  flags.token = Secret("mine");
  CHECK_FALSE(load(folder, exec, flags).exec);
  flags = {};
  flags.username = "me";
  CHECK_FALSE(load(folder, exec, flags).exec);
  flags = {};
  flags.server = "http://h";
  CHECK_FALSE(load(folder, exec, flags).exec);
}

TEST_CASE("a plugin that asks for it is told all of its cluster") {
  const Folder folder;
  const std::string ca = to_base64(as_bytes("the ca"));
  folder.write("ca.pem", "the ca");
  const Config config = load(folder, R"(
current-context: x
clusters:
- name: c
  cluster:
    server: https://h/prefix
    tls-server-name: name
    certificate-authority: ca.pem
    proxy-url: socks5://proxy:1
    disable-compression: true
    extensions:
    - {name: other, extension: {no: 1}}
    - {name: client.authentication.k8s.io/exec, extension: {audience: [1, two]}}
contexts: [{name: x, context: {cluster: c, user: u}}]
users:
- name: u
  user: {exec: {command: login, apiVersion: client.authentication.k8s.io/v1beta1, provideClusterInfo: true}}
)");
  REQUIRE(config.exec);
  CHECK(config.exec->command == "login");
  CHECK(config.exec->interactive_mode == ExecConfig::InteractiveMode::if_available);
  CHECK(
      config.exec->cluster_info ==
      R"({"certificate-authority-data":")" + ca +
          R"(","config":{"audience":[1,"two"]},"disable-compression":true,)"
          R"("proxy-url":"socks5://proxy:1","server":"https://h/prefix","tls-server-name":"name"})");
}

TEST_CASE("plugins that cannot be run are refused in kubectl's words") {
  struct Case {
    const char* exec;
    const char* text;
  };

  const Case cases[] = {
      {"apiVersion: client.authentication.k8s.io/v1",
       "invalid configuration: command must be specified for u to use exec authentication plugin"},
      {"command: c",
       "invalid configuration: apiVersion must be specified for u to use exec authentication "
       "plugin"},
      {"command: c, apiVersion: client.authentication.k8s.io/v1",
       "invalid configuration: interactiveMode must be specified for u to use exec authentication "
       "plugin"},
      {"command: c, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Maybe",
       "invalid configuration: invalid interactiveMode for u: \"Maybe\""},
      {"command: c, apiVersion: client.authentication.k8s.io/v1alpha1",
       "exec plugin: invalid apiVersion \"client.authentication.k8s.io/v1alpha1\""},
      {"command: c, apiVersion: client.authentication.k8s.io/v1beta1, env: [{value: v}]",
       "invalid configuration: env variable name must be specified for u to use exec "
       "authentication plugin"},
      {"command: c, apiVersion: client.authentication.k8s.io/v1beta1, args: c",
       "user \"u\": exec.args: must be a list"},
  };
  for (const Case& one : cases) {
    const Folder folder;
    const std::string text = std::string("exec: {") + one.exec + "}";
    CHECK(failure([&] { load(folder, single("server: 'https://h'", text)); }) == one.text);
  }
}

TEST_CASE("of the auth providers only oidc is left") {
  const Folder folder;
  const auto with = [](const std::string& provider) {
    return single("server: 'https://h'", "auth-provider: {" + provider + "}");
  };
  const Config config = load(
      folder, with("name: oidc, config: {idp-issuer-url: 'https://i', client-id: c, client-secret: "
                   "s, id-token: t, refresh-token: r, idp-certificate-authority-data: Q0E=}"));
  REQUIRE(config.oidc);
  CHECK(config.oidc->issuer == "https://i");
  CHECK(config.oidc->client_id == "c");
  CHECK(config.oidc->client_secret.reveal() == "s");
  CHECK(config.oidc->tokens.id.reveal() == "t");
  CHECK(config.oidc->tokens.refresh.reveal() == "r");
  CHECK(config.oidc->ca_pem == "CA");
  CHECK(config.oidc->user == "u");
  CHECK(config.token.empty());
  CHECK(failure([&] { load(folder, with("name: oidc")); }) == "Must provide idp-issuer-url");
  CHECK(failure([&] { load(folder, with("name: oidc, config: {idp-issuer-url: 'https://i'}")); }) ==
        "Must provide client-id");
  CHECK(failure([&] { load(folder, with("name: gcp")); }) ==
        "The gcp auth plugin has been removed. Please use the \"gke-gcloud-auth-plugin\" "
        "kubectl/client-go credential plugin instead");
  CHECK(failure([&] { load(folder, with("name: x")); }) == "no Auth Provider found for name \"x\"");
}

TEST_CASE("a proxy-url that no client could use is refused without its password") {
  const Folder folder;
  const std::string text = failure(
      [&] { load(folder, single("server: 'https://h', proxy-url: 'ftp://u:hush@proxy'", "")); });
  CHECK(text.starts_with("invalid configuration: invalid 'proxy-url' for cluster \"c\": "));
  CHECK(text.find("must be http, https, or socks5") != std::string::npos);
  CHECK(text.find("hush") == std::string::npos);
}

TEST_CASE("credentials that contradict each other are refused") {
  const Folder folder;
  CHECK(failure([&] {
          load(folder, single("server: 'https://h'", "token: t, username: n, password: p"));
        }).starts_with("more than one authentication method found"));
  const std::string half =
      single("server: 'https://h'", "client-certificate-data: " + to_base64(as_bytes("c")));
  CHECK(failure([&] { load(folder, half); }).find("client-key") != std::string::npos);
}

TEST_CASE("over plain http no credentials are kept") {
  const Folder folder;
  const Config config = load(folder, single("server: 'http://h:8080'", "token: t, tokenFile: f"));
  CHECK(config.server == "http://h:8080");
  CHECK(config.token.empty());
  CHECK(config.token_file.empty());
}

TEST_CASE("a server is cleaned of what is no part of it, and without a scheme it is http") {
  const Folder folder;
  CHECK(load(folder, single("server: 'h:8080'", "")).server == "http://h:8080");
  CHECK(load(folder, single("server: 'h:6443', insecure-skip-tls-verify: true", "")).server ==
        "http://h:6443");
  CHECK(load(folder, single("server: 'https://h/p?q=1#f'", "")).server == "https://h/p");
  CHECK(failure([&] { load(folder, single("server: 'ftp://h'", "")); }).find("http or https") !=
        std::string::npos);
}

TEST_CASE("impersonation comes from the file or the flags, groups only with a user") {
  const Folder folder;
  const Config config =
      load(folder, single("server: 'https://h'", "token: t, as: jane, as-groups: [a, b]"));
  CHECK(config.impersonation.user == "jane");
  CHECK(config.impersonation.groups == std::vector<std::string>{"a", "b"});
  Flags flags;
  flags.as = "joe";
  flags.as_uid = "7";
  flags.as_user_extra = {"scope=a=b", "other=c", "scope=d"};
  const Impersonation joe =
      load(folder,
           single("server: 'https://h'", "as: jane, as-user-extra: {scope: [x], mine: [y]}"), flags)
          .impersonation;
  CHECK(joe.user == "joe");
  CHECK(joe.uid == "7");
  CHECK(joe.extra == std::map<std::string, std::vector<std::string>>{
                         {"mine", {"y"}}, {"other", {"c"}}, {"scope", {"a=b", "d"}}});
  flags = {};
  flags.as_user_extra = {"no pair"};
  CHECK(failure([&] { load(folder, kOne, flags); }) ==
        "--as-user-extra: \"no pair\" is no key=value");
  flags = {};
  flags.as_groups = {"a"};
  CHECK(failure([&] {
          load(folder, single("server: 'https://h'", "token: t"), flags);
        }).find("without impersonating a user") != std::string::npos);
}

TEST_CASE("in a pod the service account is used when there is no kubeconfig") {
  const Folder folder;
  folder.write("sa/token", "pod-token\n");
  folder.write("sa/ca.crt", "pod ca");
  Surroundings surroundings;
  surroundings.service_host = "10.0.0.1";
  surroundings.service_port = "443";
  surroundings.service_account = folder.path() / "sa";
  const Config config = load_config({}, surroundings);
  CHECK(config.in_cluster);
  CHECK(config.server == "https://10.0.0.1:443");
  CHECK(config.token_file == folder.path() / "sa" / "token");
  CHECK(config.tls.ca_pem == "pod ca");

  surroundings.service_host = "fd00::1";
  CHECK(load_config({}, surroundings).server == "https://[fd00::1]:443");

  Flags flags;
  flags.token = Secret("mine");
  CHECK(load_config(flags, surroundings).token_file.empty());
  CHECK(load_config(flags, surroundings).token.reveal() == "mine");

  surroundings.kubeconfig = folder.write("config", kOne).string();
  CHECK_FALSE(load_config({}, surroundings).in_cluster);
}

TEST_CASE("a context without a user has no credentials; no context at all needs --server") {
  const Folder folder;
  Flags flags;
  flags.context = "bare";
  CHECK(load(folder, kOne, flags).token.empty());
  const std::string none = "clusters: [{name: c, cluster: {server: 'https://h'}}]\n";
  CHECK(failure([&] { load(folder, none); }) == "invalid configuration: no context is chosen");
  flags = {};
  flags.server = "https://given";
  CHECK(load(folder, none, flags).server == "https://given");
}

}  // namespace kubedr::kube
