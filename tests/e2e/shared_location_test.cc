// Two policies of one cluster that back up into one repository: neither takes the other's backups
// for its own, and what groups snapshots otherwise does so as restic does.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "e2e/faults.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

using Args = std::vector<std::string>;
using Ids = std::set<std::string>;

// A location of the shared control plane with two policies on it, each with certificates of its
// own and as many backups as are asked for, by turns.
class Both {
 public:
  Both(std::string location, int backups) : location_(std::move(location)) {
    plane_.add_location(location_);
    for (const std::string& policy : {a(), b()}) {
      const std::filesystem::path certs = make_certificates(certs_of(policy));
      certs_of(policy).write("pki/only-of-" + policy + ".crt", policy);
      plane_.add_policy(policy, {{"destination", location_}, {"certsDir", certs.string()}});
    }
    REQUIRE(plane_.kubedr({"init", location_}).ok());
    for (int i = 0; i < backups; ++i) {
      for (const std::string& policy : {a(), b()}) back_up(policy);
    }
  }

  const std::string& location() const { return location_; }

  std::string a() const { return location_ + "-a"; }

  std::string b() const { return location_ + "-b"; }

  const std::vector<std::string>& ids_of(const std::string& policy) const {
    return policy == a() ? ids_a_ : ids_b_;
  }

  const TempDir& certs_of(const std::string& policy) const {
    return policy == a() ? folder_a_ : folder_b_;
  }

  RunResult run(Args args) const {
    args.insert(args.end(), {"--location", location_});
    return plane_.kubedr(std::move(args));
  }

  Json told(Args args) const {
    args.insert(args.end(), {"-o", "json"});
    return parsed(run(std::move(args)));
  }

  std::map<std::string, std::string> restic_env() const { return plane_.restic_env(location_); }

  std::string must_restic(const Args& args) const {
    const RunResult result = restic("0.18", args, restic_env());
    REQUIRE_MESSAGE(result.ok(), (result.out + result.err));
    return result.out;
  }

  Ids snapshots() const {
    Ids ids;
    const Json list = told({"snapshots"});
    for (const Json& one : list.at("snapshots")) ids.insert(one.at("id").get<std::string>());
    return ids;
  }

  // Of snapshots, by the digits that records have.
  Ids records() const {
    Ids ids;
    for (const Json& record : plane_.list("metadatabackuprecords")) {
      const std::string policy = record.at("spec").at("policy").get<std::string>();
      if (policy != a() && policy != b()) continue;
      ids.insert(record.at("spec").at("snapshotId").get<std::string>());
    }
    return ids;
  }

 private:
  void back_up(const std::string& policy) {
    plane_.etcd().fill("/kubedr-test/" + policy + "/", 20, 3000);
    const Json report = parsed(plane_.kubedr({"backup", policy, "-o", "json"}));
    (policy == a() ? ids_a_ : ids_b_).push_back(report.at("snapshotId").get<std::string>());
  }

  ControlPlane& plane_ = ControlPlane::shared();
  const std::string location_;
  TempDir folder_a_, folder_b_;
  std::vector<std::string> ids_a_, ids_b_;
};

std::string short_id(const std::string& id) {
  return id.substr(0, 8);
}

// A flag for both, and what the rest of them is: "keep-last=1" and the grouping.
struct Rules {
  Args keep;
  std::string group_by;
};

Args forget_with(const Rules& rules) {
  Args args{"forget", "--dry-run", "--group-by", rules.group_by};
  args.insert(args.end(), rules.keep.begin(), rules.keep.end());
  return args;
}

Ids kept_by_us(const Both& both, const Rules& rules) {
  Ids ids;
  const Json report = both.told(forget_with(rules));
  for (const Json& group : report.at("groups")) {
    for (const Json& kept : group.at("keep")) ids.insert(kept.at("id").get<std::string>());
  }
  return ids;
}

