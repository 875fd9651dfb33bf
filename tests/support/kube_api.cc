#include "support/kube_api.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/hex.h"
#include "base/json.h"
#include "base/text.h"
#include "support/server.h"
#include "support/token.h"

namespace kubedr::test {
namespace {

// token,user,uid,"group,group"
std::string token_line(const KubeUser& user) {
  return fmt::format("{},{},uid-of-{},\"{}\"\n", KubeApi::token(user.name), user.name, user.name,
                     join(user.groups, ","));
}

}  // namespace

KubeApi::KubeApi(const EtcdServer& etcd, const std::vector<KubeUser>& users,
                 const std::vector<std::string>& flags)
    : etcd_endpoints_(etcd.endpoint()), flags_(flags) {
  write_files(users);
  if (etcd.tls()) write_etcd_files(etcd);
  start();
}

KubeApi::KubeApi(std::string etcd_endpoints) : etcd_endpoints_(std::move(etcd_endpoints)) {
  write_files({});
  start();
}

std::string KubeApi::url() const {
  return fmt::format("https://127.0.0.1:{}", port_);
}

void KubeApi::write_files(const std::vector<KubeUser>& users) const {
  const Certificate server = certificates_.issue(
      {"kube-apiserver", {"localhost", "127.0.0.1", "kubernetes.default.svc", "10.0.0.1"}});
  dir_.write("pki/ca.crt", ca_pem());
  dir_.write("pki/apiserver.crt", server.certificate_pem);
  dir_.write("pki/apiserver.key", server.key_pem);
  const Certificate service_account = certificates_.issue({"service-account"});
  dir_.write("pki/sa.pub", service_account.certificate_pem);
  dir_.write("pki/sa.key", service_account.key_pem);
  std::string tokens = token_line({"admin", {"system:masters"}});
  for (const KubeUser& user : users) tokens += token_line(user);
  dir_.write("tokens.csv", tokens);
}

void KubeApi::write_etcd_files(const EtcdServer& etcd) const {
  dir_.write("pki/etcd/ca.crt", etcd.ca_pem());
  dir_.write("pki/apiserver-etcd-client.crt", etcd.client_cert_pem());
  dir_.write("pki/apiserver-etcd-client.key", etcd.client_key_pem());
}

void KubeApi::start() {
  const auto file = [this](const char* name) { return (dir_ / name).string(); };
  std::vector<std::string> argv = {find_server("kube-apiserver"),
                                   "--bind-address=127.0.0.1",
                                   fmt::format("--secure-port={}", port_),
                                   "--etcd-servers=" + etcd_endpoints_,
                                   "--cert-dir=" + file("certs"),
                                   "--tls-cert-file=" + file("pki/apiserver.crt"),
                                   "--tls-private-key-file=" + file("pki/apiserver.key"),
                                   "--client-ca-file=" + file("pki/ca.crt"),
                                   "--token-auth-file=" + file("tokens.csv"),
                                   "--authorization-mode=RBAC",
                                   "--service-account-issuer=" + url(),
                                   "--service-account-key-file=" + file("pki/sa.pub"),
                                   "--service-account-signing-key-file=" + file("pki/sa.key"),
                                   "--service-cluster-ip-range=10.0.0.0/24",
                                   "--endpoint-reconciler-type=none"};
  if (std::find(flags_.begin(), flags_.end(), kServiceAccounts) == flags_.end()) {
    // No controller makes the default service accounts that this plug-in would insist on.
    argv.emplace_back("--disable-admission-plugins=ServiceAccount");
  }
  if (etcd_endpoints_.starts_with("https://")) {
    argv.insert(argv.end(), {"--etcd-cafile=" + file("pki/etcd/ca.crt"),
                             "--etcd-certfile=" + file("pki/apiserver-etcd-client.crt"),
                             "--etcd-keyfile=" + file("pki/apiserver-etcd-client.key")});
  }
  argv.insert(argv.end(), flags_.begin(), flags_.end());

  ProcessOptions options;
  options.log = dir_ / "kube-apiserver.log";
  process_ = std::make_unique<Process>(argv, options);
  http::Tls tls;
  tls.ca_pem = ca_pem();
  http::Client client = local_client(tls);
  const Secret admin("Bearer " + token("admin"));
  wait_until_ready(*process_, options.log,
                   [&] { return answers(client, url() + "/readyz", admin); });
}

std::string KubeApi::account_token(const std::string& account, const std::string& uid,
                                   std::chrono::seconds valid) const {
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::system_clock::now().time_since_epoch());
  const std::int64_t begin = (now - std::chrono::hours(1)).count();
  const Json claims = {
      {"iss", url()},
      {"aud", {url()}},
      {"iat", begin},
      {"nbf", begin},
      {"exp", (now + valid).count()},
      {"sub", "system:serviceaccount:kubedr-system:" + account},
      {"kubernetes.io",
       {{"namespace", "kubedr-system"}, {"serviceaccount", {{"name", account}, {"uid", uid}}}}}};
  return make_token(read_text(dir_ / "pki/sa.key"), claims);
}

std::filesystem::path KubeApi::kubeconfig(const std::string& user) const {
  return write_kubeconfig(user, "token: " + token(user));
}

std::filesystem::path KubeApi::admin_kubeconfig() const {
  const Certificate admin = certificates_.issue({"kubernetes-admin", {}, {"system:masters"}});
  return write_kubeconfig(
      "kubernetes-admin",
      fmt::format("client-certificate-data: {}\n    client-key-data: {}",
                  to_base64(as_bytes(admin.certificate_pem)), to_base64(as_bytes(admin.key_pem))));
}

std::filesystem::path KubeApi::write_kubeconfig(const std::string& user,
                                                const std::string& credentials) const {
  const std::string text = fmt::format(R"(apiVersion: v1
kind: Config
current-context: test
contexts:
- name: test
  context: {{cluster: test, user: {user}}}
clusters:
- name: test
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: {user}
  user:
    {credentials}
)",
                                       fmt::arg("user", user), fmt::arg("server", url()),
                                       fmt::arg("ca", to_base64(as_bytes(ca_pem()))),
                                       fmt::arg("credentials", credentials));
  return dir_.write("kubeconfig-" + user + ".yaml", text);
}

RunResult KubeApi::kubectl(const std::vector<std::string>& args, const std::string& input) const {
  std::vector<std::string> argv = {find_server("kubectl"), "--kubeconfig=" + kubeconfig().string()};
  argv.insert(argv.end(), args.begin(), args.end());
  ProcessOptions options;
  options.env = {{"HOME", dir_.path()}};
  options.input = input;
  return run(argv, options);
}

void KubeApi::stop() {
  process_->stop();
}

void KubeApi::restart() {
  stop();
  start();
}

}  // namespace kubedr::test
