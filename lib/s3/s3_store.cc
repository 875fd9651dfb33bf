#include "s3/s3_store.h"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <pugixml.hpp>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/sha256.h"
#include "base/text.h"
#include "base/time.h"

namespace kubedr::s3 {
namespace {

using storage::FileInfo;
using storage::FileKind;
using storage::FileName;
using storage::SaveMode;

using Pairs = std::vector<std::pair<std::string, std::string>>;

constexpr const char* kDefaultRegion = "us-east-1";
constexpr std::size_t kErrorBody = 64 * limits::kKiB;  // S3's error documents have some 500 bytes
constexpr std::size_t kShownMessage = 500;

// What one call of the REST interface needs beyond address and credentials.
struct Ask {
  std::string what;  // for messages: "put data/3f/3fa2c1d0.."
  std::string method = "GET";
  std::string key;  // empty: the bucket
  Pairs query;
  Pairs headers;
  ByteView body;
  Digest digest = sha256({});
  std::size_t max_body = kErrorBody;
};

// The <Error> document of an answer; a HEAD has none.
struct ErrorDocument {
  std::string code;
  std::string message;
  std::string region;
};

std::string lead_of(const std::string& what) {
  return "s3: " + what + ": ";
}

// For messages: eight digits of an id are enough to find it.
std::string short_path(const FileName& name) {
  std::string path = name.path();
  if (name.id.empty()) return path;
  return path.substr(0, path.size() - name.id.size() + 8) + "..";
}

bool load_xml(pugi::xml_document& document, ByteView body) {
  return static_cast<bool>(
      document.load_buffer(body.data(), body.size(), pugi::parse_minimal | pugi::parse_escapes));
}

ErrorDocument error_document_of(const http::Response& response) {
  ErrorDocument error;
  pugi::xml_document document;
  load_xml(document, response.body);  // one that was cut off has its code all the same
  const pugi::xml_node node = document.child("Error");
  error.code = printable(shorten(node.child_value("Code"), kShownMessage));
  error.message = printable(shorten(node.child_value("Message"), kShownMessage));
  error.region = node.child_value("Region");
  return error;
}

bool is_one_of(const std::string& code, std::initializer_list<const char*> codes) {
  return std::any_of(codes.begin(), codes.end(), [&](const char* each) { return code == each; });
}

// 409 is the loser of two conditional PUTs at the same time, who is asked to try again.
bool is_transient(int status, const std::string& code) {
  return http::is_away(status) ||
         is_one_of(code, {"RequestTimeout", "SlowDown", "InternalError",
                          "ConditionalRequestConflict", "OperationAborted"});
}

ErrorKind kind_of(int status, const std::string& code) {
  if (code == "NoSuchBucket") return ErrorKind::no_repository;
  if (is_transient(status, code)) return ErrorKind::unavailable;
  if (status == 404) return ErrorKind::not_found;
  if (status == 412) return ErrorKind::exists;
  if (status == 401 || status == 403) return ErrorKind::denied;
  if (is_one_of(code, {"ExpiredToken", "InvalidToken", "InvalidAccessKeyId",
                       "AuthorizationHeaderMalformed"})) {
    return ErrorKind::denied;
  }
  if (status == 416 ||
      is_one_of(code, {"BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"})) {
    return ErrorKind::corrupt;
  }
  return ErrorKind::failed;
}

std::string hint_of(int status, const std::string& code) {
  if (code == "RequestTimeTooSkewed") return "set this machine's clock, e.g. by NTP, and try again";
  if (code == "InvalidBucketName") {
    return "a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens";
  }
  if (code == "SignatureDoesNotMatch" || code == "InvalidAccessKeyId") {
    return "check the access key and the secret key";
  }
  if (code == "ExpiredToken" || code.starts_with("InvalidToken")) {
    return "the keys are temporary ones, and no longer good: put newer ones in their place";
  }
  if (code == "AuthorizationHeaderMalformed") return "set the region of the bucket";
  if (code == "PermanentRedirect" || status == 301) {
    return "the bucket is in another region: use the URL of that region";
  }
  return {};
}

// The name of a status for answers without a document, such as those to HEAD.
const char* name_of(int status) {
  switch (status) {
  case 301:
    return "Moved Permanently";
  case 400:
    return "Bad Request";
  case 401:
    return "Unauthorized";
  case 403:
    return "Forbidden";
  case 404:
    return "Not Found";
  case 412:
    return "Precondition Failed";
  case 503:
    return "Service Unavailable";
  default:
    return "unexpected answer";
  }
}

[[noreturn]] void refuse(const http::Response& response, const std::string& what, WallTime now) {
  const ErrorDocument error = error_document_of(response);
  std::string text = lead_of(what) + std::to_string(response.status) + " ";
  text += error.code.empty() ? name_of(response.status) : error.code;
  if (!error.message.empty()) text += ": " + error.message;
  const ErrorKind kind = kind_of(response.status, error.code);
  Error::Transport transport;
  // A body that arrived damaged was not stored; sending it again is what helps.
  transport.transient =
      kind == ErrorKind::unavailable || (kind == ErrorKind::corrupt && response.status == 400);
  transport.may_have_arrived = response.status >= 500 && error.code != "SlowDown";
  transport.retry_after = response.retry_after(now);
  throw Error(kind, text, hint_of(response.status, error.code)).with(transport);
}

// As encoding-type=url asks for: %XX, and '+' for a blank.
std::string unescape_key(std::string key) {
  std::replace(key.begin(), key.end(), '+', ' ');
  return http::unescape(key);
}

// The id of a key below a kind's folder; nullopt for whatever else lies there.
std::optional<std::string> id_of(std::string_view key, std::string_view folder, FileKind kind) {
  if (key.substr(0, folder.size()) != folder) return std::nullopt;
  key.remove_prefix(folder.size());
  std::string_view shard;
  if (kind == FileKind::pack) {
    if (key.size() < 3 || key[2] != '/') return std::nullopt;
    shard = key.substr(0, 2);
    key.remove_prefix(3);
  }
  if (!storage::is_id(key) || key.substr(0, shard.size()) != shard) return std::nullopt;
  return std::string(key);
}

// One page of a ListObjectsV2 answer.
struct Page {
  std::vector<FileInfo> files;
  std::string next;  // empty: this is the last page
};

Page parse_page(ByteView body, const std::string& folder, FileKind kind, const std::string& what) {
  const auto fail = [&](const char* why) -> Page {
    throw Error(ErrorKind::corrupt, lead_of(what) + why);
  };
  pugi::xml_document document;
  if (!load_xml(document, body)) return fail("the answer is not valid XML");
  const pugi::xml_node result = document.child("ListBucketResult");
  if (!result) return fail("the answer is not a list of objects");
  const bool is_escaped = std::string_view(result.child_value("EncodingType")) == "url";
  Page page;
  for (const pugi::xml_node object : result.children("Contents")) {
    const std::string key = object.child_value("Key");
    const auto id = id_of(is_escaped ? unescape_key(key) : key, folder, kind);
    if (!id) continue;
    const std::optional<std::uint64_t> size =
        parse_number<std::uint64_t>(object.child_value("Size"));
    if (!size) return fail("an object without a size");
    page.files.push_back({*id, *size, parse_time(object.child_value("LastModified"))});
  }
  if (std::string_view(result.child_value("IsTruncated")) != "true") return page;
  page.next = result.child_value("NextContinuationToken");
  if (page.next.empty()) return fail("a list that goes on, but not where");
  return page;
}

void require_plain(std::string_view text, const char* name) {
  const auto is_odd = [](char c) {
    return static_cast<unsigned char>(c) < 0x21 || static_cast<unsigned char>(c) > 0x7E;
  };
  if (!std::any_of(text.begin(), text.end(), is_odd)) return;
  throw Error(
      ErrorKind::usage,
      fmt::format("s3: the {} holds a blank, a control character or one that is not ASCII", name),
      "correct it in the location's Secret, or in its AWS_ variable");
}

void require_usable(const S3Options& options) {
  const Credentials& credentials = options.credentials;
  if (credentials.access_key.empty() || credentials.secret_key.empty()) {
    throw Error(ErrorKind::usage, "s3: no credentials found");
  }
  require_plain(credentials.access_key, "access key");
  require_plain(credentials.secret_key.reveal(), "secret key");
  require_plain(credentials.session_token.reveal(), "session token");
  require_plain(options.region, "region");
}

std::string url_of(const Address::Target& target, const Pairs& query) {
  std::string url = target.base + target.path;
  char separator = '?';
  for (const auto& [name, value] : query) {
    url += separator + http::escape(name) + '=' + http::escape(value);
    separator = '&';
  }
  return url;
}

http::Options client_options(const S3Options& options) {
  http::Options client;
  client.tls.ca_pem = options.ca_pem;
  client.authorities = options.authorities;
  client.version = http::Version::http1;
  client.proxies = options.proxies;
  client.user_agent = options.user_agent;
  return client;
}

// A session token may be among them.
struct WipeHeaders {
  Pairs& headers;

