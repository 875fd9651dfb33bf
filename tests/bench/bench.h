#ifndef KUBEDR_BENCH_BENCH_H
#define KUBEDR_BENCH_BENCH_H

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "s3/s3_store.h"
#include "support/etcd_server.h"
#include "support/process.h"
#include "support/s3_server.h"

// What the benchmarks of the program share.
namespace kubedr::test {

// Writes as an API server makes them: leases and nodes that are written again and again, pods,
// config maps and Secrets of 1 to 8 KiB, two thirds of it text that compresses, one third that does
// not.
class Load {
 public:
  explicit Load(EtcdServer& etcd) : etcd_(etcd) {}

  void fill(std::uint64_t bytes);

  // 11,000 writes; then history is compacted.
  void hour();

 private:
  EtcdServer::KeyValue write();

  EtcdServer& etcd_;
  std::mt19937_64 random_{2026};
  std::uint64_t objects_ = 0;
};

struct Cost {
  double wall = 0;  // seconds
  double cpu = 0;
  std::size_t peak = 0;      // bytes
  std::uint64_t stored = 0;  // bytes
  std::size_t requests = 0;  // to S3; 0: not counted
};

// A run that must go well; ends the benchmark otherwise.
RunResult must(RunResult result);

// Adds what a program took.
void measure(Cost& cost, const std::function<RunResult()>& program);

// The shipped binary, and restic 0.18. HOME decides about the cache.
RunResult run_ours(std::vector<std::string> args, const std::map<std::string, std::string>& env);
RunResult run_restic(const std::vector<std::string>& args,
                     const std::map<std::string, std::string>& env);

// The environment for a repository, read by restic and by us.
std::map<std::string, std::string> repository_env(const std::string& url, const S3Server& s3);

// A repository's files; the clock must outlive it.
std::unique_ptr<s3::S3Store> open_bucket(const S3Server& s3, const std::string& bucket,
                                         const Clock& clock);

// Of all files: indexes and headers of packs, too, which small chunks need most.
std::uint64_t stored_bytes(const S3Server& s3, const std::string& bucket);

// Header, then rows: medians with the spread of wall and CPU seconds, the highest peak.
void print_header();
void print_row(const std::string& name, const std::vector<Cost>& costs);

}  // namespace kubedr::test

#endif  // KUBEDR_BENCH_BENCH_H
