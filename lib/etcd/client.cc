#include "etcd/client.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <protozero/exception.hpp>

#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"
#include "etcd/grpc.h"
#include "etcd/messages.h"
#include "etcd/verdict.h"
#include "http/url.h"

namespace kubedr::etcd {
namespace {

constexpr Method kStatus{"/etcdserverpb.Maintenance/Status", "status"};
constexpr Method kAlarm{"/etcdserverpb.Maintenance/Alarm", "alarms"};
constexpr Method kSnapshot{"/etcdserverpb.Maintenance/Snapshot", "snapshot"};
constexpr Method kRange{"/etcdserverpb.KV/Range", "get"};

constexpr int kEmptyBlobs = 16;

template <class Parse>
auto parsed(const GrpcCall& call, ByteView message, Parse parse) {
  try {
    return parse(message);
  } catch (const protozero::exception& error) {
    throw call.error(ErrorKind::corrupt, fmt::format("not a protobuf message: {}", error.what()));
  }
}

http::Options http_options(const Endpoint& endpoint) {
  http::Options options;
  const bool is_tls = http::parse_url(endpoint.url).scheme == "https";
  if (is_tls) options.tls = endpoint.tls;
  options.version = is_tls ? http::Version::http2 : http::Version::http2_prior;
  options.user_agent = "kubectl-kubedr";
  return options;
}

// Without a path: methods bring their own.
std::string origin_of(const std::string& text) {
  const http::Url url = http::parse_url(text);
  return url.scheme + "://" + url.authority();
}

// Counts what comes against what was announced; the digest is judged by Verdict.
class GrpcSnapshot final : public Client::SnapshotStream {
 public:
  GrpcSnapshot(http::Client& client, const std::string& url, const Call& call)
      : call_(client, url, kSnapshot, {}, call) {}

  std::size_t read(std::span<std::uint8_t> buffer, const Call& call) override {
    std::size_t filled = 0;
    while (filled < buffer.size()) {
      if (blob_.empty()) {
        if (filled != 0 && !call_.has_next()) break;
        if (!next_blob(call)) break;
      }
      const std::size_t count = std::min(buffer.size() - filled, blob_.size());
      if (count != 0) std::memcpy(buffer.data() + filled, blob_.data(), count);
      blob_ = blob_.subspan(count);
      filled += count;
    }
    return filled;
  }

  std::optional<std::uint64_t> db_size() const override { return db_size_; }

 private:
  // False after the last one, which may have been empty.
  bool next_blob(const Call& call) {
    const std::optional<ByteView> message = call_.next(call);
    if (!message) {
      require_complete();
      return false;
    }
    const SnapshotBlob blob = parsed(call_, *message, parse_snapshot);
    if (!db_size_) {
      if (blob.remaining > limits::kDatabase) {
        throw call_.error(ErrorKind::corrupt, "a db of impossible size was announced");
      }
      db_size_ = blob.remaining + blob.bytes.size();
    }
    watch_for_standstill(blob);
    received_ += blob.bytes.size();
    if (received_ > *db_size_ + kDigestSize) {
      throw call_.error(ErrorKind::corrupt,
                        fmt::format("more than the announced {} bytes came", *db_size_));
    }
    blob_ = blob.bytes;
    return true;
  }

  // A member that cannot read its own disk goes on sending empty blobs for ever.
  void watch_for_standstill(const SnapshotBlob& blob) {
    const bool is_idle = blob.bytes.empty() && blob.remaining != 0;
    empty_blobs_ = is_idle ? empty_blobs_ + 1 : 0;
    if (empty_blobs_ < kEmptyBlobs) return;
    throw call_.error(
        ErrorKind::unavailable,
        fmt::format("the member sends empty pieces with {} bytes to come", blob.remaining),
        "look for disk errors in this member's log; use another member");
  }

  void require_complete() const {
    const std::uint64_t announced = db_size_.value_or(0);
    if (db_size_ && received_ == announced + kDigestSize) return;
    throw call_
        .error(ErrorKind::unavailable,
               fmt::format("the snapshot ended early: {} bytes came, {} and a digest of {} "
                           "were announced",
                           received_, announced, kDigestSize))
        .with({true, true, {}});
  }

  GrpcCall call_;
  ByteView blob_;  // into call_'s buffer: what read() did not take yet
  std::optional<std::uint64_t> db_size_;
  std::uint64_t received_ = 0;
  int empty_blobs_ = 0;
};

}  // namespace

struct Client::Impl {
  explicit Impl(const Endpoint& endpoint)
      : url(endpoint.url), origin(origin_of(endpoint.url)), http(http_options(endpoint)) {}

  // A call with one message as its answer.
  template <class Parse>
  auto unary(Method method, ByteView message, const Call& call, Parse parse) {
    GrpcCall grpc(http, origin, method, message, call);
    const std::optional<ByteView> answer = grpc.next(call);
    if (!answer) throw grpc.error(ErrorKind::corrupt, "no message in the answer");
    auto result = parsed(grpc, *answer, parse);
    if (grpc.next(call))
      throw grpc.error(ErrorKind::corrupt, "more than one message in the answer");
    return result;
  }

  const std::string url;
  const std::string origin;
  http::Client http;
};

Client::Client(Endpoint endpoint) : impl_(std::make_unique<Impl>(endpoint)) {}

Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Status Client::status(const Call& call) {
  return impl_->unary(kStatus, {}, call, parse_status);
}

// An empty request means: get, of all members, of all kinds.
std::vector<Alarm> Client::alarms(const Call& call) {
  return impl_->unary(kAlarm, {}, call, parse_alarms);
}

std::optional<KeyValue> Client::get(std::string_view key, const Call& call) {
  return impl_->unary(kRange, make_range(key), call, parse_first_key);
}

std::unique_ptr<Client::SnapshotStream> Client::snapshot(const Call& call) {
  return std::make_unique<GrpcSnapshot>(impl_->http, impl_->origin, call);
}

const std::string& Client::url() const {
  return impl_->url;
}

std::vector<std::string> parse_endpoints(std::string_view list, bool tls) {
  std::vector<std::string> urls;
  for (const std::string& part : split(list, ',')) {
    std::string url(trim(part));
    if (url.empty()) continue;
    if (url.starts_with("unix:") || url.starts_with("unixs:")) {
      throw Error(ErrorKind::usage,
                  fmt::format("etcd endpoint {}: unix sockets are not supported", printable(url)),
                  "use an endpoint such as https://127.0.0.1:2379");
    }
    if (url.find("://") == std::string::npos) url.insert(0, tls ? "https://" : "http://");
    const std::string scheme = http::parse_url(url).scheme;
    if (scheme != "http" && scheme != "https") {
      throw Error(ErrorKind::usage,
                  fmt::format("etcd endpoint: scheme {} is not supported", scheme),
                  "use an endpoint such as https://127.0.0.1:2379");
    }
    urls.push_back(std::move(url));
  }
  if (urls.empty()) {
    throw Error(ErrorKind::usage, "etcd endpoints: the list is empty",
                "use an endpoint such as https://127.0.0.1:2379");
  }
  return urls;
}

}  // namespace kubedr::etcd