  ~WipeHeaders() {
    for (auto& [name, value] : headers) wipe(value.data(), value.size());
  }
};

// The region that an answer to a request for another region names, or nothing. HEAD has only the
// header.
std::string region_wanted(const http::Response& response) {
  if (response.status != 301 && response.status != 307 && response.status != 400) return {};
  if (const std::string* header = response.header("x-amz-bucket-region")) return *header;
  const ErrorDocument error = error_document_of(response);
  return error.code == "AuthorizationHeaderMalformed" ? error.region : std::string();
}

// Buckets with an object lock do not count the signature's hash as a checksum. Asked for only:
// where FIPS rules, there is no MD5.
bool asks_for_md5(const http::Response& response) {
  return response.status == 400 &&
         error_document_of(response).message.find("Content-MD5") != std::string::npos;
}

std::string md5_of(ByteView bytes) {
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_md5(), nullptr) != 1) {
    throw Error(ErrorKind::failed, "s3: the bucket wants MD5, which this machine does not allow");
  }
  return to_base64(ByteView(digest).first(size));
}

// The answer to GET ?location: empty stands for the first region there was, EU for the second.
std::string parse_location(ByteView body) {
  pugi::xml_document document;
  if (!load_xml(document, body)) return kDefaultRegion;
  const std::string region = document.child_value("LocationConstraint");
  if (region.empty()) return kDefaultRegion;
  return region == "EU" ? "eu-west-1" : region;
}

}  // namespace

