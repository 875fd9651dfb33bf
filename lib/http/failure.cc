#include "http/failure.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace kubedr::http {
namespace {

// transient, may have arrived, retry after
constexpr Error::Transport kNeverArrived{true, false, {}};
constexpr Error::Transport kMaybeArrived{true, true, {}};
constexpr Error::Transport kPointless{false, false, {}};
constexpr Error::Transport kFinal{false, true, {}};

bool has_any(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [text](std::string_view word) {
    return text.find(word) != std::string_view::npos;
  });
}

// A server that wants another client certificate says so by a TLS alert. With TLS 1.3 it comes at
// the first read, when libcurl takes the handshake for done and reports a receive error.
bool is_certificate_alert(std::string_view detail) {
  return has_any(detail, {"alert certificate required", "alert bad certificate", "alert unknown ca",
                          "alert certificate unknown", "alert certificate expired",
                          "alert certificate revoked", "alert unsupported certificate",
                          "alert access denied", "alert handshake failure"});
}

bool is_plain_answer(std::string_view detail) {
  return has_any(detail, {"wrong version number", "packet length too long", "http request"});
}

// A proxy that answers CONNECT with anything but success; libcurl repeats its status.
bool is_refused_tunnel(std::string_view detail) {
  return has_any(detail, {"CONNECT tunnel failed", "from proxy after CONNECT"});
}

struct Meaning {
  ErrorKind kind = ErrorKind::unavailable;
  std::string what;
  std::string hint;
  Error::Transport transport;
};

Meaning refused_certificate() {
  return {ErrorKind::denied, "the server refuses the client certificate",
          "use a client certificate and key that the server's CA has signed", kPointless};
}

Meaning untrusted_server() {
  return {ErrorKind::denied, "the server's certificate is not trusted",
          "use the CA that signed it, and the name or address that stands in it", kPointless};
}

Meaning refused_tunnel(std::string_view detail) {
  if (has_any(detail, {"407"})) {
    return {ErrorKind::denied, "the proxy wants a user and a password, or others",
            "give them in the proxy's address: http://USER:PASSWORD@HOST:PORT", kPointless};
  }
  return {ErrorKind::unavailable, "the proxy does not let us through",
          "check the proxy's address, and that it may reach the server", kNeverArrived};
}

Meaning handshake(std::string_view detail) {
  if (is_certificate_alert(detail)) return refused_certificate();
  if (is_plain_answer(detail)) {
    return {ErrorKind::unavailable, "the server does not speak TLS", "use http:// or another port",
            kPointless};
  }
  return {ErrorKind::unavailable, "TLS handshake failed",
          "if the server speaks plain HTTP, use http://", kNeverArrived};
}

Meaning meaning_of(CURLcode code, std::string_view detail) {
  switch (code) {
  case CURLE_COULDNT_CONNECT:
    return {ErrorKind::unavailable, "could not connect", {}, kNeverArrived};
  case CURLE_COULDNT_RESOLVE_HOST:
  case CURLE_COULDNT_RESOLVE_PROXY:
    return {ErrorKind::unavailable, "name could not be resolved", {}, kNeverArrived};
  case CURLE_PROXY:  // SOCKS: refused, or the server behind it not reached
    return {ErrorKind::unavailable, "the proxy does not let us through", {}, kNeverArrived};
  case CURLE_OPERATION_TIMEDOUT:  // the connect timeout is the only one that libcurl counts
    return {ErrorKind::unavailable, "could not connect in time", {}, kNeverArrived};
  case CURLE_SSL_CONNECT_ERROR:
    return handshake(detail);
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_ISSUER_ERROR:
  case CURLE_SSL_INVALIDCERTSTATUS:
    return untrusted_server();
  case CURLE_SSL_CERTPROBLEM:
    return {ErrorKind::usage, "the client certificate or its key cannot be used",
            "both must be PEM, the key unencrypted and the certificate's own", kPointless};
  case CURLE_SSL_CACERT_BADFILE:
    return {ErrorKind::usage, "the CA certificate cannot be used", "it must be PEM", kPointless};
  case CURLE_URL_MALFORMAT:
  case CURLE_LOGIN_DENIED:  // user information in the URL, which we forbid
    return {ErrorKind::usage, "not a usable URL", {}, kPointless};
  case CURLE_UNSUPPORTED_PROTOCOL:  // what HTTP/0.9, hence any junk, is called
  case CURLE_WEIRD_SERVER_REPLY:
    return {ErrorKind::unavailable, "the answer is not HTTP", {}, kFinal};
  case CURLE_BAD_CONTENT_ENCODING:
    return {ErrorKind::corrupt, "the body's encoding is damaged", {}, kFinal};
  case CURLE_PARTIAL_FILE:
    return {ErrorKind::unavailable, "the answer ended early", {}, kMaybeArrived};
  case CURLE_RECV_ERROR:
    if (is_refused_tunnel(detail)) return refused_tunnel(detail);
    if (is_certificate_alert(detail)) return refused_certificate();
    [[fallthrough]];
  case CURLE_GOT_NOTHING:
  case CURLE_SEND_ERROR:
  case CURLE_HTTP2:
  case CURLE_HTTP2_STREAM:
    return {ErrorKind::unavailable, "the connection was lost", {}, kMaybeArrived};
  default:
    return {ErrorKind::failed, "the exchange failed", {}, kFinal};
  }
}

}  // namespace

Error failure_of(CURLcode code, std::string_view where, std::string_view detail) {
  const Meaning meaning = meaning_of(code, detail);
  const std::string_view why = detail.empty() ? curl_easy_strerror(code) : detail;
  Error error(meaning.kind, fmt::format("{}: {}: {}", where, meaning.what, printable(trim(why))),
              meaning.hint);
  return error.with(meaning.transport);
}

Error hung_up_after_handshake(std::string_view where) {
  const Meaning meaning = refused_certificate();
  Error error(meaning.kind, fmt::format("{}: {}, or wants one", where, meaning.what), meaning.hint);
  return error.with(meaning.transport);
}

}  // namespace kubedr::http
