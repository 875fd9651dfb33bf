#ifndef KUBEDR_BASE_RANDOM_H
#define KUBEDR_BASE_RANDOM_H

#include <cstdint>
#include <span>

namespace kubedr {

// Where randomness comes from. Implementations are synchronised.
class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<std::uint8_t> bytes) = 0;

  std::uint64_t next();
};

// OpenSSL's generator, seeded by the kernel.
class SystemRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> bytes) override;
};

}  // namespace kubedr

#endif  // KUBEDR_BASE_RANDOM_H
