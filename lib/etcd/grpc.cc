#include "etcd/grpc.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/limits.h"
#include "base/text.h"
#include "http/url.h"

namespace kubedr::etcd {
namespace {

constexpr std::size_t kPrefix = 1 + 4;  // compressed flag, length
constexpr std::size_t kBuffer = 512 * limits::kKiB;
constexpr std::size_t kMessageText = 500;

// source   grpc/doc/statuscodes.md; only those that are treated differently
enum Code {
  ok = 0,
  unknown = 2,
  deadline_exceeded = 4,
  permission_denied = 7,
  resource_exhausted = 8,
  unimplemented = 12,
  unavailable = 14,
  unauthenticated = 16
};

std::uint32_t read_length(const std::uint8_t* at) {
  return (std::uint32_t{at[0]} << 24) | (std::uint32_t{at[1]} << 16) | (std::uint32_t{at[2]} << 8) |
         std::uint32_t{at[3]};
}

Bytes framed(ByteView message) {
  Bytes frame;
  frame.reserve(kPrefix + message.size());
  frame.push_back(0);
  for (const unsigned shift : {24U, 16U, 8U, 0U}) {
    frame.push_back(static_cast<std::uint8_t>(message.size() >> shift));
  }
  append(frame, message);
  return frame;
}

// 3.4 and 3.5 send what auth refuses as UNKNOWN.
bool is_auth_refusal(std::string_view message) {
  return message.find("user name is empty") != std::string_view::npos ||
         message.find("permission denied") != std::string_view::npos ||
         message.find("invalid auth token") != std::string_view::npos;
}

ErrorKind kind_of(int code, std::string_view message) {
  switch (code) {
  case deadline_exceeded:
  case resource_exhausted:
  case unavailable:
    return ErrorKind::unavailable;
  case permission_denied:
  case unauthenticated:
    return ErrorKind::denied;
  case unknown:
    return is_auth_refusal(message) ? ErrorKind::denied : ErrorKind::failed;
  default:
    return ErrorKind::failed;
  }
}

std::string hint_for(int code, ErrorKind kind) {
  if (kind == ErrorKind::denied) {
    return "etcd has authentication switched on: use a client certificate whose user has the root "
           "role";
  }
  if (code == unimplemented) {
    return "is this etcd's client port? kine and other stand-ins have no snapshots";
  }
  return {};
}

// The states that stand for an HTTP status of something between us and etcd.
int code_of_http(int status) {
  switch (status) {
  case 401:
    return unauthenticated;
  case 403:
    return permission_denied;
  case 404:
    return unimplemented;
  case 429:
  case 502:
  case 503:
  case 504:
    return unavailable;
  default:
    return unknown;
  }
}

}  // namespace

GrpcCall::GrpcCall(http::Client& client, const std::string& url, Method method, ByteView message,
                   const Call& call)
    : origin_(url),
      where_(fmt::format("etcd: {}: {}", url, method.name)),
      request_(framed(message)) {
  http::Request request;
  request.method = "POST";
  request.url = url + std::string(method.path);
  request.headers = {{"content-type", "application/grpc"}, {"te", "trailers"}};
  request.body = request_;
  stream_ = client.open(request, call);
}

std::optional<ByteView> GrpcCall::next(const Call& call) {
  if (finished_) return std::nullopt;
  while (!has_next()) {
    if (fill(call)) continue;
    require_ok();
    if (begin_ != end_) throw error(ErrorKind::corrupt, "the answer ends within a message");
    finished_ = true;
    return std::nullopt;
  }
  const std::size_t size = *frame_size();
  const ByteView message = ByteView(buffer_).subspan(begin_ + kPrefix, size - kPrefix);
  begin_ += size;
  return message;
}

bool GrpcCall::has_next() const {
  const std::optional<std::size_t> size = frame_size();
  return size && *size <= end_ - begin_;
}

// Prefix and message of the frame at the head of the buffer, once its prefix is there.
std::optional<std::size_t> GrpcCall::frame_size() const {
  if (end_ - begin_ < kPrefix) return std::nullopt;
  const std::uint8_t* const prefix = buffer_.data() + begin_;
  if (prefix[0] != 0) throw error(ErrorKind::corrupt, "a message is marked as compressed");
  const std::uint32_t length = read_length(prefix + 1);
  if (length > limits::kGrpcMessage) {
    throw error(ErrorKind::corrupt, fmt::format("a message of {} bytes is above the limit of {}",
                                                length, limits::kGrpcMessage));
  }
  return kPrefix + length;
}

// False at the end of the answer.
bool GrpcCall::fill(const Call& call) {
  make_room(frame_size().value_or(kPrefix));
  const std::size_t count = receive(std::span(buffer_).subspan(end_), call);
  end_ += count;
  return count != 0;
}

void GrpcCall::make_room(std::size_t bytes) {
  if (begin_ != 0) std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  const std::size_t wanted = std::max(bytes, kBuffer);
  if (buffer_.size() < wanted) buffer_.resize(wanted);
}

std::size_t GrpcCall::receive(std::span<std::uint8_t> buffer, const Call& call) {
  try {
    if (!answered_) require_grpc(stream_->status(call));
    answered_ = true;
    return stream_->read(buffer, call);
  } catch (const Error& error) {
    // A refusal may be followed by a reset of the stream; it is the refusal that explains it.
    const std::string* const state = header("grpc-status");
    if (state != nullptr && *state != "0") require_ok();
    throw explained(error);
  }
}

void GrpcCall::require_grpc(int status) const {
  if (header("grpc-status") != nullptr) return;  // it tells more
  const std::string* const type = header("content-type");
  if (status == 200 && type != nullptr && type->starts_with("application/grpc")) return;
  const int code = code_of_http(status);
  throw error(kind_of(code, {}), fmt::format("not a gRPC answer: HTTP status {}", status),
              "is this etcd's client port?")
      .with({code == unavailable, true, {}});
}

void GrpcCall::require_ok() const {
  const std::string* const text = header("grpc-status");
  if (text == nullptr) {
    throw error(ErrorKind::unavailable, "the answer ended without a gRPC status")
        .with({true, true, {}});
  }
  int code = -1;
  const auto [end, failure] = std::from_chars(text->data(), text->data() + text->size(), code);
  if (failure != std::errc() || end != text->data() + text->size()) {
    throw error(ErrorKind::corrupt, "not a gRPC status: '" + printable(shorten(*text, 20)) + "'");
  }
  if (code != ok) throw_status(code);
}

void GrpcCall::throw_status(int code) const {
  const std::string* const encoded = header("grpc-message");
  const std::string message = encoded == nullptr ? "" : http::unescape(*encoded);
  const ErrorKind kind = kind_of(code, message);
  const std::string text = printable(shorten(message, kMessageText));
  throw error(kind,
              text.empty() ? fmt::format("gRPC state {}", code)
                           : fmt::format("{} (gRPC state {})", text, code),
              hint_for(code, kind))
      .with({kind == ErrorKind::unavailable, true, {}});
}

const std::string* GrpcCall::header(std::string_view name) const {
  const http::Headers& headers = stream_->headers();
  const auto found = std::find_if(headers.rbegin(), headers.rend(),
                                  [name](const auto& entry) { return entry.first == name; });
  return found == headers.rend() ? nullptr : &found->second;
}

Error GrpcCall::error(ErrorKind kind, const std::string& why, std::string hint) const {
  return Error(kind, where_ + ": " + why, std::move(hint));
}

// The transport's errors begin with the server, which stands in ours already. What a Call threw
// has another beginning and says what it must.
Error GrpcCall::explained(const Error& error) const {
  const std::string_view text = error.what();
  const std::string prefix = origin_ + ": ";
  if (!text.starts_with(prefix)) return error;
  std::string hint = error.hint();
  const bool is_lost = error.kind() == ErrorKind::unavailable && error.transport().may_have_arrived;
  if (hint.empty() && !answered_ && is_lost && origin_.starts_with("http://")) {
    hint = "if the endpoint speaks TLS, use https://; if not, is this etcd's client port?";
  }
  Error better(error.kind(), where_ + ": " + std::string(text.substr(prefix.size())), hint);
  return better.with(error.transport());
}

}  // namespace kubedr::etcd
