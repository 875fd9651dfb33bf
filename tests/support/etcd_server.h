#ifndef KUBEDR_SUPPORT_ETCD_SERVER_H
#define KUBEDR_SUPPORT_ETCD_SERVER_H

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/client.h"
#include "support/certificates.h"
#include "support/process.h"
#include "support/server.h"
#include "support/temp_dir.h"

namespace kubedr::test {

struct EtcdOptions {
  std::string program = "etcd";  // or etcd-3.5, etcd-3.4
  bool tls = false;              // https, and clients need a certificate of the same CA
  std::filesystem::path data;    // an existing data folder, e.g. a restored one; else a new one
  std::vector<std::string> flags;
};

// A real etcd with one member, ready when the constructor returns.
//
// threads  one thread
class EtcdServer {
 public:
  explicit EtcdServer(EtcdOptions options = {});

  std::string endpoint() const;  // "http://127.0.0.1:12379"

  int port() const { return port_; }

  bool tls() const { return options_.tls; }

  const std::filesystem::path& data() const { return options_.data; }

  pid_t pid() const { return process_->pid(); }

  // With tls; the same as texts, and as files for programs that want those.
  http::Tls client_tls() const;

  const std::string& ca_pem() const { return certificates_.ca_pem(); }

  const std::string& client_cert_pem() const { return client_.certificate_pem; }

  const std::string& client_key_pem() const { return client_.key_pem; }

  std::filesystem::path ca_file() const { return dir_ / "ca.crt"; }

  std::filesystem::path client_cert_file() const { return dir_ / "client.crt"; }

  std::filesystem::path client_key_file() const { return dir_ / "client.key"; }

  const Certificates& certificates() const { return certificates_; }

  using KeyValue = std::pair<std::string, std::string>;

  void put(std::string_view key, std::string_view value);
  void put_all(const std::vector<KeyValue>& pairs);
  std::optional<std::string> get(std::string_view key);

  // `count` keys PREFIX000000 and up with values of that size: text without repetition, different
  // for each key, the same in every run.
  void fill(std::string_view prefix, int count, std::size_t value_bytes);

  // A call of the JSON gateway: its path, its body and its answer. Throws unless that is 200.
  std::string gateway(const std::string& path, const std::string& body);

  void stop();
  void restart();  // same data, same ports

 private:
  void start();

  TempDir dir_;
  EtcdOptions options_;
  Certificates certificates_;
  Certificate client_;
  const int port_ = free_port();
  const int peer_port_ = free_port();
  const int metrics_port_ = free_port();
  std::unique_ptr<Process> process_;
  std::optional<http::Client> client_for_gateway_;
};

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_ETCD_SERVER_H