Ids kept_by_restic(const Both& both, const Rules& rules) {
  Args args = forget_with(rules);
  args.emplace_back("--json");
  Ids ids;
  const Json groups = parse_json(both.must_restic(args), "restic forget");
  for (const Json& group : groups) {
    for (const Json& kept : group.at("keep")) ids.insert(kept.at("id").get<std::string>());
  }
  return ids;
}

}  // namespace

TEST_CASE("two policies on one location: latest is of the one that is named, and of none else") {
  KUBEDR_NEEDS("kube-apiserver");
  const Both both("latest-of-two", 2);
  const TempDir folder;
  const std::string anywhere = folder / "anywhere";
  const Args restore = {"restore", "latest", "--target", anywhere};
  const Args dump = {"dump", "latest", "/data/etcd-snapshot.db"};
  for (const Args& args : {restore, dump}) {
    const RunResult unclear = both.run(args);
    check_failed(unclear, 2, "latest could mean more than one");
    CHECK(has(unclear.err, "kubedr-system/" + both.a()));
    CHECK(has(unclear.err, "kubedr-system/" + both.b()));
    CHECK(has(unclear.err, "--policy"));
  }
  CHECK_FALSE(std::filesystem::exists(anywhere));

  for (const std::string& policy : {both.a(), both.b()}) {
    CAPTURE(policy);
    const std::string target = folder / policy;
    REQUIRE(both.run({"restore", "latest", "--policy", policy, "--target", target}).ok());
    const auto files = files_below(target + "/data");
    for (const std::string& owner : {both.a(), both.b()}) {
      CHECK(files.count("certificates/only-of-" + owner + ".crt") == (owner == policy ? 1 : 0));
    }
    const std::string db = files.at("etcd-snapshot.db");
    CHECK(db == both.must_restic({"dump", both.ids_of(policy).back(), "/data/etcd-snapshot.db"}));
    CHECK(db == both.run({"dump", "latest", "/data/etcd-snapshot.db", "--policy", policy}).out);
  }
}

TEST_CASE("two policies on one location: forget keeps of each what the rules say") {
  KUBEDR_NEEDS("kube-apiserver");
  const Both both("forget-of-two", 3);
  REQUIRE(both.records().size() == 6);
  REQUIRE(both.run({"forget", "--policy", both.a(), "--keep-last", "2", "--yes"}).ok());
  CHECK(both.snapshots().size() == 5);
  CHECK(both.snapshots().count(both.ids_of(both.a()).front()) == 0);

  const Json report = both.told({"forget", "--keep-last", "1", "--yes"});
  CHECK(report.at("groups").size() == 2);
  CHECK(report.at("removed").size() == 3);
  const std::string newest_a = both.ids_of(both.a()).back();
  const std::string newest_b = both.ids_of(both.b()).back();
  CHECK(both.snapshots() == Ids{newest_a, newest_b});
  CHECK(both.records() == Ids{short_id(newest_a), short_id(newest_b)});
  const RunResult check = restic("0.18", {"check", "--read-data"}, both.restic_env());
  CHECK_MESSAGE(check.ok(), check.err);
}

