#include "repo/seal.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/hex.h"

using namespace kubedr;
using namespace kubedr::repo;

namespace {

// Gives the bytes it was made of.
class FixedRandom final : public Random {
 public:
  explicit FixedRandom(Bytes bytes) : bytes_(std::move(bytes)) {}

  void fill(std::span<std::uint8_t> to) override {
    REQUIRE(bytes_.size() >= to.size());
    std::copy_n(bytes_.begin(), to.size(), to.begin());
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(to.size()));
  }

 private:
  Bytes bytes_;
};

Bytes hex(std::string_view text) {
  return from_hex(text).value();
}

SealKey key_of(std::string_view encrypt, std::string_view k, std::string_view r) {
  SealKey key;
  std::ranges::copy(hex(encrypt), key.encrypt.begin());
  std::ranges::copy(hex(k), key.mac_k.begin());
  std::ranges::copy(hex(r), key.mac_r.begin());
  return key;
}

SealKey counting_key() {
  return key_of("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                "202122232425262728292a2b2c2d2e2f", "303132333435363738393a3b3c3d3e3f");
}

constexpr std::string_view kIv = "404142434445464748494a4b4c4d4e4f";

}  // namespace

TEST_CASE("seal: restic's own test vector opens") {
  SystemRandom random;
  Sealer sealer(key_of("303e8687b1d7db18421bdc6bb8588ccadac4d59ee87b8ff70c44e635790cafef",
                       "ef4d8824cb80b2bcc5fbff8a9b12a42c", "cc8d4b948ee0ebfe1d415de921d10353"),
                random);
  Bytes plain;
  sealer.open(hex("69fb41c62d12def4593bd71757138606338f621aeaeb39da0fe4f99233f8037a54ea63338a813b"
                  "cf3f75d8c3cc75dddf8750"),
              plain);
  CHECK(as_text(plain) == "Dies ist ein Test!");
}

TEST_CASE("seal: known keys and IV give known bytes") {
  FixedRandom random(hex(std::string(kIv) + std::string(kIv)));
  Sealer sealer(counting_key(), random);
  Bytes out;
  sealer.seal({}, out);
  CHECK(to_hex(out) == std::string(kIv) + "859469c07743c7e45b318d151d3d87e9");
  out.clear();
  sealer.seal(as_bytes("hello restic"), out);
  CHECK(to_hex(out) ==
        std::string(kIv) + "cb1bb353f87ac88ae00f0ba4" + "818f299f0076bb28b1499f7278ed527b");
}

TEST_CASE("seal: appends behind what is there, with a new IV each time") {
  SystemRandom random;
  Sealer sealer(counting_key(), random);
  Bytes out = hex("abcd");
  sealer.seal(as_bytes("one"), out);
  sealer.seal(as_bytes("one"), out);
  REQUIRE(out.size() == 2 + 2 * (3 + kSealOverhead));
  const ByteView first = ByteView(out).subspan(2, 3 + kSealOverhead);
  const ByteView second = ByteView(out).subspan(2 + 3 + kSealOverhead);
  CHECK(to_hex(out).substr(0, 4) == "abcd");
  CHECK(to_hex(first) != to_hex(second));
  Bytes plain;
  sealer.open(first, plain);
  CHECK(as_text(plain) == "one");
  sealer.open(second, plain);
  CHECK(as_text(plain) == "one");
}

TEST_CASE("seal: the counter carries through all 16 bytes of the IV") {
  FixedRandom random(hex("ffffffffffffffffffffffffffffffff"));
  Sealer sealer(counting_key(), random);
  const Bytes zeros(48);
  Bytes wrapped;
  sealer.seal(zeros, wrapped);
  // The second block's counter has wrapped to 0: AES-256 of zeros under 00..1f.
  CHECK(to_hex(ByteView(wrapped).subspan(32, 16)) == "f29000b62a499fd0a9f39a6add2e7780");
}

TEST_CASE("seal: each flipped bit is reported as corrupt") {
  SystemRandom random;
  Sealer sealer(counting_key(), random);
  Bytes sealed;
  sealer.seal(as_bytes("a blob of some bytes, longer than one block"), sealed);
  Bytes plain = hex("aa");
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    Bytes damaged = sealed;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    CHECK_THROWS_WITH_AS(sealer.open(damaged, plain), "ciphertext verification failed", Error);
    CHECK_FALSE(sealer.try_open(damaged, plain));
  }
  CHECK(to_hex(plain) == "aa");
}

TEST_CASE("seal: cut, lengthened and empty bytes are corrupt") {
  SystemRandom random;
  Sealer sealer(counting_key(), random);
  Bytes sealed;
  sealer.seal(as_bytes("some bytes"), sealed);
  Bytes plain;
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    CHECK_FALSE(sealer.try_open(ByteView(sealed).first(size), plain));
  }
  sealed.push_back(0);
  CHECK_FALSE(sealer.try_open(sealed, plain));
}

TEST_CASE("seal: what opens to some bytes opens to no others") {
  SystemRandom random;
  Sealer sealer(counting_key(), random);
  for (const std::size_t size : {0U, 1U, 16U * 1024, 16U * 1024 + 1, 100'000U}) {
    CAPTURE(size);
    Bytes plain(size);
    random.fill(plain);
    Bytes sealed;
    sealer.seal(plain, sealed);
    CHECK(sealer.opens_to(sealed, plain));
    CHECK_FALSE(sealer.opens_to(ByteView(sealed).first(sealed.size() - 1), plain));
    for (const std::size_t at : {std::size_t{0}, size / 2, size - 1}) {
      if (size == 0) continue;
      Bytes other = plain;
      other[at] ^= 1U;
      CHECK_FALSE(sealer.opens_to(sealed, other));
    }
    plain.push_back(0);
    CHECK_FALSE(sealer.opens_to(sealed, plain));
    sealed[kIvSize + size / 2] ^= 1U;
    plain.pop_back();
    CHECK_FALSE(sealer.opens_to(sealed, plain));
  }
}

TEST_CASE("seal: an IV of zeros is corrupt when read, and never written") {
  FixedRandom random(Bytes(16));
  Sealer sealer(counting_key(), random);
  Bytes out;
  CHECK_THROWS_AS(sealer.seal(as_bytes("x"), out), Error);
  // A right MAC for the IV of zeros and no bytes: AES-128 of zeros under k.
  Bytes plain;
  CHECK_FALSE(sealer.try_open(hex("00000000000000000000000000000000"
                                  "ae3a71384013479e5a259218e4df8cbf"),
                              plain));
}

TEST_CASE("seal: another key opens nothing") {
  SystemRandom random;
  Sealer sealer(counting_key(), random);
  SealKey other = counting_key();
  other.mac_k[3] ^= 1;
  Bytes sealed;
  Bytes plain;
  sealer.seal(as_bytes("some bytes"), sealed);
  CHECK_FALSE(Sealer(other, random).try_open(sealed, plain));
}
