#ifndef KUBEDR_SUPPORT_S3_SERVER_H
#define KUBEDR_SUPPORT_S3_SERVER_H

#include <memory>
#include <optional>
#include <string>

#include "support/certificates.h"
#include "support/process.h"
#include "support/server.h"
#include "support/temp_dir.h"

namespace kubedr::test {

// A real S3 server, empty, ready when the constructor returns.
//
// threads  one thread
class S3Server {
 public:
  enum class Scheme { http, https };
  enum class Program { minio, versitygw };

  explicit S3Server(Scheme scheme = Scheme::http);  // MinIO
  explicit S3Server(Program program);               // http

  std::string url() const;  // "http://127.0.0.1:12900"

  int port() const { return port_; }

  const std::string& access_key() const { return access_key_; }

  const std::string& secret_key() const { return secret_key_; }

  const std::string& ca_pem() const { return certificates_.ca_pem(); }

  std::filesystem::path ca_file() const { return dir_ / "ca.crt"; }

  const Certificates& certificates() const { return certificates_; }

  pid_t pid() const { return process_->pid(); }

  void stop();
  void restart();  // same data, same port

 private:
  S3Server(Program program, Scheme scheme);

  void start();
  void start_minio();
  void start_versitygw();

  TempDir dir_;
  const Program program_;
  const Scheme scheme_;
  const Certificates certificates_;
  const int port_ = free_port();
  const int console_port_ = free_port();
  const std::string access_key_ = "kubedr-test";
  const std::string secret_key_ = "not-a-secret-but-long-enough";
  std::unique_ptr<Process> process_;
};

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_S3_SERVER_H
