#ifndef KUBEDR_SUPPORT_SCRIPTED_SERVER_H
#define KUBEDR_SUPPORT_SCRIPTED_SERVER_H

#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "support/certificates.h"

namespace kubedr::test {

// One request as a scripted server saw it.
struct SeenRequest {
  std::string line;                                 // "GET /path?query"
  std::multimap<std::string, std::string> headers;  // names in lower case
  std::string body;
  std::string server_name;  // what the client called us by SNI
  std::string client;       // common name of the client's certificate; empty: it had none

  std::string header(const std::string& name) const;  // the first of that name, or empty
};

// The scripted servers' way to speak TLS: wants, and does not insist on, a client's certificate of
// `clients`. Plain TCP is asked for by none at all.
struct ServerTls {
  Certificate certificate;
  std::string clients_ca_pem;
};

// Listens on a free port of 127.0.0.1, each connection in a thread of its own.
//
// threads  synchronised
class Listener {
 public:
  class Link;  // a connection, plain or TLS

  explicit Listener(const std::optional<ServerTls>& tls);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  virtual ~Listener();

  int port() const { return port_; }

 protected:
  // Before anything else of a derived class goes.
  void stop();
  void start();

  virtual void serve(Link& link) = 0;

  bool stopping() const { return stopping_; }

 private:
  struct Context;

  void accept_links();

  std::unique_ptr<Context> context_;
  FileDescriptor socket_;
  int port_ = 0;
  std::atomic<bool> stopping_ = false;
  std::list<std::jthread> links_;
  std::jthread acceptor_;
};

// An HTTP/1.1 server for answers that a real one does not give on demand: says what it is told to,
// and remembers what it was asked.
class ScriptedServer final : public Listener {
 public:
  // A whole answer, header block and all; an empty one ends the connection instead.
  using Script = std::function<std::string(const SeenRequest&)>;

  explicit ScriptedServer(const std::optional<ServerTls>& tls, Script script);
  ~ScriptedServer() override;

  std::vector<SeenRequest> requests() const;

 private:
  void serve(Link& link) override;

  const Script script_;
  mutable std::mutex mutex_;
  std::vector<SeenRequest> requests_;  // guarded by mutex_
};

std::string http_answer(int status, const std::string& body, const std::string& headers = "");

// A proxy that understands CONNECT and SOCKS5, and takes everybody to the same port of this
// machine, whatever they asked for.
class ScriptedProxy final : public Listener {
 public:
  ScriptedProxy(const std::optional<ServerTls>& tls, int target_port);
  ~ScriptedProxy() override;

  // "CONNECT host:443 Basic ...", "SOCKS5 host:443"
  std::vector<std::string> asked() const;

 private:
  void serve(Link& link) override;
  bool open_tunnel(Link& link);
  bool open_socks(Link& link);
  void note(const std::string& text);

  const int target_port_;
  mutable std::mutex mutex_;
  std::vector<std::string> asked_;  // guarded by mutex_
};

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_SCRIPTED_SERVER_H
