// A slow S3 must not make etcd slow: its stream holds a read transaction open there. So much data
// as KUBEDR_SLOW_STORE_MB says is put into etcd, 96 if it says nothing; with 1024 it takes a
// quarter of an hour.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "e2e/world.h"
#include "support/byte_proxy.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

struct Drained {
  double seconds = 0;  // from the first byte of etcd's to the last
  RunResult result;
};

// Notes when a proxy's bytes began and ceased to flow.
class FlowWatch {
 public:
  explicit FlowWatch(const ByteProxy& proxy)
      : thread_([this, &proxy](const std::stop_token& stop) { watch(proxy, stop); }) {}

  double seconds() {
    thread_.request_stop();
    thread_.join();
    return std::chrono::duration<double>(last_ - first_).count();
  }

 private:
  void watch(const ByteProxy& proxy, const std::stop_token& stop) {
    std::uint64_t seen = 0;
    while (!stop.stop_requested()) {
      const std::uint64_t bytes = proxy.counts().bytes_to_client;
      const auto now = std::chrono::steady_clock::now();
      if (bytes > 100'000 && first_ == std::chrono::steady_clock::time_point()) first_ = now;
      if (bytes != seen) last_ = now;
      seen = bytes;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  std::chrono::steady_clock::time_point first_{};
  std::chrono::steady_clock::time_point last_{};
  std::jthread thread_;
};

Drained backup_through(EtcdServer& etcd, const S3Server& s3, const std::string& bucket,
                       std::uint64_t bytes_per_second) {
  ByteProxy to_etcd(etcd.port());
  ByteProxy to_s3(s3.port());
  const std::map<std::string, std::string> env = {{"RESTIC_PASSWORD", kPassword},
                                                  {"AWS_ACCESS_KEY_ID", s3.access_key()},
                                                  {"AWS_SECRET_ACCESS_KEY", s3.secret_key()}};
  const std::string repository = fmt::format("s3:http://127.0.0.1:{}/{}", to_s3.port(), bucket);
  REQUIRE(test::kubedr({"init", "--repo", repository}, env).ok());
  ProxyRules rules;
  rules.bytes_per_second = bytes_per_second;
  to_s3.set(rules);
  FlowWatch watch(to_etcd);
  Drained drained;
  drained.result = test::kubedr({"backup", "--repo", repository, "--etcd-endpoint",
                                 fmt::format("http://127.0.0.1:{}", to_etcd.port()), "-o", "json"},
                                env, std::chrono::hours(1));
  drained.seconds = watch.seconds();
  REQUIRE_MESSAGE(drained.result.ok(), drained.result.err);
  return drained;
}

int megabytes_of_data() {
  const char* text = std::getenv("KUBEDR_SLOW_STORE_MB");
  return text == nullptr ? 96 : std::stoi(text);
}

struct Compared {
  Drained fast;
  Drained slow;

  // The last part is what the watch may be off.
  bool is_close() const { return slow.seconds <= 1.5 * fast.seconds + 0.1; }
};

}  // namespace

TEST_CASE("backup: a slow S3 leaves etcd's stream and our memory alone") {
  const int megabytes = megabytes_of_data();
  EtcdServer etcd;
  for (int i = 0; i < megabytes / 8; ++i)
    etcd.fill(fmt::format("/registry/pods/{}/", i), 1000, 8000);
  const S3Server s3;
  const auto compare = [&](int round) {
    Compared compared;
    compared.fast = backup_through(etcd, s3, fmt::format("fast-{}", round), 0);
    compared.slow = backup_through(etcd, s3, fmt::format("slow-{}", round), 2'000'000);
    MESSAGE("etcd's stream: " << compared.fast.seconds << " s with a fast S3, "
                              << compared.slow.seconds << " s with 2 MB/s");
    return compared;
  };
  // A busy neighbour may slow one of them down; a slow S3 that etcd feels slows down each.
  Compared compared = compare(1);
  for (int round = 2; round <= 3 && !compared.is_close(); ++round) compared = compare(round);
  CHECK(compared.is_close());
  // 64 MiB and 64 bytes for each of the blobs, some 80 for each megabyte. What is mapped of the
  // program and its libraries comes on top: RssFile is some 14 MiB once a repository is open.
  constexpr std::size_t kProgram = std::size_t{16} << 20;
  [[maybe_unused]] const std::size_t bound =
      kProgram + (std::size_t{64} << 20) + std::size_t(megabytes) * 80 * 64;
  MESSAGE("peak memory: " << compared.slow.result.exit.peak_memory_bytes / 1024 << " KiB");
  // A sanitizer keeps memory of its own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(compared.slow.result.exit.peak_memory_bytes <= bound);
#endif
}