struct S3Store::Impl {
  Impl(S3Options s3_options, const Clock& s3_clock)
      : options(std::move(s3_options)), clock(s3_clock), region_(options.region) {}

  const S3Options options;
  const Clock& clock;
  std::atomic<bool> knows_if_none_match = true;
  std::atomic<bool> wants_md5 = false;

  std::string key_of(const std::string& path) const {
    return options.address.prefix.empty() ? path : options.address.prefix + "/" + path;
  }

  Ask ask(const char* verb, const FileName& name, const char* method) const {
    Ask ask;
    ask.what = verb + (" " + short_path(name));
    ask.method = method;
    ask.key = key_of(name.path());
    return ask;
  }

  // An answer, whatever its status. The region is not asked for unless it must be: most servers
  // have the first there was, or name theirs when they refuse.
  http::Response send(const Ask& ask, const Call& call) {
    if (const std::string known = known_region(); !known.empty()) return send_to(ask, known, call);
    http::Response response = send_to(ask, kDefaultRegion, call);
    if (!known_region().empty()) return response;
    if (response.status != 400 && response.status != 403) {
      if (!is_transient(response.status, error_document_of(response).code)) {
        learn_region(kDefaultRegion);
      }
      return response;
    }
    const std::string region = ask_for_region(call);
    return region == kDefaultRegion ? std::move(response) : send_to(ask, region, call);
  }

  // The same for storing a file.
  http::Response put(Ask ask, const Call& call) {
    if (!wants_md5) {
      http::Response response = send(ask, call);
      if (!asks_for_md5(response)) return response;
      wants_md5 = true;
    }
    ask.headers.emplace_back("content-md5", md5_of(ask.body));
    return send(ask, call);
  }

  // A successful answer.
  http::Response require(const Ask& ask, const Call& call) {
    http::Response response = send(ask, call);
    require_success(response, ask);
    return response;
  }

  void require_success(const http::Response& response, const Ask& ask) const {
    if (!response.is_success()) refuse(response, ask.what, clock.now());
  }

  // Where the bucket is; says nothing about whether it exists when the server names its region.
  http::Response locate(const Call& call) {
    Ask ask;
    ask.what = "find bucket " + options.address.bucket;
    ask.query = {{"location", ""}};
    const std::string known = known_region();
    http::Response response = send_to(ask, known.empty() ? kDefaultRegion : known, call);
    if (!known_region().empty()) return response;
    if (response.is_success()) {
      learn_region(parse_location(response.body));
    } else if (!is_transient(response.status, error_document_of(response).code)) {
      learn_region(kDefaultRegion);  // who does not say is taken for one that does not care
    }
    return response;
  }

  std::string region_for_creation() const {
    const std::string known = known_region();
    return known.empty() ? kDefaultRegion : known;
  }

  http::Response send_to(const Ask& ask, const std::string& region, const Call& call) {
    http::Response response = exchange(ask, region, call);
    const std::string wanted = region_wanted(response);
    if (wanted.empty() || wanted == region) return response;
    response = exchange(ask, wanted, call);
    if (region_wanted(response).empty()) learn_region(wanted);
    return response;
  }

  std::optional<std::chrono::seconds> clock_offset() const {
    const std::lock_guard guard(mutex_);
    return clock_offset_;
  }

