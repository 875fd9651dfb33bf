#include "kube/client.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "http/client.h"
#include "http/url.h"
#include "kube/credentials.h"
#include "kube/failure.h"
#include "kube/warnings.h"

namespace kubedr::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kTries = 4;
constexpr int kAskedTries = 10;  // where the server says when to come again; client-go's number
constexpr milliseconds kFirstPause{500};
constexpr milliseconds kLongestPause = seconds(60);
constexpr int kConflictTries = 5;  // client-go's numbers
constexpr milliseconds kConflictPause{10};
constexpr char kPageSize[] = "500";  // kubectl's
// A watch may have nothing to say for minutes; what is dead is found by TCP's keep-alive.
constexpr milliseconds kLongestSilence = std::chrono::minutes(10);
constexpr char kMetadataOnly[] =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

struct Sent {
  std::string method;
  std::string path;
  Query query;
  std::string content_type;
  std::string body;
  bool idempotent = true;
  std::string accept = "application/json";
};

// An open answer outlives the client's own connections: those go when a certificate is renewed.
class OwnStream final : public http::Stream {
 public:
  OwnStream(http::Client client, const http::Request& request, const Call& call)
      : client_(std::move(client)), stream_(client_.open(request, call)) {}

  int status(const Call& call) override { return stream_->status(call); }

  std::size_t read(std::span<std::uint8_t> buffer, const Call& call) override {
    return stream_->read(buffer, call);
  }

  const http::Headers& headers() const override { return stream_->headers(); }

 private:
  http::Client client_;
  std::unique_ptr<http::Stream> stream_;
};

