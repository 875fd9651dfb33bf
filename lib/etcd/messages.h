#ifndef KUBEDR_ETCD_MESSAGES_H
#define KUBEDR_ETCD_MESSAGES_H

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "etcd/client.h"

// The few protobuf messages that the client needs. Unknown fields, and known ones of another wire
// type, are skipped.
//
// errors   protozero::exception: not a protobuf message
// source   etcd api/etcdserverpb/rpc.proto, api/mvccpb/kv.proto
namespace kubedr::etcd {

// One message of the snapshot stream.
struct SnapshotBlob {
  std::uint64_t remaining = 0;  // bytes of the db after this blob
  ByteView bytes;               // into the message
};

Status parse_status(ByteView message);
std::vector<Alarm> parse_alarms(ByteView message);
std::optional<KeyValue> parse_first_key(ByteView message);
SnapshotBlob parse_snapshot(ByteView message);

// A RangeRequest for one key, answered from the member's own state.
Bytes make_range(std::string_view key);

}  // namespace kubedr::etcd

#endif  // KUBEDR_ETCD_MESSAGES_H