 private:
  // A client goes back to the pool when its exchange is over, also by an exception.
  class Borrowed {
   public:
    explicit Borrowed(Impl& impl) : impl_(impl), client_(impl.take_client()) {}

    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;

    ~Borrowed() { impl_.give_back(std::move(client_)); }

    http::Client& operator*() { return *client_; }

   private:
    Impl& impl_;
    std::unique_ptr<http::Client> client_;
  };

  std::unique_ptr<http::Client> take_client() {
    {
      const std::lock_guard guard(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<http::Client> client = std::move(idle_.back());
        idle_.pop_back();
        return client;
      }
      // So that giving back needs no memory: nobody has more clients out than were made.
      idle_.reserve(++made_);
    }
    return std::make_unique<http::Client>(client_options(options));
  }

  void give_back(std::unique_ptr<http::Client> client) noexcept {
    const std::lock_guard guard(mutex_);
    idle_.push_back(std::move(client));
  }

  std::string known_region() const {
    const std::lock_guard guard(mutex_);
    return region_;
  }

  void learn_region(const std::string& region) {
    const std::lock_guard guard(mutex_);
    region_ = region;
  }

  std::string ask_for_region(const Call& call) {
    const http::Response response = locate(call);
    if (is_transient(response.status, error_document_of(response).code)) {
      refuse(response, "find bucket " + options.address.bucket, clock.now());
    }
    return known_region();
  }

  void note_time(const http::Response& response) {
    const auto offset = response.clock_offset(clock.now());
    if (!offset) return;
    const std::lock_guard guard(mutex_);
    clock_offset_ = offset;
  }

  http::Response exchange(const Ask& ask, const std::string& region, const Call& call) {
    const Address::Target target = options.address.target(ask.key, options.lookup);
    const WallTime now = clock.now();
    SignRequest sign;
    http::Request request;
    const WipeHeaders signed_ones{sign.headers};
    const WipeHeaders sent_ones{request.headers};
    sign.method = ask.method;
    sign.path = target.path;
    sign.query = ask.query;
    sign.payload_hash = to_hex(ask.digest);
    request.headers = ask.headers;
    request.headers.emplace_back("x-amz-content-sha256", sign.payload_hash);
    request.headers.emplace_back("x-amz-date", format_compact(now));
    if (!options.credentials.session_token.empty()) {
      request.headers.emplace_back("x-amz-security-token",
                                   options.credentials.session_token.reveal());
    }
    sign.headers = request.headers;
    sign.headers.emplace_back("host", target.host);
    request.method = ask.method;
    request.url = url_of(target, ask.query);
    request.authorization = authorization(sign, options.credentials, region, now);
    request.body = ask.body;
    request.max_body = std::max(ask.max_body, kErrorBody);
    Borrowed client(*this);
    http::Response response = (*client).send(request, call);
    note_time(response);
    return response;
  }

  mutable std::mutex mutex_;
  // Guarded by mutex_:
  std::vector<std::unique_ptr<http::Client>> idle_;
  std::size_t made_ = 0;
  std::string region_;  // empty: not asked yet
  std::optional<std::chrono::seconds> clock_offset_;
};

S3Store::S3Store(S3Options options, const Clock& clock) {
  require_usable(options);
  impl_ = std::make_unique<Impl>(std::move(options), clock);
}

S3Store::~S3Store() = default;

const std::string& S3Store::location() const {
  return impl_->options.address.location;
}

std::optional<std::chrono::seconds> S3Store::clock_offset() const {
  return impl_->clock_offset();
}

int S3Store::connections() const {
  return impl_->options.connections;
}

Bytes S3Store::load(const FileName& name, std::size_t limit, const Call& call) const {
  Ask ask = impl_->ask("get", name, "GET");
  ask.max_body = limit;
  http::Response response = impl_->require(ask, call);
  if (response.body.size() > limit) {
    throw Error(ErrorKind::corrupt, lead_of(ask.what) + "larger than it may be");
  }
  return std::move(response.body);
}

Bytes S3Store::load_range(const FileName& name, const storage::Range& range,
                          const Call& call) const {
  call.require_live();
  if (range.length == 0) return {};
  const std::uint64_t last = range.offset + (range.length - 1);
  Ask ask = impl_->ask("get", name, "GET");
  if (last < range.offset) throw Error(ErrorKind::corrupt, lead_of(ask.what) + "impossible range");
  const std::string span = fmt::format("{}-{}", range.offset, last);
  ask.headers = {{"range", "bytes=" + span}};
  ask.max_body = range.length;
  http::Response response = impl_->require(ask, call);
  const std::string* got = response.header("content-range");
  const std::string expected = "bytes " + span + "/";
  if (response.status != 206 || response.body.size() != range.length ||
      (got != nullptr && got->compare(0, expected.size(), expected) != 0)) {
    throw Error(ErrorKind::corrupt, fmt::format("{}bytes {} asked for, {} bytes received",
                                                lead_of(ask.what), span, response.body.size()));
  }
  return std::move(response.body);
}

