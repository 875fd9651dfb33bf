#ifndef KUBEDR_BASE_ID_H
#define KUBEDR_BASE_ID_H

#include <array>
#include <compare>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/hex.h"

namespace kubedr {

using Digest = std::array<std::uint8_t, 32>;  // SHA-256

// A SHA-256 that names a thing. The tag keeps a pack's id out of a look-up for blobs.
template <class Tag>
class Id {
 public:
  Id() = default;

  explicit Id(const Digest& digest) : digest_(digest) {}

  // 64 lower-case hex digits; nullopt for anything else.
  static std::optional<Id> parse(std::string_view text) {
    if (text.size() != 64) return std::nullopt;
    const std::optional<Bytes> bytes = from_hex(text);
    if (!bytes) return std::nullopt;
    Id id;
    std::memcpy(id.digest_.data(), bytes->data(), id.digest_.size());
    return id;
  }

  const Digest& digest() const { return digest_; }

  std::string hex() const { return to_hex(digest_); }

  std::string short_hex() const { return hex().substr(0, 8); }

  friend auto operator<=>(const Id&, const Id&) = default;

 private:
  Digest digest_{};
};

}  // namespace kubedr

template <class Tag>
struct std::hash<kubedr::Id<Tag>> {
  std::size_t operator()(const kubedr::Id<Tag>& id) const noexcept {
    std::size_t value = 0;
    std::memcpy(&value, id.digest().data(), sizeof value);
    return value;
  }
};

#endif  // KUBEDR_BASE_ID_H
