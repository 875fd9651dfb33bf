#include "etcd/messages.h"

#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

namespace kubedr::etcd {
namespace {

using protozero::pbf_reader;
using protozero::pbf_wire_type;

constexpr std::uint32_t bytes_field(protozero::pbf_tag_type tag) {
  return protozero::tag_and_type(tag, pbf_wire_type::length_delimited);
}

constexpr std::uint32_t number_field(protozero::pbf_tag_type tag) {
  return protozero::tag_and_type(tag, pbf_wire_type::varint);
}

pbf_reader reader(ByteView message) {
  const std::string_view text = as_text(message);
  return pbf_reader(text.data(), text.size());
}

void read_header(pbf_reader header, Status& status) {
  while (header.next()) {
    switch (header.tag_and_type()) {
    case number_field(1):
      status.cluster_id = header.get_uint64();
      break;
    case number_field(2):
      status.member_id = header.get_uint64();
      break;
    case number_field(3):
      status.revision = header.get_int64();
      break;
    default:
      header.skip();
    }
  }
}

Alarm read_alarm(pbf_reader message) {
  Alarm alarm;
  std::uint64_t kind = 0;
  while (message.next()) {
    switch (message.tag_and_type()) {
    case number_field(1):
      alarm.member_id = message.get_uint64();
      break;
    case number_field(2):
      kind = message.get_uint64();
      break;
    default:
      message.skip();
    }
  }
  constexpr Alarm::Kind kKinds[] = {Alarm::Kind::none, Alarm::Kind::no_space, Alarm::Kind::corrupt};
  alarm.kind = kind < std::size(kKinds) ? kKinds[kind] : Alarm::Kind::other;
  return alarm;
}

KeyValue read_key_value(pbf_reader message) {
  KeyValue entry;
  while (message.next()) {
    switch (message.tag_and_type()) {
    case number_field(3):
      entry.mod_revision = message.get_int64();
      break;
    case bytes_field(5):
      entry.value = message.get_string();
      break;
    default:
      message.skip();
    }
  }
  return entry;
}

}  // namespace

Status parse_status(ByteView bytes) {
  Status status;
  pbf_reader message = reader(bytes);
  while (message.next()) {
    switch (message.tag_and_type()) {
    case bytes_field(1):
      read_header(message.get_message(), status);
      break;
    case bytes_field(2):
      status.version = message.get_string();
      break;
    case number_field(3):
      status.db_size = message.get_int64();
      break;
    case number_field(4):
      status.leader = message.get_uint64();
      break;
    case number_field(7):
      status.raft_applied_index = message.get_uint64();
      break;
    case bytes_field(8):
      status.errors.push_back(message.get_string());
      break;
    case number_field(9):
      status.db_size_in_use = message.get_int64();
      break;
    case number_field(10):
      status.is_learner = message.get_bool();
      break;
    case number_field(12):
      status.db_size_quota = message.get_int64();
      break;
    default:
      message.skip();
    }
  }
  return status;
}

std::vector<Alarm> parse_alarms(ByteView bytes) {
  std::vector<Alarm> alarms;
  pbf_reader message = reader(bytes);
  while (message.next(2, pbf_wire_type::length_delimited)) {
    alarms.push_back(read_alarm(message.get_message()));
  }
  return alarms;
}

std::optional<KeyValue> parse_first_key(ByteView bytes) {
  pbf_reader message = reader(bytes);
  if (!message.next(2, pbf_wire_type::length_delimited)) return std::nullopt;
  return read_key_value(message.get_message());
}

SnapshotBlob parse_snapshot(ByteView bytes) {
  SnapshotBlob blob;
  pbf_reader message = reader(bytes);
  while (message.next()) {
    switch (message.tag_and_type()) {
    case number_field(2):
      blob.remaining = message.get_uint64();
      break;
    case bytes_field(3): {
      const protozero::data_view view = message.get_view();
      blob.bytes = as_bytes({view.data(), view.size()});
      break;
    }
    default:
      message.skip();
    }
  }
  return blob;
}

Bytes make_range(std::string_view key) {
  std::string text;
  protozero::pbf_writer message(text);
  message.add_bytes(1, key.data(), key.size());
  message.add_bool(7, true);  // serializable
  const ByteView bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

}  // namespace kubedr::etcd
