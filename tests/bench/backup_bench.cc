// A backup beside operator mode (`etcdctl snapshot save`, then restic's backup), on the same etcd,
// to the same S3, in one run: a first backup, then one after each hour of churn.
//
// input    tests/bench/bench.h says what is in etcd
// output   wall and CPU seconds, peak memory, bytes stored, median of the hours with the spread;
//          then the requests to S3 of one more first backup and one more later one
//
//   backup_bench [MiB of data] [hours]

#define DOCTEST_CONFIG_IMPLEMENT  // the fixtures report by it
#include <doctest/doctest.h>
#include <fmt/core.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/json.h"
#include "bench/bench.h"
#include "support/byte_proxy.h"
#include "support/server.h"
#include "support/temp_dir.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

class Contest {
 public:
  // Through a proxy, where there is one, requests are counted; it wants the processors too, so that
  // nothing is to be timed then.
  Contest(EtcdServer& etcd, const S3Server& s3, const ByteProxy* proxy = nullptr)
      : etcd_(etcd), s3_(s3), proxy_(proxy) {}

  void init() {
    must(run_ours({"init"}, ours()));
    must(run_restic({"init"}, theirs()));
  }

  Cost our_backup() {
    const std::uint64_t before = stored(ours());
    const std::size_t requests_before = requests();
    Cost cost;
    measure(cost, [&] {
      return run_ours({"backup", "--chunker", "pages", "--etcd-endpoint", etcd_.endpoint()},
                      ours());
    });
    cost.requests = requests() - requests_before;
    cost.stored = stored(ours()) - before;
    return cost;
  }

  Cost their_backup(Cost* save_alone) {
    const std::uint64_t before = stored(theirs());
    const std::size_t requests_before = requests();
    const std::string data = (folder_ / "data").string();
    std::filesystem::create_directories(data);
    Cost cost;
    measure(cost, [&] {
      return run({find_server("etcdctl").string(), "--endpoints", etcd_.endpoint(), "snapshot",
                  "save", data + "/etcd-snapshot.db"},
                 {}, std::chrono::hours(1));
    });
    if (save_alone != nullptr) *save_alone = cost;
    measure(cost, [&] { return run_restic({"backup", data}, theirs()); });
    cost.requests = requests() - requests_before;
    cost.stored = stored(theirs()) - before;
    return cost;
  }

 private:
  std::map<std::string, std::string> ours() const { return bucket("ours"); }

  std::map<std::string, std::string> theirs() const { return bucket("theirs"); }

  std::map<std::string, std::string> bucket(const std::string& name) const {
    if (proxy_ == nullptr) return repository_env(fmt::format("s3:{}/{}", s3_.url(), name), s3_);
    return repository_env(fmt::format("s3:http://127.0.0.1:{}/counted-{}", proxy_->port(), name),
                          s3_);
  }

  std::size_t requests() const { return proxy_ == nullptr ? 0 : proxy_->requests().size(); }

  static std::uint64_t stored(const std::map<std::string, std::string>& env) {
    const RunResult result = must(run_restic({"stats", "--mode", "raw-data", "--json"}, env));
    return static_cast<std::uint64_t>(
        find_integer(parse_json(result.out, "stats"), {"total_size"}).value_or(0));
  }

  EtcdServer& etcd_;
  const S3Server& s3_;
  const ByteProxy* proxy_;
  const TempDir folder_;
};

void count_requests(EtcdServer& etcd, Load& load, const S3Server& s3) {
  const ByteProxy proxy(s3.port());
  Contest contest(etcd, s3, &proxy);
  contest.init();
  for (const char* when : {"first", "later"}) {
    const std::size_t theirs = contest.their_backup(nullptr).requests;
    const std::size_t ours = contest.our_backup().requests;
    fmt::print("{}: {} requests by etcdctl + restic 0.18, {} by kubectl-kubedr\n", when, theirs,
               ours);
    load.hour();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t mib = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1024;
  const int hours = argc > 2 ? std::atoi(argv[2]) : 3;
  EtcdOptions options;
  options.flags = {"--quota-backend-bytes=8589934592"};
  EtcdServer etcd(options);
  const S3Server s3;
  Load load(etcd);
  load.fill(mib << 20);
  Contest contest(etcd, s3);
  contest.init();
  print_header();
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
  count_requests(etcd, load, s3);
}
