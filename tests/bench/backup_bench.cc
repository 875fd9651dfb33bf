// A backup beside operator mode (`etcdctl snapshot save`, then restic's backup), on the same etcd,
// to the same S3, in one run: a first backup, then one after each hour of churn.
//
// input    keys and values as Kubernetes has them: leases and nodes that are written again and again,
//          pods, config maps and Secrets of 1 to 8 KiB, two thirds of it text that compresses, one
//          third that does not; an hour is 11,000 writes, history compacted as the API server does
// output   wall and CPU seconds, peak memory, bytes stored, median of the hours with the spread
//
//   backup_bench [MiB of data] [hours]

#define DOCTEST_CONFIG_IMPLEMENT  // the fixtures report by it
#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/text.h"
#include "support/etcd_server.h"
#include "support/process.h"
#include "support/restic.h"
#include "support/s3_server.h"
#include "support/temp_dir.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

constexpr char kPassword[] = "bench";
constexpr int kBatch = 100;  // writes in a transaction
constexpr int kWritesAnHour = 11'000;
constexpr int kLeases = 400;

// What a key holds: `bytes` long, two thirds of words, one third of what does not compress.
std::string value_of(std::mt19937_64& random, std::size_t bytes) {
  static const std::vector<std::string> kWords = {
      "{\"apiVersion\":\"v1\",", "\"metadata\":{\"name\":\"", "\"namespace\":\"default\",",
      "\"labels\":{\"app\":\"",  "\"managedFields\":[",        "\"f:containers\":{",
      "\"resources\":{},",       "\"imagePullPolicy\":\"",     "\"creationTimestamp\":\"2026-"};
  std::string value;
  while (value.size() < bytes * 2 / 3) {
    value += kWords[random() % kWords.size()];
    value += std::to_string(random() % 1000);
  }
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (value.size() < bytes) value += kDigits[random() % 64];
  return value;
}

class Load {
 public:
  explicit Load(EtcdServer& etcd) : etcd_(etcd) {}

  void fill(std::uint64_t bytes) {
    for (std::uint64_t done = 0; done < bytes;) {
      std::vector<EtcdServer::KeyValue> pairs;
      for (int i = 0; i < kBatch; ++i) {
        pairs.emplace_back(object_key(objects_++), value_of(random_, 1024 + random_() % 7168));
        done += pairs.back().second.size();
      }
      etcd_.put_all(pairs);
    }
  }

  void hour() {
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
    const Json put = parse_json(etcd_.gateway("/v3/kv/put", R"({"key":"eA==","value":"eA=="})"),
                                "put");
    etcd_.gateway("/v3/kv/compaction",
                  Json{{"revision", find_string(put, {"header", "revision"}).value_or("1")}}.dump());
  }

 private:
  static std::string object_key(std::uint64_t number) {
    return fmt::format("/registry/pods/default/object-{:08}", number);
  }

  // Of ten writes seven are heartbeats, two new objects, one a change.
  EtcdServer::KeyValue write() {
    const std::uint64_t kind = random_() % 10;
    if (kind < 7) {
      return {fmt::format("/registry/leases/kube-node-lease/node-{:04}", random_() % kLeases),
              value_of(random_, 450)};
    }
    const std::uint64_t number = kind < 9 ? objects_++ : random_() % objects_;
    return {object_key(number), value_of(random_, 1024 + random_() % 3072)};
  }

  EtcdServer& etcd_;
  std::mt19937_64 random_{2026};
  std::uint64_t objects_ = 0;
};

struct Cost {
  double wall = 0;
  double cpu = 0;
  std::size_t peak = 0;
  std::uint64_t stored = 0;
};

class Contest {
 public:
  Contest(EtcdServer& etcd, const S3Server& s3, const TempDir& folder)
      : etcd_(etcd), s3_(s3), folder_(folder) {}

  void init() {
    must(run({KUBEDR_BINARY, "--repo", repository("ours"), "init"}, options(ours())));
    must(restic("0.18", {"init"}, theirs()));
  }

  Cost our_backup() {
    const std::uint64_t before = stored(ours());
    Cost cost;
    measure(cost, [&] {
      return run({KUBEDR_BINARY, "--repo", repository("ours"), "backup", "--chunker", "pages",
                  "--etcd-endpoint", etcd_.endpoint()},
                 options(ours()), std::chrono::hours(1));
    });
    cost.stored = stored(ours()) - before;
    return cost;
  }