// A message may hold what somebody else's bytes were: JSON is UTF-8.
std::string to_body(const Json& body) {
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

http::Options options_of(const Config& config, const http::Tls& tls,
                         const std::string& user_agent) {
  http::Options options;
  options.tls = tls;
  options.compression = config.compression;
  options.proxy_url = config.proxy_url;
  options.proxies = config.proxies;
  options.authorities = config.authorities;
  options.user_agent = user_agent;
  return options;
}

// kubectl's words, by which people search.
Error unreachable(const Error& error) {
  if (error.transport().may_have_arrived) return error;
  const std::string text = error.what();
  const bool refused = text.find("Connection refused") != std::string::npos;
  Error worded(error.kind(), "unable to connect to the server: " + text,
               refused ? "did you specify the right host or port?" : error.hint());
  worded.with(error.transport());
  return worded;
}

// As Go reads it.
std::string duration_text(milliseconds time) {
  const bool whole = time % seconds(1) == milliseconds(0);
  return whole ? fmt::format("{}s", time / seconds(1)) : fmt::format("{}ms", time.count());
}

// Header names take only some bytes; the others are written as %XX, and with them % itself.
std::string escape_header(std::string_view key) {
  constexpr std::string_view kLegal = "!#$&'*+-.^_`|~";
  std::string escaped;
  for (const char c : key) {
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (is_letter || (c >= '0' && c <= '9') || kLegal.find(c) != std::string_view::npos) {
      escaped += c;
    } else {
      escaped += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return escaped;
}

void add_impersonation(http::Headers& headers, const Impersonation& impersonation) {
  if (impersonation.user.empty()) return;
  headers.emplace_back("Impersonate-User", impersonation.user);
  if (!impersonation.uid.empty()) headers.emplace_back("Impersonate-Uid", impersonation.uid);
  for (const std::string& group : impersonation.groups) {
    headers.emplace_back("Impersonate-Group", group);
  }
  for (const auto& [key, values] : impersonation.extra) {
    for (const std::string& value : values) {
      headers.emplace_back("Impersonate-Extra-" + escape_header(key), value);
    }
  }
}

}  // namespace

struct Client::Impl {
  Impl(Config with, std::string agent, milliseconds timeout, const Clock& time)
      : config(std::move(with)),
        user_agent(std::move(agent)),
        request_timeout(timeout),
        clock(time),
        credentials(config, time),
        tls(config.tls),
        http(options_of(config, tls, user_agent)) {}

  const Config config;
  const std::string user_agent;
  const milliseconds request_timeout;
  const Clock& clock;
  Credentials credentials;
  http::Tls tls;
  http::Client http;
  std::vector<std::string> warnings;
  std::optional<seconds> clock_offset;
  std::map<std::string, std::string> list_versions;  // by path

  std::string field_manager() const { return user_agent.substr(0, user_agent.find('/')); }

  http::Request request_of(const Sent& sent, const Call& call) {
    http::Request request;
    request.method = sent.method;
    request.url = config.server + sent.path;
    char separator = '?';
    const auto add = [&](const std::string& key, const std::string& value) {
      request.url += separator + http::escape(key) + "=" + http::escape(value);
      separator = '&';
    };
    for (const auto& [key, value] : sent.query) add(key, value);
    if (request_timeout.count() > 0) add("timeout", duration_text(request_timeout));
    request.headers = {{"Accept", sent.accept}};
    if (!sent.content_type.empty()) request.headers.emplace_back("Content-Type", sent.content_type);
    add_impersonation(request.headers, config.impersonation);
    request.authorization = credentials.authorization(call);
    request.body = as_bytes(sent.body);
    request.max_body = limits::kKubeBody;
    return request;
  }

  void note_time(const http::Response& response) {
    if (const auto offset = response.clock_offset(clock.now())) clock_offset = offset;
  }

  void note_warnings(const http::Response& response) {
    for (const auto& [name, value] : response.headers) {
      if (name != "warning") continue;
      for (std::string& text : parse_warnings(value)) {
        if (std::find(warnings.begin(), warnings.end(), text) != warnings.end()) continue;
        log::warn("{}", text);
        warnings.push_back(std::move(text));
      }
    }
  }

  [[noreturn]] static void rethrow_with(const Target& target, const Error& error) {
    Error with_place(error.kind(),
                     fmt::format("kubernetes: {}: {}", target.display(), error.what()),
                     error.hint());
    with_place.with(error.transport());
    throw with_place;
  }

  // The request as we are now. To log in may take as long as a person needs for it: the limit for
  // a request does not count that.
  http::Request prepare(const Sent& sent, const Target& target, const Call& call) {
    try {
      if (credentials.take_certificate(tls, call)) {
        http = http::Client(options_of(config, tls, user_agent));
      }
      return request_of(sent, call);
    } catch (const Error& error) {
      call.require_live();
      rethrow_with(target, error);
    }
  }

  // One exchange, whatever its status.
  http::Response try_once(const Sent& sent, const Target& target, const Call& call) {
    const http::Request request = prepare(sent, target, call);
    const Call bounded = request_timeout.count() > 0 ? call.within(request_timeout) : call;
    try {
      http::Response response = http.send(request, bounded);
      log::debug("kubernetes: {} {}: {}", sent.method, sent.path, response.status);
      note_time(response);
      note_warnings(response);
      return response;
    } catch (const Error& error) {
      call.require_live();  // why the whole call ended says more than what it did to this request
      rethrow_with(target, unreachable(error));
    }
  }

  // A success; everything else is thrown.
  http::Response require_success(const Sent& sent, const Target& target, const Call& call) {
    http::Response response = try_once(sent, target, call);
    if (response.status == 401 && renew_credentials(call)) {
      response = try_once(sent, target, call);
    }
    if (response.is_success()) return response;
    throw make_error(target, response, clock.now());
  }

  // What went wrong then is less than the refusal that is about to be reported.
  bool renew_credentials(const Call& call) {
    try {
      return credentials.renew(call);
    } catch (const Error& error) {
      call.require_live();
      log::warn("kubernetes: refreshing credentials: {}", error.what());
      return false;
    }
  }

  // Tries again what can do no harm. `repeated` says if an earlier try may have been carried out.
  http::Response send(const Sent& sent, const Call& call, bool* repeated = nullptr) {
    const Target target = make_target(sent.method, sent.path);
    milliseconds pause = kFirstPause;
    for (int tries = 1;; ++tries) {
      milliseconds wait{0};
      try {
        return require_success(sent, target, call);
      } catch (const Error& error) {
        const std::optional<seconds> asked = error.transport().retry_after;
        const bool last = tries == (asked ? kAskedTries : kTries);
        if (last || !may_retry(error, sent.idempotent)) throw;
        wait = asked ? milliseconds(*asked) : pause;
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

  // Who set which field is half of a small object, and nobody's business here.
  void take_items(const std::string& path, Json& list, std::vector<Json>& items) {
    list_versions[path] = find_string(list, {"metadata", "resourceVersion"}).value_or("");
    if (!list.contains("items") || !list["items"].is_array()) return;
    for (Json& item : list["items"]) {
      if (item.contains("metadata")) item["metadata"].erase("managedFields");
      items.push_back(std::move(item));
    }
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
      take_items(path, page, items);
      std::string next = find_string(page, {"metadata", "continue"}).value_or("");
      if (next.empty()) return items;
      if (next == token) {
        throw Error(ErrorKind::corrupt,
                    "kubernetes: " + make_target("GET", path).display() + ": the same page again");
      }
      token = std::move(next);
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

std::optional<seconds> Client::clock_offset() const {
  return impl_->clock_offset;
}

Json Client::get(const std::string& path, const Query& query, const Call& call) {
  return impl_->send_for_json({"GET", path, query, "", "", true}, call);
}

std::string Client::get_text(const std::string& path, const Query& query, const Call& call) {
  return std::string(impl_->send({"GET", path, query, "", "", true}, call).text());
}

// The pages of one list show one moment only as long as the server remembers it. What came before
// an expired page is of another moment, so nothing is handed out until all pages are here; a list
// in one piece cannot expire.
void Client::list(const std::string& path, Query query,
                  const std::function<void(const Json&)>& each, const Call& call) {
  std::optional<std::vector<Json>> items = impl_->pages(path, query, call);
  if (!items) {
    Json whole = get(path, query, call);
    impl_->take_items(path, whole, items.emplace());
  }
  for (const Json& item : *items) each(item);
}

std::string Client::list_version(const std::string& path) const {
  const auto found = impl_->list_versions.find(path);
  return found == impl_->list_versions.end() ? "" : found->second;
}

std::unique_ptr<http::Stream> Client::watch(const std::string& path, const Query& query,
                                            const Call& call) {
  const Sent sent{"GET", path, query, "", "", true, kMetadataOnly};
  const http::Request request = impl_->prepare(sent, make_target("GET", path), call);
  log::debug("kubernetes: WATCH {}", path);
  http::Options options = options_of(impl_->config, impl_->tls, impl_->user_agent);
  options.idle_timeout = kLongestSilence;
  return std::make_unique<OwnStream>(http::Client(std::move(options)), request, call);
}

Json Client::create(const std::string& path, const Json& body, const Call& call) {
  const Query query = {{"fieldManager", impl_->field_manager()}};
  return impl_->send_for_json({"POST", path, query, "application/json", to_body(body), false},
                              call);
}

Json Client::patch(const std::string& path, PatchType type, const Json& body, const Query& query,
                   const Call& call) {
  Query full = {{"fieldManager", impl_->field_manager()}};
  full.insert(full.end(), query.begin(), query.end());
  const char* content_type =
      type == PatchType::merge ? "application/merge-patch+json" : "application/apply-patch+yaml";
  return impl_->send_for_json({"PATCH", path, full, content_type, to_body(body), true}, call);
}

void Client::modify(const std::string& path, const std::function<Json(const Json&)>& patch_of,
                    const Call& call) {
  for (int tries = 1;; ++tries) {
    const Json object = get(path, {}, call);
    Json content = patch_of(object);
    if (content.is_null()) return;
    content["metadata"]["resourceVersion"] =
        find_string(object, {"metadata", "resourceVersion"}).value_or("");
    try {
      patch(path, PatchType::merge, content, {}, call);
      return;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::conflict || tries == kConflictTries) throw;
      log::info("{}; trying again", error.what());
    }
    call.sleep(kConflictPause);
  }
}

void Client::remove(const std::string& path, const Query& query, const Call& call) {
  bool repeated = false;
  try {
    impl_->send({"DELETE", path, query, "", "", true}, call, &repeated);
  } catch (const Error& error) {
    const bool done_before = repeated && error.kind() == ErrorKind::not_found;
    if (!done_before) throw;
  }
}

const Config& Client::config() const {
  return impl_->config;
}

std::string path(std::initializer_list<std::string_view> segments) {
  std::string joined;
  for (const std::string_view segment : segments) joined += "/" + http::escape(segment);
  return joined;
}

}  // namespace kubedr::kube
