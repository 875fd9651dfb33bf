// What a verb costs in requests to S3, which is what it costs in time where the store is far away.
// lib/README.md states these numbers.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "e2e/faults.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

using Args = std::vector<std::string>;

// A repository whose requests are counted.
class Counted {
 public:
  Counted() { save_database(plain_etcd(), db()); }

  std::filesystem::path db() const { return folder_ / "db"; }

  // A database that differs from the one before.
  void change() {
    plain_etcd().fill("/kubedr-test/budget/", 20, 2000);
    save_database(plain_etcd(), db());
  }

  RunResult must(Args args) {
    args.insert(args.end(),
                {"--repo", fmt::format("s3:http://127.0.0.1:{}/bucket", proxy_.port())});
    auto env = BareRepository(s3_, "bucket").env();
    env["XDG_CACHE_HOME"] = (folder_ / fmt::format("cache-{}", cache_)).string();
    CAPTURE(args.front());
    RunResult result = test::kubedr(args, env);
    REQUIRE_MESSAGE(result.ok(), result.err);
    return result;
  }

  void empty_cache() { ++cache_; }

  RunResult check_cost(const std::string& what, const Args& args, std::size_t stated) {
    const std::size_t before = proxy_.requests().size();
    RunResult result = must(args);
    std::vector<std::string> requests = proxy_.requests();
    requests.erase(requests.begin(), requests.begin() + static_cast<std::ptrdiff_t>(before));
    CAPTURE(what);
    CAPTURE(stated);
    CHECK_MESSAGE(requests.size() <= stated, summary(requests));
    return result;
  }

 private:
  // "8 GET snapshots": how often what was asked for.
  static std::string summary(const std::vector<std::string>& requests) {
    std::map<std::string, int> counts;
    for (std::string line : requests) {
      // The end of the body before may stand in front of it.
      for (const char* method : {"GET /", "PUT /", "HEAD /", "DELETE /"}) {
        if (const std::size_t at = line.rfind(method); at != std::string::npos) line.erase(0, at);
      }
      const std::string method = line.substr(0, line.find(' '));
      const std::size_t prefix = line.find("prefix=");
      std::string what = line.substr(line.find("/bucket/") + 8);
      if (prefix != std::string::npos) what = "list " + line.substr(prefix + 7);
      ++counts[method + " " + what.substr(0, what.find_first_of("/%"))];
    }
    std::string text = std::to_string(requests.size()) + " requests:";
    for (const auto& [what, count] : counts) text += fmt::format(" {} {},", count, what);
    return text;
  }

  S3Server s3_;
  ByteProxy proxy_{s3_.port()};
  TempDir folder_;
  int cache_ = 0;
};

// What verbs have in common. A list has a thousand files.
constexpr std::size_t kList = 1;
constexpr std::size_t kOpen = 3;        // the config, the list of keys, the key
constexpr std::size_t kLock = 4;        // the locks there are, ours, the locks again; ours away
constexpr std::size_t kLookAtLock = 1;  // before something is named or deleted
constexpr std::size_t kTreePack = 2;    // its size, then all of it, to be kept

// Each backup leaves a snapshot, an index file, a pack of data and one of trees; in the end each
// pack of data holds some of the database's pages.
constexpr std::size_t kBackups = 8;

std::size_t count_of(const Json& figures, const std::string& what) {
  return figures.at(what).at("count").get<std::size_t>();
}

}  // namespace

