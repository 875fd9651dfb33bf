#include "fuzz/replay.h"
#include "s3/address.h"

using namespace kubedr;

std::vector<std::string> fuzz::seeds() {
  return {"s3:http://127.0.0.1:9000/bucket/a//b/../c", "s3://host/bucket", "s3:[::1]:9000/b"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  return fuzz::expect_refusal_at_most([&] { s3::parse_address(text); });
}
