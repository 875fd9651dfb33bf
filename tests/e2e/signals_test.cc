// Signals, closed streams and terminals, and a store that goes away, before and after the point
// from which a backup counts.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <pty.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <thread>

#include "base/file.h"
#include "e2e/faults.h"
#include "storage/directory_store.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Slow enough that an upload takes half a minute, quick enough for the small requests.
constexpr std::uint64_t kSlow = 60'000;

std::string server_at(const ByteProxy& proxy) {
  return fmt::format("https://127.0.0.1:{}", proxy.port());
}

ProxyRules stalled() {
  ProxyRules rules;
  rules.stall_at = 0;
  return rules;
}

// A policy whose S3 and API server are reached through proxies.
struct Held {
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy;
  ByteProxy s3{plane.s3().port()};
  ByteProxy api{plane.api().port()};

  explicit Held(const std::string& name) : policy(plane, name) {
    plane.add_location(name, fmt::format("http://127.0.0.1:{}", s3.port()));
  }

  std::vector<std::string> command() const {
    return {"backup", policy.name(), "--kubeconfig=" + plane.api().kubeconfig().string(),
            "--server=" + server_at(api)};
  }

  // Enough new data that a slow S3 holds the upload.
  void grow() { plane.etcd().fill("/kubedr-test/" + policy.name() + "/", 300, 5000); }

  bool uploading() const { return saw_request(s3, "PUT /" + policy.name() + "/data/"); }

  // Of a backup that S3 was stalled for from the beginning: one answer after the other is let go,
  // until that of this request is there, which stays held.
  void hold_answer_to(const std::string& request, const Process& backup) {
    for (std::uint64_t seen = 0;; s3.set(stalled())) {
      const auto is_there = [&] { return s3.counts().bytes_to_client > seen; };
      REQUIRE_MESSAGE(eventually(is_there, seconds(60)), "S3's next answer: ", backup.err());
      if (has(s3.requests().back(), request)) return;
      seen = s3.counts().bytes_to_client;
    }
  }
};

std::ptrdiff_t locks_of(const Held& held) {
  const RunResult locks =
      restic("0.18", {"list", "locks", "--no-lock"}, held.plane.restic_env(held.policy.name()));
  REQUIRE_MESSAGE(locks.ok(), locks.err);
  return std::count(locks.out.begin(), locks.out.end(), '\n');
}

void check_no_lock(const Held& held) {
  CHECK(locks_of(held) == 0);
}

using Requests = std::vector<std::string>;

// A verb, and how its requests to S3 so far tell that it is in the midst of its work.
struct AtWork {
  std::vector<std::string> verb;
  std::function<bool(const Requests&)> is_told;
};

std::function<bool(const Requests&)> by(const std::string& request) {
  return [request](const Requests& requests) {
    return std::any_of(requests.begin(), requests.end(),
                       [&](const std::string& line) { return has(line, request); });
  };
}

// Names of files below a folder in which somebody works.
std::vector<std::string> names_below(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code gone;
  for (auto at = std::filesystem::recursive_directory_iterator(folder, gone);
       !gone && at != std::filesystem::recursive_directory_iterator(); at.increment(gone)) {
    if (at->is_regular_file(gone)) names.push_back(at->path().filename().string());
  }
  return names;
}

std::vector<std::string> as_first_process(const std::vector<std::string>& args) {
  std::vector<std::string> argv = {"unshare", "--pid", "--fork", "--kill-child", KUBEDR_BINARY};
  argv.insert(argv.end(), args.begin(), args.end());
  return argv;
}

pid_t only_child_of(const Process& process) {
  pid_t child = 0;
  std::istringstream(read_text(fmt::format("/proc/{0}/task/{0}/children", process.pid()))) >> child;
  REQUIRE(child > 0);
  return child;
}

