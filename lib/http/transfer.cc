#include "http/transfer.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <new>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "http/failure.h"

namespace kubedr::http {
namespace {

// More than one call of curl_multi_perform mostly hands over by HTTP/2. A stream drives libcurl
// only while nothing is left here, so that it hardly ever has to pause it: each pause of 7.88
// closes and opens the window of the HTTP/2 stream.
constexpr std::size_t kStreamBuffer = 2 * limits::kMiB;

constexpr std::chrono::milliseconds kLongestPoll = std::chrono::seconds(1);

constexpr Error::Transport kAgain{true, true, {}};  // transient, may have arrived

void append_line(HeaderList& list, const std::string& line) {
  curl_slist* const longer = curl_slist_append(list.get(), line.c_str());
  if (longer == nullptr) throw std::bad_alloc();
  static_cast<void>(list.release());  // it is the head of the longer list
  list.reset(longer);
}

bool has_line_break(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

// libcurl drops "Name:" and sends "Name;" as a header with an empty value.
std::string header_line(std::string_view name, std::string_view value) {
  if (name.empty() || has_line_break(name) || has_line_break(value)) {
    throw Error(ErrorKind::usage, fmt::format("header {}: line break in it", printable(name)));
  }
  std::string line;
  line.reserve(name.size() + 2 + value.size());
  line += name;
  line += value.empty() ? ";" : ": ";
  line += value;
  return line;
}

bool has_header(const Headers& headers, std::string_view name) {
  return std::any_of(headers.begin(), headers.end(),
                     [name](const auto& header) { return to_lower(header.first) == name; });
}

curl_blob borrow(std::string_view text) {
  // libcurl's field is not const, but CURL_BLOB_NOCOPY only reads it.
  return {const_cast<char*>(text.data()), text.size(), CURL_BLOB_NOCOPY};
}

long curl_version(Version version) {
  switch (version) {
  case Version::http1:
    return CURL_HTTP_VERSION_1_1;
  case Version::http2_prior:
    return CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
  case Version::any:
  case Version::http2:
    break;
  }
  return CURL_HTTP_VERSION_2TLS;
}

Url parse_http_url(const std::string& text) {
  Url url = parse_url(text);
  if (url.scheme != "http" && url.scheme != "https") {
    throw Error(ErrorKind::usage, fmt::format("url: scheme {} is not supported", url.scheme));
  }
  return url;
}

}  // namespace

void WipeList::operator()(curl_slist* list) const noexcept {
  for (curl_slist* node = list; node != nullptr; node = node->next) {
    wipe(node->data, std::strlen(node->data));
  }
  curl_slist_free_all(list);
}

Multi make_multi() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_ALL);
  if (started != CURLE_OK) throw Error(ErrorKind::failed, "libcurl could not be started");
  Multi multi(curl_multi_init());
  if (!multi) throw std::bad_alloc();
  return multi;
}

Transfer::Transfer(Multi multi, const Options& options, const Request& request)
    : multi_(std::move(multi)),
      easy_(curl_easy_init()),
      options_(options),
      url_(parse_http_url(request.url)),
      where_(url_.scheme + "://" + url_.authority()),
      max_body_(request.max_body) {
  if (!easy_) throw std::bad_alloc();
  set(CURLOPT_ERRORBUFFER, detail_.data());
  set_address(request);
  set_method(request);
  set_headers(request);
  set_tls();
  set_proxy();
  set_limits();
  set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  if (curl_multi_add_handle(multi_.get(), easy_.get()) != CURLM_OK) {
    throw Error(ErrorKind::failed, where_ + ": libcurl refused the request");
  }
}

Transfer::~Transfer() {
  if (multi_) curl_multi_remove_handle(multi_.get(), easy_.get());
}

template <class Value>
void Transfer::set(CURLoption option, Value value) {
  const CURLcode code = curl_easy_setopt(easy_.get(), option, value);
  if (code != CURLE_OK) throw failure_of(code, where_, {});
}

