#ifndef KUBEDR_ETCD_CLIENT_H
#define KUBEDR_ETCD_CLIENT_H

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/call.h"
#include "http/client.h"

namespace kubedr::etcd {

struct Endpoint {
  std::string url;  // http://host:port or https://host:port
  http::Tls tls;    // used with https only
};

// What Maintenance/Status says of one member.
struct Status {
  std::uint64_t cluster_id = 0;
  std::uint64_t member_id = 0;
  std::int64_t revision = 0;
  std::string version;
  std::int64_t db_size = 0;  // bytes of the file
  std::int64_t db_size_in_use = 0;
  std::int64_t db_size_quota = 0;  // 0: not told (before 3.6)
  std::uint64_t leader = 0;        // 0: none
  std::uint64_t raft_applied_index = 0;
  bool is_learner = false;
  std::vector<std::string> errors;  // alarms and the like
};

struct Alarm {
  std::uint64_t member_id = 0;
  enum class Kind { none, no_space, corrupt, other } kind = Kind::none;
};

struct Member {
  std::uint64_t id = 0;
  std::string name;
  std::vector<std::string> peer_urls;
  bool is_learner = false;
};

struct KeyValue {
  std::string value;
  std::int64_t mod_revision = 0;
};

// A thin etcd v3 client: gRPC over libcurl's HTTP/2, unary calls and the snapshot stream.
//
// errors   unavailable (not reachable, gRPC 4, 8, 14), denied (certificates, gRPC 7, 16, and the
//          auth refusals that 3.4 and 3.5 send as 2), corrupt (frames, protobuf), failed (other
//          gRPC states, with code and message). Text: `etcd: https://h:2379: status: ...`.
//          Speaking TLS to a plain port and the reverse says so in the hint.
// threads  one thread
// source   etcd api/etcdserverpb/rpc.proto, gRPC over HTTP/2
class Client {
 public:
  explicit Client(Endpoint endpoint);
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  Status status(const Call& call);
  std::vector<Alarm> alarms(const Call& call);

  // One key, nullopt if it is not there. Not linearizable: this member's own state.
  std::optional<KeyValue> get(std::string_view key, const Call& call);

  // The bytes of the member's bbolt file followed by etcd's SHA-256 of them, pulled.
  class SnapshotStream {
   public:
    virtual ~SnapshotStream() = default;

    // At least one byte; 0 only after the server's gRPC status said OK and every announced byte
    // came. Anything else throws.
    virtual std::size_t read(std::span<std::uint8_t> buffer, const Call& call) = 0;

    // Bytes of the db without the digest, known after the first read.
    virtual std::optional<std::uint64_t> db_size() const = 0;
  };

  std::unique_ptr<SnapshotStream> snapshot(const Call& call);

  const std::string& url() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "a, b,c" as etcdctl's --endpoints: without a scheme https if `tls`, else http.
//
// errors   usage: unix sockets and other schemes, an empty list
std::vector<std::string> parse_endpoints(std::string_view list, bool tls);

}  // namespace kubedr::etcd

#endif  // KUBEDR_ETCD_CLIENT_H
