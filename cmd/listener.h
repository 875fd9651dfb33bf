#ifndef KUBEDR_CMD_LISTENER_H
#define KUBEDR_CMD_LISTENER_H

#include <functional>
#include <memory>
#include <string>

#include "health/exposition.h"

namespace kubedr::cmd {

// Answers `GET /metrics` in the format that is asked for, and `GET /healthz` with 200 or 503, until
// it goes. For a network whose members are trusted not to wear it out, like other exporters: few
// threads, and a client that is silent for some seconds is hung up on.
//
// threads  the answers are asked for by threads of its own, several at a time
class Listener {
 public:
  struct Options {
    std::string address;           // "127.0.0.1:9797", "[::1]:9797", ":9797" for all interfaces
    std::string certificate_file;  // PEM; TLS where both are given
    std::string key_file;
  };

  struct Answers {
    std::function<std::string(health::Exposition)> metrics;
    std::function<bool()> healthy;
  };

  // Listens when it returns.
  //
  // errors   usage: no address, or a certificate and key that cannot be used; failed: the address
  //          is taken or not ours
  Listener(const Options& options, Answers answers);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  // "http://127.0.0.1:9797/metrics"
  const std::string& url() const;

  // False when it cannot accept any more, for whatever reason.
  bool is_listening() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_LISTENER_H
