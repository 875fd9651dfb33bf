#ifndef KUBEDR_TEST_UNIT_S3_RESPONDER_H
#define KUBEDR_TEST_UNIT_S3_RESPONDER_H

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace kubedr::s3 {

// A server of 127.0.0.1 that answers from a script, for answers that real servers will not give on
// demand: one request per connection, and every answer as it was written.
class Responder {
 public:
  explicit Responder(std::vector<std::string> answers) : answers_(std::move(answers)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::bind(listener_, any, size) == 0);
    REQUIRE(::listen(listener_, 16) == 0);
    REQUIRE(::getsockname(listener_, any, &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this] { serve(); });
  }

  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

  ~Responder() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

  // Each request so far: its head, and its body behind an empty line.
  std::vector<std::string> requests() const {
    const std::lock_guard guard(mutex_);
    return requests_;
  }

  static std::string answer(const std::string& status, const std::string& body = "",
                            const std::string& headers = "") {
    return "HTTP/1.1 " + status +
           "\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
           headers + "\r\n" + body;
  }

  static std::string error(const std::string& status, const std::string& code,
                           const std::string& message, const std::string& headers = "") {
    return answer(status,
                  "<?xml version=\"1.0\"?><Error><Code>" + code + "</Code><Message>" + message +
                      "</Message></Error>",
                  headers);
  }

 private:
  void serve() {
    for (const std::string& answer : answers_) {
      const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) return;
      std::string request = read_request(connection);
      {
        const std::lock_guard guard(mutex_);
        requests_.push_back(std::move(request));
      }
      static_cast<void>(::send(connection, answer.data(), answer.size(), MSG_NOSIGNAL));
      ::close(connection);
    }
  }

  static std::string read_request(int connection) {
    std::string request;
    std::size_t wanted = std::string::npos;
    while (request.size() < wanted) {
      char buffer[4096];
      const ssize_t got = ::recv(connection, buffer, sizeof buffer, 0);
      if (got <= 0) break;
      request.append(buffer, static_cast<std::size_t>(got));
      const std::size_t end = request.find("\r\n\r\n");
      if (wanted != std::string::npos || end == std::string::npos) continue;
      const std::size_t length = request.find("Content-Length: ");
      wanted = end + 4;
      if (length < end) wanted += std::strtoul(request.c_str() + length + 16, nullptr, 10);
    }
    return request;
  }

  const std::vector<std::string> answers_;
  int listener_ = -1;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;  // guarded by mutex_
  std::jthread thread_;
};

}  // namespace kubedr::s3

#endif  // KUBEDR_TEST_UNIT_S3_RESPONDER_H
