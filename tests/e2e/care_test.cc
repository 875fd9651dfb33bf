// The care of a repository through the years: retention, forget, prune, sync, keys, locks.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <thread>

#include "base/time.h"
#include "e2e/faults.h"
#include "storage/directory_store.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

// Sorted, and shown by doctest.
struct Names : std::vector<std::string> {
  Names() = default;

  Names(std::initializer_list<std::string> of) : std::vector<std::string>(of) {
    std::sort(begin(), end());
  }

  void insert_name(const std::string& name) {
    push_back(name);
    std::sort(begin(), end());
  }
};

std::ostream& operator<<(std::ostream& out, const Names& names) {
  for (const std::string& name : names) out << name << ' ';
  return out;
}

// A policy of the shared control plane that keeps as many backups as it is told.
struct Kept {
  ControlPlane& plane = ControlPlane::shared();
  std::string name;

  // Subcases run a story several times, each with a policy of its own.
  Kept(const std::string& of, int keep) : name(fmt::format("{}-{}", of, next_number())) {
    plane.add_policy(name, {{"retainNumBackups", std::to_string(keep)}});
    REQUIRE(plane.kubedr({"init", name}).ok());
  }

  static int next_number() {
    static int number = 0;
    return ++number;
  }

  RunResult run(std::vector<std::string> args) const { return plane.kubedr(std::move(args)); }

  RunResult kubectl(std::vector<std::string> args) const {
    args.insert(args.end(), {"-n", kNamespace});
    return plane.api().kubectl(args);
  }

  Json backup(std::vector<std::string> flags = {}) const {
    plane.etcd().fill("/kubedr-test/" + name + "/", 20, 3000);
    flags.insert(flags.begin(), {"backup", name, "-o", "json"});
    return parsed(run(flags));
  }

  Names snapshots() const {
    Names ids;
    const Json list = parsed(run({"snapshots", name, "-o", "json"}));
    for (const Json& one : list.at("snapshots")) {
      ids.insert_name(one.at("shortId").get<std::string>());
    }
    return ids;
  }

  Names records() const {
    Names ids;
    const Json list = parsed(kubectl({"get", "metadatabackuprecords", "-o", "json"}));
    for (const Json& item : list.at("items")) {
      if (item.at("spec").at("policy") != name) continue;
      ids.insert_name(item.at("spec").at("snapshotId").get<std::string>());
    }
    return ids;
  }

  RunResult restic(const std::vector<std::string>& args,
                   const std::string& version = "0.18") const {
    return test::restic(version, args, plane.restic_env(name));
  }

  void check_sound() const {
    const RunResult check = restic({"check", "--read-data"});
    CHECK_MESSAGE(check.ok(), check.err);
    CHECK(run({"check", "--location", name, "--read-data"}).ok());
  }
};

// The files that tar(1) finds in an archive.
std::map<std::string, std::string> unpacked(const std::filesystem::path& archive) {
  const TempDir folder;
  REQUIRE(run({"tar", "-xf", archive.string(), "-C", folder.path().string()}).ok());
  return files_below(folder.path());
}

std::string short_id(const Json& backup) {
  return backup.at("snapshotId").get<std::string>().substr(0, 8);
}

}  // namespace