// How it ended on a signal that came then.
RunResult interrupted(ControlPlane& plane, ByteProxy& s3, const AtWork& at_work, int signal) {
  ProxyRules slow;
  slow.delay = milliseconds(200);
  slow.bytes_per_second = kSlow;
  s3.set(slow);
  std::vector<std::string> args = at_work.verb;
  args.insert(args.end(), {"--no-cache", "--kubeconfig=" + plane.api().kubeconfig().string()});
  const auto before = static_cast<std::ptrdiff_t>(s3.requests().size());
  Process process = start_kubedr(args);
  const auto is_at_work = [&] {
    const Requests all = s3.requests();
    return at_work.is_told(Requests(all.begin() + before, all.end()));
  };
  REQUIRE_MESSAGE(eventually(is_at_work, seconds(120)), process.err());
  process.kill(signal);
  const auto end = process.wait(seconds(60));
  REQUIRE(end);
  s3.set({});
  return {*end, process.out(), process.err(), "", false};
}

// The init of a location whose S3 takes two seconds for each answer.
class HeldInit {
 public:
  enum class Then { go_on, stall };

  HeldInit(ControlPlane& plane, const std::string& name)
      : plane_(plane), name_(name), s3_(plane.s3().port()) {
    plane_.add_location(name_, fmt::format("http://127.0.0.1:{}", s3_.port()));
    ProxyRules slow;
    slow.latency = seconds(2);  // a machine at work needs one of them to see a request and signal
    s3_.set(slow);
  }

  // How it ended on a signal that came so long after S3 was asked that, and before it answered.
  RunResult ended_at(const std::string& request, int signal, milliseconds later = milliseconds(0),
                     Then then = Then::go_on) {
    Process process =
        start_kubedr({"init", name_, "--kubeconfig=" + plane_.api().kubeconfig().string()});
    REQUIRE_MESSAGE(eventually([&] { return saw_request(s3_, request); }, seconds(120)),
                    process.err());
    if (later.count() > 0) {
      free();
      std::this_thread::sleep_for(later);
    }
    if (then == Then::stall) s3_.set(stalled());
    process.kill(signal);
    if (then == Then::go_on) free();
    const auto end = process.wait(seconds(60));
    REQUIRE(end);
    return {*end, process.out(), process.err(), "", false};
  }

  void free() { s3_.set({}); }

 private:
  ControlPlane& plane_;
  const std::string name_;
  ByteProxy s3_;
};

// The location says so, and restic opens its repository by the one key there is.
void check_initialized(ControlPlane& plane, const std::string& name) {
  const Json object = plane.get("backuplocation", name);
  CHECK(object.at("status").at("initStatus") == "Completed");
  CHECK(object.at("status").at("initErrorMessage") == "");
  CHECK(object.at("metadata")
            .at("annotations")
            .at("initialized.annotations.kubedr.catalogicsoftware.com") == "true");
  const RunResult theirs = restic("0.18", {"list", "keys"}, plane.restic_env(name));
  CHECK_MESSAGE(theirs.ok(), theirs.err);
  CHECK(theirs.out.size() == 64 + 1);
}

// Of a backup that is held while it uploads; `pid` is the program's.
void check_hangups_are_survived(Held& held, Process& backup, pid_t pid) {
  for (int i = 0; i < 3; ++i) ::kill(pid, SIGHUP);
  CHECK_FALSE(backup.wait(seconds(1)));
  held.s3.set({});
  const auto end = backup.wait(seconds(60));
  REQUIRE(end);
  CHECK_MESSAGE(end->code == 0, backup.err());
  CHECK(held.policy.status().at("backupStatus") == "Completed");
}

}  // namespace

