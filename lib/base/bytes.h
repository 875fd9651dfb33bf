#ifndef KUBEDR_BASE_BYTES_H
#define KUBEDR_BASE_BYTES_H

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace kubedr {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline void append(Bytes& to, ByteView more) {
  to.insert(to.end(), more.begin(), more.end());
}

}  // namespace kubedr

#endif  // KUBEDR_BASE_BYTES_H
