#include "s3/sign.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "base/hex.h"
#include "base/sha256.h"
#include "base/text.h"
#include "base/time.h"
#include "http/url.h"

namespace kubedr::s3 {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";

using Pairs = std::vector<std::pair<std::string, std::string>>;

std::string canonical_query(const Pairs& query) {
  Pairs escaped;
  for (const auto& [name, value] : query)
    escaped.emplace_back(http::escape(name), http::escape(value));
  std::sort(escaped.begin(), escaped.end());
  std::string text;
  for (const auto& [name, value] : escaped) {
    if (!text.empty()) text += '&';
    text += name + '=' + value;
  }
  return text;
}

// Without white space at the ends, and one blank for any run of it inside.
std::string canonical_value(std::string_view value) {
  std::string text;
  for (const char c : trim(value)) {
    const bool is_space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (is_space && text.back() == ' ') continue;
    text += is_space ? ' ' : c;
  }
  return text;
}

// By name, in lower case; the values of one name in the order they are sent.
std::map<std::string, std::string> canonical_headers(const Pairs& headers) {
  std::map<std::string, std::string> lines;
  for (const auto& [name, value] : headers) {
    const auto [line, is_new] = lines.try_emplace(to_lower(name), canonical_value(value));
    if (!is_new) line->second += "," + canonical_value(value);
  }
  return lines;
}

std::string signed_headers(const Pairs& headers) {
  std::vector<std::string> names;
  for (const auto& [name, value] : canonical_headers(headers)) names.push_back(name);
  return join(names, ";");
}

Digest hmac(const Digest& key, std::string_view text) {
  return hmac_sha256(key, as_bytes(text));
}

// A key of its own for each day, region and service, so that none is good for another.
Digest signing_key(const Secret& secret, std::string_view day, std::string_view region,
                   std::string_view service) {
  const Secret start = concat({"AWS4", secret.reveal()});
  Digest key = hmac_sha256(as_bytes(start.reveal()), as_bytes(day));
  for (const std::string_view step : {region, service, std::string_view("aws4_request")}) {
    key = hmac(key, step);
  }
  return key;
}

}  // namespace

std::string canonical_request(const SignRequest& request) {
  std::string text = request.method + '\n';
  text += (request.path.empty() ? "/" : request.path) + '\n';
  text += canonical_query(request.query) + '\n';
  for (const auto& [name, value] : canonical_headers(request.headers)) {
    text += name + ':' + value + '\n';
  }
  text += '\n' + signed_headers(request.headers) + '\n' + request.payload_hash;
  return text;
}

Secret authorization(const SignRequest& request, const Credentials& credentials,
                     const std::string& region, WallTime time, const std::string& service) {
  const std::string moment = format_compact(time);
  const std::string day = moment.substr(0, 8);
  const std::string scope = fmt::format("{}/{}/{}/aws4_request", day, region, service);
  const Secret canonical(canonical_request(request));  // a session token is in it
  const std::string digest = to_hex(sha256(as_bytes(canonical.reveal())));
  const std::string to_sign = fmt::format("{}\n{}\n{}\n{}", kAlgorithm, moment, scope, digest);
  Digest key = signing_key(credentials.secret_key, day, region, service);
  const std::string signature = to_hex(hmac(key, to_sign));
  wipe(key.data(), key.size());
  return Secret(fmt::format("{} Credential={}/{}, SignedHeaders={}, Signature={}", kAlgorithm,
                            credentials.access_key, scope, signed_headers(request.headers),
                            signature));
}

}  // namespace kubedr::s3