// A name to check other than the one to dial: the URL gets the name, libcurl is told where that
// is, and the Host header stays what it would have been.
void Transfer::set_address(const Request& request) {
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
  const std::string& name = options_.tls.server_name;
  if (name.empty() || url_.scheme != "https" || name == url_.host) {
    set(CURLOPT_URL, request.url.c_str());
    return;
  }
  Url named = url_;
  named.host = name;
  const std::string query = url_.query.empty() ? "" : "?" + url_.query;
  const std::string text = named.scheme + "://" + named.authority() + url_.path + query;
  set(CURLOPT_URL, text.c_str());
  Url dialled = url_;
  if (dialled.port == 0) dialled.port = 443;
  append_line(connect_to_, "::" + dialled.authority());
  set(CURLOPT_CONNECT_TO, connect_to_.get());
}

// Any body goes by POSTFIELDS: borrowed, of known length, and sent again by libcurl itself when a
// kept connection turns out to be dead.
void Transfer::set_method(const Request& request) {
  const std::string& method = request.method;
  if (method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
    return;
  }
  if (method == "GET" && request.body.empty()) {
    set(CURLOPT_HTTPGET, 1L);
    return;
  }
  if (!request.body.empty() || method == "POST" || method == "PUT" || method == "PATCH") {
    set(CURLOPT_POST, 1L);
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(CURLOPT_POSTFIELDS,
        request.body.empty() ? "" : reinterpret_cast<const char*>(request.body.data()));
  }
  if (method != "POST") set(CURLOPT_CUSTOMREQUEST, method.c_str());
}

void Transfer::set_headers(const Request& request) {
  const auto add = [this](std::string line) {
    append_line(sent_headers_, line);
    wipe(line.data(), line.size());  // a token may be in it
  };
  for (const auto& [name, value] : request.headers) add(header_line(name, value));
  if (!request.authorization.empty()) {
    if (has_line_break(request.authorization.reveal())) {
      throw Error(ErrorKind::usage, where_ + ": line break in the credentials");
    }
    add(header_line("Authorization", request.authorization.reveal()));
  }
  if (connect_to_ && !has_header(request.headers, "host")) add("Host: " + url_.authority());
  add("Expect:");  // no pause for "100 Continue"
  if (!has_header(request.headers, "content-type")) add("Content-Type:");
  set(CURLOPT_HTTPHEADER, sent_headers_.get());
  if (!options_.user_agent.empty()) set(CURLOPT_USERAGENT, options_.user_agent.c_str());
  if (options_.compression) set(CURLOPT_ACCEPT_ENCODING, "gzip");
}

void Transfer::set_tls() {
  const Tls& tls = options_.tls;
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(CURLOPT_SSL_VERIFYPEER, tls.verify ? 1L : 0L);
  set(CURLOPT_SSL_VERIFYHOST, tls.verify ? 2L : 0L);
  if (!tls.ca_pem.empty()) {
    curl_blob ca = borrow(tls.ca_pem);
    set(CURLOPT_CAINFO_BLOB, &ca);
    // The blob replaces the file of system certificates but not their folder: without this, any
    // public CA would be trusted beside the one we were given.
    set(CURLOPT_CAPATH, static_cast<char*>(nullptr));
  } else {
    set_authorities(CURLOPT_CAINFO, CURLOPT_CAPATH);
  }
  if (tls.client_certificate_pem.empty()) return;
  curl_blob certificate = borrow(tls.client_certificate_pem);
  curl_blob key = borrow(tls.client_key_pem.reveal());
  set(CURLOPT_SSLCERTTYPE, "PEM");
  set(CURLOPT_SSLKEYTYPE, "PEM");
  set(CURLOPT_SSLCERT_BLOB, &certificate);
  if (key.len != 0) set(CURLOPT_SSLKEY_BLOB, &key);
  set(CURLOPT_KEYPASSWD, "");  // without one, OpenSSL asks the terminal for an encrypted key's
}