TEST_CASE("retention: beyond retainNumBackups records and snapshots go together") {
  KUBEDR_NEEDS("kube-apiserver");
  const Kept kept("kept-two", 2);
  const std::string first = short_id(kept.backup());
  const std::string second = short_id(kept.backup());
  CHECK(kept.snapshots() == Names{first, second});
  const Json third = kept.backup();
  CHECK(third.at("failedSteps").empty());
  CHECK(third.at("retention").at("removed").size() == 1);
  CHECK(kept.snapshots() == Names{second, short_id(third)});
  CHECK(kept.records() == kept.snapshots());

  SUBCASE("what an earlier run left half done is finished") {
    kept.kubectl({"delete", "metadatabackuprecord", "mbr-" + second});
    const std::string fourth = short_id(kept.backup());
    CHECK(kept.snapshots() == Names{short_id(third), fourth});
  }
  SUBCASE("never means never, and the next one catches up") {
    kept.backup({"--retention", "never"});
    CHECK(kept.snapshots().size() == 3);
    CHECK(kept.backup().at("retention").at("removed").size() == 2);
    CHECK(kept.records() == kept.snapshots());
  }
  SUBCASE("a record of a snapshot that is not there stops it until sync") {
    REQUIRE(kept.restic({"forget", second}).ok());
    const RunResult doubting = kept.run({"backup", kept.name});
    CHECK(doubting.exit.code == 0);
    CHECK(has(doubting.err, "no older backup was removed: record mbr-" + second));
    // `status` goes on saying so, until it works again.
    CHECK(has(kept.run({"status", kept.name}).out, "older backups are not removed: "));
    CHECK(kept.run({"sync", "--location", kept.name}).exit.code == 2);
    CHECK(has(kept.run({"sync", "--location", kept.name, "--dry-run"}).out,
              "remove record mbr-" + second));
    CHECK(kept.run({"sync", "--location", kept.name, "--yes"}).ok());
    CHECK(kept.records() == kept.snapshots());
    CHECK(kept.run({"backup", kept.name}).ok());
    CHECK_FALSE(has(kept.run({"status", kept.name}).out, "older backups are not removed: "));
  }
  SUBCASE("snapshots that vanished with their records stop it once") {
    REQUIRE(kept.restic({"forget", second}).ok());
    REQUIRE(kept.kubectl({"delete", "metadatabackuprecord", "mbr-" + second}).ok());
    const RunResult doubting = kept.run({"backup", kept.name});
    CHECK(has(doubting.err, "no older backup was removed: the repository lists 2 backups"));
    CHECK(has(kept.run({"status", kept.name}).out, "older backups are not removed: "));
    CHECK(kept.backup().at("retention").at("removed").size() == 1);
    CHECK_FALSE(has(kept.run({"status", kept.name}).out, "older backups are not removed: "));
  }
  SUBCASE("other people's snapshots are left alone") {
    REQUIRE(kept.restic({"backup", "/etc/hostname", "--tag", "mine"}).ok());
    kept.backup();
    CHECK(kept.run({"snapshots", "--location", kept.name, "--tag", "mine", "--no-headers"}).out !=
          "");
  }
  kept.check_sound();
}

TEST_CASE("retention: backups of another etcd stop it until --adopt, and stay for good") {
  KUBEDR_NEEDS("kube-apiserver");
  const Kept kept("adopting", 1);
  EtcdServer other;
  const std::vector<std::string> of_other = {"--etcd-endpoint", other.endpoint(), "--any-etcd"};
  const auto backup_of_other = [&](std::vector<std::string> flags = {}) {
    other.fill("/kubedr-test/adopting/", 20, 3000);
    flags.insert(flags.end(), of_other.begin(), of_other.end());
    return kept.backup(std::move(flags));
  };
  const std::string first = short_id(kept.backup());
  const Json second = backup_of_other();
  const Json third = backup_of_other();
  CHECK(kept.snapshots() == Names{first, short_id(second), short_id(third)});
  CHECK(kept.records() == kept.snapshots());
  for (const Json* backup : {&second, &third}) {
    CHECK(backup->at("retention").at("removed").empty());
    CHECK(has(backup->at("retention").dump(), "backups of another etcd"));
  }
  const std::string told = kept.run({"status", kept.name}).out;
  CHECK_MESSAGE(has(told, "kubectl kubedr backup"), told);
  CHECK_MESSAGE(has(told, "--adopt"), told);

  const std::string fourth = short_id(backup_of_other({"--adopt"}));
  CHECK(kept.snapshots() == Names{first, fourth});
  CHECK(kept.records() == kept.snapshots());
  // Once is enough, and the old cluster's last backup is never counted among the new one's.
  const std::string fifth = short_id(backup_of_other());
  CHECK(kept.snapshots() == Names{first, fifth});
  CHECK_FALSE(has(kept.run({"status", kept.name}).out, "--adopt"));
  kept.check_sound();
}

