#include "cmd/listener.h"

#include <fmt/core.h>
#include <httplib.h>

#include <atomic>
#include <charconv>
#include <thread>
#include <utility>

#include "base/error.h"

namespace kubedr::cmd {
namespace {

constexpr std::size_t kThreads = 4;
constexpr std::chrono::seconds kPatience{5};  // with one read, one write, a connection kept idle
constexpr std::size_t kLargestRequest = 4096;

struct Address {
  std::string host;  // empty: all interfaces
  int port = 0;
};

Address parse_address(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  Address address;
  const char* end = text.data() + text.size();
  const char* rest = nullptr;
  if (colon != std::string::npos) {
    rest = std::from_chars(text.data() + colon + 1, end, address.port).ptr;
    address.host = text.substr(0, colon);
  }
  if (address.host.starts_with('[') && address.host.ends_with(']')) {
    address.host = address.host.substr(1, address.host.size() - 2);
  }
  if (rest != end || address.port < 1 || address.port > 65535) {
    throw Error(ErrorKind::usage, fmt::format("--listen: \"{}\" is no address", text),
                "give HOST:PORT, or :PORT for all interfaces");
  }
  return address;
}

std::unique_ptr<httplib::Server> make_server(const Listener::Options& options) {
  if (options.certificate_file.empty() != options.key_file.empty()) {
    throw Error(ErrorKind::usage, "--tls-cert and --tls-key go together",
                "give both, or leave both out for plain HTTP");
  }
  if (options.certificate_file.empty()) return std::make_unique<httplib::Server>();
  auto server = std::make_unique<httplib::SSLServer>(options.certificate_file.c_str(),
                                                     options.key_file.c_str());
  if (server->is_valid()) return server;
  throw Error(
      ErrorKind::usage,
      fmt::format("--tls-cert {}, --tls-key {}: no certificate and key that belong together",
                  options.certificate_file, options.key_file),
      "give PEM files, the certificate with its chain");
}

// The library would let a second process share the port.
void take_port_alone(int socket) {
  const int yes = 1;
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

bool bind(httplib::Server& server, const Address& address) {
  if (!address.host.empty()) return server.bind_to_port(address.host, address.port);
  // A machine without IPv6 has no [::].
  return server.bind_to_port("::", address.port) || server.bind_to_port("0.0.0.0", address.port);
}

}  // namespace

struct Listener::Impl {
  Impl(const Options& options, Answers with)
      : answers(std::move(with)), server(make_server(options)) {
    const Address address = parse_address(options.address);
    server->new_task_queue = [] { return new httplib::ThreadPool(kThreads); };  // the server's own
    server->set_socket_options(take_port_alone);
    server->set_keep_alive_timeout(kPatience.count());
    server->set_read_timeout(kPatience);
    server->set_write_timeout(kPatience);
    server->set_payload_max_length(kLargestRequest);
    server->Get("/metrics", [this](const httplib::Request& request, httplib::Response& response) {
      const auto exposition = health::negotiate(request.get_header_value("Accept"));
      response.set_content(answers.metrics(exposition), health::content_type(exposition));
    });
    server->Get("/healthz", [this](const httplib::Request&, httplib::Response& response) {
      const bool healthy = answers.healthy();
      response.status = healthy ? 200 : 503;
      response.set_content(healthy ? "ok\n" : "no survey has ended for too long\n", "text/plain");
    });
    if (!bind(*server, address)) {
      throw Error(ErrorKind::failed, fmt::format("--listen: cannot listen on {}", options.address),
                  "is something else listening there, or the address another machine's?");
    }
    const bool tls = !options.certificate_file.empty();
    const std::string host = address.host.empty() ? "0.0.0.0" : address.host;
    url = fmt::format("{}://{}:{}/metrics", tls ? "https" : "http",
                      host.find(':') == std::string::npos ? host : "[" + host + "]", address.port);
    thread = std::jthread([this] {
      server->listen_after_bind();
      ended = true;
    });
    // Before it runs, stop() would do nothing, and the destructor wait for ever.
    while (!server->is_running() && !ended) std::this_thread::yield();
  }

  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  ~Impl() { server->stop(); }

  const Answers answers;
  const std::unique_ptr<httplib::Server> server;
  std::string url;
  std::atomic<bool> ended{false};
  std::jthread thread;
};

Listener::Listener(const Options& options, Answers answers)
    : impl_(std::make_unique<Impl>(options, std::move(answers))) {}

Listener::~Listener() = default;

const std::string& Listener::url() const {
  return impl_->url;
}

bool Listener::is_listening() const {
  return !impl_->ended;
}

}  // namespace kubedr::cmd
