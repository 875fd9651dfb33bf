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
#include <string>
#include <vector>

#include "bench/bench.h"
#include "support/byte_proxy.h"
#include "support/server.h"
#include "support/temp_dir.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

class Contest {
 public:
  // In two new repositories. Through a proxy, where there is one, requests are counted; it wants
  // the processors too, so that nothing is to be timed then.
  Contest(const std::string& name, EtcdServer& etcd, const S3Server& s3,
          const ByteProxy* proxy = nullptr)
      : name_(name), etcd_(etcd), s3_(s3), proxy_(proxy) {
    must(run_ours({"init"}, ours()));
    must(run_restic({"init"}, theirs()));
  }

  struct Pair {
    Cost save;  // etcdctl's part of theirs
    Cost theirs;
    Cost ours;
  };

  // Whoever is the second finds etcd's pages in memory.
  Pair both(bool ours_first) {
    Pair pair;
    if (ours_first) pair.ours = our_backup();
    pair.theirs = their_backup(pair.save);
    if (!ours_first) pair.ours = our_backup();
    return pair;
  }

 private:
  Cost our_backup() {
    const std::uint64_t before = stored("ours");
    const std::size_t requests_before = requests();
    Cost cost;
    measure(cost, [&] {
      return run_ours({"backup", "--chunker", "pages", "--etcd-endpoint", etcd_.endpoint()},
                      ours());
    });
    cost.requests = requests() - requests_before;
    cost.stored = stored("ours") - before;
    return cost;
  }

  Cost their_backup(Cost& save) {
    const std::uint64_t before = stored("theirs");
    const std::size_t requests_before = requests();
    const std::string data = (folder_ / "data").string();
    std::filesystem::create_directories(data);
    Cost cost;
    measure(cost, [&] {
      return run({find_server("etcdctl").string(), "--endpoints", etcd_.endpoint(), "snapshot",
                  "save", data + "/etcd-snapshot.db"},
                 {}, std::chrono::hours(1));
    });
    save = cost;
    measure(cost, [&] { return run_restic({"backup", data}, theirs()); });
    cost.requests = requests() - requests_before;
    cost.stored = stored("theirs") - before;
    return cost;
  }

  std::map<std::string, std::string> ours() const { return bucket("ours"); }

  std::map<std::string, std::string> theirs() const { return bucket("theirs"); }

  std::map<std::string, std::string> bucket(const char* whose) const {
    const std::string server =
        proxy_ == nullptr ? s3_.url() : fmt::format("http://127.0.0.1:{}", proxy_->port());
    return repository_env(fmt::format("s3:{}/{}", server, bucket_name(whose)), s3_);
  }

  std::string bucket_name(const char* whose) const { return fmt::format("{}-{}", name_, whose); }

  std::size_t requests() const { return proxy_ == nullptr ? 0 : proxy_->requests().size(); }

  std::uint64_t stored(const char* whose) const { return stored_bytes(s3_, bucket_name(whose)); }

  const std::string name_;
  EtcdServer& etcd_;
  const S3Server& s3_;
  const ByteProxy* proxy_;
  const TempDir folder_;
};

struct Costs {
  std::vector<Cost> saves;
  std::vector<Cost> theirs;
  std::vector<Cost> ours;

  void add(const Contest::Pair& pair) {
    saves.push_back(pair.save);
    theirs.push_back(pair.theirs);
    ours.push_back(pair.ours);
  }
};

void count_requests(EtcdServer& etcd, Load& load, const S3Server& s3) {
  const ByteProxy proxy(s3.port());
  Contest contest("counted", etcd, s3, &proxy);
  for (const char* when : {"first", "later"}) {
    const Contest::Pair pair = contest.both(false);
    fmt::print("{}: {} requests by etcdctl + restic 0.18, {} by kubectl-kubedr\n", when,
               pair.theirs.requests, pair.ours.requests);
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
  print_header();
  Costs first;
  for (const char* name : {"one", "two", "three"}) {
    Contest contest(name, etcd, s3);
    first.add(contest.both(first.ours.size() % 2 != 0));
  }
  print_row("first: etcdctl + restic 0.18", first.theirs);
  print_row("first: kubectl-kubedr", first.ours);
  Contest contest("hourly", etcd, s3);
  contest.both(false);
  Costs later;
  for (int hour = 0; hour < hours; ++hour) {
    load.hour();
    later.add(contest.both(hour % 2 != 0));
  }
  if (hours == 0) return 0;
  print_row("later: etcdctl snapshot save alone", later.saves);
  print_row("later: etcdctl + restic 0.18", later.theirs);
  print_row("later: kubectl-kubedr", later.ours);
  count_requests(etcd, load, s3);
}
