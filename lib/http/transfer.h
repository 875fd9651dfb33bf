#ifndef KUBEDR_HTTP_TRANSFER_H
#define KUBEDR_HTTP_TRANSFER_H

#include <curl/curl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "http/client.h"
#include "http/url.h"

namespace kubedr::http {

struct CloseMulti {
  void operator()(CURLM* multi) const noexcept { curl_multi_cleanup(multi); }
};

struct CloseEasy {
  void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
};

// The list holds the Authorization header.
struct WipeList {
  void operator()(curl_slist* list) const noexcept;
};

using Multi = std::unique_ptr<CURLM, CloseMulti>;
using Easy = std::unique_ptr<CURL, CloseEasy>;
using HeaderList = std::unique_ptr<curl_slist, WipeList>;

// A multi handle is a set of kept connections. Each exchange has one to itself while it lasts, so
// that a stream nobody reads holds up no other request.
Multi make_multi();

// One exchange, driven by whoever waits for it.
//
// errors   as Client
// threads  one thread
class Transfer {
 public:
  Transfer(Multi multi, const Options& options, const Request& request);
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  ~Transfer();

  // Waits for the header block; for the whole body.
  void receive_head(const Call& call);
  void receive_body(const Call& call);

  // As Stream::read.
  std::size_t read(std::span<std::uint8_t> buffer, const Call& call);

  int status() const { return status_; }

  Headers& headers() { return headers_; }

  const Headers& headers() const { return headers_; }

  Bytes& body() { return body_; }

  // The multi handle with its connections, when the exchange came to its end; else nullptr, and
  // closing the connection tells the server.
  Multi take_multi();

 private:
  // What libcurl cannot say because it was one of our callbacks that ended the transfer.
  enum class Fault { none, header_limit, body_limit, version };

  static std::size_t on_header(char* data, std::size_t size, std::size_t count,
                               void* self) noexcept;
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self) noexcept;

  template <class Value>
  void set(CURLoption option, Value value);
  void set_address(const Request& request);
  void set_method(const Request& request);
  void set_headers(const Request& request);
  void set_tls();
  void set_authorities(CURLoption file, CURLoption folders);
  void set_proxy();
  void set_limits();

  bool take_header(std::string_view line);
  void begin_body();
  std::size_t take_body(ByteView bytes);
  void resume();

  void begin_waiting(const Call& call);
  void advance(const Call& call);
  void require_live(const Call& call) const;
  bool perform();
  void wait(const Call& call);
  std::size_t read_direct(std::span<std::uint8_t> buffer, const Call& call);
  void note_end();
  void require_success() const;
  std::string detail() const;
  bool hung_up_after_handshake() const;
  [[noreturn]] void throw_fault() const;

  Multi multi_;
  HeaderList sent_headers_;
  HeaderList connect_to_;
  Easy easy_;
  const Options& options_;
  Url url_;
  std::string where_;
  std::size_t max_body_ = 0;
  bool streaming_ = false;

  Headers headers_;
  std::size_t header_bytes_ = 0;
  int status_ = 0;
  bool head_complete_ = false;

  // A stream's bytes go to target_ while it has room, the rest waits in body_ from body_begin_ on.
  Bytes body_;
  std::size_t body_begin_ = 0;
  std::span<std::uint8_t> target_;
  std::size_t target_used_ = 0;
  bool paused_ = false;

  std::uint64_t received_ = 0;
  std::uint64_t last_moved_ = 0;
  SteadyTime last_activity_;

  bool ended_ = false;
  CURLcode result_ = CURLE_OK;
  Fault fault_ = Fault::none;
  std::array<char, CURL_ERROR_SIZE> detail_{};
};

}  // namespace kubedr::http

#endif  // KUBEDR_HTTP_TRANSFER_H