TEST_CASE("signals: before the commit point Ctrl-C and SIGTERM end a backup within seconds") {
  KUBEDR_NEEDS("kube-apiserver");
  for (const auto& [signal, code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    CAPTURE(signal);
    Held held(fmt::format("ended-{}", code));
    held.grow();
    ProxyRules rules;
    rules.bytes_per_second = kSlow;
    held.s3.set(rules);
    Process backup = start_kubedr(held.command());
    REQUIRE_MESSAGE(eventually([&] { return held.uploading(); }), backup.err());
    const auto begin = std::chrono::steady_clock::now();
    backup.kill(signal);
    const auto end = backup.wait(seconds(30));
    REQUIRE(end);
    CHECK(std::chrono::steady_clock::now() - begin < seconds(12));
    CAPTURE(backup.err());
    CHECK(end->code == code);
    CHECK(backup.out() == "");
    CHECK(has(backup.err(), code == 130 ? "error: interrupted" : "error: terminated"));
    held.policy.check_failure_is_published(code == 130 ? "interrupted" : "terminated");
    check_no_lock(held);
    held.s3.set({});
    held.policy.check_next_backup_works();
  }
}

TEST_CASE(
    "signals: whatever is at work ends with the signal's code, and nothing is left half done") {
  KUBEDR_NEEDS("kube-apiserver");
  for (const auto& [signal, code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    const std::string name = fmt::format("broken-off-{}", code);
    Held held(name);
    for (int i = 0; i < 2; ++i) {
      held.grow();
      REQUIRE(held.policy.backup().ok());
    }
    const TempDir folder;
    const std::string target = (folder / "target").string();
    const auto in_work = [&](const Requests&) {
      const std::vector<std::string> names = names_below(target);
      return std::any_of(names.begin(), names.end(),
                         [](const std::string& one) { return one.ends_with(".part"); });
    };
    const auto reads_packs = by("GET /" + name + "/data/");
    // What forget leaves is prune's work.
    const std::vector<AtWork> verbs = {
        {{"restore", "latest", "--policy", name, "--target", target}, in_work},
        {{"check", "--location", name, "--read-data"}, reads_packs},
        {{"sync", "--location", name, "--yes"}, by("GET /" + name + "/snapshots/")},
        {{"forget", "--location", name, "--keep-last", "1", "--yes"},
         by("DELETE /" + name + "/snapshots/")},
        {{"prune", "--location", name, "--max-unused", "0", "--yes"}, reads_packs}};
    for (const AtWork& at_work : verbs) {
      CAPTURE(at_work.verb.front());
      const RunResult ended = interrupted(held.plane, held.s3, at_work, signal);
      CAPTURE(ended.err);
      check_no_lock(held);
      // One that has removed something already must tell of it.
      if (at_work.verb.front() == "forget" && has(ended.out, "1 snapshot removed")) {
        CHECK(ended.exit.code == 3);
      } else {
        CHECK(ended.exit.code == code);
        CHECK(ended.out == "");
        CHECK(has(ended.err, code == 130 ? "error: interrupted" : "error: terminated"));
      }
      if (at_work.verb.front() == "restore") {
        CHECK_FALSE(in_work({}));
        CHECK_FALSE(std::filesystem::exists(target + "/data/etcd-snapshot.db"));
        std::filesystem::remove_all(target);
      }
      const RunResult again = held.plane.kubedr(at_work.verb);
      CHECK_MESSAGE(again.ok(), again.err);
    }
    CHECK(held.policy.snapshot_ids().size() == 1);
    held.policy.check_repository();
  }
}

TEST_CASE("signals: an init that is ended says Failed, and the next one makes the repository") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  for (const auto& [signal, code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    const std::string name = fmt::format("init-ended-{}", code);
    HeldInit held(plane, name);
    // Its config is on the way.
    const RunResult ended = held.ended_at("PUT /" + name + "/config", signal);
    CAPTURE(ended.err);
    CHECK(ended.exit.code == code);
    CHECK(ended.out == "");
    const std::string why = code == 130 ? "interrupted" : "terminated";
    const Json status = plane.get("backuplocation", name).at("status");
    CHECK(status.at("initStatus") == "Failed");
    CHECK(has(status.at("initErrorMessage").get<std::string>(), why));
    const std::vector<Json> events = plane.events_of(name);
    REQUIRE(events.size() == 1);
    CHECK(events[0].at("reason") == "InitFailed");
    CHECK(has(events[0].at("message").get<std::string>(), why));

    const RunResult next = plane.kubedr({"init", name});
    CHECK_MESSAGE(next.ok(), next.err);
    check_initialized(plane, name);
  }
}

TEST_CASE("signals: an init that is ended once its config is written finishes, and says so") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  // While the key is on its way, and while it waits for the init of somebody else to show.
  for (const milliseconds later : {milliseconds(0), milliseconds(1500)}) {
    for (const int signal : {SIGINT, SIGTERM}) {
      const std::string name = fmt::format("init-done-{}-{}", signal, later.count());
      CAPTURE(name);
      HeldInit held(plane, name);
      const RunResult ended = held.ended_at("PUT /" + name + "/keys/", signal, later);
      CHECK_MESSAGE(ended.exit.code == 0, ended.err);
      CHECK_MESSAGE(has(ended.out, name + " initialized: repository "), ended.out);
      CHECK_FALSE(has(ended.err, "error:"));
      check_initialized(plane, name);
      const std::vector<Json> events = plane.events_of(name);
      REQUIRE(events.size() == 1);
      CHECK(events[0].at("reason") == "InitSucceeded");
    }
  }
}

TEST_CASE("signals: an init that is ended, and whose S3 is gone then, tells what finishes it") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  HeldInit held(plane, "init-cut-off");
  const RunResult ended =
      held.ended_at("PUT /init-cut-off/keys/", SIGTERM, milliseconds(0), HeldInit::Then::stall);
  CAPTURE(ended.err);
  CHECK(ended.exit.code == 20);
  CHECK(has(ended.err, "error: "));
  CHECK(has(ended.err, "\n  `init --if-needed` finishes what was begun\n"));
  CHECK(plane.get("backuplocation", "init-cut-off").at("status").at("initStatus") == "Failed");
  held.free();
  const RunResult next = plane.kubedr({"init", "init-cut-off", "--if-needed"});
  CHECK_MESSAGE(next.ok(), next.err);
  check_initialized(plane, "init-cut-off");
}

