#include "etcd/client.h"

#include <doctest/doctest.h>

#include <chrono>
#include <protozero/pbf_writer.hpp>

#include "base/error.h"
#include "support/responder.h"

namespace kubedr::etcd {
namespace {

using test::Peer;
using test::Responder;
using Fields = std::vector<std::pair<std::string, std::string>>;

const SystemClock system_clock;

Call ten_seconds() {
  return Call(system_clock).within(std::chrono::seconds(10));
}

enum Frame : unsigned char { data = 0, headers = 1, reset = 3, settings = 4 };

constexpr unsigned kEndStream = 1;
constexpr unsigned kEndHeaders = 4;
constexpr unsigned kAck = 1;

std::string big_endian(std::uint64_t value, std::size_t bytes) {
  std::string text;
  for (std::size_t i = bytes; i-- > 0;) text += static_cast<char>(value >> (8 * i));
  return text;
}

std::string frame(Frame type, unsigned flags, unsigned stream, const std::string& payload) {
  return big_endian(payload.size(), 3) + static_cast<char>(type) + static_cast<char>(flags) +
         big_endian(stream, 4) + payload;
}

// HPACK: ":status: 200" from the static table, all else as literals that are not indexed.
std::string header_frame(bool with_status, const Fields& fields, bool last) {
  std::string block = with_status ? "\x88" : "";
  for (const auto& [name, value] : fields) {
    block += '\0';
    block += static_cast<char>(name.size()) + name + static_cast<char>(value.size()) + value;
  }
  return frame(headers, kEndHeaders | (last ? kEndStream : 0), 1, block);
}

const std::string kGrpcHead = header_frame(true, {{"content-type", "application/grpc"}}, false);

std::string trailers(const std::string& status, const std::string& message = "") {
  return header_frame(false, {{"grpc-status", status}, {"grpc-message", message}}, true);
}

std::string trailers_only(const std::string& status, const std::string& message) {
  return header_frame(
      true,
      {{"content-type", "application/grpc"}, {"grpc-status", status}, {"grpc-message", message}},
      true);
}

std::string message(const std::string& protobuf) {
  return '\0' + big_endian(protobuf.size(), 4) + protobuf;
}

// DATA frames of at most `piece` bytes, borders wherever they fall.
std::string data_frames(const std::string& bytes, std::size_t piece = 16384) {
  std::string frames;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    frames += frame(data, 0, 1, bytes.substr(at, piece));
  }
  return frames;
}

std::string blob(std::uint64_t remaining, const std::string& bytes) {
  std::string text;
  protozero::pbf_writer writer(text);
  if (remaining != 0) writer.add_uint64(2, remaining);
  if (!bytes.empty()) writer.add_bytes(3, bytes);
  return message(text);
}

// Speaks just enough HTTP/2: waits for the end of one request, answers with these frames.
class GrpcResponder {
 public:
  explicit GrpcResponder(std::string answer, bool close = false)
      : responder_([answer = std::move(answer), close](Peer& peer) {
          peer.receive_bytes(24);  // the client's preface
          peer.send(frame(settings, 0, 0, "") + frame(settings, kAck, 0, ""));
          for (;;) {
            const std::string head = peer.receive_bytes(9);
            if (head.size() < 9) return;
            const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(head[i]); };
            peer.receive_bytes(std::size_t{byte(0)} << 16 | std::size_t{byte(1)} << 8 | byte(2));
            if (byte(3) <= headers && (byte(4) & kEndStream) != 0) break;
          }
          peer.send(answer);
          if (!close) peer.wait_for_close();
        }) {}

  Client client() const { return Client({responder_.url(""), {}}); }

 private:
  Responder responder_;
};

template <class Function>
Error error_of(Function function) {
  try {
    function();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorKind::internal, "nothing was thrown");
}

Error status_error(const std::string& answer) {
  const GrpcResponder responder(answer);
  return error_of([&] { responder.client().status(ten_seconds()); });
}