std::optional<std::uint64_t> S3Store::size_of(const FileName& name, const Call& call) const {
  const Ask ask = impl_->ask("head", name, "HEAD");
  http::Response response = impl_->send(ask, call);
  if (!response.is_success() && response.status != 404) {
    // The reason is in a body, which a HEAD does not have: a GET for one byte tells it, and may
    // find that the region was the reason.
    Ask why = impl_->ask("head", name, "GET");
    why.headers = {{"range", "bytes=0-0"}};
    const http::Response reason = impl_->send(why, call);
    if (reason.status != 404 && reason.status != 416) impl_->require_success(reason, ask);
    response = impl_->send(ask, call);
  }
  if (response.status == 404) return std::nullopt;
  impl_->require_success(response, ask);
  const std::string* length = response.header("content-length");
  const std::optional<std::uint64_t> size =
      length ? parse_number<std::uint64_t>(*length) : std::nullopt;
  if (!size) throw Error(ErrorKind::corrupt, lead_of(ask.what) + "an answer without a length");
  return size;
}

void S3Store::list(FileKind kind, const std::function<void(const FileInfo&)>& each,
                   const Call& call) const {
  if (kind == FileKind::config) return;
  const std::string folder = impl_->key_of(storage::folder_of(kind));
  Ask ask;
  ask.what = "list " + storage::folder_of(kind);
  ask.max_body = limits::kS3Body;
  std::string token;
  while (true) {
    ask.query = {{"list-type", "2"}, {"encoding-type", "url"}, {"prefix", folder}};
    if (!token.empty()) ask.query.emplace_back("continuation-token", token);
    Page page = parse_page(impl_->require(ask, call).body, folder, kind, ask.what);
    for (const FileInfo& file : page.files) each(file);
    if (page.next.empty()) return;
    if (page.next == token) {
      throw Error(ErrorKind::corrupt, lead_of(ask.what) + "the same page again");
    }
    token = std::move(page.next);
  }
}

bool S3Store::create(const Call& call) {
  const std::string what = "find bucket " + impl_->options.address.bucket;
  const http::Response found = impl_->locate(call);
  if (found.is_success()) return false;
  const ErrorDocument error = error_document_of(found);
  // Keys may be good for the bucket's objects and not for questions about the bucket itself.
  if (error.code == "AccessDenied") return false;
  if (kind_of(found.status, error.code) != ErrorKind::no_repository) {
    refuse(found, what, impl_->clock.now());
  }
  Ask make;
  make.what = "make bucket " + impl_->options.address.bucket;
  make.method = "PUT";
  const std::string region = impl_->region_for_creation();
  const std::string body = fmt::format(
      "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
      "<LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
      region);
  if (region != kDefaultRegion) make.body = as_bytes(body);
  make.digest = sha256(make.body);
  const http::Response made = impl_->send_to(make, region, call);
  if (made.is_success()) return true;
  if (is_one_of(error_document_of(made).code, {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"})) {
    return false;
  }
  refuse(made, make.what, impl_->clock.now());
}

void S3Store::save(const FileName& name, ByteView bytes, const Digest& digest, SaveMode mode,
                   const Call& call) {
  Ask ask = impl_->ask("put", name, "PUT");
  ask.headers = {{"content-type", "application/octet-stream"}};
  ask.body = bytes;
  ask.digest = digest;
  if (mode == SaveMode::create_only && impl_->knows_if_none_match) {
    Ask conditional = ask;
    conditional.headers.emplace_back("if-none-match", "*");
    const http::Response response = impl_->put(conditional, call);
    if (response.is_success()) return;
    if (response.status != 501) impl_->require_success(response, ask);
    impl_->knows_if_none_match = false;
  }
  if (mode == SaveMode::create_only && size_of(name, call)) {
    throw Error(ErrorKind::exists, lead_of(ask.what) + "already there");
  }
  impl_->require_success(impl_->put(ask, call), ask);
}

void S3Store::remove(const FileName& name, const Call& call) {
  const Ask ask = impl_->ask("delete", name, "DELETE");
  const http::Response response = impl_->send(ask, call);
  if (response.status != 404) impl_->require_success(response, ask);
}

}  // namespace kubedr::s3
