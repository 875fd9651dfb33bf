#include "kube/client.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "http/client.h"
#include "http/url.h"
#include "kube/failure.h"

namespace kubedr::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kTries = 4;
constexpr milliseconds kFirstPause{500};
constexpr milliseconds kLongestPause = seconds(30);
constexpr char kPageSize[] = "500";  // kubectl's

// A service account's token is replaced well before it expires; client-go looks as often.
constexpr seconds kTokenAge{50};

struct Sent {
  std::string method;
  std::string path;
  Query query;
  std::string content_type;
  std::string body;
  bool idempotent = true;
};

http::Options options_of(const Config& config, const std::string& user_agent) {
  http::Options options;
  options.tls = config.tls;
  options.proxy_url = config.proxy_url;
  options.proxies = config.proxies;
  options.user_agent = user_agent;
  return options;
}

// Warning: 299 - "text", 299 - "text"; other codes are not for people.
std::vector<std::string> parse_warnings(std::string_view header) {
  std::vector<std::string> texts;
  while (true) {
    const std::size_t quote = header.find('"');
    if (quote == std::string_view::npos) return texts;
    const bool shown = trim(header.substr(0, quote)).starts_with("299");
    std::string text;
    std::size_t at = quote + 1;
    for (; at < header.size() && header[at] != '"'; ++at) {
      if (header[at] == '\\' && at + 1 < header.size()) ++at;
      text += header[at];
    }
    if (shown) texts.push_back(printable(text));
    header.remove_prefix(std::min(header.size(), at + 1));
    while (!header.empty() && (header[0] == ',' || header[0] == ' ')) header.remove_prefix(1);
  }
}

}  // namespace

struct Client::Impl {
  Impl(Config with, std::string agent, milliseconds timeout, const Clock& time)
      : config(std::move(with)),
        user_agent(std::move(agent)),
        request_timeout(timeout),
        clock(time),
        http(options_of(config, user_agent)) {}

  Config config;
  std::string user_agent;
  milliseconds request_timeout;
  const Clock& clock;
  http::Client http;
  std::vector<std::string> warnings;
  Secret file_token;
  std::optional<SteadyTime> file_token_read;

  std::string field_manager() const { return user_agent.substr(0, user_agent.find('/')); }

  // What the file holds now; a file that cannot be read any more leaves the token there was.
  void read_token() {
    try {
      Bytes bytes = read_file(config.token_file, limits::kSecretBytes);
      file_token = Secret(trim(as_text(bytes)));
      wipe(bytes.data(), bytes.size());
    } catch (const Error& error) {
      if (file_token.empty()) {
        throw Error(ErrorKind::denied, std::string("kubernetes: read token: ") + error.what());
      }
      log::warn("kubernetes: read token again: {}", error.what());
    }
    file_token_read = clock.steady();
  }

  Secret authorization() {
    if (!config.token_file.empty()) {
      if (!file_token_read || clock.steady() - *file_token_read > kTokenAge) read_token();
      return Secret("Bearer " + std::string(file_token.reveal()));
    }
    if (!config.token.empty()) return Secret("Bearer " + std::string(config.token.reveal()));
    if (config.username.empty()) return {};
    const std::string pair = config.username + ":" + std::string(config.password.reveal());
    return Secret("Basic " + to_base64(as_bytes(pair)));
  }

  http::Request request_of(const Sent& sent) {
    http::Request request;
    request.method = sent.method;
    request.url = config.server + sent.path;
    char separator = '?';
    for (const auto& [key, value] : sent.query) {
      request.url += separator + http::escape(key) + "=" + http::escape(value);
      separator = '&';
    }
    request.headers = {{"Accept", "application/json"}};
    if (!sent.content_type.empty()) request.headers.emplace_back("Content-Type", sent.content_type);
    if (!config.impersonate_user.empty()) {
      request.headers.emplace_back("Impersonate-User", config.impersonate_user);
    }
    for (const std::string& group : config.impersonate_groups) {
      request.headers.emplace_back("Impersonate-Group", group);
    }
    request.authorization = authorization();
    request.body = as_bytes(sent.body);
    request.max_body = limits::kKubeBody;
    return request;
  }

  void note_warnings(const http::Response& response) {
    for (const auto& [name, value] : response.headers) {
      if (name != "warning") continue;
      for (std::string& text : parse_warnings(value)) {
        const bool known = std::find(warnings.begin(), warnings.end(), text) != warnings.end();
        if (!known) warnings.push_back(std::move(text));
      }
    }
  }

  // One exchange; every answer that is no success is thrown.
  http::Response try_once(const Sent& sent, const Target& target, const Call& call) {
    const Call bounded = request_timeout.count() > 0 ? call.within(request_timeout) : call;
    http::Response response;
    try {
      response = http.send(request_of(sent), bounded);
    } catch (const Error& error) {
      call.require_live();  // why the whole call ended says more than what it did to this request
      Error with_place(error.kind(), "kubernetes: " + target.display() + ": " + error.what(),
                       error.hint());
      with_place.with(error.transport());
      throw with_place;
    }
    log::debug("kubernetes: {} {}: {}", sent.method, sent.path, response.status);
    note_warnings(response);
    if (response.status >= 200 && response.status < 300) return response;
    throw make_error(target, response);
  }

