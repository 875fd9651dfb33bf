#include "kube/oidc.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "base/yaml.h"
#include "http/authorization.h"
#include "http/client.h"
#include "http/url.h"

namespace kubedr::kube {
namespace {

namespace fs = std::filesystem;

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kEarly{10};     // client-go's: clocks differ
constexpr seconds kExchange{10};  // for the issuer to answer
constexpr seconds kLongestTurn{30};
constexpr seconds kLongestLock{10};
constexpr seconds kLeftLock{60};  // kubectl holds it for milliseconds
constexpr milliseconds kLook{50};
constexpr std::size_t kRefusalBytes = 80;
constexpr unsigned kPrivate = 0600;
constexpr char kFailed[] = "failed to refresh token: ";
constexpr char kLogIn[] = "log in to the issuer anew, as you did to get this kubeconfig";

// When a token ends; the epoch if it does not say.
//
// errors   usage: it is no JSON web token
WallTime expiry(const Secret& token) {
  // Without the signature behind it, it opens nothing.
  const std::string_view text = token.reveal();
  const std::size_t first = std::min(text.find('.'), text.size());
  const std::size_t second = std::min(text.find('.', first + 1), text.size());
  const bool has_three = second < text.size() && text.find('.', second + 1) == text.npos;
  std::string payload(has_three ? text.substr(first + 1, second - first - 1) : "");
  std::replace(payload.begin(), payload.end(), '-', '+');
  std::replace(payload.begin(), payload.end(), '_', '/');
  payload.append((4 - payload.size() % 4) % 4, '=');
  const std::optional<Bytes> bytes = from_base64(payload);
  if (payload.empty() || !bytes) {
    throw Error(ErrorKind::usage, "ID Token is not a valid JWT", kLogIn);
  }
  Json claims;
  try {
    claims = parse_json(as_text(*bytes), "");
  } catch (const Error&) {  // its text would repeat a part of the token
    throw Error(ErrorKind::usage, "ID Token is not a valid JWT: parsing claims", kLogIn);
  }
  const Json* end = find(claims, {"exp"});
  if (end == nullptr || !end->is_number()) return {};
  const double longest = 253402300799;  // the year 9999
  return WallTime(seconds(static_cast<long long>(std::clamp(end->get<double>(), 0.0, longest))));
}

bool is_same_file(int fd, const fs::path& path) {
  struct stat open {};

  struct stat named {};

  if (::fstat(fd, &open) != 0 || ::stat(path.c_str(), &named) != 0) return false;
  return open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

// NFS locks only what may be written.
FileDescriptor open_to_lock(const fs::path& file) {
  try {
    return open_file(file, O_RDWR);
  } catch (const Error&) {
    return open_file(file, O_RDONLY);
  }
}

// One of our processes at a time asks an issuer for the tokens of a kubeconfig. Goes with the
// process, so that nobody waits for a dead one.
FileDescriptor take_turn(const fs::path& file, const Call& call) {
  while (true) {
    FileDescriptor turn = open_to_lock(file);
    while (::flock(turn.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) {
        log::debug("{}: cannot be locked", file.string());
        return turn;
      }
      call.sleep(kLook);
    }
    // Whoever had the turn has put another file in its place.
    if (is_same_file(turn.get(), file)) return turn;
  }
}

// The lock of client-go for who writes a kubeconfig.
class WriteLock {
 public:
  // errors   failed, denied: it cannot be made; unavailable: somebody else has it and keeps it
  WriteLock(const fs::path& file, const Call& call) : path_(file.string() + ".lock") {
    while (!create()) {
      remove_left();
      if (call.remaining() <= kLook) {
        throw Error(ErrorKind::unavailable, path_.string() + ": somebody else is writing");
      }
      call.sleep(kLook);
    }
  }

  WriteLock(const WriteLock&) = delete;
  WriteLock& operator=(const WriteLock&) = delete;

  ~WriteLock() { static_cast<void>(::unlink(path_.c_str())); }

 private:
  bool create() const {
    const FileDescriptor made(::open(path_.c_str(), O_CREAT | O_EXCL | O_CLOEXEC, 0));
    if (!made.valid() && errno != EEXIST) throw_errno(path_, "create");
    return made.valid();
  }

  // By somebody who was killed.
  void remove_left() const {
    struct stat lock {};

    if (::stat(path_.c_str(), &lock) != 0) return;
    const auto age = seconds(std::time(nullptr) - lock.st_mtime);
    if (age < kLeftLock || ::unlink(path_.c_str()) != 0) return;
    log::warn("{}: a lock of somebody who is gone is removed", path_.string());
  }

  const fs::path path_;
};

Json read_document(const fs::path& file) {
  const WipedBytes text(read_file(file, limits::kYamlBytes));
  std::vector<Json> documents = parse_yaml(as_text(text.bytes), file.string());
  if (documents.size() == 1) return std::move(documents.front());
  throw Error(ErrorKind::usage, file.string() + ": must be one document");
}

// The provider's fields in a kubeconfig.
//
// errors   not_found: that user has none any more
Json& find_fields(Json& document, const std::string& user) {
  Json* const users = document.is_object() ? &document["users"] : nullptr;
  if (users != nullptr && users->is_array()) {
    for (Json& entry : *users) {
      if (find_string(entry, {"name"}) != user) continue;
      const Json* fields = find(entry, {"user", "auth-provider", "config"});
      if (fields != nullptr && fields->is_object()) return entry["user"]["auth-provider"]["config"];
    }
  }
  throw Error(ErrorKind::not_found,
              fmt::format("user \"{}\" has no auth-provider", printable(user)));
}

void write_in_place(const fs::path& file, ByteView bytes) {
  FileDescriptor fd = open_file(file, O_WRONLY | O_TRUNC);
  write_full(fd.get(), bytes, file);
  sync_file(fd.get(), file);
  fd.close(file);
}

// Whole, or not at all, but where it is a mount of its own (in a container), or its owner is not
// ours to give: there it is written as kubectl does it, when it is known that there is room.
void replace_file(const fs::path& file, ByteView bytes) {
  // Always the same, so that one who was killed leaves no more than one.
  const fs::path path = file.string() + ".kubedr.tmp";
  static_cast<void>(::unlink(path.c_str()));
  TemporaryFile temporary(path, kPrivate);
  const bool has_rights = temporary.take_rights(file);
  temporary.write(bytes);
  if (!has_rights) return write_in_place(file, bytes);
  try {
    temporary.replace(file);
  } catch (const Error&) {
    return write_in_place(file, bytes);
  }
  sync_directory(file.parent_path());
}

void write_tokens(const OidcConfig& config, const Call& call) {
  const WriteLock lock(config.file, call);
  const fs::path file = fs::canonical(config.file);
  Json document = read_document(file);
  Json& fields = find_fields(document, config.user);
  fields["id-token"] = config.tokens.id.reveal();
  fields["refresh-token"] = config.tokens.refresh.reveal();
  const Secret text(to_yaml(document));
  const std::vector<Json> again = parse_yaml(text.reveal(), file.string());
  if (again.size() != 1 || again.front() != document) {
    throw Error(ErrorKind::failed, "it would not be the same when it is written");
  }
  replace_file(file, as_bytes(text.reveal()));
}

http::Response send(http::Client& client, const http::Request& request, const Call& call) {
  try {
    return client.send(request, call);
  } catch (const Error& error) {
    call.require_live();
    throw Error(error.kind(), kFailed + std::string(error.what()), error.hint());
  }
}

// What is no JSON says nothing.
Json parse_answer(const http::Response& response) {
  try {
    return parse_json(response.text(), "");
  } catch (const Error&) {
    return Json::object();
  }
}

// Both the issuer and what it names: a refresh token is as good as a password.
void require_https(const char* what, const std::string& url) {
  if (http::parse_url(url).scheme == "https") return;
  throw Error(ErrorKind::usage, fmt::format("oidc: {} {}: must be https", what, printable(url)),
              "a refresh token would be sent in the clear");
}

std::string find_token_endpoint(http::Client& client, std::string issuer, const Call& call) {
  if (issuer.ends_with('/')) issuer.pop_back();
  http::Request request;
  request.url = issuer + "/.well-known/openid-configuration";
  request.max_body = limits::kSecretBytes;
  const http::Response response = send(client, request, call);
  const char* hint = "the user's idp-issuer-url in the kubeconfig must be the issuer's";
  if (response.status != 200) {
    throw Error(http::is_away(response.status) ? ErrorKind::unavailable : ErrorKind::denied,
                fmt::format("oidc: failed to query metadata endpoint {}: {}", response.status,
                            printable(shorten(response.text(), kRefusalBytes))),
                hint);
  }
  std::string url = find_string(parse_answer(response), {"token_endpoint"}).value_or("");
  if (url.empty()) {
    throw Error(ErrorKind::denied, "oidc: discovery object doesn't contain a token_endpoint", hint);
  }
  require_https("token_endpoint", url);
  return url;
}

// As in forms, where a space is a plus.
Secret form_escape(std::string_view text) {
  std::string escaped = http::escape(text);
  for (std::size_t at = 0; (at = escaped.find("%20", at)) != std::string::npos;) {
    escaped.replace(at, 3, "+");
  }
  return Secret(std::move(escaped));
}

enum class ClientIn { header, body };

Secret refresh_form(const OidcConfig& config, ClientIn place) {
  Secret form("grant_type=refresh_token");
  const auto add = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) form = concat({form.reveal(), name, form_escape(value).reveal()});
  };
  add("&refresh_token=", config.tokens.refresh.reveal());
  if (place == ClientIn::body) {
    add("&client_id=", config.client_id);
    add("&client_secret=", config.client_secret.reveal());
  }
  return form;
}

http::Response ask_for_tokens(http::Client& client, const std::string& url,
                              const OidcConfig& config, ClientIn place, const Call& call) {
  http::Request request;
  request.method = "POST";
  request.url = url;
  request.headers = {{"Content-Type", "application/x-www-form-urlencoded"},
                     {"Accept", "application/json"}};
  request.max_body = limits::kSecretBytes;
  if (place == ClientIn::header) {
    request.authorization = http::basic_authorization(form_escape(config.client_id).reveal(),
                                                      form_escape(config.client_secret.reveal()));
  }
  const Secret form = refresh_form(config, place);
  request.body = as_bytes(form.reveal());
  return send(client, request, call);
}

// The refusal of a client's word for itself; the refresh token was not looked at.
bool is_other_client(const http::Response& response) {
  return response.status == 401 ||
         find_string(parse_answer(response), {"error"}) == "invalid_client";
}

[[noreturn]] void refuse(const http::Response& response, const Json& answer) {
  const std::string error = find_string(answer, {"error"}).value_or("");
  std::string text = error.empty()
                         ? fmt::format("oauth2: cannot fetch token: {}", response.status)
                         : fmt::format("oauth2: \"{}\"", printable(shorten(error, kRefusalBytes)));
  const std::string why = find_string(answer, {"error_description"}).value_or("");
  if (!why.empty()) text += fmt::format(" \"{}\"", printable(shorten(why, kRefusalBytes)));
  const bool away = http::is_away(response.status);
  throw Error(away ? ErrorKind::unavailable : ErrorKind::denied, kFailed + text,
              away ? "the issuer cannot answer now: try again later" : kLogIn);
}

OidcConfig::Tokens take_tokens(const http::Response& response, const Secret& refresh_token) {
  const Json answer = parse_answer(response);
  const bool refused = !find_string(answer, {"error"}).value_or("").empty();
  if (!response.is_success() || refused) refuse(response, answer);
  OidcConfig::Tokens tokens{Secret(find_string(answer, {"id_token"}).value_or("")),
                            Secret(find_string(answer, {"refresh_token"}).value_or(""))};
  if (tokens.id.empty()) {
    throw Error(ErrorKind::denied,
                "token response did not contain an id_token, either the scope \"openid\" wasn't "
                "requested upon login, or the provider doesn't support id_tokens as part of the "
                "refresh response",
                kLogIn);
  }
  if (tokens.refresh.empty()) tokens.refresh = refresh_token;
  return tokens;
}

}  // namespace