std::string drain(Client& client, std::size_t piece) {
  const auto stream = client.snapshot(ten_seconds());
  std::string all;
  Bytes buffer(piece);
  while (const std::size_t count = stream->read(buffer, ten_seconds())) {
    all += as_text(ByteView(buffer).first(count));
  }
  CHECK(stream->read(buffer, ten_seconds()) == 0);
  return all;
}

Error snapshot_error(const std::string& answer, bool close = false) {
  const GrpcResponder responder(answer, close);
  Client client = responder.client();
  return error_of([&] { drain(client, 1000); });
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string some_bytes(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * i >> 3);
  return bytes;
}

const std::string kDigest(32, 'd');

TEST_CASE("etcd: status is read from a protobuf, unknown and mistyped fields skipped") {
  std::string text;
  protozero::pbf_writer writer(text);
  {
    protozero::pbf_writer header(writer, 1);
    header.add_uint64(1, 0xd1cfaf999eb97a2a);
    header.add_uint64(2, 7);
    header.add_int64(3, 362);
  }
  writer.add_string(2, "3.6.16");
  writer.add_int64(3, 1000);
  writer.add_uint64(4, 7);
  writer.add_string(5, "not a number");
  writer.add_uint64(7, 99);
  writer.add_string(8, "etcdserver: no leader");
  writer.add_int64(9, 500);
  writer.add_bool(10, true);
  writer.add_int64(12, 2048);
  writer.add_string(99, "new");
  const GrpcResponder responder(kGrpcHead + data_frames(message(text), 3) + trailers("0"));
  const Status status = responder.client().status(ten_seconds());
  CHECK(status.cluster_id == 0xd1cfaf999eb97a2a);
  CHECK(status.member_id == 7);
  CHECK(status.revision == 362);
  CHECK(status.version == "3.6.16");
  CHECK(status.db_size == 1000);
  CHECK(status.leader == 7);
  CHECK(status.raft_applied_index == 99);
  CHECK(status.errors == std::vector<std::string>{"etcdserver: no leader"});
  CHECK(status.db_size_in_use == 500);
  CHECK(status.is_learner);
  CHECK(status.db_size_quota == 2048);
}

TEST_CASE("etcd: alarms, members and keys are read from their protobufs") {
  std::string alarms;
  {
    protozero::pbf_writer writer(alarms);
    for (const int kind : {1, 2, 3}) {
      protozero::pbf_writer alarm(writer, 2);
      alarm.add_uint64(1, 5);
      alarm.add_enum(2, kind);
    }
  }
  const GrpcResponder first(kGrpcHead + data_frames(message(alarms)) + trailers("0"));
  const std::vector<Alarm> found = first.client().alarms(ten_seconds());
  REQUIRE(found.size() == 3);
  CHECK(found[0].member_id == 5);
  CHECK(found[0].kind == Alarm::Kind::no_space);
  CHECK(found[1].kind == Alarm::Kind::corrupt);
  CHECK(found[2].kind == Alarm::Kind::other);

  std::string range;
  {
    protozero::pbf_writer writer(range);
    protozero::pbf_writer entry(writer, 2);
    entry.add_string(1, "k");
    entry.add_int64(3, 12);
    entry.add_string(5, "v");
  }
  const GrpcResponder third(kGrpcHead + data_frames(message(range)) + trailers("0"));
  const std::optional<KeyValue> entry = third.client().get("k", ten_seconds());
  REQUIRE(entry);
  CHECK(entry->value == "v");
  CHECK(entry->mod_revision == 12);
  const GrpcResponder fourth(kGrpcHead + data_frames(message("")) + trailers("0"));
  CHECK_FALSE(fourth.client().get("k", ten_seconds()));
}