void Transfer::set_authorities(CURLoption file, CURLoption folders) {
  const auto exists = [](const std::string& path) {
    std::error_code none;
    return std::filesystem::exists(path, none);
  };
  const Authorities authorities = system_authorities(options_.authorities, exists);
  // Without these, a place of libcurl's own would be an error where it is not there.
  set(file, authorities.file.empty() ? nullptr : authorities.file.c_str());
  set(folders, authorities.folders.empty() ? nullptr : authorities.folders.c_str());
}

// libcurl reads the environment unless it is told something: "" is "no proxy".
void Transfer::set_proxy() {
  const std::string wanted =
      options_.proxy_url.empty() ? choose_proxy(options_.proxies, url_) : options_.proxy_url;
  set(CURLOPT_NOPROXY, "");
  if (wanted.empty()) {
    set(CURLOPT_PROXY, "");
    return;
  }
  const ProxyAddress proxy = parse_proxy(wanted);
  set(CURLOPT_PROXY, proxy.url.c_str());
  set(CURLOPT_PROXYPORT, static_cast<long>(proxy.default_port));
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  if (!proxy.tls) return;
  // As with Go, what proves the server proves the proxy in front of it.
  const Tls& tls = options_.tls;
  set(CURLOPT_PROXY_SSL_VERIFYPEER, tls.verify ? 1L : 0L);
  set(CURLOPT_PROXY_SSL_VERIFYHOST, tls.verify ? 2L : 0L);
  if (tls.ca_pem.empty()) {
    set_authorities(CURLOPT_PROXY_CAINFO, CURLOPT_PROXY_CAPATH);
    return;
  }
  curl_blob ca = borrow(tls.ca_pem);
  set(CURLOPT_PROXY_CAINFO_BLOB, &ca);
  set(CURLOPT_PROXY_CAPATH, static_cast<char*>(nullptr));
}

void Transfer::set_limits() {
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_HTTP_VERSION, curl_version(options_.version));
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout.count()));
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_TCP_KEEPIDLE, 30L);
  set(CURLOPT_TCP_KEEPINTVL, 10L);
  // Against the defaults of 16 and 64 KiB: a sixth less CPU for a snapshot.
  set(CURLOPT_BUFFERSIZE, static_cast<long>(256 * limits::kKiB));
  set(CURLOPT_UPLOAD_BUFFERSIZE, static_cast<long>(256 * limits::kKiB));
  // 7.88 cannot use such a connection again: it fails with "Error in the HTTP2 framing layer".
  if (options_.version == Version::http2_prior) set(CURLOPT_FORBID_REUSE, 1L);
  set(CURLOPT_QUICK_EXIT, 1L);  // an ended call does not wait for getaddrinfo
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count,
                                void* self) noexcept {
  const std::size_t bytes = size * count;
  return static_cast<Transfer*>(self)->take_header({data, bytes}) ? bytes : 0;
}