OidcLogin::OidcLogin(OidcConfig config, const Clock& clock)
    : config_(std::move(config)), clock_(clock) {}

bool OidcLogin::is_fresh() const {
  return !config_.tokens.id.empty() && clock_.now() + kEarly < expiry(config_.tokens.id);
}

const Secret& OidcLogin::token(const Call& call) {
  if (!is_fresh()) renew(call);
  return config_.tokens.id;
}

// Another process may have been quicker, kubectl or one of ours. Kubectl may be writing just now:
// what cannot be read is no news.
void OidcLogin::look_into_file() {
  try {
    Json document = read_document(config_.file);
    const Json& fields = find_fields(document, config_.user);
    OidcConfig::Tokens tokens{Secret(find_string(fields, {"id-token"}).value_or("")),
                              Secret(find_string(fields, {"refresh-token"}).value_or(""))};
    const bool is_newer = config_.tokens.id.empty() ||
                          (!tokens.id.empty() && expiry(tokens.id) > expiry(config_.tokens.id));
    if (is_newer) config_.tokens = std::move(tokens);
  } catch (const Error& error) {
    log::debug("kubernetes: {}: {}", config_.file.string(), error.what());
  }
}

void OidcLogin::renew(const Call& call) {
  const FileDescriptor turn = take_turn(config_.file, call.within(kLongestTurn));
  look_into_file();
  if (is_fresh()) return;
  if (config_.tokens.refresh.empty()) {
    throw Error(ErrorKind::denied, "No valid id-token, and cannot refresh without refresh-token",
                kLogIn);
  }
  // Shell completion has no time for this, and tokens that are given and never read are lost.
  if (call.remaining() < kExchange) {
    throw Error(ErrorKind::unavailable,
                kFailed + ("too little time to ask " + printable(config_.issuer)),
                "give the command more time");
  }
  try {
    config_.tokens = ask_issuer(call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::denied) throw;
    look_into_file();
    if (is_fresh()) return;
    throw;
  }
  keep_tokens();
}

