#include "s3/address.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace kubedr::s3 {
namespace {

constexpr std::string_view kScheme = "s3:";

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorKind::usage, "s3: " + why,
              "correct url and bucketName of the location, or --repo "
              "s3:https://HOST/BUCKET[/PREFIX]");
}

bool starts_with(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain += text[i];
      continue;
    }
    const std::optional<char> byte = http::escaped_byte(text.substr(i));
    if (!byte) refuse("invalid URL escape in the repository's location");
    plain += *byte;
    i += 2;
  }
  return plain;
}

// As Go's path.Clean leaves a relative path, but never outside the bucket.
std::string clean_prefix(std::string_view text) {
  std::vector<std::string> parts;
  for (std::string& part : split(text, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.push_back(std::move(part));
    } else if (parts.empty()) {
      refuse("the prefix leads out of the bucket");
    } else {
      parts.pop_back();
    }
  }
  return join(parts, "/");
}

void require_bucket_name(const std::string& name) {
  if (name.empty()) refuse("bucket name not found");
  if (name.size() < 3) refuse("Bucket name cannot be shorter than 3 characters");
  if (name.size() > 63) refuse("Bucket name cannot be longer than 63 characters");
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_' || c == ':';
  };
  const bool is_dots = name.find_first_not_of('.') == std::string::npos;
  if (is_dots || !std::all_of(name.begin(), name.end(), is_allowed)) {
    refuse("Bucket name contains invalid characters");
  }
}

void require_harmless(std::string_view text) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (std::any_of(text.begin(), text.end(), is_control)) {
    refuse("the repository's location holds a control character");
  }
}

// scheme://host[:port] of what may have a path behind it.
http::Url parse_endpoint(std::string_view scheme, std::string_view host) {
  if (host.empty()) refuse("invalid format, host/region or bucket name not found");
  if (host.find('@') != std::string_view::npos) {
    throw Error(ErrorKind::usage, "s3: the repository's location holds user information",
                "access keys do not belong into the URL");
  }
  return http::parse_url(std::string(scheme) + "://" + std::string(host));
}

std::pair<std::string_view, std::string_view> cut_at_slash(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return {text, {}};
  return {text.substr(0, slash), text.substr(slash + 1)};
}

int default_port(const std::string& scheme) {
  return scheme == "https" ? 443 : 80;
}

bool is_amazon(const std::string& host) {
  return host == "amazonaws.com" || ends_with(host, ".amazonaws.com") ||
         ends_with(host, ".amazonaws.com.cn");
}

// A certificate for *.HOST covers one more label, so a bucket name with dots cannot be one.
bool is_host_label(const std::string& name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  };
  return std::all_of(name.begin(), name.end(), is_allowed) && name.front() != '-' &&
         name.back() != '-';
}

bool takes_dns(const Address& address, BucketLookup lookup) {
  if (lookup != BucketLookup::automatic) return lookup == BucketLookup::dns;
  return is_amazon(to_lower(address.endpoint.host)) && is_host_label(address.bucket);
}

}  // namespace

Address::Target Address::target(std::string_view key, BucketLookup lookup) const {
  http::Url url = endpoint;
  // The Host header leaves the scheme's own port out, and the signature covers that header.
  if (url.port == default_port(url.scheme)) url.port = 0;
  const bool dns = takes_dns(*this, lookup);
  if (dns) url.host = bucket + "." + url.host;
  Target target;
  target.host = url.authority();
  target.base = url.scheme + "://" + target.host;
  target.path = url.path;
  while (!target.path.empty() && target.path.back() == '/') target.path.pop_back();
  if (!dns) target.path += "/" + http::escape(bucket);
  target.path += "/" + http::escape(key, true);
  return target;
}

Address parse_address(std::string_view text) {
  require_harmless(text);
  if (!starts_with(text, kScheme)) refuse("invalid format");
  Address address;
  address.location = std::string(text);
  std::string_view rest = text.substr(kScheme.size());
  std::string_view scheme = "https";
  const bool is_url = starts_with(rest, "http://") || starts_with(rest, "https://");
  if (is_url) {
    scheme = rest.substr(0, rest.find(':'));
    rest.remove_prefix(scheme.size() + 1);
  }
  if (starts_with(rest, "//")) rest.remove_prefix(2);
  const auto [host, path] = cut_at_slash(rest);
  address.endpoint = parse_endpoint(scheme, host);
  // Only the URL form is a URL, in which %XX stands for a byte.
  const std::string plain = is_url ? unescape(path) : std::string(path);
  require_harmless(plain);
  const auto [bucket, prefix] = cut_at_slash(plain);
  address.bucket = std::string(bucket);
  require_bucket_name(address.bucket);
  address.prefix = clean_prefix(prefix);
  return address;
}

Address make_address(std::string_view url, std::string_view bucket_name) {
  while (!url.empty() && url.back() == '/') url.remove_suffix(1);
  return parse_address(std::string(kScheme) + std::string(url) + "/" + std::string(bucket_name));
}

}  // namespace kubedr::s3