// Called for each line of each block: "100 Continue" comes before the real one, trailers after the
// body and without an empty line.
bool Transfer::take_header(std::string_view line) {
  received_ += line.size();
  header_bytes_ += line.size();
  if (header_bytes_ > limits::kHeaderBytes) {
    fault_ = Fault::header_limit;
    return false;
  }
  line = trim(line);
  if (line.empty()) {
    begin_body();
    return fault_ == Fault::none;
  }
  if (!head_complete_ && line.starts_with("HTTP/")) {
    headers_.clear();
    return true;
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return true;
  headers_.emplace_back(to_lower(line.substr(0, colon)), trim(line.substr(colon + 1)));
  return true;
}

void Transfer::begin_body() {
  long status = 0;
  long version = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(easy_.get(), CURLINFO_HTTP_VERSION, &version);
  if (status < 200) return;  // informational: the real block is still to come
  status_ = static_cast<int>(status);
  head_complete_ = true;
  const bool wants_2 =
      options_.version == Version::http2 || options_.version == Version::http2_prior;
  if (wants_2 && version != CURL_HTTP_VERSION_2_0) fault_ = Fault::version;
}

std::size_t Transfer::on_body(char* data, std::size_t size, std::size_t count,
                              void* self) noexcept {
  return static_cast<Transfer*>(self)->take_body(as_bytes({data, size * count}));
}

std::size_t Transfer::take_body(ByteView bytes) {
  const std::size_t held = body_.size() - body_begin_;
  if (!streaming_ && (bytes.size() > max_body_ || held > max_body_ - bytes.size())) {
    if (status_ < 300) {
      fault_ = Fault::body_limit;
      return CURL_WRITEFUNC_ERROR;
    }
    // Why it is refused stands at the beginning: the rest is read and dropped.
    append(body_, bytes.first(max_body_ - held));
    received_ += bytes.size();
    return bytes.size();
  }
  if (streaming_ && held >= kStreamBuffer) {
    paused_ = true;
    return CURL_WRITEFUNC_PAUSE;
  }
  received_ += bytes.size();
  const std::size_t room = target_.empty() ? 0 : target_.size() - target_used_;
  const std::size_t direct = std::min(room, bytes.size());
  if (direct != 0) std::memcpy(target_.data() + target_used_, bytes.data(), direct);
  target_used_ += direct;
  append(body_, bytes.subspan(direct));
  return bytes.size();
}

void Transfer::receive_head(const Call& call) {
  streaming_ = true;
  begin_waiting(call);
  while (!head_complete_ && !ended_) advance(call);
  if (!head_complete_) require_success();
  if (fault_ != Fault::none) throw_fault();
}

void Transfer::receive_body(const Call& call) {
  begin_waiting(call);
  while (!ended_) advance(call);
  require_success();
}

std::size_t Transfer::read(std::span<std::uint8_t> buffer, const Call& call) {
  streaming_ = true;
  if (buffer.empty()) return 0;
  if (body_begin_ == body_.size()) return read_direct(buffer, call);
  require_live(call);
  const std::size_t count = std::min(buffer.size(), body_.size() - body_begin_);
  std::memcpy(buffer.data(), body_.data() + body_begin_, count);
  body_begin_ += count;
  return count;
}

// Nothing is left over from before: libcurl's bytes go to the reader without a stop in between.
std::size_t Transfer::read_direct(std::span<std::uint8_t> buffer, const Call& call) {
  struct Loan {
    explicit Loan(Transfer& to, std::span<std::uint8_t> of) : transfer(to) {
      transfer.target_ = of;
      transfer.target_used_ = 0;
    }

    ~Loan() { transfer.target_ = {}; }

    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    Transfer& transfer;
  };

  body_.clear();
  body_begin_ = 0;
  const Loan loan(*this, buffer);
  begin_waiting(call);
  resume();
  while (target_used_ == 0 && !ended_) advance(call);
  if (target_used_ == 0) require_success();
  return target_used_;
}

void Transfer::resume() {
  if (!paused_) return;
  paused_ = false;
  curl_easy_pause(easy_.get(), CURLPAUSE_CONT);
}

Multi Transfer::take_multi() {
  if (!ended_ || fault_ != Fault::none) return nullptr;
  curl_multi_remove_handle(multi_.get(), easy_.get());
  return std::move(multi_);
}

// Time during which nobody waited is not the server's silence.
void Transfer::begin_waiting(const Call& call) {
  last_activity_ = call.clock().steady();
}

// Throws only while no new byte is at hand: a reader that tries again has lost nothing.
void Transfer::advance(const Call& call) {
  require_live(call);
  if (perform()) {
    last_activity_ = call.clock().steady();
  } else if (!ended_) {
    wait(call);
  }
}

void Transfer::require_live(const Call& call) const {
  if (call.stop_token().stop_requested()) call.require_live();
  if (!call.stopped()) return;
  throw Error(ErrorKind::unavailable, where_ + ": no answer within the time allowed").with(kAgain);
}

// One round of libcurl; true when bytes moved.
bool Transfer::perform() {
  int running = 0;
  const CURLMcode code = curl_multi_perform(multi_.get(), &running);
  if (code != CURLM_OK) {
    throw Error(ErrorKind::failed,
                fmt::format("{}: libcurl: {}", where_, curl_multi_strerror(code)));
  }
  note_end();
  curl_off_t sent = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_SIZE_UPLOAD_T, &sent);
  const std::uint64_t moved = received_ + static_cast<std::uint64_t>(sent);
  return std::exchange(last_moved_, moved) != moved;
}

