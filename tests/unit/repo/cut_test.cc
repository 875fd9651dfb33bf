#include "repo/cut.h"

#include <doctest/doctest.h>
#include <openssl/evp.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/hex.h"
#include "base/sha256.h"

using namespace kubedr;
using namespace kubedr::repo;

namespace {

constexpr std::uint64_t kPolynomial = 0x3DA3358B4DC173;
constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kMin = 512 * 1024;

using Sizes = std::vector<std::size_t>;

// AES-256-CTR over zeros, key and IV of zeros: anybody can make the same bytes.
Bytes key_stream(std::size_t size) {
  const Bytes zeros(size);
  const Bytes key(32);
  Bytes bytes(size);
  int written = 0;
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  EVP_EncryptInit_ex(context, EVP_aes_256_ctr(), nullptr, key.data(), key.data());
  EVP_EncryptUpdate(context, bytes.data(), &written, zeros.data(), static_cast<int>(size));
  EVP_CIPHER_CTX_free(context);
  return bytes;
}

// The sizes of all chunks, the rest at the end of the stream included, when it comes in pieces of
// `piece` bytes.
Sizes chunk_sizes(const Cut& cut, ByteView bytes, std::size_t piece) {
  Cutter cutter(cut);
  Sizes ends;
  Sizes all;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    ends.clear();
    cutter.feed(bytes.subspan(at, std::min(piece, bytes.size() - at)), ends);
    for (const std::size_t end : ends) all.push_back(at + end);
  }
  if (!bytes.empty() && (all.empty() || all.back() != bytes.size())) all.push_back(bytes.size());
  for (std::size_t i = all.size(); i > 1; --i) all[i - 1] -= all[i - 2];
  return all;
}

// The rule as the format's text has it, byte by byte with a window of its own.
Sizes slow_chunk_sizes(ByteView bytes) {
  const auto times_x8_plus = [](std::uint64_t hash, std::uint64_t byte) {
    for (int bit = 0; bit < 8; ++bit) {
      hash <<= 1;
      if ((hash >> 53 & 1) != 0) hash ^= kPolynomial;
    }
    return hash ^ byte;
  };
  Sizes sizes;
  std::size_t start = 0;
  for (std::size_t end = 1; end <= bytes.size(); ++end) {
    const std::size_t size = end - start;
    if (size < kMin && end != bytes.size()) continue;
    std::uint64_t hash = 0;
    const std::size_t window = std::min<std::size_t>(64, size);
    for (const std::uint8_t byte : bytes.subspan(end - window, window)) {
      hash = times_x8_plus(hash, byte);
    }
    const bool border = size >= kMin && (hash & 0xFFFFF) == 0;
    if (!border && size != 8 * kMiB && end != bytes.size()) continue;
    sizes.push_back(size);
    start = end;
  }
  return sizes;
}

}  // namespace

TEST_CASE("cut: restic's borders in a stream of noise, whatever pieces it comes in") {
  const Bytes bytes = key_stream(32 * kMiB);
  REQUIRE(to_hex(sha256(bytes)) ==
          "580881df129d7ef36820a14231d4dab34d306a37ef48c49463da3b05282de687");
  const Sizes expected{551133, 640712,  2766582, 898583,  2782732, 2263350,
                       531615, 1191198, 3039727, 3056265, 6102139, 872917,
                       919848, 1608882, 1844092, 1605195, 2879462};
  const Cut cut = Cut::rabin(kPolynomial);
  for (const std::size_t piece : {bytes.size(), std::size_t{65537}}) {
    CAPTURE(piece);
    CHECK(chunk_sizes(cut, bytes, piece) == expected);
  }
  const ByteView all = bytes;
  CHECK(to_hex(sha256(all.first(551133))) ==
        "3ce030d97b29f48d1976586188dbcda336f6a3cbefa0688044e6cb9e1dbd5b58");
  CHECK(to_hex(sha256(all.subspan(551133, 640712))) ==
        "074630d6b7216556abae8019136cd4d88c03cf7f6d797bc908be639477953365");
}

TEST_CASE("cut: the quick way and the written rule agree, also with runs of zeros in noise") {
  Bytes bytes = key_stream(1650000);
  std::fill_n(bytes.begin() + 540000, 65, std::uint8_t{0});
  std::fill_n(bytes.begin() + 1080000, 64, std::uint8_t{0});
  std::fill_n(bytes.begin() + 1610000, 63, std::uint8_t{0});
  const Sizes expected = slow_chunk_sizes(bytes);
  REQUIRE(expected == Sizes{540064, 540000, 569936});
  for (const std::size_t piece : {bytes.size(), kMiB + 1, std::size_t{70000}, std::size_t{127},
                                  std::size_t{64}, std::size_t{63}, std::size_t{5}}) {
    CAPTURE(piece);
    CHECK(chunk_sizes(Cut::rabin(kPolynomial), bytes, piece) == expected);
  }
}

TEST_CASE("cut: zeros are cut at the smallest chunk, other runs at the largest") {
  const Cut cut = Cut::rabin(kPolynomial);
  CHECK(chunk_sizes(cut, Bytes(4 * kMin), kMiB) == Sizes{kMin, kMin, kMin, kMin});
  CHECK(chunk_sizes(cut, Bytes(kMin + 1), kMiB) == Sizes{kMin, 1});
  CHECK(chunk_sizes(cut, Bytes(20000000, 1), 65536) == Sizes{8388608, 8388608, 3222784});
  CHECK(to_hex(sha256(Bytes(kMin))) ==
        "07854d2fef297a06ba81685e660c332de36d5d18d546927d30daad6d7fda1541");
}

TEST_CASE("cut: short and empty streams have no border") {
  const Cut cut = Cut::rabin(kPolynomial);
  CHECK(chunk_sizes(cut, {}, 1).empty());
  CHECK(chunk_sizes(cut, Bytes(1), 1) == Sizes{1});
  CHECK(chunk_sizes(cut, Bytes(kMin - 1), 1000) == Sizes{kMin - 1});
}

TEST_CASE("cut: another polynomial cuts elsewhere") {
  const Bytes bytes = key_stream(8 * kMiB);
  CHECK(chunk_sizes(Cut::rabin(kPolynomial), bytes, kMiB) !=
        chunk_sizes(Cut::rabin(0x222d103d4a5867), bytes, kMiB));
}

TEST_CASE("cut: fixed chunks end at multiples, whatever pieces the stream comes in") {
  const Bytes bytes(10 * 16384 + 5);
  Sizes expected(10, 16384);
  expected.push_back(5);
  const Cut cut = Cut::fixed(16384);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{16383}, std::size_t{16384},
                                  std::size_t{16385}, std::size_t{100000}, bytes.size()}) {
    CAPTURE(piece);
    CHECK(chunk_sizes(cut, bytes, piece) == expected);
  }
  CHECK(chunk_sizes(cut, ByteView(bytes).first(32768), 1000) == Sizes{16384, 16384});
}

TEST_CASE("cut: says which it is, and refuses what cannot cut") {
  CHECK(Cut::fixed(4096).is_fixed());
  CHECK_FALSE(Cut::rabin(kPolynomial).is_fixed());
  CHECK(Cut::rabin(kPolynomial).polynomial() == kPolynomial);
  CHECK_THROWS_AS(Cut::fixed(0), Error);
  CHECK_THROWS_AS(Cut::fixed(kLargestChunk + 1), Error);
  CHECK_THROWS_AS(Cut::rabin(0), Error);
  CHECK_THROWS_AS(Cut::rabin(UINT64_MAX), Error);
}