OidcConfig::Tokens OidcLogin::ask_issuer(const Call& call) const {
  require_https("idp-issuer-url", config_.issuer);
  http::Options options;
  options.tls.ca_pem = config_.ca_pem;
  options.proxies = config_.proxies;
  options.authorities = config_.authorities;
  http::Client client(options);
  const std::string url = find_token_endpoint(client, config_.issuer, call.within(kExchange));

  // From here to the kubeconfig no signal may come between, but a second one: see Tokens::refresh.
  const Call exchange = Call(clock_).within(kExchange);
  const ClientIn place = config_.client_secret.empty() ? ClientIn::body : ClientIn::header;
  http::Response response = ask_for_tokens(client, url, config_, place, exchange);
  if (place == ClientIn::header && is_other_client(response)) {
    response = ask_for_tokens(client, url, config_, ClientIn::body, exchange);
  }
  OidcConfig::Tokens tokens = take_tokens(response, config_.tokens.refresh);
  wipe(response.body.data(), response.body.size());
  return tokens;
}

void OidcLogin::keep_tokens() const {
  try {
    write_tokens(config_, Call(clock_).within(kLongestLock));
    log::debug("kubernetes: {}: new tokens for {}", config_.file.string(), printable(config_.user));
  } catch (const std::exception& error) {
    log::warn(
        "could not persist new tokens: {}: {}; the next command may need a new login: make it a "
        "file that can be written",
        config_.file.string(), error.what());
  }
}

}  // namespace kubedr::kube
