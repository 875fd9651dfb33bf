#ifndef KUBEDR_TEST_UNIT_STORAGE_STORES_H
#define KUBEDR_TEST_UNIT_STORAGE_STORES_H

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/random.h"
#include "base/sha256.h"
#include "storage/store.h"

namespace kubedr::storage {

// Time that passes only by being waited for.
class StillClock final : public Clock {
 public:
  WallTime now() const override { return WallTime(steady_.time_since_epoch()); }

  SteadyTime steady() const override { return steady_; }

  void wait_until(SteadyTime until, const std::stop_token& stop) const override {
    if (!stop.stop_requested() && until > steady_) steady_ = until;
  }

  std::chrono::milliseconds waited() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(steady_ - SteadyTime());
  }

 private:
  mutable SteadyTime steady_;
};

// The same bytes again and again.
class FixedRandom final : public Random {
 public:
  explicit FixedRandom(std::uint8_t byte) : byte_(byte) {}

  void fill(std::span<std::uint8_t> bytes) override {
    for (std::uint8_t& byte : bytes) byte = byte_;
  }

 private:
  const std::uint8_t byte_;
};

inline FileName name_of(FileKind kind, std::string_view content) {
  if (kind == FileKind::config) return {kind, ""};
  return {kind, to_hex(sha256(as_bytes(content)))};
}

inline void save_text(Store& store, const FileName& name, std::string_view text, SaveMode mode,
                      const Call& call) {
  store.save(name, as_bytes(text), sha256(as_bytes(text)), mode, call);
}

inline std::string load_text(const StoreReader& store, const FileName& name, const Call& call) {
  return std::string(as_text(store.load(name, 1 << 20, call)));
}

}  // namespace kubedr::storage

#endif  // KUBEDR_TEST_UNIT_STORAGE_STORES_H
