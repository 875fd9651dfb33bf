#include "repo/seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <climits>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/secret.h"

namespace kubedr::repo {
namespace {

using Block = std::array<std::uint8_t, 16>;

struct FreeCipher {
  void operator()(EVP_CIPHER_CTX* context) const noexcept { EVP_CIPHER_CTX_free(context); }
};

struct FreeMac {
  void operator()(EVP_MAC_CTX* context) const noexcept { EVP_MAC_CTX_free(context); }
};

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeCipher>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, FreeMac>;

// Fetching an algorithm by name takes a lock and a search; once a process is enough. OpenSSL's
// fetched methods are immutable and shared between threads.
const EVP_CIPHER* ctr_method() {
  static const EVP_CIPHER* const method = EVP_CIPHER_fetch(nullptr, "AES-256-CTR", nullptr);
  return method;
}

const EVP_CIPHER* ecb_method() {
  static const EVP_CIPHER* const method = EVP_CIPHER_fetch(nullptr, "AES-128-ECB", nullptr);
  return method;
}

EVP_MAC* poly1305_method() {
  static EVP_MAC* const method = EVP_MAC_fetch(nullptr, "POLY1305", nullptr);
  return method;
}

void require(bool good, const char* what) {
  if (!good) throw Error(ErrorKind::internal, std::string("seal: ") + what + " failed");
}

bool is_zero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

// OpenSSL counts in int.
int int_size(ByteView bytes) {
  require(bytes.size() <= INT_MAX, "too many bytes at once, this");
  return static_cast<int>(bytes.size());
}

}  // namespace

SealKey::~SealKey() {
  wipe(encrypt.data(), encrypt.size());
  wipe(mac_k.data(), mac_k.size());
  wipe(mac_r.data(), mac_r.size());
}

struct Sealer::Impl {
  Impl(const SealKey& key, Random& source)
      : random(source),
        ctr(EVP_CIPHER_CTX_new()),
        ecb(EVP_CIPHER_CTX_new()),
        mac(poly1305_method() != nullptr ? EVP_MAC_CTX_new(poly1305_method()) : nullptr) {
    require(ctr && ecb && mac, "making contexts");
    // Key schedules are computed here, once; each message only sets its IV.
    require(EVP_EncryptInit_ex2(ctr.get(), ctr_method(), key.encrypt.data(), nullptr, nullptr) == 1,
            "AES-256-CTR");
    require(EVP_EncryptInit_ex2(ecb.get(), ecb_method(), key.mac_k.data(), nullptr, nullptr) == 1 &&
                EVP_CIPHER_CTX_set_padding(ecb.get(), 0) == 1,
            "AES-128-ECB");
    std::copy(key.mac_r.begin(), key.mac_r.end(), mac_key.begin());
  }

  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  ~Impl() { wipe(mac_key.data(), mac_key.size()); }

  Block authenticate(ByteView iv, ByteView cipher) {
    int written = 0;
    std::uint8_t* s = mac_key.data() + kMacSize;
    require(EVP_EncryptUpdate(ecb.get(), s, &written, iv.data(), static_cast<int>(kIvSize)) == 1,
            "AES-128-ECB");
    Block tag{};
    std::size_t size = 0;
    require(EVP_MAC_init(mac.get(), mac_key.data(), mac_key.size(), nullptr) == 1 &&
                EVP_MAC_update(mac.get(), cipher.data(), cipher.size()) == 1 &&
                EVP_MAC_final(mac.get(), tag.data(), &size, tag.size()) == 1 && size == tag.size(),
            "Poly1305");
    return tag;
  }

  // What `sealed` holds, still encrypted; nullopt when it is not authentic.
  std::optional<ByteView> authentic(ByteView sealed) {
    if (sealed.size() < kSealOverhead) return std::nullopt;
    const ByteView iv = sealed.first(kIvSize);
    const ByteView cipher = sealed.subspan(kIvSize, sealed.size() - kSealOverhead);
    if (is_zero(iv)) return std::nullopt;
    const Block tag = authenticate(iv, cipher);
    if (CRYPTO_memcmp(tag.data(), sealed.last(kMacSize).data(), tag.size()) != 0) {
      return std::nullopt;
    }
    return cipher;
  }

  // Counter mode: the same in both directions.
  void begin_crypt(const std::uint8_t* iv) {
    require(EVP_EncryptInit_ex2(ctr.get(), nullptr, nullptr, iv, nullptr) == 1, "AES-256-CTR");
  }

  void crypt(ByteView from, std::uint8_t* to) {
    if (from.empty()) return;
    int written = 0;
    require(EVP_EncryptUpdate(ctr.get(), to, &written, from.data(), int_size(from)) == 1,
            "AES-256-CTR");
  }

  Random& random;
  CipherContext ctr;
  CipherContext ecb;
  MacContext mac;
  std::array<std::uint8_t, 32> mac_key{};  // r | s; s is new for each IV
};

Sealer::Sealer(const SealKey& key, Random& random) : impl_(std::make_unique<Impl>(key, random)) {}

Sealer::~Sealer() = default;
Sealer::Sealer(Sealer&&) noexcept = default;

void Sealer::seal(ByteView plain, Bytes& out) {
  const std::size_t start = out.size();
  out.resize(start + kSealOverhead + plain.size());
  const std::span<std::uint8_t> sealed = std::span(out).subspan(start);
  const std::span<std::uint8_t> iv = sealed.first(kIvSize);
  const std::span<std::uint8_t> cipher = sealed.subspan(kIvSize, plain.size());
  impl_->random.fill(iv);
  require(!is_zero(iv), "an IV of zeros: the random generator");
  impl_->begin_crypt(iv.data());
  impl_->crypt(plain, cipher.data());
  const Block tag = impl_->authenticate(iv, cipher);
  std::copy(tag.begin(), tag.end(), sealed.last(kMacSize).begin());
}

void Sealer::open(ByteView sealed, Bytes& plain) {
  if (!try_open(sealed, plain)) {
    throw Error(ErrorKind::corrupt, "ciphertext verification failed");
  }
}

bool Sealer::try_open(ByteView sealed, Bytes& plain) {
  const std::optional<ByteView> cipher = impl_->authentic(sealed);
  if (!cipher) return false;
  plain.resize(cipher->size());
  impl_->begin_crypt(sealed.data());
  impl_->crypt(*cipher, plain.data());
  return true;
}

bool Sealer::opens_to(ByteView sealed, ByteView plain) {
  std::optional<ByteView> cipher = impl_->authentic(sealed);
  if (!cipher || cipher->size() != plain.size()) return false;
  std::array<std::uint8_t, 16 * 1024> piece;
  impl_->begin_crypt(sealed.data());
  while (!plain.empty()) {
    const std::size_t n = std::min(plain.size(), piece.size());
    impl_->crypt(cipher->first(n), piece.data());
    if (!std::equal(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(n), plain.begin())) {
      return false;
    }
    cipher = cipher->subspan(n);
    plain = plain.subspan(n);
  }
  return true;
}

}  // namespace kubedr::repo