TEST_CASE("retention: while somebody holds a lock the backup is safe and says what waits") {
  KUBEDR_NEEDS("kube-apiserver");
  const Kept kept("kept-one", 1);
  kept.backup();
  // A backup's lock is shared; a process of this host that is alive keeps it from being stale.
  ByteProxy slow(kept.plane.s3().port());
  ProxyRules rules;
  rules.bytes_per_second = 50'000;
  slow.set(rules);
  auto env = kept.plane.restic_env(kept.name);
  TempDir folder;
  std::string noise;
  for (int i = 0; i < 200'000; ++i) noise += std::to_string(i * 7919 % 1'000'003);
  folder.write("noise", noise);
  env["RESTIC_REPOSITORY"] = fmt::format("s3:http://127.0.0.1:{}/{}", slow.port(), kept.name);
  std::jthread theirs([&] { test::restic("0.18", {"backup", folder / "noise"}, env); });
  REQUIRE(eventually([&] { return saw_request(slow, "PUT /" + kept.name + "/locks/"); }));
  ProxyRules stall;
  stall.stall_at = 0;
  slow.set(stall);  // it holds its lock, and gets no further
  const RunResult backup = kept.run({"backup", kept.name, "--retry-lock", "1s", "-o", "json"});
  CHECK(backup.exit.code == 3);
  const Json steps = Json::parse(backup.out).at("failedSteps");
  REQUIRE(steps.size() == 1);
  CHECK(steps[0].at("step") == "retention");
  CHECK(has(steps[0].at("error").get<std::string>(), "already locked"));
  CHECK(kept.run({"prune", "--location", kept.name, "--yes", "--retry-lock", "0"}).exit.code == 11);
  slow.set({});
  theirs.join();
  kept.backup();
  CHECK(kept.records().size() == 1);
  kept.check_sound();
}

TEST_CASE("forget: by name and by rules, the record goes with its snapshot") {
  KUBEDR_NEEDS("kube-apiserver");
  const Kept kept("forgotten", 100);
  std::vector<std::string> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(short_id(kept.backup()));
  const std::vector<std::string> by_rule = {"forget", "--location", kept.name, "--keep-last", "2"};

  const RunResult unasked = kept.run(by_rule);
  CHECK(unasked.exit.code == 2);
  CHECK(has(unasked.err, "--yes"));
  auto dry = by_rule;
  dry.emplace_back("--dry-run");
  CHECK(has(kept.run(dry).out, "2 snapshots would be removed"));
  dry.emplace_back("--prune");
  CHECK(has(kept.run(dry).out, "to be freed:"));
  CHECK(kept.snapshots().size() == 4);

  CHECK(kept.run({"forget", "mbr-" + ids[3], "--location", kept.name, "--yes"}).ok());
  CHECK(kept.snapshots() == Names{ids[0], ids[1], ids[2]});
  CHECK(kept.records() == kept.snapshots());
  auto pruned = by_rule;
  pruned.insert(pruned.end(), {"--prune", "--max-unused", "0", "--yes", "-o", "json"});
  const Json report = parsed(kept.run(pruned));
  CHECK(report.at("removed").size() == 1);
  CHECK(report.at("pruned").at("bytesFreed") > 0);
  CHECK(kept.snapshots() == Names{ids[1], ids[2]});
  CHECK(kept.records() == kept.snapshots());
  CHECK(kept.run({"forget", "ffffffff", "--location", kept.name, "--yes"}).exit.code == 4);
  CHECK(kept.run({"forget", "--location", kept.name}).exit.code == 2);
  CHECK(kept.run({"forget", "--location", kept.name, "--unsafe-allow-remove-all", "--yes"})
            .exit.code == 2);
  CHECK(kept.run({"forget", "--location", kept.name, "--keep-last", "-1"}).exit.code == 2);
  CHECK(kept.run({"prune", "--location", kept.name, "--max-unused", "100%"}).exit.code == 2);
  kept.check_sound();
}

TEST_CASE("sync: records that were lost come back, with the status") {
  KUBEDR_NEEDS("kube-apiserver");
  const Kept kept("synced", 100);
  kept.backup();
  const std::string last = short_id(kept.backup());
  const Names before = kept.records();
  for (const std::string& id : before) {
    kept.kubectl({"delete", "metadatabackuprecord", "mbr-" + id});
  }
  kept.kubectl({"patch", "metadatabackuppolicy", kept.name, "--subresource=status", "--type=merge",
                "-p", R"({"status":null})"});
  CHECK(kept.run({"sync", "--location", kept.name, "--yes"}).ok());
  CHECK(kept.records() == before);
  const Json status = kept.plane.get("metadatabackuppolicy", kept.name).at("status");
  CHECK(status.at("snapshotId") == last);
  CHECK(status.at("backupStatus") == "Completed");
  CHECK(has(kept.run({"sync", "--location", kept.name}).out, "agree"));
}

TEST_CASE("sync: a location whose repository opens says Completed again") {
  KUBEDR_NEEDS("kube-apiserver");
  const Kept kept("relocated", 100);
  kept.backup();
  const auto status = [&] { return kept.plane.get("backuplocation", kept.name).at("status"); };
  const auto finding = [&] {
    return has(kept.run({"status", "backuplocation/" + kept.name, "-o", "json"}).out,
               "init-failed");
  };
  // As operator mode leaves it where somebody made a location anew on a repository that was there.
  CHECK(kept.run({"init", kept.name}).exit.code == 1);
  CHECK(status().at("initStatus") == "Failed");
  CHECK(finding());
  CHECK(has(kept.run({"sync", "--location", kept.name, "--dry-run"}).out,
            "write status of location " + kept.name));
  CHECK(status().at("initStatus") == "Failed");
  CHECK(kept.run({"sync", "--location", kept.name, "--yes"}).ok());
  CHECK(status().at("initStatus") == "Completed");
  CHECK(status().at("initErrorMessage") == "");
  CHECK_FALSE(finding());

  // Made anew from its file: neither status nor annotation.
  REQUIRE(kept.kubectl({"delete", "backuplocation", kept.name}).ok());
  kept.plane.add_location(kept.name);
  CHECK(kept.run({"sync", "--location", kept.name, "--yes"}).ok());
  CHECK(status().at("initStatus") == "Completed");
  CHECK(kept.plane.get("backuplocation", kept.name)
            .at("metadata")
            .at("annotations")
            .at("initialized.annotations.kubedr.catalogicsoftware.com") == "true");
  CHECK(has(kept.run({"sync", "--location", kept.name}).out, "agree"));
}

TEST_CASE("sync, prune: an empty repository beside records is not believed") {
  KUBEDR_NEEDS("kube-apiserver");
  const Kept kept("doubtful", 5);
  kept.backup();
  const std::string last = short_id(kept.backup());
  REQUIRE(kept.restic({"forget", "--unsafe-allow-remove-all", "--tag", "kubedr"}).ok());
  const RunResult sync = kept.run({"sync", "--location", kept.name, "--yes"});
  check_failed(sync, 1, "lists no snapshot of any record of policy " + kept.name);
  check_failed(kept.run({"prune", "--location", kept.name, "--yes"}), 1, "lists no snapshot");
  CHECK(kept.records().size() == 2);
  CHECK(kept.run({"sync", "--location", kept.name, "--yes", "--unsafe-allow-remove-all"}).ok());
  CHECK(kept.records().empty());
  CHECK(kept.run({"prune", "--location", kept.name, "--yes", "--unsafe-allow-remove-all"}).ok());
}

TEST_CASE("restore: a lock that nobody can remove is in nobody's way with --no-lock") {
  const S3Server s3;
  const BareRepository repository(s3, "worst-day");
  REQUIRE(repository.run({"init"}).ok());
  const TempDir folder;
  const std::filesystem::path db = save_database(plain_etcd(), folder / "db");
  REQUIRE(repository.run({"backup", "--no-certs", "--etcd-snapshot", db}).ok());
  const SystemClock clock;
  const HeldLock exclusive(open_bucket(s3, "worst-day", clock), "elsewhere",
                           std::chrono::minutes(1), Exclusive::yes);
  const std::string target = folder / "target";
  CHECK(repository.run({"restore", "latest", "--target", target, "--retry-lock", "0"}).exit.code ==
        11);
  CHECK(repository.run({"restore", "latest", "--target", target, "--no-lock"}).ok());
  CHECK(read_text(target + "/data/etcd-snapshot.db") == read_text(db));
  CHECK(repository.run({"check", "--no-lock"}).ok());
  CHECK(repository
            .run({"backup", "--no-certs", "--no-lock", "--retry-lock", "0", "--etcd-snapshot", db})
            .exit.code == 11);
}

TEST_CASE("keys: an escrow key opens the repository, for restic too, until it is removed") {
  KUBEDR_NEEDS("kube-apiserver");
  const Kept kept("keyed", 100);
  kept.backup();
  TempDir folder;
  folder.write("new-password", "from the safe\n");
  const Json added = parsed(kept.run({"key", "add", "--location", kept.name, "--new-password-file",
                                      folder / "new-password", "--host", "safe", "-o", "json"}));
  auto env = kept.plane.restic_env(kept.name);
  env["RESTIC_PASSWORD"] = "from the safe";
  CHECK(test::restic("0.18", {"check"}, env).ok());
  CHECK(test::restic("0.14", {"snapshots"}, env).ok());
  const Json keys = parsed(kept.run({"key", "list", "--location", kept.name, "-o", "json"}));
  CHECK(keys.at("keys").size() == 2);
  CHECK(has(keys.dump(), R"("hostName":"safe")"));
  const std::string id = added.at("saved").get<std::string>();
  CHECK(kept.run({"key", "remove", id, "--location", kept.name}).exit.code == 2);
  CHECK(kept.run({"key", "remove", id, "--location", kept.name, "--yes"}).ok());
  CHECK(test::restic("0.18", {"snapshots"}, env).exit.code == 12);
  for (const Json& key : keys.at("keys")) {
    if (!key.at("current").get<bool>()) continue;
    CHECK(kept.run({"key", "remove", key.at("id").get<std::string>(), "--location", kept.name,
                    "--yes"})
              .exit.code == 2);
  }
  kept.backup();
}

TEST_CASE("locks: those of processes that are gone are removed, those of the living are not") {
  const S3Server s3;
  const BareRepository repository(s3, "locked");
  REQUIRE(repository.run({"init"}).ok());
  ByteProxy slow(s3.port());
  const std::string through = fmt::format("s3:http://127.0.0.1:{}/locked", slow.port());
  const TempDir folder;
  REQUIRE(repository
              .run({"backup", "--no-certs", "--etcd-snapshot",
                    save_database(plain_etcd(), folder / "db")})
              .ok());
  plain_etcd().fill("/kubedr-test/locked/", 300, 5000);
  save_database(plain_etcd(), folder / "db");
  ProxyRules rules;
  rules.bytes_per_second = 30'000;
  slow.set(rules);
  Process backup =
      repository.start({"backup", "--no-certs", "--etcd-snapshot", folder / "db"}, through);
  REQUIRE(eventually([&] { return saw_request(slow, "PUT /locked/data/"); }));
  CHECK(repository.run({"prune", "--yes", "--retry-lock", "0"}).exit.code == 11);
  CHECK(has(repository.run({"unlock"}).out, "no stale locks"));
  backup.kill(SIGKILL);
  REQUIRE(backup.wait(std::chrono::seconds(10)));
  CHECK(repository.run({"prune", "--yes", "--retry-lock", "0"}).exit.code == 11);
  CHECK(has(repository.run({"unlock"}).out, "successfully removed 1 lock"));
  CHECK(repository.run({"prune", "--yes", "--retry-lock", "0"}).ok());
  repository.check_repository();
}

TEST_CASE("locks: a backup whose lock somebody removes names nothing, and says so") {
  const S3Server s3;
  const BareRepository repository(s3, "unlocked");
  REQUIRE(repository.run({"init"}).ok());
  const TempDir folder;
  plain_etcd().fill("/kubedr-test/unlocked/", 300, 5000);
  const std::string db = save_database(plain_etcd(), folder / "db");
  for (const bool theirs : {true, false}) {
    CAPTURE(theirs);
    ByteProxy slow(s3.port());
    ProxyRules rules;
    rules.bytes_per_second = 30'000;
    slow.set(rules);
    Process backup =
        repository.start({"backup", "--no-certs", "--etcd-snapshot", db, "--retry-lock", "0"},
                         fmt::format("s3:http://127.0.0.1:{}/unlocked", slow.port()));
    REQUIRE(eventually([&] { return saw_request(slow, "PUT /unlocked/data/"); }));
    const RunResult unlocked =
        theirs ? test::restic("0.18", {"unlock", "--remove-all"}, repository.restic_env())
               : repository.run({"unlock", "--remove-all", "--yes"});
    REQUIRE_MESSAGE(unlocked.ok(), unlocked.err);
    slow.set({});
    const std::optional<Exit> end = backup.wait(std::chrono::minutes(1));
    REQUIRE(end);
    CHECK(end->code == 11);
    CHECK_MESSAGE(has(backup.err(), "lock is gone: somebody removed it"), backup.err());
    CHECK(repository.snapshot_ids().empty());
  }
  CHECK(repository.run({"backup", "--no-certs", "--etcd-snapshot", db}).ok());
  CHECK(repository.run({"prune", "--yes"}).ok());
  CHECK(repository.snapshot_ids().size() == 1);
  repository.check_repository();
}

TEST_CASE("locks: a pod's lock is judged by what the API server says of the pod") {
  KUBEDR_NEEDS("kube-apiserver");
  const Kept kept("podlock", 3);
  ControlPlane& plane = kept.plane;
  const auto make_pod = [&](const std::string& name, const std::string& node) {
    plane.apply(fmt::format(R"(
apiVersion: v1
kind: Pod
metadata: {{name: {}, namespace: kubedr-system, labels: {{kubedr.type: backup}}}}
spec: {{nodeName: {}, hostNetwork: true, containers: [{{name: it, image: none}}]}}
)",
                            name, node));
  };
  const auto set_phase = [&](const std::string& name, const std::string& phase,
                             std::chrono::minutes ended = std::chrono::minutes(0)) {
    Json status = {{"phase", phase}};
    if (phase != "Running") {
      const std::string time = format_rfc3339(SystemClock().now() + ended);
      status["containerStatuses"] =
          Json::array({{{"name", "it"},
                        {"ready", false},
                        {"restartCount", 0},
                        {"image", "none"},
                        {"imageID", ""},
                        {"state", {{"terminated", {{"exitCode", 0}, {"finishedAt", time}}}}}}});
    }
    const Json patch = {{"status", status}};
    REQUIRE(kept.kubectl({"patch", "pod", name, "--subresource=status", "--type=merge", "-p",
                          patch.dump()})
                .ok());
  };
  const auto stale = [&] {
    return has(kept.run({"status", kept.name, "--deep"}).out,
               "kubectl kubedr unlock --location " + kept.name);
  };
  const SystemClock clock;
  const auto take_lock = [&](const std::string& host, std::chrono::minutes age) {
    return HeldLock(open_bucket(plane.s3(), kept.name, clock), host, age);
  };

  SUBCASE("its own name, and 31 minutes without a refresh") {
    make_pod(kept.name, "node-7");
    set_phase(kept.name, "Running");
    const HeldLock lock = take_lock(kept.name, std::chrono::minutes(31));
    CHECK(has(kept.run({"unlock", "--location", kept.name}).out, "kept "));
    CHECK_FALSE(stale());
    set_phase(kept.name, "Failed");
    CHECK(stale());
    CHECK(has(kept.run({"unlock", "--location", kept.name}).out, "removed 1 lock"));
    CHECK_FALSE(stale());
  }
  SUBCASE("a pod that has ended needs no lock, however young that is") {
    make_pod(kept.name, "node-7");
    const HeldLock lock = take_lock(kept.name, std::chrono::minutes(1));
    // One that ended before the lock was taken is not the one that holds it.
    set_phase(kept.name, "Succeeded", std::chrono::minutes(-5));
    CHECK(has(kept.run({"unlock", "--location", kept.name}).out, "kept "));
    set_phase(kept.name, "Succeeded");
    CHECK(has(kept.run({"unlock", "--location", kept.name}).out, "removed 1 lock"));
  }
  SUBCASE("what a killed pod leaves is in nobody's way, and what a living one holds is") {
    make_pod(kept.name, "node-7");
    set_phase(kept.name, "Running");
    const HeldLock lock = take_lock(kept.name, std::chrono::minutes(1));
    const std::vector<std::string> prune = {"prune", "--location",   kept.name,
                                            "--yes", "--retry-lock", "0"};
    CHECK(kept.run(prune).exit.code == 11);
    set_phase(kept.name, "Failed");
    const RunResult pruned = kept.run(prune);
    CHECK_MESSAGE(pruned.ok(), pruned.err);
    CHECK_MESSAGE(has(pruned.err, "removed the lock "), pruned.err);
    CHECK(has(pruned.err, "root@" + kept.name));
  }
  SUBCASE("the name of the node, as operator mode's restic has it") {
    make_pod(kept.name, "node-of-" + kept.name);
    set_phase(kept.name, "Running");
    const HeldLock lock = take_lock("node-of-" + kept.name, std::chrono::minutes(31));
    CHECK(has(kept.run({"unlock", "--location", kept.name}).out, "kept "));
    set_phase(kept.name, "Succeeded");
    // Whose it was is not known then, and it was written a moment ago.
    CHECK(has(kept.run({"unlock", "--location", kept.name}).out, "kept "));
  }
  SUBCASE("a host that is no pod is judged by when its lock was written last") {
    // As an old restic leaves it, which refreshes a lock with the time it had at first.
    const HeldLock lock = take_lock("bob-laptop", std::chrono::minutes(31));
    CHECK(has(kept.run({"unlock", "--location", kept.name}).out, "kept "));
    CHECK_FALSE(stale());
  }
}

