#ifndef KUBEDR_HTTP_URL_H
#define KUBEDR_HTTP_URL_H

#include <optional>
#include <string>
#include <string_view>

namespace kubedr::http {

// A URL in its parts, without user information and fragment.
struct Url {
  std::string scheme;  // lower case
  std::string host;    // without brackets for IPv6
  int port = 0;        // 0: not given
  std::string path;    // begins with '/', or empty; still escaped
  std::string query;   // without '?', still escaped

  // host[:port], IPv6 in brackets: the Host header and the key of a connection.
  std::string authority() const;
  bool is_loopback() const;
};

// errors   usage: no scheme or host, control characters, a port that is none
Url parse_url(std::string_view text);

// RFC 3986: letters, digits, "-._~" stay, all else becomes %XX; '/' stays if `keep_slash`.
std::string escape(std::string_view text, bool keep_slash = false);

// The byte that a text begins with as %XX; nullopt where it begins otherwise.
std::optional<char> escaped_byte(std::string_view text);

// Each %XX as its byte; whatever else there is stays.
std::string unescape(std::string_view text);

}  // namespace kubedr::http

#endif  // KUBEDR_HTTP_URL_H
