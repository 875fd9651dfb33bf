// Everybody at once on one repository: our backups, forgets and prunes and restic's, in every
// pairing. Each side must get its turn, and no snapshot that was reported may lack a byte.
// KUBEDR_STRESS_TURNS says how many turns each must have, 20 if it says nothing; a thousand take a
// night.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "base/error.h"
#include "e2e/faults.h"
#include "s3/s3_store.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

constexpr std::size_t kKept = 4;
constexpr auto kPause = std::chrono::milliseconds(150);
constexpr auto kPatience = std::chrono::seconds(24);  // for each turn

int turns() {
  const char* text = std::getenv("KUBEDR_STRESS_TURNS");
  return text == nullptr ? 20 : std::stoi(text);
}

// Databases that have most of their pages in common, so that packs come to be used in part.
const std::vector<std::filesystem::path>& databases() {
  static const TempDir folder;
  static const std::vector<std::filesystem::path> files = [] {
    std::vector<std::filesystem::path> saved;
    for (int i = 0; i < 6; ++i) {
      plain_etcd().fill(fmt::format("/kubedr-test/stress-{}/", i), 10, 30'000);
      saved.push_back(save_database(plain_etcd(), folder / fmt::format("{}.db", i)));
    }
    return saved;
  }();
  return files;
}

// What has been reported as stored, and what somebody asked to forget.
class Reported {
 public:
  void add(const std::string& id, const std::filesystem::path& source) {
    const std::lock_guard guard(mutex_);
    alive_.emplace_back(id, source);
  }

  // The oldest, if there are more than the few that stay; from now on it may be gone.
  std::optional<std::string> surplus() {
    const std::lock_guard guard(mutex_);
    if (alive_.size() <= kKept) return std::nullopt;
    std::string id = alive_.front().first;
    alive_.erase(alive_.begin());
    return id;
  }

  const std::vector<std::pair<std::string, std::filesystem::path>>& alive() const { return alive_; }

 private:
  std::mutex mutex_;
  std::vector<std::pair<std::string, std::filesystem::path>> alive_;  // by time
};

// Looks at the repository's locks all the while: what was held or wanted at the same time.
class LockWatch {
 public:
  LockWatch(const S3Server& s3, const std::string& bucket) : store_(open(s3, bucket)) {
    watch_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
  }

  int overlaps() const { return overlaps_; }

 private:
  std::unique_ptr<s3::S3Store> open(const S3Server& s3, const std::string& bucket) const {
    s3::S3Options options;
    options.address = s3::make_address(s3.url(), bucket);
    options.credentials = {s3.access_key(), Secret(s3.secret_key()), Secret()};
    options.user_agent = "kubedr-test";
    return std::make_unique<s3::S3Store>(std::move(options), clock_);
  }

  void watch(const std::stop_token& stop) {
    std::set<std::string> before;
    while (!stop.stop_requested()) {
      std::set<std::string> now;
      try {
        store_->list(
            storage::FileKind::lock, [&](const storage::FileInfo& info) { now.insert(info.id); },
            Call(clock_).within(std::chrono::seconds(30)));
      } catch (const Error&) {  // a bad moment of the server: looked at again
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        continue;
      }
      if (now.size() > 1 && now != before) ++overlaps_;
      before = std::move(now);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }

  const SystemClock clock_;
  std::unique_ptr<s3::S3Store> store_;
  std::atomic<int> overlaps_{0};
  std::jthread watch_;
};

// One of the two that work on the repository side by side.
class Worker {
 public:
  Worker(const BareRepository& repository, Reported& reported)
      : repository_(repository), reported_(reported) {}

  virtual ~Worker() = default;

  // One attempt; false when it was only refused because of somebody else's lock.
  virtual bool turn(int number) = 0;

  int repacked = 0;
  int refused = 0;  // by somebody else's lock
  std::vector<std::string> failures;

 protected:
  // A lock in the way ends it at once, and the next attempt follows: a wait would leave the
  // repository to the other one for many turns.
  RunResult kubedr(std::vector<std::string> args) const {
    args.insert(args.end(), {"--retry-lock", "0", "--yes"});
    return repository_.run(args);
  }

  // Whether it went well; what is neither that nor a lock in the way is a failure.
  bool judge(const RunResult& result) {
    if (result.ok()) return true;
    // restic before 0.17 ends with 1 and says it, as it does to this day.
    if (result.exit.code == 11 || has(result.err, "already locked")) {
      ++refused;
    } else {
      failures.push_back(fmt::format("exit {}: {}{}", result.exit.code, result.out, result.err));
    }
    return false;
  }

  // One that is too many. That of an attempt that was refused is tried again, and once it is gone
  // the prune that follows has its turn before the next.
  bool forget(const std::function<RunResult(std::vector<std::string>)>& program) {
    if (forgotten_) return true;
    if (!to_forget_) to_forget_ = reported_.surplus();
    if (to_forget_ && !judge(program({"forget", *to_forget_}))) return false;
    to_forget_.reset();
    forgotten_ = true;
    return true;
  }

  void pruned(bool repacked_some) {
    if (repacked_some) ++repacked;
    forgotten_ = false;
  }

  static const std::filesystem::path& database(int number) {
    return databases()[static_cast<std::size_t>(number) % databases().size()];
  }

  // A folder with one file that all later backups have too, and one that none has: each pack is
  // used in part once its backup is forgotten, and has to be packed anew.
  const std::filesystem::path& passing_folder(int number) {
    folder_.write(fmt::format("passing/lasting-{}", number), noise(20'000));
    folder_.write("passing/noise", noise(60'000));
    passing_ = folder_ / "passing";
    return passing_;
  }

  const BareRepository& repository_;
  Reported& reported_;

 private:
  std::string noise(std::size_t size) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random_());
    return bytes;
  }

  std::optional<std::string> to_forget_;
  bool forgotten_ = false;  // and not pruned yet
  TempDir folder_;
  std::filesystem::path passing_;
  std::mt19937 random_{std::random_device()()};  // the device itself takes seconds for a file
};

class OurBackup final : public Worker {
 public:
  using Worker::Worker;

  bool turn(int number) override {
    const RunResult result = kubedr({"backup", "--certs-dir", passing_folder(number),
                                     "--etcd-snapshot", database(number), "-o", "json"});
    if (!judge(result)) return false;
    reported_.add(Json::parse(result.out).at("snapshotId"), database(number));
    return true;
  }
};

class OurPrune final : public Worker {
 public:
  using Worker::Worker;

  bool turn(int /*number*/) override {
    if (!forget([this](auto args) { return kubedr(std::move(args)); })) return false;
    const RunResult result = kubedr({"prune", "--max-unused", "0", "-o", "json"});
    if (!judge(result)) return false;
    pruned(Json::parse(result.out).at("plan").at("packsRepacked").at("count") > 0);
    return true;
  }
};

class Restic : public Worker {
 public:
  Restic(const BareRepository& repository, Reported& reported, std::string version)
      : Worker(repository, reported), version_(std::move(version)) {}

 protected:
  RunResult restic(std::vector<std::string> args) const {
    return test::restic(version_, args, repository_.restic_env());
  }

 private:
  const std::string version_;
};

class ResticBackup final : public Restic {
 public:
  using Restic::Restic;

  bool turn(int number) override {
    const RunResult result = restic({"backup", "--json", database(number), passing_folder(number)});
    if (!judge(result)) return false;
    const std::string line = result.out.substr(result.out.rfind("{\"message_type\":\"summary\""));
    const std::string id = Json::parse(line).at("snapshot_id");
    reported_.add(id, database(number));
    return true;
  }
};

class ResticPrune final : public Restic {
 public:
  using Restic::Restic;

  bool turn(int /*number*/) override {
    if (!forget([this](auto args) { return restic(std::move(args)); })) return false;
    const RunResult result = restic({"prune", "--max-unused", "0"});
    if (!judge(result)) return false;
    pruned(has(result.out, "repacking packs"));
    return true;
  }
};

// Both go on until each has had its turns. Returns how often one's success followed the other's:
// a lock that excludes cannot be seen beside another, but both must get in.
int run_side_by_side(Worker& one, Worker& other) {
  std::atomic<int> unfinished{2};
  std::atomic<Worker*> last{nullptr};
  std::atomic<int> changes{0};
  const auto end = std::chrono::steady_clock::now() + turns() * kPatience;
  const auto work = [&](Worker& worker) {
    int done = 0;
    for (int number = 0; unfinished > 0 && std::chrono::steady_clock::now() < end; ++number) {
      const bool done_it = worker.turn(number);
      std::this_thread::sleep_for(kPause);  // or they refuse each other all the time
      if (!done_it) continue;
      if (last.exchange(&worker) != &worker) ++changes;
      if (++done == turns()) --unfinished;
    }
    if (done < turns()) worker.failures.push_back(fmt::format("only {} turns", done));
  };
  {
    const std::jthread beside([&] { work(other); });
    work(one);
  }
  return changes;
}

// The database that a snapshot has: of ours as of restic's the only file of such a name.
std::string restored_database(const BareRepository& repository, const std::string& id) {
  const TempDir target;
  const RunResult restored =
      repository.run({"restore", id, "--include", "*.db", "--target", target / "it"});
  CHECK_MESSAGE(restored.ok(), restored.err);
  for (const auto& file : std::filesystem::recursive_directory_iterator(target / "it")) {
    if (file.is_regular_file()) return read_text(file.path());
  }
  return "none";
}

// Each snapshot that was reported and that nobody asked to forget is there, and has every byte.
void check_nothing_is_lost(const BareRepository& repository, const Reported& reported) {
  const RunResult check = repository.run({"check", "--read-data"});
  CHECK_MESSAGE(check.ok(), check.out, check.err);
  repository.check_repository();
  const std::vector<std::string> listed = repository.snapshot_ids();
  std::map<std::filesystem::path, std::string> contents;
  for (const std::filesystem::path& database : databases()) {
    contents[database] = read_text(database);
  }
  for (const auto& [id, source] : reported.alive()) {
    CAPTURE(id);
    // restic 0.14 tells the first eight digits only.
    CHECK(std::any_of(listed.begin(), listed.end(),
                      [&](const std::string& one) { return one.starts_with(id); }));
    const bool same = restored_database(repository, id) == contents.at(source);
    CHECK(same);
  }
}

enum class Role { our_backup, our_prune, restic_backup, restic_prune };

std::unique_ptr<Worker> make_worker(Role role, const BareRepository& repository, Reported& reported,
                                    const std::string& version) {
  switch (role) {
  case Role::our_backup:
    return std::make_unique<OurBackup>(repository, reported);
  case Role::our_prune:
    return std::make_unique<OurPrune>(repository, reported);
  case Role::restic_backup:
    return std::make_unique<ResticBackup>(repository, reported, version);
  case Role::restic_prune:
    return std::make_unique<ResticPrune>(repository, reported, version);
  }
  return nullptr;
}

bool prunes(Role role) {
  return role == Role::our_prune || role == Role::restic_prune;
}

struct Pairing {
  std::string name;
  Role one;
  Role other;
  std::string restic;
};

}  // namespace

TEST_CASE("stress: our backups and prunes and restic's, in every pairing") {
  const S3Server s3;
  for (const Pairing& pairing :
       {Pairing{"backup-backup", Role::our_backup, Role::our_backup, "0.18"},
        Pairing{"backup-prune", Role::our_backup, Role::our_prune, "0.18"},
        Pairing{"prune-prune", Role::our_prune, Role::our_prune, "0.18"},
        Pairing{"backup-restic-backup-14", Role::our_backup, Role::restic_backup, "0.14"},
        Pairing{"backup-restic-backup-18", Role::our_backup, Role::restic_backup, "0.18"},
        Pairing{"backup-restic-prune-14", Role::our_backup, Role::restic_prune, "0.14"},
        Pairing{"backup-restic-prune-18", Role::our_backup, Role::restic_prune, "0.18"},
        Pairing{"prune-restic-backup-14", Role::our_prune, Role::restic_backup, "0.14"},
        Pairing{"prune-restic-backup-18", Role::our_prune, Role::restic_backup, "0.18"},
        Pairing{"prune-restic-prune-14", Role::our_prune, Role::restic_prune, "0.14"},
        Pairing{"prune-restic-prune-18", Role::our_prune, Role::restic_prune, "0.18"}}) {
    CAPTURE(pairing.name);
    const auto begin = std::chrono::steady_clock::now();
    const BareRepository repository(s3, pairing.name);
    REQUIRE(repository.run({"init"}).ok());
    Reported reported;
    OurBackup before(repository, reported);
    // Two prunes alone would have nothing to do after the first.
    const bool both_prune = prunes(pairing.one) && prunes(pairing.other);
    for (int i = 0; i < (both_prune ? 2 * turns() + 4 : 2); ++i) REQUIRE(before.turn(i));
    const auto one = make_worker(pairing.one, repository, reported, pairing.restic);
    const auto other = make_worker(pairing.other, repository, reported, pairing.restic);
    int overlaps = 0;
    int changes = 0;
    {
      const LockWatch watch(s3, pairing.name);
      changes = run_side_by_side(*one, *other);
      overlaps = watch.overlaps();
    }
    for (const Worker* worker : {one.get(), other.get()}) {
      for (const std::string& failure : worker->failures) FAIL_CHECK(failure);
    }
    // Who prunes locks others out: that they met shows in who was sent away.
    const int refusals = one->refused + other->refused;
    if (!prunes(pairing.one) && !prunes(pairing.other)) CHECK(overlaps >= 5);
    CHECK(overlaps + refusals >= 5);
    CHECK(changes >= 10);
    if (prunes(pairing.one) || prunes(pairing.other)) CHECK(one->repacked + other->repacked >= 5);
    check_nothing_is_lost(repository, reported);
    const auto took = std::chrono::steady_clock::now() - begin;
    MESSAGE(fmt::format(
        "{}: {} overlaps of locks, {} refusals, {} changes of turn, {} prunes repacked, {} "
        "snapshots restored, {} s",
        pairing.name, overlaps, refusals, changes, one->repacked + other->repacked,
        reported.alive().size(), std::chrono::duration_cast<std::chrono::seconds>(took).count()));
  }
}