TEST_CASE("etcd: a gRPC state becomes an error of its kind, wherever it is sent") {
  CHECK(status_error(trailers_only("14", "no%20leader %zz%")).kind() == ErrorKind::unavailable);
  CHECK(contains(status_error(trailers_only("14", "no%20leader %zz%")).what(),
                 ": status: no leader %zz% (gRPC state 14)"));
  CHECK(status_error(kGrpcHead + trailers("4", "late")).kind() == ErrorKind::unavailable);
  CHECK(status_error(kGrpcHead + data_frames(message("")) + trailers("8", "x")).kind() ==
        ErrorKind::unavailable);
  CHECK(status_error(trailers_only("7", "no")).kind() == ErrorKind::denied);
  CHECK(status_error(trailers_only("16", "no")).kind() == ErrorKind::denied);
  CHECK(status_error(trailers_only("2", "auth: user name is empty")).kind() == ErrorKind::denied);
  CHECK(status_error(trailers_only("2", "something")).kind() == ErrorKind::failed);
  CHECK(status_error(trailers_only("9", "learner")).kind() == ErrorKind::failed);
  const Error unimplemented = status_error(trailers_only("12", "unknown service"));
  CHECK(unimplemented.kind() == ErrorKind::failed);
  CHECK(contains(unimplemented.hint(), "client port"));
}

TEST_CASE("etcd: an answer without a gRPC status is never a success") {
  const std::string end = header_frame(false, {{"other", "x"}}, true);
  CHECK(status_error(kGrpcHead + data_frames(message("")) + end).kind() == ErrorKind::unavailable);
  const std::string whole = data_frames(blob(0, "db") + blob(0, kDigest));
  CHECK(snapshot_error(kGrpcHead + whole + end).kind() == ErrorKind::unavailable);
  CHECK(snapshot_error(kGrpcHead + whole, true).kind() == ErrorKind::unavailable);
}

TEST_CASE("etcd: what is no gRPC is not taken for etcd") {
  const Error error = status_error(header_frame(true, {{"content-type", "text/html"}}, true));
  CHECK(error.kind() == ErrorKind::failed);
  CHECK(contains(error.hint(), "client port"));
}

TEST_CASE("etcd: broken messages are corrupt") {
  const auto kind = [](const std::string& bytes) {
    return status_error(kGrpcHead + data_frames(bytes) + trailers("0")).kind();
  };
  CHECK(kind("\x01" + big_endian(0, 4)) == ErrorKind::corrupt);  // compressed
  CHECK(kind('\0' + big_endian(limits::kGrpcMessage + 1, 4)) == ErrorKind::corrupt);
  CHECK(kind('\0' + big_endian(5, 4) + "abc") == ErrorKind::corrupt);  // cut
  CHECK(kind(std::string(2, 0)) == ErrorKind::corrupt);                // a cut prefix
  CHECK(kind(message("\xff\xff\xff")) == ErrorKind::corrupt);          // no protobuf
  CHECK(kind(message("") + message("")) == ErrorKind::corrupt);        // two
  CHECK(kind("") == ErrorKind::corrupt);
}

TEST_CASE("etcd: a snapshot arrives whole through any borders of frames and buffers") {
  const std::string db = some_bytes(100000);
  const std::string bytes = blob(67232, db.substr(0, 32768)) +
                            blob(34464, db.substr(32768, 32768)) + blob(0, db.substr(65536)) +
                            blob(0, kDigest) + blob(0, "");
  for (const std::size_t piece : {std::size_t{7}, std::size_t{1000}, std::size_t{16384}}) {
    CAPTURE(piece);
    const GrpcResponder responder(kGrpcHead + data_frames(bytes, piece) + trailers("0"));
    Client client = responder.client();
    CHECK(drain(client, piece + 3) == db + kDigest);
  }
}

TEST_CASE("etcd: the size of the db is known after the first read") {
  const GrpcResponder responder(kGrpcHead + data_frames(blob(90, some_bytes(10))));
  Client client = responder.client();
  const auto stream = client.snapshot(ten_seconds());
  CHECK_FALSE(stream->db_size());
  Bytes buffer(4);
  CHECK(stream->read(buffer, ten_seconds()) == 4);
  CHECK(stream->db_size() == 100);
}

