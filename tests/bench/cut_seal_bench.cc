// What the steps of a backup cost on one core: cutting, hashing, compressing, sealing.
//
// Input: 16 KiB pages in the manner of a bbolt file of Kubernetes objects: three quarters of each
// page hold JSON-like text with its own numbers, the rest random bytes (ids, Helm releases,
// tokens), which is what makes zstd level 1 shrink such a file to about 40 %. There are no runs of
// zeros: cutting by content would find a border in each and skip nearly everything. Each step runs
// seven times over 128 MiB; the median and the spread are printed.

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"
#include "base/sha256.h"
#include "repo/compress.h"
#include "repo/cut.h"
#include "repo/key.h"
#include "repo/seal.h"

using namespace kubedr;
using namespace kubedr::repo;

namespace {

constexpr std::size_t kPage = 16384;
constexpr std::size_t kText = kPage / 4 * 3;
constexpr std::size_t kBytes = std::size_t{128} << 20;
constexpr std::size_t kBatch = std::size_t{1} << 20;
constexpr int kRuns = 7;

void fill_page(std::span<std::uint8_t> page, std::mt19937_64& random) {
  std::string text;
  while (text.size() < kText) {
    text +=
        fmt::format(R"({{"metadata":{{"name":"pod-{:x}","namespace":"team-{}","uid":"{:016x}"}},)"
                    R"("status":{{"phase":"Running","podIP":"10.0.{}.{}"}}}})",
                    random() & 0xFFFFF, random() % 40, random(), random() % 256, random() % 256);
  }
  std::copy_n(text.begin(), kText, page.begin());
  std::generate_n(page.begin() + kText, kPage - kText,
                  [&random] { return static_cast<std::uint8_t>(random()); });
}

Bytes pages() {
  std::mt19937_64 random(1);
  Bytes bytes(kBytes);
  for (std::size_t at = 0; at < bytes.size(); at += kPage) {
    fill_page(std::span(bytes).subspan(at, kPage), random);
  }
  return bytes;
}

void measure(const char* name, const std::function<void()>& step) {
  std::vector<double> rates;
  for (int run = 0; run < kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    step();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    rates.push_back(static_cast<double>(kBytes) / 1e6 / took.count());
  }
  std::sort(rates.begin(), rates.end());
  fmt::print("{:<28}{:>8.0f} MB/s   {:.0f} to {:.0f}\n", name, rates[kRuns / 2], rates.front(),
             rates.back());
}

void each_page(ByteView bytes, const std::function<void(ByteView)>& step) {
  for (std::size_t at = 0; at < bytes.size(); at += kPage) step(bytes.subspan(at, kPage));
}

void cut(const Cut& how, ByteView bytes) {
  Cutter cutter(how);
  std::vector<std::size_t> ends;
  for (std::size_t at = 0; at < bytes.size(); at += kBatch) {
    ends.clear();
    cutter.feed(bytes.subspan(at, kBatch), ends);
  }
}

}  // namespace

int main() {
  const Bytes bytes = pages();
  SystemRandom random;
  Sealer sealer(make_master_key(random), random);
  Compressor compressor;
  Bytes out;
  Bytes back;
  std::size_t compressed = 0;
  measure("cut, pages", [&] { cut(Cut::fixed(kPage), bytes); });
  measure("cut, by content", [&] { cut(Cut::rabin(0x3DA3358B4DC173), bytes); });
  measure("SHA-256", [&] { each_page(bytes, [](ByteView page) { sha256(page); }); });
  measure("zstd level 1", [&] {
    compressed = 0;
    each_page(bytes, [&](ByteView page) {
      out.clear();
      compressor.compress(page, out);
      compressed += out.size();
    });
  });
  measure("seal", [&] {
    each_page(bytes, [&](ByteView page) {
      out.clear();
      sealer.seal(page, out);
    });
  });
  measure("open", [&] { each_page(bytes, [&](ByteView) { sealer.open(out, back); }); });
  fmt::print("compressed to {:.0f} %\n",
             100.0 * static_cast<double>(compressed) / static_cast<double>(kBytes));
}
