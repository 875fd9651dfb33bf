#include "http/client.h"

#include <algorithm>
#include <string_view>

#include "base/log.h"
#include "base/text.h"
#include "base/time.h"
#include "http/transfer.h"

namespace kubedr::http {
namespace {

// The query is left out: it may be a presigned one.
void log_exchange(const Request& request, int status) {
  const std::string_view url = request.url;
  log::debug("{} {} {}", request.method, printable(url.substr(0, url.find('?'))), status);
}

// Multi handles with the connections they keep.
class Pool {
 public:
  Pool() { idle_.reserve(kMost); }

  // The last one used: its connections are warm.
  Multi take() {
    if (idle_.empty()) return make_multi();
    Multi multi = std::move(idle_.back());
    idle_.pop_back();
    return multi;
  }

  // Needs no memory, since a stream that goes may do it. Beyond those, connections are closed.
  void give_back(Multi multi) noexcept {
    if (multi && idle_.size() < kMost) idle_.push_back(std::move(multi));
  }

 private:
  static constexpr std::size_t kMost = 8;  // one thread rarely has more than two exchanges open

  std::vector<Multi> idle_;
};

class TransferStream final : public Stream {
 public:
  TransferStream(Pool& pool, const Options& options, const Request& request)
      : pool_(pool), transfer_(pool.take(), options, request) {}

  TransferStream(const TransferStream&) = delete;
  TransferStream& operator=(const TransferStream&) = delete;

  ~TransferStream() override { pool_.give_back(transfer_.take_multi()); }

  int status(const Call& call) override {
    transfer_.receive_head(call);
    return transfer_.status();
  }

  std::size_t read(std::span<std::uint8_t> buffer, const Call& call) override {
    transfer_.receive_head(call);
    return transfer_.read(buffer, call);
  }

  const Headers& headers() const override { return transfer_.headers(); }

 private:
  Pool& pool_;
  Transfer transfer_;
};

}  // namespace

struct Client::Impl {
  explicit Impl(Options o) : options(std::move(o)) {}

  const Options options;
  Pool pool;
};

Client::Client(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}

Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Response Client::send(const Request& request, const Call& call) {
  Transfer transfer(impl_->pool.take(), impl_->options, request);
  transfer.receive_body(call);
  impl_->pool.give_back(transfer.take_multi());
  log_exchange(request, transfer.status());
  return {transfer.status(), std::move(transfer.headers()), std::move(transfer.body())};
}

std::unique_ptr<Stream> Client::open(const Request& request, const Call& call) {
  call.require_live();
  return std::make_unique<TransferStream>(impl_->pool, impl_->options, request);
}

const std::string* Response::header(std::string_view name) const {
  const std::string wanted = to_lower(name);
  const auto found = std::find_if(headers.rbegin(), headers.rend(),
                                  [&](const auto& header) { return header.first == wanted; });
  return found == headers.rend() ? nullptr : &found->second;
}

// Seconds, or a date.
std::optional<std::chrono::seconds> Response::retry_after(WallTime now) const {
  using std::chrono::seconds;
  constexpr seconds kDay = std::chrono::hours(24);
  const std::string* text = header("retry-after");
  if (text == nullptr) return std::nullopt;
  if (const auto number = parse_number<std::uint64_t>(*text)) {
    return *number < 86'400 ? seconds(*number) : kDay;
  }
  const std::optional<WallTime> date = parse_http_date(*text);
  if (!date || *date <= now) return std::nullopt;
  return std::min(std::chrono::ceil<seconds>(*date - now), kDay);
}

std::optional<std::chrono::seconds> Response::clock_offset(WallTime now) const {
  const std::string* text = header("date");
  const auto date = text == nullptr ? std::nullopt : parse_http_date(*text);
  if (!date) return std::nullopt;
  return std::chrono::floor<std::chrono::seconds>(*date - now);
}

bool is_away(int status) {
  if (status == 501 || status == 505 || status == 507) return false;
  return status == 429 || status >= 500;
}

}  // namespace kubedr::http
