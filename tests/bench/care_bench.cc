// The care of a repository beside restic 0.18, on the same repository, in one run: a restore, a
// check of all data, a prune, and lists of 100 and of 10,000 snapshots with a store 0 and 100 ms
// away.
//
// input    bench.h's etcd, saved after each of some hours and backed up by us with page cuts
// output   wall and CPU seconds, peak memory; median of three with the spread; the prune once, on
//          copies of one repository
//
//   care_bench [MiB of data] [snapshots of the long list]

#define DOCTEST_CONFIG_IMPLEMENT  // the fixtures report by it
#include <doctest/doctest.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/random.h"
#include "bench/bench.h"
#include "repo/repository.h"
#include "repo/tree.h"
#include "support/byte_proxy.h"
#include "support/server.h"
#include "support/temp_dir.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

constexpr int kRuns = 3;
constexpr int kHours = 3;

using Env = std::map<std::string, std::string>;
using Program = std::function<RunResult(int run)>;

void compare(const std::string& name, const Program& theirs, const Program& ours) {
  std::vector<Cost> their_costs(kRuns);
  std::vector<Cost> our_costs(kRuns);
  for (int i = 0; i < kRuns; ++i) {
    const auto at = static_cast<std::size_t>(i);
    measure(their_costs[at], [&] { return theirs(i); });
    measure(our_costs[at], [&] { return ours(i); });
  }
  print_row(name + ": restic 0.18", their_costs);
  print_row(name + ": kubectl-kubedr", our_costs);
}

void make_backups(EtcdServer& etcd, Load& load, const Env& env) {
  must(run_ours({"init"}, env));
  for (int hour = 0; hour <= kHours; ++hour) {
    if (hour > 0) load.hour();
    must(run_ours({"backup", "--chunker", "pages", "--etcd-endpoint", etcd.endpoint()}, env));
  }
}

void compare_restore(const Env& env) {
  const TempDir folder;
  const auto target = [&](const char* whose, int run) {
    return (folder / fmt::format("{}-{}", whose, run)).string();
  };
  compare(
      "restore",
      [&](int run) {
        std::filesystem::remove_all(target("ours", run - 1));
        return run_restic({"restore", "latest", "--target", target("theirs", run)}, env);
      },
      [&](int run) {
        std::filesystem::remove_all(target("theirs", run));
        return run_ours({"restore", "latest", "--target", target("ours", run)}, env);
      });
}

void compare_prune(EtcdServer& etcd, Load& load, const S3Server& s3) {
  const TempDir folder;
  const Env ours = repository_env((folder / "ours").string(), s3);
  const Env theirs = repository_env((folder / "theirs").string(), s3);
  make_backups(etcd, load, ours);
  must(run_ours({"forget", "--keep-last", "1", "--group-by", "", "--yes"}, ours));
  std::filesystem::copy(folder / "ours", folder / "theirs",
                        std::filesystem::copy_options::recursive);
  Cost their_cost;
  Cost our_cost;
  measure(their_cost, [&] { return run_restic({"prune", "--max-unused", "0"}, theirs); });
  measure(our_cost, [&] { return run_ours({"prune", "--max-unused", "0", "--yes"}, ours); });
  print_row("prune: restic 0.18", {their_cost});
  print_row("prune: kubectl-kubedr", {our_cost});
}

class EmptySource final : public repo::Source {
 public:
  std::size_t read(std::span<std::uint8_t> /*buffer*/, const Call& /*call*/) override { return 0; }
};

// Snapshots of one empty tree, an hour apart, in the repository of `env`.
void make_snapshots(storage::Store& store, const Env& env, int count) {
  const SystemClock clock;
  SystemRandom random;
  const Call call(clock);
  repo::Repository repository =
      repo::Repository::open(store, Secret(env.at("RESTIC_PASSWORD")), random, call);
  repo::Lock lock =
      repository.lock_shared({"bench", "root", getpid(), 0, 0}, std::chrono::seconds(0), call);
  repo::Index index = repository.load_index(lock, call);
  repo::Writer writer(repository, lock, index, {});
  repo::Snapshot snapshot;
  snapshot.tree = writer.save_tree(repo::tree_json({}), call);
  const repo::Written written = writer.finish(call);
  snapshot.paths = {"/data"};
  snapshot.hostname = "bench";
  snapshot.username = "root";
  snapshot.tags = {"kubedr", "policy=nightly"};
  snapshot.program_version = "bench";
  snapshot.time = clock.now() - std::chrono::hours(count);
  for (int i = 0; i < count; ++i) {
    snapshot.time += std::chrono::hours(1);
    repository.save_snapshot(snapshot, written, lock, call);
  }
  lock.release(call);
}

void compare_lists(const S3Server& s3, int count) {
  const std::string bucket = fmt::format("list-{}", count);
  const Env near = repository_env(fmt::format("s3:{}/{}", s3.url(), bucket), s3);
  must(run_ours({"init"}, near));
  const SystemClock clock;
  make_snapshots(*open_bucket(s3, bucket, clock), near, count);
  ByteProxy proxy(s3.port());
  for (const int latency : {0, 100}) {
    ProxyRules rules;
    rules.latency = std::chrono::milliseconds(latency);
    proxy.set(rules);
    Env env = repository_env(fmt::format("s3:http://127.0.0.1:{}/{}", proxy.port(), bucket), s3);
    for (const bool warm : {false, true}) {
      const TempDir homes;
      const auto at_home = [&](const char* whose, int run) {
        Env with = env;
        with["HOME"] = homes / fmt::format("{}-{}", whose, warm ? 0 : run);
        std::filesystem::create_directories(with["HOME"]);
        return with;
      };
      if (warm) {
        must(run_restic({"snapshots", "--json"}, at_home("theirs", 0)));
        must(run_ours({"snapshots", "-o", "json"}, at_home("ours", 0)));
      }
      compare(
          fmt::format("list {}, {} ms, {}", count, latency, warm ? "warm" : "cold"),
          [&](int run) {
            return run_restic({"snapshots", "--json"}, at_home("theirs", run));
          },
          [&](int run) {
            return run_ours({"snapshots", "-o", "json"}, at_home("ours", run));
          });
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t mib = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1024;
  const int snapshots = argc > 2 ? std::atoi(argv[2]) : 10'000;
  const S3Server s3;
  print_header();
  compare_lists(s3, 100);
  compare_lists(s3, snapshots);
  EtcdOptions options;
  options.flags = {"--quota-backend-bytes=8589934592"};
  EtcdServer etcd(options);
  Load load(etcd);
  load.fill(mib << 20);
  const Env env = repository_env(fmt::format("s3:{}/care", s3.url()), s3);
  make_backups(etcd, load, env);
  compare_restore(env);
  compare(
      "check --read-data",
      [&](int) {
        return run_restic({"check", "--read-data"}, env);
      },
      [&](int) {
        return run_ours({"check", "--read-data"}, env);
      });
  compare_prune(etcd, load, s3);
}
