#ifndef KUBEDR_REPO_SEAL_H
#define KUBEDR_REPO_SEAL_H

#include <array>
#include <cstddef>
#include <memory>

#include "base/bytes.h"
#include "base/random.h"

namespace kubedr::repo {

inline constexpr std::size_t kIvSize = 16;
inline constexpr std::size_t kMacSize = 16;
inline constexpr std::size_t kSealOverhead = kIvSize + kMacSize;

// The three keys that seal everything; wiped when it goes.
struct SealKey {
  std::array<std::uint8_t, 32> encrypt{};  // AES-256
  std::array<std::uint8_t, 16> mac_k{};    // AES-128, makes Poly1305's s from the IV
  std::array<std::uint8_t, 16> mac_r{};    // Poly1305's r, masked or not

  SealKey() = default;
  SealKey(const SealKey&) = default;
  SealKey& operator=(const SealKey&) = default;
  ~SealKey();
};

// Seals and opens bytes.
//
// shape    IV[16] | AES-256-CTR ciphertext | Poly1305-AES of the ciphertext [16]
// errors   corrupt: `ciphertext verification failed`, fewer than 32 bytes, an IV of zeros
// threads  one thread; make another from the same key
// source   restic internal/repository/crypto
class Sealer {
 public:
  // `random` gives the IVs and must outlive this.
  Sealer(const SealKey& key, Random& random);
  ~Sealer();
  Sealer(Sealer&&) noexcept;

  // Appends the sealed form of `plain` to `out`; `plain` must not lie in `out`.
  void seal(ByteView plain, Bytes& out);

  // The MAC is verified before a byte is decrypted; replaces what is in `plain`.
  void open(ByteView sealed, Bytes& plain);

  // The same, but false where `open` calls the bytes corrupt: for a key that may be another's.
  bool try_open(ByteView sealed, Bytes& plain);

  // Whether `open` would give just `plain`, without memory for it.
  bool opens_to(ByteView sealed, ByteView plain);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_SEAL_H
