#include "support/tls_server.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <stdexcept>
#include <thread>

#include "base/file.h"

namespace kubedr::test {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;
using Connection = std::unique_ptr<SSL, decltype(&SSL_free)>;

Bio memory(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free_all};
}

bool send_all(SSL* connection, const std::string& text) {
  return SSL_write(connection, text.data(), static_cast<int>(text.size())) > 0;
}

}  // namespace

struct TlsServer::Impl {
  Impl(const Certificate& certificate, Answer with)
      : answer(std::move(with)), context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free) {
    const Bio chain = memory(certificate.certificate_pem);
    const Bio key_text = memory(certificate.key_pem);
    const std::unique_ptr<X509, decltype(&X509_free)> leaf(
        PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr), X509_free);
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
        PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
    listener = FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (SSL_CTX_use_certificate(context.get(), leaf.get()) != 1 ||
        SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1 ||
        ::bind(listener.get(), generic, size) != 0 || ::listen(listener.get(), 16) != 0 ||
        ::getsockname(listener.get(), generic, &size) != 0) {
      throw std::runtime_error("TLS server: cannot listen");
    }
    port = ntohs(address.sin_port);
    thread = std::jthread([this](const std::stop_token& stop) { serve(stop); });
  }

  void serve(const std::stop_token& stop) const {
    while (!stop.stop_requested()) {
      pollfd ready{listener.get(), POLLIN, 0};
      if (::poll(&ready, 1, 50) <= 0) continue;
      const FileDescriptor socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!socket.valid()) continue;
      const timeval patience{5, 0};
      ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      const Connection connection(SSL_new(context.get()), SSL_free);
      SSL_set_fd(connection.get(), socket.get());
      if (SSL_accept(connection.get()) == 1) answer_one(connection.get());
      SSL_shutdown(connection.get());
    }
  }

  void answer_one(SSL* connection) const {
    std::string request;
    std::array<char, 4096> buffer{};
    while (request.find("\r\n\r\n") == std::string::npos) {
      const int n = SSL_read(connection, buffer.data(), static_cast<int>(buffer.size()));
      if (n <= 0) return;
      request.append(buffer.data(), static_cast<std::size_t>(n));
    }
    const std::size_t begin = request.find(' ') + 1;
    const std::string path = request.substr(begin, request.find_first_of(" ?", begin) - begin);
    const std::string body = answer(path);
    send_all(connection,
             fmt::format("HTTP/1.1 {}\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                         "Content-Length: {}\r\n\r\n{}",
                         body.empty() ? "404 Not Found" : "200 OK", body.size(), body));
  }

  const Answer answer;
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context;
  FileDescriptor listener;
  int port = 0;
  std::jthread thread;  // the last: it works with all of these
};

TlsServer::TlsServer(const Certificate& certificate, Answer answer)
    : impl_(std::make_unique<Impl>(certificate, std::move(answer))) {}

TlsServer::~TlsServer() = default;

int TlsServer::port() const {
  return impl_->port;
}

}  // namespace kubedr::test
