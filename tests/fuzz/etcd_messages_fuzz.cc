#include <protozero/exception.hpp>

#include "etcd/messages.h"
#include "fuzz/replay.h"

using namespace kubedr;

namespace {

// The contract of these parsers: protozero's own exception, which the client makes corrupt.
template <class Parse>
void expect_message(const Parse& parse) {
  try {
    parse();
  } catch (const protozero::exception&) {
    return;
  }
}

}  // namespace

std::vector<std::string> fuzz::seeds() {
  return {std::string("\x0a\x04\x08\x01\x10\x02\x12\x05"
                      "3.6.0\x18\x80\x20",
                      16),
          std::string("\x10\x80\xa0\xe7\x0b\x1a\x04page", 11)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes(data, size);
  expect_message([&] { etcd::parse_status(bytes); });
  expect_message([&] { etcd::parse_alarms(bytes); });
  expect_message([&] { etcd::parse_first_key(bytes); });
  expect_message([&] { etcd::parse_snapshot(bytes); });
  return 0;
}
