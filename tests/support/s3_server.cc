#include "support/s3_server.h"

#include <fmt/core.h>

namespace kubedr::test {

S3Server::S3Server(Scheme scheme) : S3Server(Program::minio, scheme) {}

S3Server::S3Server(Program program) : S3Server(program, Scheme::http) {}

S3Server::S3Server(Program program, Scheme scheme) : program_(program), scheme_(scheme) {
  dir_.write("ca.crt", ca_pem());
  if (scheme_ == Scheme::https) {
    const Certificate server =
        certificates_.issue({"minio", {"localhost", "127.0.0.1", "s3.kubedr.test"}});
    dir_.write("certs/public.crt", server.certificate_pem);
    dir_.write("certs/private.key", server.key_pem);
  }
  start();
}

std::string S3Server::url() const {
  return fmt::format("{}://127.0.0.1:{}", scheme_ == Scheme::https ? "https" : "http", port_);
}

void S3Server::start() {
  switch (program_) {
  case Program::minio:
    return start_minio();
  case Program::versitygw:
    return start_versitygw();
  }
}

void S3Server::start_versitygw() {
  // Its objects are files; what else it knows of them it keeps beside them, as not every file
  // system has extended attributes.
  for (const char* folder : {"data", "sidecar"}) {
    std::filesystem::create_directories(dir_ / folder);
  }
  ProcessOptions options;
  options.log = dir_ / "versitygw.log";
  options.env = {
      {"HOME", dir_.path()}, {"ROOT_ACCESS_KEY", access_key_}, {"ROOT_SECRET_KEY", secret_key_}};
  process_ = std::make_unique<Process>(
      std::vector<std::string>{find_server("versitygw"), fmt::format("--port=127.0.0.1:{}", port_),
                               "--health=/health", "--quiet", "posix",
                               "--sidecar=" + (dir_ / "sidecar").string(), dir_ / "data"},
      options);
  http::Client client = local_client();
  wait_until_ready(*process_, options.log, [&] { return answers(client, url() + "/health"); });
}

void S3Server::start_minio() {
  ProcessOptions options;
  options.log = dir_ / "minio.log";
  options.env = {{"HOME", dir_.path()},
                 {"MINIO_ROOT_USER", access_key_},
                 {"MINIO_ROOT_PASSWORD", secret_key_},
                 {"MINIO_BROWSER", "off"},
                 {"MINIO_UPDATE", "off"}};
  process_ = std::make_unique<Process>(
      std::vector<std::string>{find_server("minio"), "server", "--anonymous",
                               fmt::format("--address=127.0.0.1:{}", port_),
                               fmt::format("--console-address=127.0.0.1:{}", console_port_),
                               "--certs-dir=" + (dir_ / "certs").string(), dir_ / "data"},
      options);
  http::Tls tls;
  if (scheme_ == Scheme::https) tls.ca_pem = ca_pem();
  http::Client client = local_client(tls);
  // "ready" alone comes too early: writes are refused until there is a quorum.
  wait_until_ready(*process_, options.log, [&] {
    return answers(client, url() + "/minio/health/ready") &&
           answers(client, url() + "/minio/health/cluster");
  });
}

void S3Server::stop() {
  process_->stop();
}

void S3Server::restart() {
  stop();
  start();
}

}  // namespace kubedr::test
