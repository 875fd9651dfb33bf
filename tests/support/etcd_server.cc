#include "support/etcd_server.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>

#include "base/hex.h"
#include "base/json.h"

namespace kubedr::test {
namespace {

// etcd's defaults: 128 operations in a transaction, 1.5 MiB in a request.
constexpr std::size_t kOperations = 128;
constexpr std::size_t kRequestBytes = 1 << 20;

bool knows_flag(const std::string& program, const std::string& flag) {
  const RunResult help = run({program, "--help"});
  return (help.out + help.err).find(flag) != std::string::npos;
}

std::string base64(std::string_view text) {
  return to_base64(as_bytes(text));
}

}  // namespace

EtcdServer::EtcdServer(EtcdOptions options)
    : options_(std::move(options)), client_(certificates_.issue({"kubedr-test-client"})) {
  if (options_.data.empty()) options_.data = dir_ / "data";
  if (options_.tls) {
    const Certificate server =
        certificates_.issue({"etcd", {"localhost", "127.0.0.1", "etcd.kubedr.test"}});
    dir_.write("ca.crt", ca_pem());
    dir_.write("server.crt", server.certificate_pem);
    dir_.write("server.key", server.key_pem);
    dir_.write("client.crt", client_.certificate_pem);
    dir_.write("client.key", client_.key_pem);
  }
  start();
}

std::string EtcdServer::endpoint() const {
  return fmt::format("{}://127.0.0.1:{}", options_.tls ? "https" : "http", port_);
}

http::Tls EtcdServer::client_tls() const {
  if (!options_.tls) return {};
  http::Tls tls;
  tls.ca_pem = ca_pem();
  tls.client_certificate_pem = client_cert_pem();
  tls.client_key_pem = Secret(client_key_pem());
  return tls;
}

void EtcdServer::start() {
  const std::string program = find_server(options_.program);
  const std::string peer = fmt::format("http://127.0.0.1:{}", peer_port_);
  const std::string metrics = fmt::format("http://127.0.0.1:{}", metrics_port_);
  std::vector<std::string> argv = {program,
                                   "--data-dir=" + options_.data.string(),
                                   "--listen-client-urls=" + endpoint(),
                                   "--advertise-client-urls=" + endpoint(),
                                   "--listen-peer-urls=" + peer,
                                   "--initial-advertise-peer-urls=" + peer,
                                   "--initial-cluster=default=" + peer,
                                   "--listen-metrics-urls=" + metrics};
  if (options_.tls) {
    argv.insert(argv.end(), {"--cert-file=" + (dir_ / "server.crt").string(),
                             "--key-file=" + (dir_ / "server.key").string(),
                             "--trusted-ca-file=" + ca_file().string(), "--client-cert-auth"});
  }
  if (knows_flag(program, "unsafe-no-fsync")) argv.emplace_back("--unsafe-no-fsync");
  argv.insert(argv.end(), options_.flags.begin(), options_.flags.end());

  ProcessOptions process;
  process.log = dir_ / (options_.program + ".log");
  process_ = std::make_unique<Process>(argv, process);
  http::Client client = local_client();
  wait_until_ready(*process_, process.log, [&] { return answers(client, metrics + "/health"); });
  client_for_gateway_.emplace(local_client(client_tls()));
}

void EtcdServer::stop() {
  process_->stop();
}

void EtcdServer::restart() {
  stop();
  start();
}

std::string EtcdServer::gateway(const std::string& path, const std::string& body) {
  http::Request request;
  request.method = "POST";
  request.url = endpoint() + path;
  request.headers = {{"Content-Type", "application/json"}};
  request.body = as_bytes(body);
  const http::Response response = client_for_gateway_->send(request, call_for());
  if (response.status != 200) {
    throw std::runtime_error(
        fmt::format("etcd: {}: {} {}", path, response.status, response.text()));
  }
  return std::string(response.text());
}

void EtcdServer::put(std::string_view key, std::string_view value) {
  gateway("/v3/kv/put", Json{{"key", base64(key)}, {"value", base64(value)}}.dump());
}

void EtcdServer::put_all(const std::vector<KeyValue>& pairs) {
  Json operations = Json::array();
  std::size_t bytes = 0;
  const auto flush = [&] {
    if (operations.empty()) return;
    gateway("/v3/kv/txn", Json{{"success", std::move(operations)}}.dump());
    operations = Json::array();
    bytes = 0;
  };
  for (const auto& [key, value] : pairs) {
    const std::size_t size = key.size() + value.size();
    if (operations.size() == kOperations || bytes + size > kRequestBytes) flush();
    operations.push_back({{"requestPut", {{"key", base64(key)}, {"value", base64(value)}}}});
    bytes += size;
  }
  flush();
}

std::optional<std::string> EtcdServer::get(std::string_view key) {
  const std::string text = gateway("/v3/kv/range", Json{{"key", base64(key)}}.dump());
  const Json answer = parse_json(text, "etcd");
  if (!answer.contains("kvs")) return std::nullopt;
  const Bytes value = from_base64(answer["kvs"][0].value("value", "")).value();
  return std::string(as_text(value));
}

void EtcdServer::fill(std::string_view prefix, int count, std::size_t value_bytes) {
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::mt19937_64 random(1);  // NOLINT(cert-msc51-cpp): the same in every run on purpose
  std::vector<KeyValue> pairs;
  for (int i = 0; i < count; ++i) {
    std::string value(value_bytes, '\0');
    for (char& letter : value) letter = kLetters[random() % kLetters.size()];
    pairs.emplace_back(fmt::format("{}{:06}", prefix, i), std::move(value));
    if (pairs.size() < 1024) continue;
    put_all(pairs);
    pairs.clear();
  }
  put_all(pairs);
}

}  // namespace kubedr::test