TEST_CASE("locks: one that nobody wrote for half an hour is stale, by restic's word too") {
  const TempDir folder;
  const BareRepository repository(folder / "repo");
  REQUIRE(repository.run({"init"}).ok());
  SystemRandom random;
  const HeldLock lock(std::make_unique<storage::DirectoryStore>(folder / "repo", random),
                      "elsewhere", std::chrono::minutes(31), Exclusive::yes);
  CHECK(has(repository.run({"unlock"}).out, "kept "));
  const std::vector<std::string> prune = {"prune", "--yes", "--retry-lock", "0"};
  CHECK(repository.run(prune).exit.code == 11);
  for (const auto& file : std::filesystem::directory_iterator(folder / "repo/locks")) {
    std::filesystem::last_write_time(
        file, std::filesystem::file_time_type::clock::now() - std::chrono::minutes(31));
  }
  SUBCASE("unlock removes it") {
    CHECK(has(repository.run({"unlock"}).out, "removed 1 lock"));
  }
  SUBCASE("a verb that finds it in its way removes it, and says so") {
    const RunResult pruned = repository.run(prune);
    CHECK_MESSAGE(pruned.ok(), pruned.err);
    CHECK(has(pruned.err, "removed the lock "));
  }
}

TEST_CASE("ls, dump and stats: say what is there") {
  const TempDir folder;
  const BareRepository repository(folder / "repo");
  REQUIRE(repository.run({"init"}).ok());
  const std::filesystem::path db = save_database(plain_etcd(), folder / "db");
  REQUIRE(repository.run({"backup", "--no-certs", "--etcd-snapshot", db}).ok());
  const RunResult listed = repository.run({"ls", "latest"});
  CHECK(listed.out == "/data\n/data/etcd-snapshot.db\n");
  CHECK(repository.run({"ls", "latest", "/"}).out == "/data\n");
  CHECK(has(repository.run({"ls", "latest", "/", "--recursive", "-l"}).out,
            std::to_string(std::filesystem::file_size(db))));
  const Json nodes =
      parsed(repository.run({"ls", "latest", "/data/etcd-snapshot.db", "-o", "json"}));
  REQUIRE(nodes.at("nodes").size() == 1);
  CHECK(nodes.at("nodes")[0].at("size") == std::filesystem::file_size(db));
  const RunResult dumped = repository.run({"dump", "latest", "/data/etcd-snapshot.db"});
  CHECK(dumped.ok());
  CHECK(dumped.out == read_text(db));
  CHECK(repository.run({"dump", "latest", "/data/nothing"}).exit.code == 4);
  const RunResult archive =
      repository.run({"dump", "latest", "/data", "--target", folder / "data.tar"});
  CHECK(archive.ok());
  const RunResult theirs =
      test::restic("0.18", {"dump", "latest", "/data"}, repository.restic_env());
  CHECK(unpacked(folder / "data.tar") == unpacked(folder.write("theirs.tar", theirs.out)));
  CHECK(unpacked(folder / "data.tar").at("data/etcd-snapshot.db") == read_text(db));
  const Json stats = parsed(repository.run({"stats", "-o", "json"}));
  CHECK(stats.at("snapshots") == 1);
  CHECK(stats.at("restoreBytes") == std::filesystem::file_size(db));
  CHECK(stats.at("unusedBytes") == 0);
  CHECK(stats.at("packBytes") > stats.at("storedBytes"));
}

