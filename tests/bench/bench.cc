#include "bench/bench.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/text.h"
#include "support/restic.h"

namespace kubedr::test {
namespace {

constexpr char kPassword[] = "bench";
constexpr int kBatch = 100;  // writes in a transaction
constexpr int kWritesAnHour = 11'000;
constexpr int kLeases = 400;

// What a key holds: `bytes` long, two thirds of words, one third of what does not compress.
std::string value_of(std::mt19937_64& random, std::size_t bytes) {
  static const std::vector<std::string> kWords = {
      "{\"apiVersion\":\"v1\",", "\"metadata\":{\"name\":\"", "\"namespace\":\"default\",",
      "\"labels\":{\"app\":\"",  "\"managedFields\":[",       "\"f:containers\":{",
      "\"resources\":{},",       "\"imagePullPolicy\":\"",    "\"creationTimestamp\":\"2026-"};
  std::string value;
  while (value.size() < bytes * 2 / 3) {
    value += kWords[random() % kWords.size()];
    value += std::to_string(random() % 1000);
  }
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (value.size() < bytes) value += kDigits[random() % 64];
  return value;
}

std::string object_key(std::uint64_t number) {
  return fmt::format("/registry/pods/default/object-{:08}", number);
}

}  // namespace

void Load::fill(std::uint64_t bytes) {
  for (std::uint64_t done = 0; done < bytes;) {
    std::vector<EtcdServer::KeyValue> pairs;
    for (int i = 0; i < kBatch; ++i) {
      pairs.emplace_back(object_key(objects_++), value_of(random_, 1024 + random_() % 7168));
      done += pairs.back().second.size();
    }
    etcd_.put_all(pairs);
  }
}

void Load::hour() {
  for (int written = 0; written < kWritesAnHour; written += kBatch) {
    std::vector<EtcdServer::KeyValue> pairs;
    for (int i = 0; i < kBatch; ++i) pairs.push_back(write());
    // A transaction may name a key once only.
    std::sort(pairs.begin(), pairs.end());
    pairs.erase(std::unique(pairs.begin(), pairs.end(),
                            [](const auto& a, const auto& b) { return a.first == b.first; }),
                pairs.end());
    etcd_.put_all(pairs);
  }
  const Json put =
      parse_json(etcd_.gateway("/v3/kv/put", R"({"key":"eA==","value":"eA=="})"), "put");
  etcd_.gateway("/v3/kv/compaction",
                Json{{"revision", find_string(put, {"header", "revision"}).value_or("1")}}.dump());
}

// Of ten writes seven are heartbeats, two new objects, one a change.
EtcdServer::KeyValue Load::write() {
  const std::uint64_t kind = random_() % 10;
  if (kind < 7) {
    return {fmt::format("/registry/leases/kube-node-lease/node-{:04}", random_() % kLeases),
            value_of(random_, 450)};
  }
  const std::uint64_t number = kind < 9 ? objects_++ : random_() % objects_;
  return {object_key(number), value_of(random_, 1024 + random_() % 3072)};
}

RunResult must(RunResult result) {
  if (result.ok()) return result;
  fmt::print(stderr, "{}{}\n", result.out, result.err);
  std::exit(1);
}

void measure(Cost& cost, const std::function<RunResult()>& program) {
  const auto begin = std::chrono::steady_clock::now();
  const RunResult result = must(program());
  cost.wall += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  cost.cpu += std::chrono::duration<double>(result.exit.cpu).count();
  cost.peak = std::max(cost.peak, result.exit.peak_memory_bytes);
}

RunResult run_ours(std::vector<std::string> args, const std::map<std::string, std::string>& env) {
  args.insert(args.begin(), {KUBEDR_BINARY, "--repo", env.at("RESTIC_REPOSITORY")});
  ProcessOptions options;
  options.env = env;
  return run(args, options, std::chrono::hours(1));
}

RunResult run_restic(const std::vector<std::string>& args,
                     const std::map<std::string, std::string>& env) {
  return restic("0.18", args, env);
}

std::map<std::string, std::string> repository_env(const std::string& url, const S3Server& s3) {
  return {{"RESTIC_REPOSITORY", url},
          {"RESTIC_PASSWORD", kPassword},
          {"AWS_ACCESS_KEY_ID", s3.access_key()},
          {"AWS_SECRET_ACCESS_KEY", s3.secret_key()}};
}

std::unique_ptr<s3::S3Store> open_bucket(const S3Server& s3, const std::string& bucket,
                                         const Clock& clock) {
  s3::S3Options options;
  options.address = s3::make_address(s3.url(), bucket);
  options.credentials = {s3.access_key(), Secret(s3.secret_key()), Secret()};
  options.user_agent = "kubedr-bench";
  return std::make_unique<s3::S3Store>(std::move(options), clock);
}

std::uint64_t stored_bytes(const S3Server& s3, const std::string& bucket) {
  const SystemClock clock;
  const auto store = open_bucket(s3, bucket, clock);
  std::uint64_t bytes = 0;
  for (const auto kind : {storage::FileKind::pack, storage::FileKind::index,
                          storage::FileKind::snapshot, storage::FileKind::key}) {
    store->list(
        kind, [&](const storage::FileInfo& file) { bytes += file.size; }, Call(clock));
  }
  return bytes;
}

void print_header() {
  fmt::print("{:<40} {:<22} {:<22} {:>9}  {:>9}\n", "", "wall s", "CPU s", "peak", "stored");
}

void print_row(const std::string& name, const std::vector<Cost>& costs) {
  const auto figure = [&](auto of) {
    std::vector<double> values;
    for (const Cost& cost : costs) values.push_back(of(cost));
    std::sort(values.begin(), values.end());
    return values;
  };
  const auto wall = figure([](const Cost& c) { return c.wall; });
  const auto cpu = figure([](const Cost& c) { return c.cpu; });
  const auto peak = figure([](const Cost& c) { return static_cast<double>(c.peak); });
  const auto stored = figure([](const Cost& c) { return static_cast<double>(c.stored); });
  const std::size_t middle = costs.size() / 2;
  fmt::print("{:<40} {:>6.2f} ({:.2f}..{:.2f})  {:>6.2f} ({:.2f}..{:.2f})  {:>9}  {:>9}\n", name,
             wall[middle], wall.front(), wall.back(), cpu[middle], cpu.front(), cpu.back(),
             human_size(static_cast<std::uint64_t>(peak.back())),
             human_size(static_cast<std::uint64_t>(stored[middle])));
  std::fflush(stdout);
}

}  // namespace kubedr::test
