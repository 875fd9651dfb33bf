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
  CHECK(failure([&] { load(folder, kOne, flags); }) ==
        "context was not found for specified context: nope");
  flags = {};
  flags.cluster = "nope";
  CHECK(failure([&] { load(folder, kOne, flags); }) == "no server found for cluster \"nope\"");
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

TEST_CASE("a plug-in for credentials is an error unless another way is there") {
  const Folder folder;
  const std::string exec = single("server: 'https://h'", "exec: {command: aws}");
  CHECK(failure([&] { load(folder, exec); }) ==
        "user \"u\": credentials by exec are not supported yet");
  CHECK(failure([&] { load(folder, single("server: 'https://h'", "auth-provider: {name: x}")); }) ==
        "user \"u\": credentials by auth-provider are not supported yet");
  Flags flags;
  flags.token = Secret("mine");
  CHECK(load(folder, exec, flags).token.reveal() == "mine");
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

TEST_CASE("a server without a scheme is https as soon as anything speaks of TLS") {
  const Folder folder;
  CHECK(load(folder, single("server: 'h:8080'", "")).server == "http://h:8080");
  CHECK(load(folder, single("server: 'h:6443', insecure-skip-tls-verify: true", "")).server ==
        "https://h:6443");
  CHECK(load(folder, single("server: 'https://h/p?q=1#f'", "")).server == "https://h/p");
  CHECK(failure([&] { load(folder, single("server: 'ftp://h'", "")); }).find("http or https") !=
        std::string::npos);
}

TEST_CASE("impersonation comes from the file or the flags, groups only with a user") {
  const Folder folder;
  const Config config =
      load(folder, single("server: 'https://h'", "token: t, as: jane, as-groups: [a, b]"));
  CHECK(config.impersonate_user == "jane");
  CHECK(config.impersonate_groups == std::vector<std::string>{"a", "b"});
  Flags flags;
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