void Transfer::note_end() {
  int queued = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &queued)) {
    if (message->msg != CURLMSG_DONE) continue;
    ended_ = true;
    result_ = message->data.result;
  }
}

void Transfer::wait(const Call& call) {
  using std::chrono::milliseconds;
  const auto silent = call.clock().steady() - last_activity_;
  if (silent >= options_.idle_timeout) {
    throw Error(ErrorKind::unavailable, fmt::format("{}: the connection stalled: no byte for {} ms",
                                                    where_, options_.idle_timeout.count()))
        .with(kAgain);
  }
  const auto left = std::chrono::ceil<milliseconds>(options_.idle_timeout - silent);
  const milliseconds time = std::min({left, call.remaining(), kLongestPoll});
  const std::stop_callback wake(call.stop_token(), [this] { curl_multi_wakeup(multi_.get()); });
  curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(time.count()), nullptr);
}

void Transfer::require_success() const {
  if (fault_ != Fault::none) throw_fault();
  if (result_ == CURLE_OK && head_complete_) return;
  if (result_ == CURLE_OK) {  // libcurl takes an end within the header block for a good one
    throw Error(ErrorKind::unavailable, where_ + ": the connection ended within the header block")
        .with(kAgain);
  }
  if (hung_up_after_handshake()) throw http::hung_up_after_handshake(where_);
  throw failure_of(result_, where_, detail());
}

// libcurl tells how long it took, the system why.
std::string Transfer::detail() const {
  long system_error = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_OS_ERRNO, &system_error);
  if (result_ != CURLE_COULDNT_CONNECT || system_error == 0) return detail_.data();
  return std::generic_category().message(static_cast<int>(system_error));
}

// With TLS 1.3 a server judges the client's certificate after libcurl took the handshake for done,
// and its alert is mostly lost: the connection is reset before libcurl comes to read. Hardly
// anything but that judgement falls into this moment, where there is a certificate to be judged, or
// the server is etcd, which wants one.
bool Transfer::hung_up_after_handshake() const {
  if (options_.tls.client_certificate_pem.empty() && options_.version != Version::http2)
    return false;
  curl_off_t handshake = 0;
  curl_off_t sent = 0;
  long connects = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_APPCONNECT_TIME_T, &handshake);
  curl_easy_getinfo(easy_.get(), CURLINFO_SIZE_UPLOAD_T, &sent);
  curl_easy_getinfo(easy_.get(), CURLINFO_NUM_CONNECTS, &connects);
  // HTTP/2's first bytes go out before libcurl notes the time of the handshake.
  const bool is_preface_lost = result_ == CURLE_HTTP2 && url_.scheme == "https" &&
                               std::string_view(detail_.data()).starts_with("Send failure");
  const bool is_request_lost = result_ == CURLE_SEND_ERROR && handshake > 0;
  const bool is_first_moment = connects > 0 && sent == 0 && received_ == 0;
  return is_first_moment && (is_preface_lost || is_request_lost);
}

void Transfer::throw_fault() const {
  switch (fault_) {
  case Fault::header_limit:
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: headers above {} bytes", where_, limits::kHeaderBytes));
  case Fault::body_limit:
    throw Error(ErrorKind::corrupt, fmt::format("{}: answer above {} bytes", where_, max_body_));
  case Fault::version:
  case Fault::none:
    break;
  }
  throw Error(ErrorKind::unavailable, where_ + ": the server does not speak HTTP/2");
}

}  // namespace kubedr::http