TEST_CASE("two policies on one location: stats tells what each has for itself") {
  KUBEDR_NEEDS("kube-apiserver");
  const Both both("stats-of-two", 2);
  const Json stats = both.told({"stats"});
  CAPTURE(stats.dump(2));
  const auto total = stats.at("storedBytes").get<std::uint64_t>();
  REQUIRE(stats.at("policies").size() == 2);
  std::map<std::string, Json> rows;
  for (const Json& row : stats.at("policies")) rows[row.at("policy").get<std::string>()] = row;
  for (const auto& [policy, other] : {std::pair(both.a(), both.b()), {both.b(), both.a()}}) {
    CAPTURE(policy);
    const Json& row = rows.at("kubedr-system/" + policy);
    CHECK(row.at("snapshots") == 2);
    const auto stored = row.at("storedBytes").get<std::uint64_t>();
    const auto own = row.at("exclusiveBytes").get<std::uint64_t>();
    CHECK(own > 0);
    CHECK(own < stored);
    CHECK(stored < total);
    CHECK(row.at("uniqueBytes") < stats.at("uniqueBytes"));
    // Nothing of the whole is nobody's: what the other does not have is ours alone.
    CHECK(total - stored ==
          rows.at("kubedr-system/" + other).at("exclusiveBytes").get<std::uint64_t>());
  }
  CHECK(stats.at("snapshots") == 4);
  CHECK(stats.at("unusedBytes") == 0);
  CHECK(total <= stats.at("packBytes").get<std::uint64_t>());
  // Four snapshots that share nearly all of their pages, in little more than the space of one.
  CHECK(stats.at("compressionRatio").get<double>() ==
        doctest::Approx(stats.at("uniqueBytes").get<double>() / static_cast<double>(total)));
  CHECK(stats.at("compressionRatio").get<double>() >= 1);
  CHECK(stats.at("totalRatio").get<double>() > stats.at("compressionRatio").get<double>());
  const Json theirs = parse_json(both.must_restic({"stats", "--mode", "raw-data", "--json"}), "");
  CHECK(theirs.at("total_size") == total);
  // As if each were sealed without being compressed: 32 bytes more.
  CHECK(theirs.at("total_uncompressed_size").get<std::uint64_t>() ==
        stats.at("uniqueBytes").get<std::uint64_t>() + 32 * stats.at("blobs").get<std::uint64_t>());
}

TEST_CASE("two policies on one location: other groupings keep what restic keeps") {
  KUBEDR_NEEDS("kube-apiserver");
  const Both both("groups-of-two", 2);
  // What others have put there: hosts, paths and tags in every order.
  const TempDir folder;
  const std::string one = folder.write("one", "1");
  const std::string two = folder.write("two", "2");
  const std::vector<Args> others = {
      {one},
      {one, "--host", "elsewhere"},
      {one, two, "--host", "elsewhere"},
      {two, one, "--host", "elsewhere"},
      {one, "--tag", "x,y"},
      {one, "--tag", "y", "--tag", "x"},
      {one, "--tag", "x"},
      {one, "--tag", "kubedr"},
  };
  for (Args args : others) {
    args.insert(args.begin(), "backup");
    both.must_restic(args);
  }
  REQUIRE(both.snapshots().size() == 4 + others.size());

  for (const char* group_by :
       {"host", "paths", "tags", "", "host,paths", "host,tags", "host,paths,tags"}) {
    CAPTURE(group_by);
    for (const Args& keep : {Args{"--keep-last", "1"},
                             {"--keep-last", "2"},
                             {"--keep-last", "1", "--keep-tag", "kubedr"},
                             {"--keep-last", "1", "--keep-tag", "x,y"},
                             {"--keep-last", "1", "--keep-tag", "x", "--keep-tag", "kubedr"},
                             {"--keep-last", "1", "--keep-tag", ""},
                             {"--keep-last", "1", "--keep-tag", "nothing"},
                             {"--keep-daily", "1"}}) {
      CAPTURE(keep);
      const Rules rules{keep, group_by};
      const Ids kept = kept_by_us(both, rules);
      CHECK_FALSE(kept.empty());
      CHECK(kept == kept_by_restic(both, rules));
    }
  }
  CHECK(kept_by_us(both, {{"--keep-tag", "x", "--keep-tag", "kubedr", "--keep-tag", ""}, ""}) ==
        kept_by_restic(both, {{"--keep-tag", "x", "--keep-tag", "kubedr", "--keep-tag", ""}, ""}));
  CHECK(both.snapshots().size() == 4 + others.size());

  // By policy, what others put there is theirs: a group for each of their hosts and paths.
  const Json report = both.told({"forget", "--keep-last", "1", "--dry-run"});
  CHECK(report.at("groups").size() == 2 + 3);
}
