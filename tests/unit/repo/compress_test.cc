#include "repo/compress.h"

#include <doctest/doctest.h>
#include <zstd.h>

#include <string>

#include "base/error.h"
#include "base/hex.h"

using namespace kubedr;
using namespace kubedr::repo;

namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

// A frame as restic's encoder makes it of short input: the size of the content is not in it.
Bytes frame_without_size(ByteView plain) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  Bytes frame(ZSTD_compressBound(plain.size()));
  frame.resize(ZSTD_compress2(context, frame.data(), frame.size(), plain.data(), plain.size()));
  ZSTD_freeCCtx(context);
  REQUIRE(ZSTD_getFrameContentSize(frame.data(), frame.size()) == ZSTD_CONTENTSIZE_UNKNOWN);
  return frame;
}

Bytes pattern(std::size_t size) {
  Bytes bytes(size);
  std::uint32_t state = 1;
  for (std::uint8_t& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::uint8_t>(state >> 29);
  }
  return bytes;
}

bool is_corrupt(ByteView frame, std::size_t limit) {
  Compressor compressor;
  Bytes plain;
  try {
    compressor.decompress(frame, limit, plain);
  } catch (const Error& error) {
    return error.kind() == ErrorKind::corrupt;
  }
  return false;
}

}  // namespace

TEST_CASE("compress: bytes of any size come back") {
  Compressor compressor;
  Bytes plain;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{255}, std::size_t{256},
                                 std::size_t{16384}, 3 * kMiB}) {
    CAPTURE(size);
    const Bytes bytes = pattern(size);
    Bytes frame;
    compressor.compress(bytes, frame);
    compressor.decompress(frame, size, plain);
    CHECK(plain == bytes);
  }
}

TEST_CASE("compress: appends behind what is there") {
  Compressor compressor;
  Bytes out{2};
  compressor.compress(as_bytes("{}"), out);
  CHECK(out[0] == 2);
  Bytes plain;
  compressor.decompress(ByteView(out).subspan(1), 100, plain);
  CHECK(as_text(plain) == "{}");
}

TEST_CASE("compress: frames without a content size are read, up to the limit to the byte") {
  Compressor compressor;
  Bytes plain;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{200},
                                 std::size_t{1024}, std::size_t{4096}, 5 * kMiB}) {
    CAPTURE(size);
    const Bytes bytes = pattern(size);
    const Bytes frame = frame_without_size(bytes);
    compressor.decompress(frame, size, plain);
    CHECK(plain == bytes);
    compressor.decompress(frame, size + 1, plain);
    CHECK(plain == bytes);
    if (size > 0) CHECK(is_corrupt(frame, size - 1));
  }
}

TEST_CASE("compress: a frame as restic's encoder writes it") {
  // Descriptor 0, window 1 KiB, one last raw block of 5 bytes.
  Compressor compressor;
  Bytes plain;
  compressor.decompress(from_hex("28b52ffd0000290000"
                                 "68656c6c6f")
                            .value(),
                        100, plain);
  CHECK(as_text(plain) == "hello");
}

TEST_CASE("compress: more than the limit is corrupt") {
  Bytes frame;
  Compressor().compress(Bytes(kMiB), frame);
  CHECK(frame.size() < 1000);
  CHECK(is_corrupt(frame, kMiB - 1));
  CHECK(is_corrupt(frame_without_size(Bytes(kMiB)), kMiB - 1));
  CHECK_FALSE(is_corrupt(frame, kMiB));
}

TEST_CASE("compress: cut frames and bytes behind the end are corrupt") {
  Bytes frame;
  Compressor().compress(pattern(1000), frame);
  for (std::size_t size = 0; size < frame.size(); ++size) {
    CHECK(is_corrupt(ByteView(frame).first(size), kMiB));
  }
  Bytes longer = frame;
  longer.push_back(0);
  CHECK(is_corrupt(longer, kMiB));
  append(frame, Bytes(frame));
  CHECK(is_corrupt(frame, kMiB));
}

TEST_CASE("compress: a compressor is of use after a damaged frame") {
  Compressor compressor;
  Bytes plain;
  Bytes frame = frame_without_size(pattern(5000));
  Bytes damaged = frame;
  damaged[damaged.size() / 2] ^= 0x55;
  damaged[8] ^= 0xff;
  CHECK_THROWS_AS(compressor.decompress(damaged, 100, plain), Error);
  compressor.decompress(frame, 5000, plain);
  CHECK(plain == pattern(5000));
}
