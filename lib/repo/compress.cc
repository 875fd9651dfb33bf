#include "repo/compress.h"

#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <string>

#include "base/error.h"

namespace kubedr::repo {
namespace {

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const noexcept { ZSTD_freeCCtx(context); }

  void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
};

[[noreturn]] void corrupt(const std::string& why) {
  throw Error(ErrorKind::corrupt, "not a zstd frame: " + why);
}

std::size_t checked(std::size_t result) {
  if (ZSTD_isError(result) != 0) corrupt(ZSTD_getErrorName(result));
  return result;
}

}  // namespace

struct Compressor::Impl {
  std::unique_ptr<ZSTD_CCtx, FreeContext> writer{ZSTD_createCCtx()};
  std::unique_ptr<ZSTD_DCtx, FreeContext> reader{ZSTD_createDCtx()};

  void decompress_unknown_size(ByteView frame, std::size_t limit, Bytes& plain);
};

Compressor::Compressor(int level) : impl_(std::make_unique<Impl>()) {
  const bool made = impl_->writer && impl_->reader;
  if (!made || ZSTD_isError(ZSTD_CCtx_setParameter(impl_->writer.get(), ZSTD_c_compressionLevel,
                                                   level)) != 0) {
    throw Error(ErrorKind::internal, "zstd: making contexts failed");
  }
}

Compressor::~Compressor() = default;
Compressor::Compressor(Compressor&&) noexcept = default;

void Compressor::compress(ByteView plain, Bytes& out) {
  const std::size_t start = out.size();
  out.resize(start + ZSTD_compressBound(plain.size()));
  const std::size_t size = ZSTD_compress2(impl_->writer.get(), out.data() + start,
                                          out.size() - start, plain.data(), plain.size());
  if (ZSTD_isError(size) != 0) {
    throw Error(ErrorKind::internal, std::string("zstd: ") + ZSTD_getErrorName(size));
  }
  out.resize(start + size);
}

void Compressor::decompress(ByteView frame, std::size_t limit, Bytes& plain) {
  const std::size_t end = checked(ZSTD_findFrameCompressedSize(frame.data(), frame.size()));
  if (end != frame.size()) corrupt("bytes behind its end");
  const unsigned long long size = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (size == ZSTD_CONTENTSIZE_ERROR) corrupt("unreadable head");
  if (size == ZSTD_CONTENTSIZE_UNKNOWN) {
    impl_->decompress_unknown_size(frame, limit, plain);
    return;
  }
  if (size > limit) corrupt("it holds more than it may");
  plain.resize(static_cast<std::size_t>(size));
  const std::size_t written = checked(ZSTD_decompressDCtx(
      impl_->reader.get(), plain.data(), plain.size(), frame.data(), frame.size()));
  if (written != plain.size()) corrupt("it holds less than it says");
}

void Compressor::Impl::decompress_unknown_size(ByteView frame, std::size_t limit, Bytes& plain) {
  // One byte more than allowed: a buffer that is never full needs no guess whether more follows.
  const std::size_t most = limit + 1;
  checked(ZSTD_DCtx_reset(reader.get(), ZSTD_reset_session_only));
  ZSTD_inBuffer in{frame.data(), frame.size(), 0};
  std::size_t filled = 0;
  plain.resize(std::min(most, std::max<std::size_t>(frame.size() * 4, 1024)));
  for (;;) {
    ZSTD_outBuffer out{plain.data(), plain.size(), filled};
    const std::size_t left = checked(ZSTD_decompressStream(reader.get(), &out, &in));
    filled = out.pos;
    if (filled > limit) corrupt("it holds more than it may");
    if (left == 0) break;
    if (in.pos == in.size && filled < plain.size()) corrupt("it ends too early");
    if (filled == plain.size()) plain.resize(std::min(most, plain.size() * 2));
  }
  plain.resize(filled);
}

}  // namespace kubedr::repo