TEST_CASE("signals: SIGTERM ends a backup whose etcd fell silent in the midst of its stream") {
  KUBEDR_NEEDS("kube-apiserver");
  Held held("silent-stream");
  held.grow();
  ByteProxy etcd(held.plane.etcd().port());
  ProxyRules rules;
  rules.stall_at = 1'000'000;  // far behind every other answer, and what grew alone is longer
  etcd.set(rules);
  std::vector<std::string> command = held.command();
  command.insert(command.end(), {"--etcd-endpoint", server_at(etcd)});
  Process backup = start_kubedr(command);
  REQUIRE_MESSAGE(eventually([&] { return etcd.counts().bytes_to_client > *rules.stall_at; }),
                  backup.err());
  backup.kill(SIGTERM);
  const auto end = backup.wait(seconds(30));  // by itself it would wait for a minute
  REQUIRE(end);
  CAPTURE(backup.err());
  CHECK(end->code == 143);
  CHECK(backup.out() == "");
  CHECK(has(backup.err(), "error: terminated"));
  held.policy.check_failure_is_published("terminated");
  check_no_lock(held);
  held.policy.check_next_backup_works();
}

TEST_CASE("signals: Ctrl-C ends the wait for somebody's lock, and nothing has changed") {
  const TempDir folder;
  const BareRepository repository((folder / "repository").string());
  REQUIRE(repository.run({"init"}).ok());
  for (int i = 0; i < 2; ++i) REQUIRE(repository.run({"backup"}).ok());
  SystemRandom random;
  const HeldLock lock(std::make_unique<storage::DirectoryStore>(folder / "repository", random),
                      "elsewhere", std::chrono::minutes(1), Exclusive::yes);
  const auto before = files_below(folder / "repository");
  const std::vector<std::vector<std::string>> verbs = {
      {"backup"}, {"forget", "--keep-last", "1", "--yes"}, {"prune", "--yes"}};
  for (std::vector<std::string> verb : verbs) {
    CAPTURE(verb.front());
    verb.insert(verb.end(), {"--retry-lock", "10m", "-v"});
    Process waiting = repository.start(verb);
    REQUIRE_MESSAGE(waiting.wait_for("waiting for it", seconds(60)), waiting.err());
    waiting.kill(SIGINT);
    const auto end = waiting.wait(seconds(30));
    REQUIRE(end);
    CAPTURE(waiting.err());
    CHECK(end->code == 130);
    CHECK(waiting.out() == "");
    CHECK(has(waiting.err(), "error: interrupted"));
    CHECK(files_below(folder / "repository") == before);
  }
}