TEST_CASE("budgets: requests of each verb, with an empty cache and with a filled one") {
  KUBEDR_NEEDS("minio");
  Counted counted;
  // Made is a bucket, in it config and key; what is there is looked at before and after, and the
  // repository opened.
  counted.check_cost("init", {"init"}, 3 + 2 + kList + kList + 2 + kList + 1 + kOpen);
  const Args backup = {"backup", "--no-certs", "--etcd-snapshot", counted.db().string()};
  for (std::size_t i = 0; i < kBackups; ++i) {
    counted.change();
    counted.must(backup);
  }
  counted.empty_cache();
  counted.check_cost("snapshots, cold", {"snapshots"}, kOpen + kList + kBackups);
  counted.check_cost("snapshots, warm", {"snapshots"}, kOpen + kList);

  const TempDir targets;
  const auto into = [&](const char* name) {
    return Args{"restore", "latest", "--target", (targets / name).string()};
  };
  const std::size_t restore = kOpen + kLock + kList + kList + kBackups;
  counted.empty_cache();
  counted.check_cost("restore, cold", into("cold"), restore + 2 * kBackups + kTreePack);
  counted.check_cost("restore, warm", into("warm"), restore);
  counted.check_cost("dump, warm", {"dump", "latest", "/data/etcd-snapshot.db"}, restore);

  // No cache counts for who wants to know how the store is. The keys are looked at once more, and
  // so is every lock, ours among them; of each snapshot there are two trees.
  const std::size_t check =
      kOpen + 2 + kLock + 2 + kList + kBackups + kList + kBackups + kList + 2 * kBackups;
  counted.check_cost("check", {"check"}, check);
  counted.check_cost("check --read-data", {"check", "--read-data"}, check + 2 * kBackups);

  // The packs are listed, and the snapshots again, by retention; stored are trees, index, snapshot.
  const std::size_t same =
      kOpen + kLock + kList + kList + kList + kTreePack + 2 * kLookAtLock + 3 + kList;
  counted.empty_cache();
  counted.check_cost("backup of the same, cold", backup, same + 2 * kBackups);
  counted.check_cost("backup of the same, warm", backup, same);

  const std::size_t forget = kOpen + kLock + kList + kLookAtLock + 1;
  counted.empty_cache();
  counted.check_cost("forget one, cold", {"forget", "--keep-last", "9", "--yes"},
                     forget + kBackups + 2);
  counted.check_cost("forget one, warm", {"forget", "--keep-last", "8", "--yes"}, forget);

  const Args prune = {"prune", "--max-unused", "0", "-o", "json"};
  const auto with = [&](const char* flag) {
    Args args = prune;
    args.emplace_back(flag);
    return args;
  };
  const RunResult planned = counted.must(with("--dry-run"));
  const Json plan = parse_json(planned.out, "prune").at("plan");
  const std::size_t repacked = count_of(plan, "packsRepacked");
  REQUIRE(repacked > 0);
  // Indexes, snapshots and packs are listed, and in the end the indexes again. Two backups were
  // taken since, and two forgotten. What is repacked becomes one pack, named by one index.
  const std::size_t nothing = kOpen + kLock + kList + kList + kList;
  counted.empty_cache();
  counted.check_cost("prune, cold", with("--yes"),
                     nothing + kBackups + 2 + kBackups + kBackups * kTreePack + 4 * kLookAtLock +
                         2 + kList + 2 * repacked + count_of(plan, "packsRemoved") +
                         plan.at("indexFilesRewritten").get<std::size_t>());
  counted.check_cost("prune with nothing to do, warm", {"prune", "--yes"}, nothing);

  // Of the two backups of the same no index file is left to speak of, but one may be.
  const std::size_t indexes = kBackups + 2;
  const auto check_both = [&](const std::string& what, const Args& args, std::size_t warm,
                              std::size_t cold) {
    counted.empty_cache();
    counted.check_cost(what + ", cold", args, warm + cold);
    counted.check_cost(what + ", warm", args, warm);
  };
  const std::size_t look = kOpen + kLock + kList + kList;
  check_both("ls", {"ls", "latest"}, look, indexes + kBackups + kTreePack);
  check_both("stats", {"stats"}, look + kList, indexes + kBackups + kBackups * kTreePack);
  // No lock is taken, the locks and keys there are are looked at, and the packs.
  check_both("status --deep", {"status", "--deep"}, kOpen + 2 + 4 * kList,
             indexes + kBackups + kTreePack);
  // The snapshots once more under its lock.
  check_both("sync", {"sync", "--yes"}, look, kBackups);
  counted.check_cost("key list", {"key", "list"}, kOpen + 2);
  const TempDir folder;
  const std::string password = folder.write("password", "another password");
  // It is proven by opening the repository with it, when there are two.
  const RunResult added =
      counted.check_cost("key add", {"key", "add", "--new-password-file", password, "-o", "json"},
                         kOpen + kLock + kList + 1 + kOpen + 1);
  const std::string key = parse_json(added.out, "key add").at("saved").get<std::string>();
  counted.check_cost("key remove", {"key", "remove", key, "--yes"},
                     kOpen + 1 + kLock + kList + kLookAtLock + 1);
  counted.check_cost("unlock", {"unlock"}, kOpen + kList);
  counted.check_cost("repair index", {"repair", "index", "--yes"}, look + indexes);
  counted.must({"ls", "latest"});
  counted.change();
  counted.check_cost("backup of a change, warm", backup, same + 1);
}