TEST_CASE("etcd: a snapshot that is shorter or longer than announced is refused") {
  const auto error = [](const std::string& bytes, const std::string& end = trailers("0")) {
    return snapshot_error(kGrpcHead + data_frames(bytes) + end);
  };
  const Error early = error(blob(90, some_bytes(10)));
  CHECK(early.kind() == ErrorKind::unavailable);
  CHECK(contains(early.what(), "ended early: 10 bytes came, 100 and a digest"));
  CHECK(error(blob(0, some_bytes(10))).kind() == ErrorKind::unavailable);  // no digest
  CHECK(error("").kind() == ErrorKind::unavailable);
  CHECK(error(blob(0, "db") + blob(0, kDigest) + blob(0, "more")).kind() == ErrorKind::corrupt);
  CHECK(error(blob(~0ULL, "db")).kind() == ErrorKind::corrupt);
  const Error late = error(blob(90, some_bytes(10)), trailers("4", "context deadline exceeded"));
  CHECK(late.kind() == ErrorKind::unavailable);
  CHECK(contains(late.what(), "context deadline exceeded"));
}

TEST_CASE("etcd: a member that sends empty pieces for ever is given up") {
  std::string bytes = blob(90, some_bytes(10));
  for (int i = 0; i < 100; ++i) bytes += blob(90, "");
  const Error error = snapshot_error(kGrpcHead + data_frames(bytes));
  CHECK(error.kind() == ErrorKind::unavailable);
  CHECK(contains(error.what(), "empty pieces with 90 bytes to come"));
}

TEST_CASE("etcd: a stream that is cut or reset is unavailable and says where") {
  const std::string some = kGrpcHead + data_frames(blob(90, some_bytes(10)));
  for (const Error& error :
       {snapshot_error(some, true), snapshot_error(some + frame(reset, 0, 1, big_endian(2, 4)))}) {
    CHECK(error.kind() == ErrorKind::unavailable);
    CHECK(error.transport().transient);
    CHECK(std::string(error.what()).starts_with("etcd: http://127.0.0.1:"));
    CHECK(contains(error.what(), ": snapshot: "));
  }
}

TEST_CASE("etcd: a stalled snapshot ends with the call and says where") {
  const GrpcResponder responder(kGrpcHead + data_frames(blob(90, some_bytes(10))));
  Client client = responder.client();
  const Call call = Call(system_clock).within(std::chrono::milliseconds(200));
  const auto stream = client.snapshot(call);
  Bytes buffer(100);
  CHECK(stream->read(buffer, call) == 10);
  const Error error = error_of([&] { stream->read(buffer, call); });
  CHECK(error.kind() == ErrorKind::unavailable);
  CHECK(contains(error.what(), ": snapshot: no answer within the time allowed"));
}

TEST_CASE("etcd: a wrong scheme is hinted at in both directions") {
  Responder plain([](Peer& peer) { peer.send("HTTP/1.1 400 Bad Request\r\n\r\n"); });
  Client with_tls({"https://127.0.0.1:" + std::to_string(plain.port()), {}});
  CHECK(contains(error_of([&] { with_tls.status(ten_seconds()); }).hint(), "http://"));
  Responder alert([](Peer& peer) {
    peer.receive_bytes(24);
    peer.send(std::string("\x15\x03\x01\0\x02\x02\x50", 7));  // what a TLS server answers
  });
  Client without({alert.url(""), {}});
  const Error error = error_of([&] { without.status(ten_seconds()); });
  CHECK(error.kind() == ErrorKind::unavailable);
  CHECK(contains(error.hint(), "https://"));
}

TEST_CASE("etcd: endpoint lists are read as etcdctl reads them") {
  using List = std::vector<std::string>;
  CHECK(parse_endpoints("a:2379, https://b:2379 ,[::1]:2379,", true) ==
        List{"https://a:2379", "https://b:2379", "https://[::1]:2379"});
  CHECK(parse_endpoints("a:2379", false) == List{"http://a:2379"});
  for (const char* list : {"", " , ", "unix:///x.sock", "unixs://x:1", "ftp://a", "a b:1", "a:0"}) {
    CAPTURE(list);
    CHECK(error_of([&] { parse_endpoints(list, true); }).kind() == ErrorKind::usage);
  }
}

}  // namespace
}  // namespace kubedr::etcd
