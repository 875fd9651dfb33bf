#ifndef KUBEDR_SUPPORT_RESPONDER_H
#define KUBEDR_SUPPORT_RESPONDER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace kubedr::test {

// One accepted connection of a Responder.
class Peer {
 public:
  Peer(int fd, const std::atomic<bool>& stopping) : fd_(fd), stopping_(stopping) {}

  // One request: header block and as much body as Content-Length says. Empty at the end.
  std::string receive() {
    std::size_t head = 0;
    while ((head = pending_.find("\r\n\r\n")) == std::string::npos) {
      if (!more()) return {};
    }
    const std::size_t size = head + 4 + content_length(pending_.substr(0, head));
    while (pending_.size() < size) {
      if (!more()) return {};
    }
    std::string request = pending_.substr(0, size);
    pending_.erase(0, size);
    return request;
  }

  // So many bytes, fewer at the end.
  std::string receive_bytes(std::size_t size) {
    while (pending_.size() < size && more()) {
    }
    std::string bytes = pending_.substr(0, size);
    pending_.erase(0, size);
    return bytes;
  }

  // False when the other side is gone.
  bool send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  // Until the other side closes, or the responder goes.
  void wait_for_close() {
    while (more()) {
    }
  }

 private:
  static std::size_t content_length(const std::string& head) {
    const std::size_t at = head.find("Content-Length: ");
    return at == std::string::npos ? 0 : std::stoul(head.substr(at + 16));
  }

  bool more() {
    while (!stopping_) {
      pollfd ready{fd_, POLLIN, 0};
      if (poll(&ready, 1, 20) == 0) continue;
      char buffer[65536];
      const ssize_t count = recv(fd_, buffer, sizeof buffer, 0);
      if (count <= 0) return false;
      pending_.append(buffer, static_cast<std::size_t>(count));
      return true;
    }
    return false;
  }

  int fd_;
  const std::atomic<bool>& stopping_;
  std::string pending_;
};

// A TCP server on a free port of 127.0.0.1 that plays one script for each connection, one after
// the other.
class Responder {
 public:
  using Script = std::function<void(Peer&)>;

  explicit Responder(Script script) : script_(std::move(script)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    if (bind(listener_, generic, size) != 0 || listen(listener_, 8) != 0 ||
        getsockname(listener_, generic, &size) != 0) {
      throw std::runtime_error("no listener");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }

  ~Responder() {
    stopping_ = true;
    thread_.join();
    ::close(listener_);
  }

  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

  int port() const { return port_; }

  std::string url(std::string_view path = "/") const {
    return "http://127.0.0.1:" + std::to_string(port_) + std::string(path);
  }

  int connections() const { return connections_; }

 private:
  void serve() {
    while (!stopping_) {
      pollfd ready{listener_, POLLIN, 0};
      if (poll(&ready, 1, 20) <= 0) continue;
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) continue;
      ++connections_;
      Peer peer(fd, stopping_);
      script_(peer);
      ::close(fd);
    }
  }

  Script script_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> connections_ = 0;
  std::thread thread_;
};

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_RESPONDER_H