TEST_CASE("signals: a second Ctrl-C ends it at once") {
  KUBEDR_NEEDS("kube-apiserver");
  Held held("twice-ended");
  held.grow();
  ProxyRules rules;
  rules.bytes_per_second = kSlow;
  held.s3.set(rules);
  Process backup = start_kubedr(held.command());
  REQUIRE_MESSAGE(eventually([&] { return held.uploading(); }), backup.err());
  held.s3.set(stalled());
  held.api.set(stalled());
  backup.kill(SIGINT);
  CHECK_FALSE(backup.wait(milliseconds(500)));
  backup.kill(SIGINT);
  const auto end = backup.wait(seconds(3));
  REQUIRE(end);
  CHECK(end->code == 130);
  held.s3.set({});
  held.policy.check_next_backup_works();
}

TEST_CASE("signals: Ctrl-C while nothing answers ends it within the grace") {
  KUBEDR_NEEDS("kube-apiserver");
  Held held("all-stalled");
  held.grow();
  ProxyRules rules;
  rules.bytes_per_second = kSlow;
  held.s3.set(rules);
  Process backup = start_kubedr(held.command());
  REQUIRE_MESSAGE(eventually([&] { return held.uploading(); }), backup.err());
  held.s3.set(stalled());
  held.api.set(stalled());
  const auto begin = std::chrono::steady_clock::now();
  backup.kill(SIGTERM);
  const auto end = backup.wait(seconds(60));
  REQUIRE(end);
  CHECK(end->code == 143);
  const auto took = std::chrono::steady_clock::now() - begin;
  CHECK(std::chrono::duration_cast<milliseconds>(took).count() < 25'000);
  CHECK(held.policy.snapshot_ids().size() == 1);
}

TEST_CASE("signals: after the commit point the backup counts, whatever is still to be told") {
  KUBEDR_NEEDS("kube-apiserver");
  for (const int signal : {SIGINT, SIGTERM}) {
    CAPTURE(signal);
    Held held(fmt::format("committed-{}", signal));
    ProxyRules slow;
    slow.delay = milliseconds(250);
    held.s3.set(slow);
    Process backup = start_kubedr(held.command());
    const std::string name = held.policy.name();
    REQUIRE_MESSAGE(
        eventually([&] { return saw_request(held.s3, "PUT /" + name + "/snapshots/"); }),
        backup.err());
    held.api.set(stalled());
    // Once the lock is given back, the snapshot was stored.
    REQUIRE(eventually([&] { return saw_request(held.s3, "DELETE /" + name + "/locks/"); }));
    const auto begin = std::chrono::steady_clock::now();
    backup.kill(signal);
    const auto end = backup.wait(seconds(40));
    REQUIRE(end);
    CHECK(std::chrono::steady_clock::now() - begin < seconds(15));
    CAPTURE(backup.err());
    CHECK(end->code == 3);
    for (const char* step : {"record", "status", "event"}) {
      CHECK(has(backup.err(), fmt::format("warning: {} failed", step)));
    }
    CHECK(has(backup.out(), "backed up: snapshot"));
    CHECK(held.policy.snapshot_ids().size() == 2);
    CHECK(held.policy.status().at("backupStatus") == "Completed");
    held.policy.check_repository();
  }
}

TEST_CASE("signals: after the commit point a second Ctrl-C ends it at once, and it counts") {
  KUBEDR_NEEDS("kube-apiserver");
  Held held("twice-committed");
  held.s3.set(stalled());
  Process backup = start_kubedr(held.command());
  held.hold_answer_to("PUT /twice-committed/snapshots/", backup);
  const std::uint64_t heard = held.api.counts().bytes_to_client;
  held.api.set(stalled());
  held.s3.set({});
  // The lock was given back, and what the API server says next is held.
  REQUIRE_MESSAGE(eventually([&] {
                    return saw_request(held.s3, "DELETE /twice-committed/locks/") &&
                           held.api.counts().bytes_to_client > heard;
                  }),
                  backup.err());
  // Those that come before the first one is taken are one to the kernel.
  std::optional<Exit> end;
  REQUIRE(eventually([&] {
    backup.kill(SIGINT);
    end = backup.wait(milliseconds(20));
    return end.has_value();
  }));
  CAPTURE(backup.err());
  CHECK(end->code == 3);
  // Not at the end of the grace, of which it would have told.
  CHECK(backup.out() == "");
  CHECK_FALSE(has(backup.err(), "warning: record failed"));
  CHECK(held.policy.snapshot_ids().size() == 2);
  held.policy.check_next_backup_works();
}

TEST_CASE("after the commit point a store that refuses everything costs the unlock, and no more") {
  KUBEDR_NEEDS("kube-apiserver");
  Held held("not-unlocked");
  const std::string& name = held.policy.name();
  held.s3.set(stalled());
  std::vector<std::string> command = held.command();
  command.insert(command.end(), {"-o", "json"});
  Process backup = start_kubedr(command);
  held.hold_answer_to("PUT /" + name + "/snapshots/", backup);
  ProxyRules refusing;
  refusing.unknown_header = "host";  // every request has it
  held.s3.set(refusing);
  const auto end = backup.wait(seconds(60));
  REQUIRE(end);
  CAPTURE(backup.err());
  CHECK(end->code == 3);
  const Json report = parse_json(backup.out(), "stdout");
  REQUIRE(report.at("failedSteps").size() == 1);
  const Json& failed = report.at("failedSteps")[0];
  CHECK(failed.at("step") == "unlock");
  CHECK(has(failed.at("error").get<std::string>(), "501"));
  const std::string remedy = failed.at("remedy").get<std::string>();
  CHECK(has(remedy, "the lock ends by itself after 30 minutes; kubectl kubedr unlock removes it"));
  CHECK(has(backup.err(), "warning: unlock failed: "));
  CHECK(has(backup.err(), remedy));

  const std::vector<std::string> ids = held.policy.snapshot_ids();
  REQUIRE(ids.size() == 2);
  CHECK(ids.back() == report.at("snapshotId"));
  const std::string record = report.at("record").get<std::string>();
  CHECK(held.plane.get("metadatabackuprecord", record).at("spec").at("policy") == name);
  CHECK(held.policy.status().at("backupStatus") == "Completed");
  CHECK(held.policy.status().at("mbrName") == record);
  CHECK(held.policy.events("BackupSucceeded") == 2);
  CHECK(locks_of(held) == 1);

  // It is shared, and so in no backup's way; whose it was is no more, which `unlock` sees.
  held.s3.set({});
  const RunResult next = held.policy.backup({"--retry-lock", "0"});
  CHECK_MESSAGE(next.ok(), next.err);
  CHECK(locks_of(held) == 1);
  const RunResult unlocked = held.plane.kubedr({"unlock", "--location", name});
  CHECK_MESSAGE(has(unlocked.out, "removed 1 lock"), unlocked.out, unlocked.err);
  held.policy.check_repository();
}

TEST_CASE("signals: after the commit point the rest is done when it can be") {
  KUBEDR_NEEDS("kube-apiserver");
  Held held("finishes");
  ProxyRules slow;
  slow.delay = milliseconds(250);
  held.s3.set(slow);
  Process backup = start_kubedr(held.command());
  REQUIRE_MESSAGE(eventually([&] { return saw_request(held.s3, "DELETE /finishes/locks/"); }),
                  backup.err());
  backup.kill(SIGTERM);
  const auto end = backup.wait(seconds(20));
  REQUIRE(end);
  CHECK_MESSAGE(end->code == 0, backup.err());
  CHECK(held.policy.events("BackupSucceeded") == 2);
  CHECK(held.policy.snapshot_ids().size() == 2);
}

TEST_CASE("signals: what is said of a backup that is interrupted while it commits is true") {
  KUBEDR_NEEDS("kube-apiserver");
  Held held("at-the-point");
  ProxyRules slow;
  slow.delay = milliseconds(400);
  held.s3.set(slow);
  Process backup = start_kubedr(held.command());
  REQUIRE_MESSAGE(eventually([&] { return saw_request(held.s3, "PUT /at-the-point/snapshots/"); }),
                  backup.err());
  backup.kill(SIGINT);
  const auto end = backup.wait(seconds(30));
  REQUIRE(end);
  CAPTURE(backup.err());
  const bool stored = held.policy.snapshot_ids().size() == 2;
  CHECK((end->code == 0 || end->code == 3 || end->code == 130));
  CHECK(stored == (end->code != 130));
  CHECK(held.policy.status().at("backupStatus") == (stored ? "Completed" : "Failed"));
}

TEST_CASE("signals: SIGHUP is survived") {
  KUBEDR_NEEDS("kube-apiserver");
  Held held("hung-up");
  held.grow();
  ProxyRules rules;
  rules.bytes_per_second = kSlow;
  held.s3.set(rules);
  Process backup = start_kubedr(held.command());
  REQUIRE_MESSAGE(eventually([&] { return held.uploading(); }), backup.err());
  check_hangups_are_survived(held, backup, backup.pid());
}

TEST_CASE("signals: nobody reads what a backup says, and it counts all the same") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "unread");
  const std::string flags =
      fmt::format("backup unread --kubeconfig={}", plane.api().kubeconfig().string());
  // Without a stream of its own number, the next file or connection that is opened gets it.
  const std::vector<std::pair<std::string, int>> commands = {
      {"{} | true; exit ${{PIPESTATUS[0]}}", 0},
      {"{} -o json | true; exit ${{PIPESTATUS[0]}}", 0},
      {"{} -v=9 2>&1 | true; exit ${{PIPESTATUS[0]}}", 0},
      {"{} -v=9 2>&-", 0},
      {"{} -v=9 >&- 2>&-", 0},
      {"{} >/dev/full", 3},
      {"{} -v=9 <&- >&- 2>&-", 0},
  };
  std::size_t good = 1;
  for (const auto& [pattern, code] : commands) {
    CAPTURE(pattern);
    const std::string line =
        fmt::format(fmt::runtime(pattern), std::string(KUBEDR_BINARY) + " " + flags);
    const RunResult result = run({"bash", "-c", line});
    CAPTURE(result.err);
    CHECK(result.exit.code == code);
    CHECK(policy.snapshot_ids().size() == ++good);
    CHECK(policy.status().at("backupStatus") == "Completed");
  }
  CHECK(policy.events("BackupSucceeded") == static_cast<int>(good));
  policy.check_repository();
}

