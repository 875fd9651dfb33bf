#include "cmd/push.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "cmd/wire.h"
#include "health/exposition.h"
#include "http/client.h"
#include "http/url.h"

namespace kubedr::cmd {
namespace {

constexpr int kTries = 3;
constexpr std::chrono::seconds kPause{1};
constexpr std::chrono::seconds kLongestPause{10};  // nobody waits longer for a backup's metrics
constexpr std::chrono::seconds kTimeout{10};

Error push_failure(const std::string& where, const http::Response& response, WallTime now) {
  ErrorKind kind = ErrorKind::failed;
  if (response.status == 401 || response.status == 403) kind = ErrorKind::denied;
  if (http::is_away(response.status)) kind = ErrorKind::unavailable;
  const std::string_view words = trim(response.text());
  Error error(kind, fmt::format("push: {}: {} {}", where, response.status,
                                shorten(printable(words.substr(0, words.find('\n'))), 200)));
  error.with({kind == ErrorKind::unavailable, true, response.retry_after(now)});
  return error;
}

// What went wrong, if anything did.
std::optional<Error> try_push(http::Client& client, const http::Request& request,
                              const Call& call) {
  try {
    const http::Response response = client.send(request, call);
    if (response.is_success()) return std::nullopt;
    return push_failure(request.url, response, call.clock().now());
  } catch (const Error& error) {
    return error;
  }
}

}  // namespace

std::string push_address(const std::string& url) {
  const http::Url parts = http::parse_url(url);
  const std::string after_scheme = url.substr(url.find("//") + 2);
  if (after_scheme.substr(0, after_scheme.find('/')).find('@') != std::string::npos) {
    throw Error(ErrorKind::usage, "--push: a password in a URL can be read by everybody",
                "leave it out, and let the gateway be reached without one");
  }
  if (parts.path.find("/metrics/job") != std::string::npos) return url;
  const std::string base = url.ends_with('/') ? url.substr(0, url.size() - 1) : url;
  return base + "/metrics/job/kubedr";
}

void push(const std::string& url, const std::string& metrics, const Environment& environment,
          const Call& call) {
  http::Options options;
  options.authorities = authorities_of(environment);
  options.proxies = proxies_of(environment);
  options.user_agent = user_agent();
  options.idle_timeout = kTimeout;
  http::Client client(std::move(options));
  http::Request request;
  request.method = "PUT";
  request.url = push_address(url);
  request.headers = {{"Content-Type", health::content_type(health::Exposition::text)}};
  request.body = as_bytes(metrics);
  for (int tries = 1;; ++tries) {
    const std::optional<Error> failure = try_push(client, request, call);
    if (!failure) return;
    const std::chrono::seconds pause = failure->transport().retry_after.value_or(kPause);
    if (!may_retry(*failure, true) || tries == kTries) throw *failure;
    if (pause > kLongestPause || pause >= call.remaining()) throw *failure;
    log::info("{}; trying again", failure->what());
    call.sleep(pause);
  }
}

}  // namespace kubedr::cmd
