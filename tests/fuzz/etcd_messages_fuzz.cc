#include "etcd/messages.h"
#include "fuzz/replay.h"

using namespace kubedr;

std::vector<std::string> fuzz::seeds() {
  return {std::string("\x0a\x04\x08\x01\x10\x02\x12\x05"
                      "3.6.0\x18\x80\x20",
                      16),
          std::string("\x10\x80\xa0\xe7\x0b\x1a\x04page", 11)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  return fuzz::expect_refusal_at_most([&] {
    const ByteView bytes = as_bytes(text);
    fuzz::expect_refusal_at_most([&] { etcd::parse_status(bytes); });
    fuzz::expect_refusal_at_most([&] { etcd::parse_alarms(bytes); });
    fuzz::expect_refusal_at_most([&] { etcd::parse_members(bytes); });
    fuzz::expect_refusal_at_most([&] { etcd::parse_first_key(bytes); });
    etcd::parse_snapshot(bytes);
  });
}
