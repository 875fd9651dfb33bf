// SIGKILL before and after every request to S3, one run for each: nothing that was reported may be
// lost, and the next run works.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/sha256.h"
#include "e2e/faults.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

// Copies a repository from one bucket to another, which must be faster than making it again.
void copy_bucket(const S3Server& s3, const std::string& from, const std::string& to) {
  const SystemClock clock;
  const Call call = Call(clock).within(std::chrono::seconds(30));
  const auto source = open_bucket(s3, from, clock);
  const auto target = open_bucket(s3, to, clock);
  target->create(call);
  const auto copy = [&](const storage::FileName& name) {
    const Bytes bytes = source->load(name, std::size_t{1} << 28, call);
    target->save(name, bytes, sha256(bytes), storage::SaveMode::replace, call);
  };
  copy({storage::FileKind::config, {}});
  for (const auto kind : {storage::FileKind::key, storage::FileKind::pack, storage::FileKind::index,
                          storage::FileKind::snapshot}) {
    std::vector<std::string> ids;
    source->list(
        kind, [&](const storage::FileInfo& info) { ids.push_back(info.id); }, call);
    for (const std::string& id : ids) copy({kind, id});
  }
}

class Sweep {
 public:
  explicit Sweep(const S3Server& s3) : s3_(s3), proxy_(s3.port()) {}

  // Kills the verb at each of its requests, each time on a repository of its own that is like the
  // one in bucket `model` (empty: none at all); `verify` looks at what is left. Returns how many
  // points there were.
  int run(const std::string& name, const std::string& model, const std::vector<std::string>& verb,
          const std::function<void(const BareRepository&)>& verify) {
    int points = 0;
    for (const bool before : {true, false}) {
      for (int request = 1;; ++request) {
        const std::string bucket = fmt::format("{}-{}", name, ++number_);
        if (!model.empty()) copy_bucket(s3_, model, bucket);
        const BareRepository repository(s3_, bucket);
        ProxyRules rules;
        (before ? rules.kill_before_request : rules.kill_after_request) = request;
        proxy_.set_victim(0);
        proxy_.set(rules);
        Process victim = repository.start(verb, through(repository));
        proxy_.set_victim(victim.pid());
        const auto end = victim.wait(std::chrono::seconds(60));
        REQUIRE(end);
        proxy_.set({});
        CAPTURE(name);
        CAPTURE(before);
        CAPTURE(request);
        if (!model.empty()) check_left_sound(repository.restic_env());
        verify(repository);
        if (end->signal != SIGKILL) {
          CHECK_MESSAGE(end->code == 0, victim.err());
          break;
        }
        ++points;
      }
    }
    MESSAGE(name << ": " << points << " points");
    return points;
  }

 private:
  std::string through(const BareRepository& repository) const {
    const std::string& url = repository.url();
    return fmt::format("s3:http://127.0.0.1:{}{}", proxy_.port(), url.substr(url.rfind('/')));
  }

  const S3Server& s3_;
  ByteProxy proxy_;
  int number_ = 0;
};

struct Databases {
  TempDir folder;
  std::filesystem::path first = save_database(plain_etcd(), folder / "first.db");
  std::filesystem::path second;

  Databases() {
    plain_etcd().fill("/kubedr-test/crash/", 20, 2000);
    second = save_database(plain_etcd(), folder / "second.db");
  }
};

void back_up(const BareRepository& repository, const std::filesystem::path& db) {
  const RunResult result = repository.run({"backup", "--no-certs", "--etcd-snapshot", db});
  REQUIRE_MESSAGE(result.ok(), result.err);
}

// Every snapshot that is listed can be read to its last byte, and restic finds no fault.
void check_sound(const BareRepository& repository, std::size_t snapshots) {
  const RunResult check = repository.run({"check", "--read-data", "-o", "json"});
  REQUIRE_MESSAGE(check.ok(), check.out, check.err);
  CHECK(Json::parse(check.out).at("snapshots") == snapshots);
  const RunResult theirs = restic("0.18", {"check"}, repository.restic_env());
  CHECK_MESSAGE(theirs.ok(), theirs.out, theirs.err);
}

// As it was left, with the dead one's lock in it.
void check_listed(const BareRepository& repository, const std::vector<std::string>& reported) {
  const std::vector<std::string> listed = repository.snapshot_ids();
  for (const std::string& id : reported) {
    CHECK(std::find(listed.begin(), listed.end(), id) != listed.end());
  }
}

