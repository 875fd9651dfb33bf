#include "repo/pack.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>

#include "base/error.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/sha256.h"

using namespace kubedr;
using namespace kubedr::repo;

namespace {

Bytes hex(std::string_view text) {
  return from_hex(text).value();
}

SealKey counting_key() {
  SealKey key;
  for (std::uint8_t i = 0; i < 32; ++i) key.encrypt[i] = i;
  for (std::uint8_t i = 0; i < 16; ++i) {
    key.mac_k[i] = static_cast<std::uint8_t>(0x20 + i);
    key.mac_r[i] = static_cast<std::uint8_t>(0x30 + i);
  }
  return key;
}

// One blob, "abc".
constexpr std::string_view kBlob =
    "404142434445464748494a4b4c4d4e4fc21cbcf72835f948d0e28f9f301b33d3ae8779";
constexpr std::string_view kHeader =
    "505152535455565758595a5b5c5d5e5f97684127385f77537876daeaab7e660bf6c05f6dfdd7e7e9b9ec29ab10b63e"
    "b1800a57618cd24ed741fbe8f6f594b0be40ce86e9e045000000";

// Gives 50, 51 .. 5f.
class CountingRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> bytes) override {
    std::uint8_t next = 0x50;
    for (std::uint8_t& byte : bytes) byte = next++;
  }
};

PackEntry entry(BlobType type, std::uint32_t offset, std::uint32_t length, std::uint32_t plain,
                const char* content) {
  return {{type, BlobId(sha256(as_bytes(content)))}, offset, length, plain};
}

std::vector<PackEntry> all_kinds() {
  return {entry(BlobType::data, 0, 35, 0, "a"), entry(BlobType::tree, 35, 100, 0, "b"),
          entry(BlobType::data, 135, 50, 1000, "c"), entry(BlobType::tree, 185, 32, 1, "d")};
}

constexpr std::uint64_t kBlobBytes = 35 + 100 + 50 + 32;

// A header with these plain bytes, and its length.
Bytes sealed_header(ByteView plain, Sealer& sealer) {
  Bytes header;
  sealer.seal(plain, header);
  const std::size_t size = header.size();
  for (int shift = 0; shift < 32; shift += 8) {
    header.push_back(static_cast<std::uint8_t>(size >> shift));
  }
  return header;
}

struct Fixture {
  SystemRandom random;
  Sealer sealer{counting_key(), random};

  // What is said about a pack with this tail, or empty.
  std::string complaint(ByteView tail, std::uint64_t pack_bytes) {
    try {
      parse_pack_header(tail, pack_bytes, sealer, "data/ab");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::corrupt);
      return error.what();
    }
    return "";
  }

  std::string complaint_about_header(const Bytes& plain, std::uint64_t blob_bytes) {
    const Bytes tail = sealed_header(plain, sealer);
    return complaint(tail, blob_bytes + tail.size());
  }
};

}  // namespace

TEST_CASE("pack: the smallest one, byte for byte") {
  CountingRandom random;
  Sealer sealer(counting_key(), random);
  const std::vector<PackEntry> entries{entry(BlobType::data, 0, 35, 0, "abc")};
  const Bytes header = make_pack_header(entries, sealer);
  CHECK(to_hex(header) == kHeader);
  Bytes pack = hex(kBlob);
  append(pack, header);
  CHECK(pack.size() == 108);
  CHECK(pack_size(entries) == 108);
  CHECK(to_hex(sha256(pack)) == "a5ddec8ed066d19ef699484d67870205ff936803991ae8ada930f0f4866b98cf");
  CHECK(parse_pack_header(pack, pack.size(), sealer, "data/a5") == entries);
}

TEST_CASE_FIXTURE(Fixture, "pack: all four kinds of entries come back with their offsets") {
  const Bytes header = make_pack_header(all_kinds(), sealer);
  CHECK(header.size() == 36 + 2 * kPlainEntrySize + 2 * kCompressedEntrySize);
  CHECK(pack_size(all_kinds()) == kBlobBytes + header.size());
  CHECK(parse_pack_header(header, kBlobBytes + header.size(), sealer, "data/ab") == all_kinds());
}