  Cost their_backup(Cost* save_alone) {
    const std::uint64_t before = stored(theirs());
    const std::string data = (folder_ / "data").string();
    std::filesystem::create_directories(data);
    Cost cost;
    measure(cost, [&] {
      return run({find_server("etcdctl").string(), "--endpoints", etcd_.endpoint(), "snapshot",
                  "save", data + "/etcd-snapshot.db"},
                 {}, std::chrono::hours(1));
    });
    if (save_alone != nullptr) *save_alone = cost;
    measure(cost, [&] { return restic("0.18", {"backup", data}, theirs()); });
    cost.stored = stored(theirs()) - before;
    return cost;
  }

 private:
  static void must(const RunResult& result) {
    if (result.ok()) return;
    fmt::print(stderr, "{}{}\n", result.out, result.err);
    std::exit(1);
  }

  template <class Run>
  static void measure(Cost& cost, const Run& run_it) {
    const auto begin = std::chrono::steady_clock::now();
    const RunResult result = run_it();
    must(result);
    cost.wall += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    cost.cpu += std::chrono::duration<double>(result.exit.cpu).count();
    cost.peak = std::max(cost.peak, result.exit.peak_memory_bytes);
  }

  static ProcessOptions options(std::map<std::string, std::string> env) {
    ProcessOptions options;
    options.env = std::move(env);
    return options;
  }

  std::string repository(const std::string& bucket) const {
    return fmt::format("s3:{}/{}", s3_.url(), bucket);
  }

  std::map<std::string, std::string> env(const std::string& bucket) const {
    return {{"RESTIC_REPOSITORY", repository(bucket)},
            {"RESTIC_PASSWORD", kPassword},
            {"AWS_ACCESS_KEY_ID", s3_.access_key()},
            {"AWS_SECRET_ACCESS_KEY", s3_.secret_key()}};
  }

  std::map<std::string, std::string> ours() const { return env("ours"); }
  std::map<std::string, std::string> theirs() const { return env("theirs"); }

  std::uint64_t stored(const std::map<std::string, std::string>& env) const {
    const RunResult result = restic("0.18", {"stats", "--mode", "raw-data", "--json"}, env);
    must(result);
    return static_cast<std::uint64_t>(
        find_integer(parse_json(result.out, "stats"), {"total_size"}).value_or(0));
  }

  EtcdServer& etcd_;
  const S3Server& s3_;
  const TempDir& folder_;
};

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
  fmt::print("{:<34} {:>6.2f} ({:.2f}..{:.2f})  {:>6.2f} ({:.2f}..{:.2f})  {:>9}  {:>9}\n", name,
             wall[middle], wall.front(), wall.back(), cpu[middle], cpu.front(), cpu.back(),
             human_size(static_cast<std::uint64_t>(peak.back())),
             human_size(static_cast<std::uint64_t>(stored[middle])));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t mib = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1024;
  const int hours = argc > 2 ? std::atoi(argv[2]) : 3;
  EtcdOptions options;
  options.flags = {"--quota-backend-bytes=8589934592"};
  EtcdServer etcd(options);
  const S3Server s3;
  const TempDir folder;
  Load load(etcd);
  load.fill(mib << 20);
  Contest contest(etcd, s3, folder);
  contest.init();
  fmt::print("{:<34} {:<22} {:<22} {:>9}  {:>9}\n", "", "wall s", "CPU s", "peak", "stored");
  Cost save;
  print_row("first: etcdctl + restic 0.18", {contest.their_backup(&save)});
  print_row("first: kubectl-kubedr", {contest.our_backup()});
  std::vector<Cost> theirs;
  std::vector<Cost> ours;
  std::vector<Cost> saves{save};
  for (int hour = 0; hour < hours; ++hour) {
    load.hour();
    saves.emplace_back();
    theirs.push_back(contest.their_backup(&saves.back()));
    ours.push_back(contest.our_backup());
  }
  print_row("later: etcdctl snapshot save alone", saves);
  if (hours == 0) return 0;
  print_row("later: etcdctl + restic 0.18", theirs);
  print_row("later: kubectl-kubedr", ours);
}