TEST_CASE("check: damage is named, exit 5, and restic agrees") {
  const TempDir folder;
  const BareRepository repository(folder / "repo");
  REQUIRE(repository.run({"init"}).ok());
  const std::filesystem::path db = save_database(plain_etcd(), folder / "db");
  REQUIRE(repository.run({"backup", "--no-certs", "--etcd-snapshot", db}).ok());
  CHECK(has(repository.run({"check", "--read-data"}).out, "no errors were found"));
  std::filesystem::path largest;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(folder / "repo" / "data")) {
    if (!entry.is_regular_file()) continue;
    if (largest.empty() || entry.file_size() > std::filesystem::file_size(largest)) {
      largest = entry.path();
    }
  }
  std::filesystem::permissions(largest, std::filesystem::perms::owner_all);
  std::string bytes = read_text(largest);
  bytes[bytes.size() / 2] ^= 1;
  std::ofstream(largest, std::ios::binary) << bytes;
  CHECK(repository.run({"check"}).ok());
  const RunResult damaged = repository.run({"check", "--read-data"});
  CHECK(damaged.exit.code == 5);
  CHECK(has(damaged.out, largest.filename().string()));
  CHECK(has(damaged.out, "cannot be restored in full"));
  CHECK_FALSE(test::restic("0.18", {"check", "--read-data"}, repository.restic_env()).ok());
  std::filesystem::remove(largest);
  CHECK(repository.run({"check"}).exit.code == 5);
  CHECK(repository.run({"prune", "--yes"}).exit.code == 22);
  CHECK(repository.run({"repair", "index"}).ok());
  // What is left can be added to: the same data is stored again, and all is well.
  REQUIRE(repository.run({"backup", "--no-certs", "--etcd-snapshot", db}).ok());
  CHECK(repository.run({"check", "--read-data"}).ok());
  repository.check_repository();
}
