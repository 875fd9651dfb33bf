#ifndef KUBEDR_SUPPORT_KUBE_API_H
#define KUBEDR_SUPPORT_KUBE_API_H

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "support/certificates.h"
#include "support/etcd_server.h"
#include "support/process.h"
#include "support/temp_dir.h"

namespace kubedr::test {

struct KubeUser {
  std::string name;
  std::vector<std::string> groups;  // "system:masters" may do everything
};

// A real kube-apiserver on an etcd, with TLS and RBAC, ready when the constructor returns (which
// takes some four seconds: share one where that does no harm). There are no controllers: nothing
// is garbage collected, namespaces stay Terminating, pods do not run.
//
// A user "admin" of system:masters is always there.
//
// threads  one thread; the etcd must outlive it
class KubeApi {
 public:
  // A flag: pods get their service account's token, as they do in a cluster.
  static constexpr char kServiceAccounts[] = "--enable-admission-plugins=ServiceAccount";

  explicit KubeApi(const EtcdServer& etcd, const std::vector<KubeUser>& users = {},
                   const std::vector<std::string>& flags = {});

  // On members without TLS: "http://127.0.0.1:2379,http://127.0.0.1:2381".
  explicit KubeApi(std::string etcd_endpoints);

  std::string url() const;  // "https://127.0.0.1:12443"

  int port() const { return port_; }

  const std::string& ca_pem() const { return certificates_.ca_pem(); }

  static std::string token(const std::string& user) { return "token-of-" + user; }

  pid_t pid() const { return process_->pid(); }

  // What it reads when it starts, by kubeadm's names: what a policy's certsDir would be.
  std::filesystem::path pki() const { return dir_ / "pki"; }

  // Issues certificates that the server trusts: common name is the user, organizations the groups.
  const Certificates& certificates() const { return certificates_; }

  // A token of a service account of kubedr-system as this server makes them, that ends so long from
  // now; `uid` is the account's.
  std::string account_token(const std::string& account, const std::string& uid,
                            std::chrono::seconds valid) const;

  // A kubeconfig file of that user, by token.
  std::filesystem::path kubeconfig(const std::string& user = "admin") const;

  // The same by a certificate of system:masters, as kubeadm's admin.conf.
  std::filesystem::path admin_kubeconfig() const;

  // The real kubectl as admin; `input` is for `apply -f -`.
  RunResult kubectl(const std::vector<std::string>& args, const std::string& input = {}) const;

  void stop();
  void restart();  // same port, same users

 private:
  void start();
  void write_files(const std::vector<KubeUser>& users) const;
  void write_etcd_files(const EtcdServer& etcd) const;
  std::filesystem::path write_kubeconfig(const std::string& user,
                                         const std::string& credentials) const;

  const std::string etcd_endpoints_;
  TempDir dir_;
  const Certificates certificates_;
  const std::vector<std::string> flags_;
  const int port_ = free_port();
  std::unique_ptr<Process> process_;
};

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_KUBE_API_H