  // A token file may have been replaced since we read it.
  bool refresh_token(const Error& error) {
    if (error.kind() != ErrorKind::denied || config.token_file.empty()) return false;
    const Secret before = file_token;
    read_token();
    return !(before == file_token);
  }

  // Tries again what can do no harm. `repeated` says if an earlier try may have been carried out.
  http::Response send(const Sent& sent, const Call& call, bool* repeated = nullptr) {
    const Target target = make_target(sent.method, sent.path);
    milliseconds pause = kFirstPause;
    bool refreshed = false;
    for (int tries = 1;; ++tries) {
      milliseconds wait{0};
      try {
        return try_once(sent, target, call);
      } catch (const Error& error) {
        if (!refreshed && refresh_token(error)) {
          refreshed = true;
          continue;
        }
        if (tries == kTries || !may_retry(error, sent.idempotent)) throw;
        wait = std::max<milliseconds>(pause, error.transport().retry_after.value_or(seconds(0)));
        if (wait > kLongestPause || wait >= call.remaining()) throw;
        log::info("{}; trying again", error.what());
        if (repeated != nullptr && error.transport().may_have_arrived) *repeated = true;
      }
      call.sleep(wait);
      pause *= 2;
    }
  }

  Json send_for_json(const Sent& sent, const Call& call) {
    const http::Response response = send(sent, call);
    return parse_json(response.text(),
                      "kubernetes: " + make_target(sent.method, sent.path).display());
  }

  // All items of all pages, or nullopt when a page's token has expired.
  std::optional<std::vector<Json>> pages(const std::string& path, const Query& query,
                                         const Call& call) {
    std::vector<Json> items;
    std::string token;
    while (true) {
      Query page_query = query;
      page_query.emplace_back("limit", kPageSize);
      if (!token.empty()) page_query.emplace_back("continue", token);
      Json page;
      try {
        page = send_for_json({"GET", path, page_query, "", "", true}, call);
      } catch (const Error& error) {
        const bool expired = error.kind() == ErrorKind::conflict;  // 410, see kube/failure.cc
        if (expired && !token.empty()) return std::nullopt;
        throw;
      }
      if (page.contains("items") && page["items"].is_array()) {
        std::move(page["items"].begin(), page["items"].end(), std::back_inserter(items));
      }
      token = find_string(page, {"metadata", "continue"}).value_or("");
      if (token.empty()) return items;
    }
  }
};

Client::Client(Config config, std::string user_agent, milliseconds request_timeout,
               const Clock& clock)
    : impl_(std::make_unique<Impl>(std::move(config), std::move(user_agent), request_timeout,
                                   clock)) {}

Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Json Client::get(const std::string& path, const Query& query, const Call& call) {
  return impl_->send_for_json({"GET", path, query, "", "", true}, call);
}

// The pages of one list show one moment only as long as the server remembers it. What came before
// an expired page is of another moment, so nothing is handed out until all pages are here.
void Client::list(const std::string& path, Query query,
                  const std::function<void(const Json&)>& each, const Call& call) {
  std::optional<std::vector<Json>> items = impl_->pages(path, query, call);
  if (!items) items = impl_->pages(path, query, call);
  if (!items) {
    throw Error(ErrorKind::unavailable,
                "kubernetes: " + make_target("GET", path).display() +
                    ": the list expired twice while it was being read",
                "try again");
  }
  for (const Json& item : *items) each(item);
}

Json Client::create(const std::string& path, const Json& body, const Call& call) {
  const Query query = {{"fieldManager", impl_->field_manager()}};
  return impl_->send_for_json({"POST", path, query, "application/json", body.dump(), false}, call);
}

Json Client::patch(const std::string& path, PatchType type, const Json& body, const Query& query,
                   const Call& call) {
  Query full = {{"fieldManager", impl_->field_manager()}};
  full.insert(full.end(), query.begin(), query.end());
  const char* content_type =
      type == PatchType::merge ? "application/merge-patch+json" : "application/apply-patch+yaml";
  return impl_->send_for_json({"PATCH", path, full, content_type, body.dump(), true}, call);
}

void Client::remove(const std::string& path, const Call& call) {
  bool repeated = false;
  try {
    impl_->send({"DELETE", path, {}, "", "", true}, call, &repeated);
  } catch (const Error& error) {
    const bool done_before = repeated && error.kind() == ErrorKind::not_found;
    if (!done_before) throw;
  }
}

const Config& Client::config() const {
  return impl_->config;
}

const std::vector<std::string>& Client::warnings() const {
  return impl_->warnings;
}

std::string path(std::initializer_list<std::string_view> segments) {
  std::string joined;
  for (const std::string_view segment : segments) joined += "/" + http::escape(segment);
  return joined;
}

}  // namespace kubedr::kube
