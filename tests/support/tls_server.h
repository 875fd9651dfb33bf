#ifndef KUBEDR_SUPPORT_TLS_SERVER_H
#define KUBEDR_SUPPORT_TLS_SERVER_H

#include <functional>
#include <memory>
#include <string>

#include "support/certificates.h"

namespace kubedr::test {

// An HTTPS server on a free port of 127.0.0.1 that answers GETs with text, one connection after the
// other; clients need no certificate.
//
// threads  `answer` is called by a thread of the server's own
class TlsServer {
 public:
  // What a path is answered with; empty: 404.
  using Answer = std::function<std::string(const std::string& path)>;

  TlsServer(const Certificate& certificate, Answer answer);
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;
  ~TlsServer();

  int port() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_TLS_SERVER_H
