#ifndef KUBEDR_HTTP_CLIENT_H
#define KUBEDR_HTTP_CLIENT_H

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/call.h"
#include "base/limits.h"
#include "base/secret.h"
#include "http/authorities.h"
#include "http/proxy.h"

namespace kubedr::http {

// How a server is proven to be the right one, and we to it. PEM texts, not files: keys come from
// Secrets and must not touch the disk.
struct Tls {
  std::string ca_pem;  // empty: Options::authorities
  bool verify = true;
  std::string client_certificate_pem;
  Secret client_key_pem;
  std::string server_name;  // checked and sent as SNI instead of the URL's host; may be empty
};

enum class Version {
  any,          // HTTP/2 over TLS where the server offers it, else HTTP/1.1
  http1,        // HTTP/1.1 only
  http2,        // must be HTTP/2 over TLS (gRPC)
  http2_prior,  // HTTP/2 over plain TCP without an upgrade (gRPC)
};

struct Options {
  Tls tls;
  Authorities authorities;  // instead of the system's, each that is not empty
  Version version = Version::any;
  ProxyVariables proxies;
  std::string proxy_url;     // instead of `proxies`, and for this machine too; may be empty
  bool compression = false;  // the server may send bodies in gzip; limits count what comes out
  std::string user_agent;
  std::chrono::milliseconds connect_timeout = std::chrono::seconds(10);
  // No byte in either direction for this long ends the exchange.
  std::chrono::milliseconds idle_timeout = std::chrono::seconds(60);
};

// Names are compared without regard to case; sent in this order.
using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string method = "GET";
  std::string url;       // complete and already escaped; sent to the byte as it stands
  Headers headers;       // a header with an empty value is sent empty
  Secret authorization;  // the Authorization header's value; kept out of `headers` and of every log
  ByteView body;         // borrowed until the exchange ends
  std::size_t max_body = limits::kKubeBody;  // a longer answer is corrupt, a refusal cut off
};

// What came back, whatever its status: judging it is the caller's.
struct Response {
  int status = 0;
  Headers headers;  // trailers included, names in lower case
  Bytes body;

  // The last value of that name, or nullptr.
  const std::string* header(std::string_view name) const;

  std::string_view text() const { return as_text(body); }

  bool is_success() const { return status >= 200 && status < 300; }

  // How long the server asks to wait before the next try, a day at the most (Retry-After); nullopt
  // where it does not, or that time has passed.
  std::optional<std::chrono::seconds> retry_after(WallTime now) const;

  // By how much the server's clock is ahead (Date).
  std::optional<std::chrono::seconds> clock_offset(WallTime now) const;
};

// Whether a status says that the server, or one on the way to it, cannot answer just now: 429 and
// 5xx, but for those that will be said the next time too (not implemented, no such version, full).
bool is_away(int status);

// An answer that is read piece by piece. Not reading is the back-pressure: beyond a bounded buffer
// nothing more is taken from the connection.
//
// errors   unavailable: the connection ended early, or idled too long; what require_live throws
// threads  the client's thread; must go before the client does
class Stream {
 public:
  virtual ~Stream() = default;

  // Known once the header block is in; waits for it.
  virtual int status(const Call& call) = 0;

  // Fills the buffer as far as bytes are there, at least one; 0 at the end of the body.
  virtual std::size_t read(std::span<std::uint8_t> buffer, const Call& call) = 0;

  // Header lines so far; after read() returned 0 with the trailers. Names in lower case.
  virtual const Headers& headers() const = 0;
};

// One HTTP client: connections are kept and reused between its requests.
//
// errors   unavailable: not reachable, reset, timed out (Transport says if a retry can help);
//          denied: the server's certificate is not trusted, or it refuses ours;
//          corrupt: a body or header block above its limit; usage: a URL that cannot be parsed
// threads  one thread; drives its transfers in the caller's thread
class Client {
 public:
  explicit Client(Options options);
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  Response send(const Request& request, const Call& call);
  std::unique_ptr<Stream> open(const Request& request, const Call& call);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kubedr::http

#endif  // KUBEDR_HTTP_CLIENT_H