TEST_CASE_FIXTURE(Fixture, "pack header: each flipped bit is reported as corrupt") {
  const Bytes header = make_pack_header(all_kinds(), sealer);
  for (std::size_t bit = 0; bit < header.size() * 8; ++bit) {
    Bytes damaged = header;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    CHECK_FALSE(complaint(damaged, kBlobBytes + damaged.size()).empty());
  }
}

TEST_CASE_FIXTURE(Fixture, "pack header: a file of another size than its blobs make is corrupt") {
  const Bytes header = make_pack_header(all_kinds(), sealer);
  const std::uint64_t size = kBlobBytes + header.size();
  CHECK(complaint(header, size).empty());
  CHECK(complaint(header, size + 1) == "data/ab: unexpected file size: got 410, expected 409");
  CHECK_FALSE(complaint(header, size - 1).empty());
  CHECK_FALSE(complaint(header, UINT64_MAX).empty());
  CHECK_FALSE(complaint(header, 0).empty());
}

TEST_CASE_FIXTURE(Fixture, "pack header: a length that cannot be is corrupt before it is used") {
  const auto with_length = [this](std::size_t length, std::uint64_t pack_bytes) {
    Bytes tail(200, 1);
    for (std::size_t i = 0; i < 4; ++i) {
      tail[196 + i] = static_cast<std::uint8_t>(length >> 8 * i);
    }
    return complaint(tail, pack_bytes);
  };
  const std::string impossible = "is not possible";
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{31}, std::size_t{68}, std::size_t{997}, limits::kPackHeader + 1,
        std::size_t{0xFFFFFFFF}}) {
    CAPTURE(length);
    CHECK(with_length(length, 1000).find(impossible) != std::string::npos);
  }
  CHECK(with_length(limits::kPackHeader + 1, 1u << 30).find(impossible) != std::string::npos);
  CHECK(pack_tail_size(hex("2c010000"), 1000, "data/ab") == 304);
  CHECK(with_length(300, 1000) == "data/ab: a header of 300 bytes, read only 200");
  CHECK_FALSE(complaint({}, 1000).empty());
  CHECK_FALSE(complaint(Bytes(3), 1000).empty());
}

TEST_CASE_FIXTURE(Fixture, "pack header: sealed nonsense is corrupt") {
  Bytes plain =
      hex("00"
          "20000000");
  plain.resize(kPlainEntrySize);
  CHECK(complaint_about_header(plain, 32).empty());
  Bytes unknown = plain;
  unknown[0] = 4;
  CHECK(complaint_about_header(unknown, 32) == "data/ab: not a pack header: invalid type 4");
  Bytes tiny = plain;
  tiny[1] = 31;
  CHECK(complaint_about_header(tiny, 31).find("shorter than its seal") != std::string::npos);
  Bytes two = plain;
  append(two, plain);
  two.pop_back();
  CHECK(complaint_about_header(two, 64).find("cut off") != std::string::npos);
  Bytes compressed = plain;
  compressed[0] = 2;
  compressed.insert(compressed.begin() + 5, 4, 0);
  CHECK(complaint_about_header(compressed, 32).find("without bytes") != std::string::npos);
  compressed[5] = 1;
  CHECK(complaint_about_header(compressed, 32).empty());
  Bytes huge = plain;
  std::fill_n(huge.begin() + 1, 4, std::uint8_t{0xff});
  append(huge, Bytes(huge));
  CHECK(complaint_about_header(huge, 0x1FFFFFFFE).find("4 GiB") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "pack header: random plain bytes are taken or corrupt, nothing else") {
  std::mt19937 noise(7);
  for (int round = 0; round < 3000; ++round) {
    Bytes plain(37 + noise() % 200);
    for (std::uint8_t& byte : plain) {
      byte = static_cast<std::uint8_t>(noise() % 4 == 0 ? noise() : noise() % 4);
    }
    complaint_about_header(plain, noise() % 1000);
  }
}

TEST_CASE_FIXTURE(Fixture, "pack header: more entries than a header may have is our own bug") {
  const std::vector<PackEntry> entries(500000, entry(BlobType::data, 0, 32, 1, "a"));
  try {
    make_pack_header(entries, sealer);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::internal);
  }
}
