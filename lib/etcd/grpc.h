#ifndef KUBEDR_ETCD_GRPC_H
#define KUBEDR_ETCD_GRPC_H

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/call.h"
#include "base/error.h"
#include "http/client.h"

namespace kubedr::etcd {

// One gRPC method: where it is, and what messages call it.
struct Method {
  std::string_view path;  // "/etcdserverpb.Maintenance/Status"
  std::string_view name;  // "status"
};

// The messages that answer one gRPC call.
//
// shape    each message: 1 byte compressed (0) | uint32 BE, bytes | protobuf
// errors   as Client
// threads  the http::Client's thread; must go before it does
// source   grpc/doc/PROTOCOL-HTTP2.md
class GrpcCall {
 public:
  // `url` is scheme://host:port. The request's message is sent before the constructor's caller
  // first waits for an answer.
  GrpcCall(http::Client& client, const std::string& url, Method method, ByteView message,
           const Call& call);

  // The next message, valid until the next call; nullopt once the server said that all went well.
  std::optional<ByteView> next(const Call& call);

  // Whether next() would not have to wait.
  bool has_next() const;

  // An error of this call: `etcd: URL: METHOD: why`.
  Error error(ErrorKind kind, const std::string& why, std::string hint = {}) const;

 private:
  std::optional<std::size_t> frame_size() const;
  bool fill(const Call& call);
  void make_room(std::size_t bytes);
  std::size_t receive(std::span<std::uint8_t> buffer, const Call& call);
  void require_grpc(int status) const;
  void require_ok() const;
  const std::string* header(std::string_view name) const;
  [[noreturn]] void throw_status(int code) const;
  Error explained(const Error& error) const;

  std::string origin_;  // scheme://host:port
  std::string where_;
  Bytes request_;  // http borrows it for as long as stream_ lives
  std::unique_ptr<http::Stream> stream_;
  bool answered_ = false;
  bool finished_ = false;

  Bytes buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace kubedr::etcd

#endif  // KUBEDR_ETCD_GRPC_H