TEST_CASE("signals: closed streams do not write into a repository's files") {
  const TempDir folder;
  const BareRepository repository((folder / "repository").string());
  REQUIRE(repository.run({"init"}).ok());
  const std::string line = fmt::format("{} backup --repo {} --etcd-endpoint {} -v=9 <&- >&- 2>&-",
                                       KUBEDR_BINARY, repository.url(), plain_etcd().endpoint());
  ProcessOptions options;
  options.env = repository.env();
  run({"bash", "-c", line}, options);
  CHECK(repository.snapshot_ids().size() == 1);
  repository.check_repository();
}

TEST_CASE("signals: a terminal that is closed does not end a backup") {
  KUBEDR_NEEDS("kube-apiserver");
  Held held("closed-terminal");
  held.grow();
  ProxyRules rules;
  rules.bytes_per_second = kSlow;
  held.s3.set(rules);

  int ours = -1;
  int theirs = -1;
  std::array<char, 128> name{};
  REQUIRE(openpty(&ours, &theirs, name.data(), nullptr, nullptr) == 0);
  FileDescriptor terminal(ours);
  // Else the program would keep it open itself.
  REQUIRE(fcntl(ours, F_SETFD, FD_CLOEXEC) == 0);
  REQUIRE(fcntl(theirs, F_SETFD, FD_CLOEXEC) == 0);
  std::vector<std::string> argv = {"sh", "-c",
                                   "exec 0<>\"$0\" 1>&0 2>&0; exec setsid --ctty --wait \"$@\"",
                                   name.data(), KUBEDR_BINARY};
  for (const std::string& arg : held.command()) argv.push_back(arg);
  Process backup(argv);
  close(theirs);
  REQUIRE(eventually([&] { return held.uploading(); }));
  terminal = FileDescriptor();  // SIGHUP, and every write fails from now on
  CHECK_FALSE(backup.wait(seconds(1)));
  held.s3.set({});
  const auto end = backup.wait(seconds(60));
  REQUIRE(end);
  CHECK(end->code == 3);  // its result could not be written, as on a full disk
  CHECK(held.policy.snapshot_ids().size() == 2);
  CHECK(held.policy.status().at("backupStatus") == "Completed");
  CHECK(held.policy.events("BackupSucceeded") == 2);
}

