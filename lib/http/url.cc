#include "http/url.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/hex.h"
#include "base/text.h"

namespace kubedr::http {
namespace {

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_unreserved(char c) {
  return is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

bool is_host_character(char c) {
  return is_unreserved(c) || std::string_view("!$&'()*+,;=%").find(c) != std::string_view::npos;
}

// The text may carry a password, so that no message repeats more of it than the host.
[[noreturn]] void fail(const std::string& why) {
  throw Error(ErrorKind::usage, "url: " + why);
}

int parse_port(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || text.front() == '-' || port < 1 || port > 65535) {
    fail("not a port: '" + printable(text) + "'");
  }
  return port;
}

std::string parse_ip6(std::string_view text) {
  const std::string host(text);
  const std::string address = host.substr(0, host.find('%'));  // without the zone
  in6_addr parsed{};
  if (inet_pton(AF_INET6, address.c_str(), &parsed) != 1) {
    fail("not an IPv6 address: '" + printable(text) + "'");
  }
  return host;
}

void parse_authority(std::string_view text, Url& url) {
  if (const std::size_t at = text.rfind('@'); at != std::string_view::npos) {
    text.remove_prefix(at + 1);
  }
  std::string_view rest;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) fail("'[' without ']' in the host");
    url.host = parse_ip6(text.substr(1, end - 1));
    rest = text.substr(end + 1);
  } else {
    const std::size_t end = std::min(text.find(':'), text.size());
    url.host = text.substr(0, end);
    rest = text.substr(end);
    if (url.host.empty()) fail("no host");
    if (!std::all_of(url.host.begin(), url.host.end(), is_host_character)) {
      fail("not a host: '" + printable(url.host) + "'");
    }
  }
  if (rest.empty()) return;
  if (rest.front() != ':' || rest.size() == 1) fail("no port after the host");
  url.port = parse_port(rest.substr(1));
}

}  // namespace

std::string Url::authority() const {
  std::string text = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != 0) text += ":" + std::to_string(port);
  return text;
}

// Only addresses, and the one name that RFC 6761 reserves: 127.example.com is anybody's.
bool Url::is_loopback() const {
  const std::string name = to_lower(host);
  if (name == "localhost" || name.ends_with(".localhost")) return true;
  in_addr ip4{};
  if (inet_pton(AF_INET, name.c_str(), &ip4) == 1) return (ntohl(ip4.s_addr) >> 24) == 127;
  in6_addr ip6{};
  if (inet_pton(AF_INET6, name.c_str(), &ip6) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&ip6) || (IN6_IS_ADDR_V4MAPPED(&ip6) && ip6.s6_addr[12] == 127);
}

Url parse_url(std::string_view text) {
  const auto is_control = [](char c) { return (c >= 0 && c <= ' ') || c == 0x7f; };
  if (std::any_of(text.begin(), text.end(), is_control)) {
    fail("blanks or control characters in it");
  }
  const std::size_t scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos || scheme_end == 0) fail("no scheme such as https://");
  Url url;
  url.scheme = to_lower(text.substr(0, scheme_end));
  if (!std::all_of(url.scheme.begin(), url.scheme.end(),
                   [](char c) { return is_alnum(c) || c == '+' || c == '-' || c == '.'; })) {
    fail("no scheme such as https://");
  }
  text.remove_prefix(scheme_end + 3);
  text = text.substr(0, text.find('#'));
  const std::size_t authority_end = std::min(text.find_first_of("/?"), text.size());
  parse_authority(text.substr(0, authority_end), url);
  text.remove_prefix(authority_end);
  const std::size_t path_end = std::min(text.find('?'), text.size());
  url.path = text.substr(0, path_end);
  if (path_end < text.size()) url.query = text.substr(path_end + 1);
  return url;
}

std::string escape(std::string_view text, bool keep_slash) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string escaped;
  escaped.reserve(3 * text.size());  // a secret's copy that grew would stay in memory
  for (const char c : text) {
    if (is_unreserved(c) || (keep_slash && c == '/')) {
      escaped += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    escaped += '%';
    escaped += kDigits[byte >> 4];
    escaped += kDigits[byte & 15];
  }
  return escaped;
}

std::optional<char> escaped_byte(std::string_view text) {
  if (!text.starts_with('%') || text.size() < 3) return std::nullopt;
  const std::optional<Bytes> byte = from_hex(to_lower(text.substr(1, 2)));
  return byte ? std::optional(static_cast<char>(byte->front())) : std::nullopt;
}

std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::optional<char> byte = escaped_byte(text.substr(i));
    plain += byte.value_or(text[i]);
    if (byte) i += 2;
  }
  return plain;
}

}  // namespace kubedr::http
