#include "http/proxy.h"

#include <arpa/inet.h>
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/text.h"

namespace kubedr::http {
namespace {

// IPv4 in the form ::ffff:a.b.c.d, so that both spellings of one address are equal.
struct Address {
  std::array<std::uint8_t, 16> bytes{};
  bool is_ip4 = false;

  bool operator==(const Address&) const = default;
};

constexpr std::size_t kIp4Begin = 12;

std::optional<Address> parse_address(std::string_view view) {
  const std::string text(view);
  Address address;
  if (inet_pton(AF_INET, text.c_str(), address.bytes.data() + kIp4Begin) == 1) {
    address.bytes[10] = address.bytes[11] = 0xFF;
    address.is_ip4 = true;
    return address;
  }
  in6_addr ip6{};
  if (inet_pton(AF_INET6, text.c_str(), &ip6) != 1) return std::nullopt;
  std::memcpy(address.bytes.data(), &ip6, sizeof ip6);
  address.is_ip4 = IN6_IS_ADDR_V4MAPPED(&ip6);
  return address;
}

bool shares_prefix(const Address& a, const Address& b, std::size_t bits) {
  for (std::size_t i = 0; i < bits; ++i) {
    const auto bit = static_cast<std::uint8_t>(0x80U >> i % 8);
    if ((a.bytes[i / 8] & bit) != (b.bytes[i / 8] & bit)) return false;
  }
  return true;
}

// Whether "10.0.0.0/8" holds the address; nullopt when the entry is no such network.
std::optional<bool> network_holds(std::string_view entry, const std::optional<Address>& address) {
  const std::size_t slash = entry.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::optional<Address> network = parse_address(entry.substr(0, slash));
  if (!network) return std::nullopt;
  const bool is_ip4 = entry.find(':') == std::string_view::npos;
  const std::string_view digits = entry.substr(slash + 1);
  std::size_t bits = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (error != std::errc() || end != digits.data() + digits.size() || bits > (is_ip4 ? 32 : 128)) {
    return std::nullopt;
  }
  if (!address || address->is_ip4 != is_ip4) return false;
  return shares_prefix(*network, *address, is_ip4 ? kIp4Begin * 8 + bits : bits);
}

struct HostPort {
  std::string host;
  std::string port;  // empty: any
};

// "host", "host:port", "[ip6]:port", and a bare "ip6", whose colons are no port's.
HostPort split_port(std::string_view entry) {
  if (entry.starts_with('[')) {
    const std::size_t end = entry.find("]:");
    if (end == std::string_view::npos) return {std::string(entry), ""};
    return {std::string(entry.substr(1, end - 1)), std::string(entry.substr(end + 2))};
  }
  const std::size_t colon = entry.find(':');
  if (colon == std::string_view::npos || colon != entry.rfind(':')) return {std::string(entry), ""};
  return {std::string(entry.substr(0, colon)), std::string(entry.substr(colon + 1))};
}

// foo.com is that host and all below it, .foo.com and *.foo.com only those below.
bool is_in_domain(const std::string& host, std::string domain) {
  if (domain.starts_with("*.")) domain.erase(0, 1);
  if (domain.starts_with('.')) return host.ends_with(domain);
  return host == domain || host.ends_with("." + domain);
}

int port_of(const Url& url) {
  if (url.port != 0) return url.port;
  return url.scheme == "https" ? 443 : 80;
}

bool is_exempt(std::string_view entry, const Url& url) {
  const std::string host = to_lower(url.host);
  const std::optional<Address> address = parse_address(host);
  if (entry == "*") return true;
  if (const auto holds = network_holds(entry, address)) return *holds;
  const HostPort named = split_port(entry);
  if (named.host.empty()) return false;
  if (!named.port.empty() && named.port != std::to_string(port_of(url))) return false;
  if (const auto named_address = parse_address(named.host)) return named_address == address;
  return !address && is_in_domain(host, named.host);
}

}  // namespace

std::string choose_proxy(const ProxyVariables& variables, const Url& url) {
  const std::string& proxy = url.scheme == "https" ? variables.https : variables.http;
  if (proxy.empty() || url.is_loopback()) return {};
  const std::vector<std::string> entries = split(variables.no_proxy, ',');
  const bool exempt = std::any_of(entries.begin(), entries.end(), [&](const std::string& entry) {
    return is_exempt(to_lower(trim(entry)), url);
  });
  return exempt ? std::string() : proxy;
}

ProxyAddress parse_proxy(const std::string& text) {
  ProxyAddress address;
  address.url = text.find("://") == std::string::npos ? "http://" + text : text;
  Url url;
  try {
    url = parse_url(address.url);
  } catch (const Error& error) {
    throw Error(ErrorKind::usage, fmt::format("proxy: {}", error.what()));
  }
  address.tls = url.scheme == "https";
  if (url.scheme == "http") {
    address.default_port = 80;
  } else if (url.scheme == "https") {
    address.default_port = 443;
  } else if (url.scheme == "socks5" || url.scheme == "socks5h") {
    address.default_port = 1080;
    // To libcurl the "h" says who resolves names; Go leaves it to the proxy either way.
    address.url = "socks5h" + address.url.substr(address.url.find("://"));
  } else {
    throw Error(ErrorKind::usage,
                fmt::format("proxy: unsupported scheme \"{}\", must be http, https, or socks5",
                            url.scheme));
  }
  return address;
}

}  // namespace kubedr::http