// The kernel keeps from process 1 every signal that it has no handler for.
TEST_CASE("signals: as process 1 of a container it ends on SIGINT and SIGTERM, too") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS_RIGHT(run({"unshare", "--pid", "--fork", "--kill-child", "true"}).ok(),
                     "make a pid namespace");
  for (const auto& [signal, code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    CAPTURE(signal);
    Held held(fmt::format("first-process-{}", code));
    held.grow();
    ProxyRules rules;
    rules.bytes_per_second = kSlow;
    held.s3.set(rules);
    Process backup(as_first_process(held.command()));
    REQUIRE_MESSAGE(eventually([&] { return held.uploading(); }), backup.err());
    ::kill(only_child_of(backup), signal);
    const auto end = backup.wait(seconds(20));
    REQUIRE(end);
    CHECK_MESSAGE(end->code == code, backup.err());
    held.policy.check_failure_is_published(code == 130 ? "interrupted" : "terminated");
    check_no_lock(held);
    held.s3.set({});
    held.policy.check_next_backup_works();
  }
}

TEST_CASE("signals: as process 1 of a container it survives SIGHUP, too") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS_RIGHT(run({"unshare", "--pid", "--fork", "--kill-child", "true"}).ok(),
                     "make a pid namespace");
  Held held("first-hung-up");
  held.grow();
  ProxyRules rules;
  rules.bytes_per_second = kSlow;
  held.s3.set(rules);
  Process backup(as_first_process(held.command()));
  REQUIRE_MESSAGE(eventually([&] { return held.uploading(); }), backup.err());
  check_hangups_are_survived(held, backup, only_child_of(backup));
}

TEST_CASE("signals: as process 1 of a container, after the commit point the rest is done, too") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS_RIGHT(run({"unshare", "--pid", "--fork", "--kill-child", "true"}).ok(),
                     "make a pid namespace");
  Held held("first-finishes");
  ProxyRules slow;
  slow.delay = milliseconds(250);
  held.s3.set(slow);
  Process backup(as_first_process(held.command()));
  REQUIRE_MESSAGE(eventually([&] { return saw_request(held.s3, "DELETE /first-finishes/locks/"); }),
                  backup.err());
  ::kill(only_child_of(backup), SIGTERM);
  const auto end = backup.wait(seconds(20));
  REQUIRE(end);
  CHECK_MESSAGE(end->code == 0, backup.err());
  CHECK(held.policy.events("BackupSucceeded") == 2);
  CHECK(held.policy.snapshot_ids().size() == 2);
}