bool opens(const BareRepository& repository, const std::string& password) {
  std::map<std::string, std::string> env = repository.env();
  env["RESTIC_PASSWORD"] = password;
  return test::kubedr({"--repo", repository.url(), "key", "list"}, env).ok();
}

// The dead one's lock is ours to remove; then the verb works.
void check_next_works(const BareRepository& repository, const std::vector<std::string>& verb) {
  CHECK(repository.run({"unlock"}).ok());
  const RunResult next = repository.run(verb);
  CHECK_MESSAGE(next.ok(), next.err);
}

using Verb = std::vector<std::string>;

}  // namespace

TEST_CASE("killed at any request: backup, forget, prune, key add, key remove") {
  const S3Server s3;
  const Databases databases;
  Sweep sweep(s3);
  int points = 0;

  // One snapshot, two, and one with the waste of the other.
  const BareRepository one(s3, "one");
  REQUIRE(one.run({"init"}).ok());
  back_up(one, databases.first);
  copy_bucket(s3, "one", "two");
  const BareRepository two(s3, "two");
  back_up(two, databases.second);
  copy_bucket(s3, "two", "waste");
  const BareRepository waste(s3, "waste");
  const Verb forget = {"forget", "--keep-last", "1", "--yes"};
  REQUIRE(waste.run(forget).ok());

  const Verb backup = {"backup", "--no-certs", "--etcd-snapshot", databases.second};
  points += sweep.run("backup", "one", backup, [&](const BareRepository& repository) {
    check_listed(repository, one.snapshot_ids());
    const std::size_t before = repository.snapshot_ids().size();
    // The dead one's lock is shared, and so in no backup's way.
    Verb at_once = backup;
    at_once.insert(at_once.end(), {"--retry-lock", "0"});
    const RunResult next = repository.run(at_once);
    CHECK_MESSAGE(next.ok(), next.err);
    CHECK(repository.run({"unlock"}).ok());
    check_sound(repository, before + 1);
  });
  points += sweep.run("forget", "two", forget, [&](const BareRepository& repository) {
    check_listed(repository, waste.snapshot_ids());
    check_next_works(repository, forget);
    check_sound(repository, 1);
  });
  const Verb prune = {"prune", "--max-unused", "0", "--yes"};
  points += sweep.run("prune", "waste", prune, [&](const BareRepository& repository) {
    check_listed(repository, waste.snapshot_ids());
    check_next_works(repository, prune);
    check_sound(repository, 1);
  });

  TempDir secrets;
  secrets.write("password", "escrow");
  const Verb add = {"key", "add", "--new-password-file", secrets / "password"};
  points += sweep.run("key-add", "one", add, [&](const BareRepository& repository) {
    check_next_works(repository, {"key", "list"});
    // A key that is there opens: none is ever half written.
    const Json keys = parsed(repository.run({"key", "list", "-o", "json"})).at("keys");
    CHECK(opens(repository, "escrow") == (keys.size() == 2));
    check_sound(repository, 1);
  });
  copy_bucket(s3, "one", "keys");
  const BareRepository keys(s3, "keys");
  const std::string id =
      parsed(keys.run({"key", "add", "--new-password-file", secrets / "password", "-o", "json"}))
          .at("saved");
  points += sweep.run(
      "key-remove", "keys", {"key", "remove", id, "--yes"}, [&](const BareRepository& repository) {
        check_next_works(repository, {"key", "list"});
        const Json left = parsed(repository.run({"key", "list", "-o", "json"})).at("keys");
        CHECK(opens(repository, "escrow") == (left.size() == 2));
        check_sound(repository, 1);
      });
  MESSAGE(points << " points in all");
  CHECK(points > 80);
  CHECK(restic("0.18", {"check", "--read-data"}, two.restic_env()).ok());
}

TEST_CASE("killed at any request: init, and the next one makes a good repository") {
  const S3Server s3;
  Sweep sweep(s3);
  const int points = sweep.run("init", "", {"init"}, [](const BareRepository& repository) {
    CHECK(repository.run({"init", "--if-needed"}).ok());
    CHECK(restic("0.18", {"cat", "config"}, repository.restic_env()).ok());
    CHECK(repository.run({"snapshots"}).ok());
  });
  CHECK(points > 10);
}
