// Objects of every generation: what older versions, operator mode and other people's tools left in
// a cluster, ten thousand records, the longest names, texts in any script.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/hex.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "e2e/faults.h"
#include "support/scripted_server.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

constexpr char kGroup[] = "kubedr.catalogicsoftware.com";

// A control plane whose API server writes down what it was asked for.
struct World {
  static World& shared() {
    static World world;
    return world;
  }

  TempDir folder;
  const std::filesystem::path audit_policy = folder.write("audit-policy.yaml", R"(
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, verbs: [list]}
- {level: None}
)");
  ControlPlane plane{{},
                     {"--audit-policy-file=" + audit_policy.string(),
                      "--audit-log-path=" + (folder / "audit.log").string()}};

  // Lists of our records that were asked for so far, by their queries.
  std::vector<std::string> record_lists() const {
    std::vector<std::string> queries;
    for (const std::string& line : split(read_text(folder / "audit.log"), '\n')) {
      if (line.empty()) continue;
      const Json entry = parse_json(line, "audit log");
      const std::string uri = entry.at("requestURI");
      const bool ours = has(entry.value("userAgent", ""), "kubectl-kubedr");
      if (ours && has(uri, "/metadatabackuprecords?")) queries.push_back(uri);
    }
    return queries;
  }

  RunResult kubectl(std::vector<std::string> args, const std::string& input = {}) {
    args.insert(args.begin(), {"-n", kNamespace});
    RunResult result = plane.api().kubectl(args, input);
    REQUIRE_MESSAGE(result.ok(), result.err);
    return result;
  }

  void set_status(const std::string& kind, const std::string& name, const Json& status) {
    kubectl({"patch", kind, name, "--subresource=status", "--type=merge", "-p",
             Json{{"status", status}}.dump()});
  }

  void patch(const std::string& kind, const std::string& name, const Json& change) {
    kubectl({"patch", kind, name, "--type=merge", "-p", change.dump()});
  }

  Json status_of(std::vector<std::string> args) {
    args.insert(args.begin(), {"status", "-o", "json", "--fail-on", "never"});
    return parsed(plane.kubedr(args));
  }
};

// The findings' messages of that code, those about that object alone if it is given.
std::vector<std::string> messages_of(const Json& status, const std::string& code,
                                     const std::string& object = "") {
  std::vector<std::string> messages;
  for (const Json& one : status.at("findings")) {
    const bool about = object.empty() || one.at("object") == object;
    if (about && one.at("code") == code) messages.push_back(one.at("message"));
  }
  return messages;
}

Json record(const std::string& snapshot_id, const std::string& policy,
            const std::string& location) {
  return {{"apiVersion", fmt::format("{}/v1alpha1", kGroup)},
          {"kind", "MetadataBackupRecord"},
          {"metadata", {{"name", "mbr-" + snapshot_id}, {"namespace", kNamespace}}},
          {"spec", {{"snapshotId", snapshot_id}, {"policy", policy}, {"backuploc", location}}}};
}

// As the API server keeps it.
EtcdServer::KeyValue stored(Json object, int number) {
  Json& metadata = object["metadata"];
  metadata["uid"] = fmt::format("00000000-0000-4000-8000-{:012x}", number);
  metadata["generation"] = 1;
  metadata["creationTimestamp"] = "2026-11-22T21:16:13Z";
  return {fmt::format("/registry/{}/metadatabackuprecords/{}/{}", kGroup, kNamespace,
                      metadata.at("name").get<std::string>()),
          object.dump()};
}

// Copies of a snapshot at other times; returns their short ids.
std::vector<std::string> copy_snapshot(ControlPlane& plane, const std::string& bucket, int copies) {
  const SystemClock clock;
  const auto store = open_bucket(plane.s3(), bucket, clock);
  SystemRandom random;
  const auto call = [&] { return call_for(std::chrono::minutes(5)); };
  const auto repository = repo::Repository::open(*store, Secret(kPassword), random, call());
  const repo::SavedSnapshot original = repository.snapshots(call()).back();
  std::vector<std::string> ids(static_cast<std::size_t>(copies));
  std::atomic<int> next = 0;
  const auto work = [&] {
    for (int i = next++; i < copies; i = next++) {
      repo::Snapshot copy = original.snapshot;
      copy.time -= std::chrono::minutes(i + 1);
      const auto file = repository.files().seal(storage::FileKind::snapshot, repo::to_json(copy));
      repository.files().save(file, call());
      ids[static_cast<std::size_t>(i)] = file.name.id.substr(0, 8);
    }
  };
  std::vector<std::jthread> workers;
  for (int i = 0; i < 8; ++i) workers.emplace_back(work);
  workers.clear();
  return ids;
}

// An S3 that refuses everything with that text.
ScriptedServer refusing_s3(const std::string& message) {
  return ScriptedServer(std::nullopt, [message](const SeenRequest&) {
    return http_answer(403,
                       "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>" +
                           message + "</Message></Error>",
                       "Content-Type: application/xml\r\n");
  });
}

}  // namespace

TEST_CASE("generations: a status without observedGeneration, and each of the three forms of time") {
  KUBEDR_NEEDS("kube-apiserver");
  World& world = World::shared();
  world.plane.add_policy("times");
  for (const char* time : {"Thu Jan 30 16:02:53 2020", "2020-01-30T16:02:53Z",
                           "2020-01-30 16:02:53.123456789 +0000 UTC m=+0.000000001"}) {
    CAPTURE(time);
    world.set_status("backuplocation", "times",
                     {{"initStatus", "Completed"}, {"initErrorMessage", ""}, {"initTime", time}});
    world.set_status("metadatabackuppolicy", "times",
                     {{"backupStatus", "Completed"},
                      {"backupErrorMessage", ""},
                      {"backupTime", time},
                      {"snapshotId", "0123abcd"},
                      {"mbrName", "mbr-0123abcd"}});
    const Json status = world.status_of({"policy/times"});
    const Json& policy = status.at("policies").at(0);
    CHECK(policy.at("lastGood") == "2020-01-30T16:02:53Z");
    CHECK(policy.at("lastAttempt") == "2020-01-30T16:02:53Z");
    CHECK(policy.at("snapshotId") == "0123abcd");
    CHECK(status.at("locations").at(0).at("initTime") == "2020-01-30T16:02:53Z");
    CHECK(messages_of(status, "not-initialized").empty());
    CHECK(messages_of(status, "backup-late").size() == 1);
    CHECK_FALSE(has(world.plane.kubedr({"status", "policy/times"}).out, "never backed"));
  }
  // A time that is none is not a reason to say nothing else.
  world.set_status("metadatabackuppolicy", "times", {{"backupTime", "the day before"}});
  CHECK(world.status_of({"policy/times"}).at("policies").at(0).at("lastAttempt").is_null());

  // The repository is somebody's of another day: init and backup go on from there.
  world.set_status("backuplocation", "times", {{"initStatus", ""}, {"initTime", ""}});
  world.patch("backuplocation", "times", {{"spec", {{"bucketName", "times-moved"}}}});
  const RunResult init = world.plane.kubedr({"init", "times"});
  CHECK_MESSAGE(init.ok(), init.err);
  const Json location = world.plane.get("backuplocation", "times");
  CHECK(location.at("metadata").at("generation") == 2);
  CHECK(location.at("status").at("observedGeneration") == location.at("metadata").at("generation"));
  const RunResult backup = world.plane.kubedr({"backup", "times"});
  CHECK_MESSAGE(backup.ok(), backup.err);
}

TEST_CASE("generations: records whose policy is gone") {
  KUBEDR_NEEDS("kube-apiserver");
  World& world = World::shared();
  ControlPlane& plane = world.plane;
  const BackedUpPolicy policy(plane, "orphaned");
  REQUIRE(policy.backup().ok());
  const std::vector<std::string> ids = policy.snapshot_ids();
  REQUIRE(ids.size() == 2);
  world.kubectl({"delete", "metadatabackuppolicy", "orphaned"});

  // Nothing is wrong with them, and they are told apart by their policy still.
  const Json status = world.status_of({"--deep"});
  CHECK(messages_of(status, "record-without-snapshot").empty());
  CHECK(messages_of(status, "snapshot-without-record").empty());
  const Json listed =
      parsed(plane.kubedr({"snapshots", "--location", "orphaned", "-o", "json"})).at("snapshots");
  REQUIRE(listed.size() == 2);
  for (const Json& one : listed) {
    CHECK(one.at("policy") == "orphaned");
    CHECK(one.at("record") == "mbr-" + one.at("id").get<std::string>().substr(0, 8));
  }
  const RunResult dry = plane.kubedr({"sync", "--location", "orphaned", "--dry-run"});
  CHECK_MESSAGE(dry.ok(), dry.err);
  const RunResult synced = plane.kubedr({"sync", "--location", "orphaned", "--yes"});
  CHECK_MESSAGE(synced.ok(), synced.err);
  const auto is_there = [&](const std::string& id) {
    return plane.api()
        .kubectl({"-n", kNamespace, "get", "metadatabackuprecord", "mbr-" + id.substr(0, 8)})
        .ok();
  };
  CHECK(is_there(ids[0]));

  // What is in them is still got at and let go.
  const TempDir folder;
  const RunResult restored = plane.kubedr(
      {"restore", "mbr-" + ids[1].substr(0, 8), "--target", (folder / "target").string()});
  CHECK_MESSAGE(restored.ok(), restored.err);
  const RunResult forgotten =
      plane.kubedr({"forget", "mbr-" + ids[0].substr(0, 8), "--location", "orphaned", "--yes"});
  CHECK_MESSAGE(forgotten.ok(), forgotten.err);
  CHECK_FALSE(is_there(ids[0]));
  CHECK(is_there(ids[1]));
  CHECK(policy.snapshot_ids() == std::vector<std::string>{ids[1]});

  // One of nothing is seen, and sync takes it away.
  world.kubectl({"create", "-f", "-"}, record("00000000", "orphaned", "orphaned").dump());
  CHECK(messages_of(world.status_of({"--deep"}), "record-without-snapshot",
                    "metadatabackuprecord/mbr-00000000")
            .size() == 1);
  CHECK(plane.kubedr({"sync", "--location", "orphaned", "--yes"}).ok());
  CHECK_FALSE(is_there("00000000"));
  CHECK(is_there(ids[1]));
}

TEST_CASE("generations: a policy whose location is gone") {
  KUBEDR_NEEDS("kube-apiserver");
  World& world = World::shared();
  ControlPlane& plane = world.plane;
  BackedUpPolicy policy(plane, "homeless");
  const Json location = plane.get("backuplocation", "homeless");
  world.kubectl({"delete", "backuplocation", "homeless"});
  const Json status = world.status_of({"policy/homeless", "--deep"});
  const auto found = messages_of(status, "no-location", "metadatabackuppolicy/homeless");
  REQUIRE(found.size() == 1);
  CHECK(has(found[0], "\"homeless\", does not exist"));
  CHECK(plane.kubedr({"status", "policy/homeless"}).exit.code == 5);
  const RunResult backup = policy.backup();
  check_failed(backup, 4, "backuplocation \"homeless\" not found");
  policy.check_failure_is_published("backuplocation \"homeless\" not found");

  plane.add_location("homeless");
  policy.check_next_backup_works();
  CHECK(messages_of(world.status_of({"policy/homeless"}), "no-location").empty());
}

TEST_CASE("generations: ten thousand records, most of nothing") {
  KUBEDR_NEEDS("kube-apiserver");
  World& world = World::shared();
  ControlPlane& plane = world.plane;
  constexpr int kRecords = 10'000;
  constexpr int kSnapshots = 2'000;
  const BackedUpPolicy policy(plane, "crowd", {{"retainNumBackups", "20000"}});
  std::vector<std::string> ids = copy_snapshot(plane, "crowd", kSnapshots);
  std::set<std::string> taken(ids.begin(), ids.end());
  taken.insert(policy.snapshot_ids().back().substr(0, 8));
  for (int i = 0; ids.size() < kRecords - 1; ++i) {
    const std::string of_nothing = fmt::format("{:08x}", i);
    if (taken.count(of_nothing) == 0) ids.push_back(of_nothing);
  }
  std::vector<EtcdServer::KeyValue> records;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    records.push_back(stored(record(ids[i], "crowd", "crowd"), static_cast<int>(i)));
  }
  plane.etcd().put_all(records);
  const std::size_t listed = world.record_lists().size();
  const auto kubedr = [&](const std::vector<std::string>& args) {
    const RunResult result = plane.kubedr(args);
    const std::chrono::duration<double> took = result.exit.cpu;
    MESSAGE(fmt::format("{:.1f} s of work, {} MiB", took.count(),
                        result.exit.peak_memory_bytes >> 20U));
    CHECK_FALSE(result.timed_out);
    CHECK(took < std::chrono::seconds(30));
    return result;
  };

  const Json status = parsed(kubedr({"status", "crowd", "-o", "json", "--fail-on", "never"}));
  CHECK(status.at("policies").size() == 1);
  // A page is 500 at the most, and each but the first goes on where the one before it ended.
  const std::vector<std::string> lists = world.record_lists();
  REQUIRE(lists.size() >= listed + kRecords / 500);
  CHECK(has(lists[listed], "limit=500"));
  CHECK_FALSE(has(lists[listed], "continue="));
  for (std::size_t i = listed + 1; i < listed + kRecords / 500; ++i) {
    CHECK_MESSAGE(has(lists[i], "continue="), lists[i]);
  }

  const Json deep =
      parsed(kubedr({"status", "crowd", "--deep", "-o", "json", "--fail-on", "never"}));
  CHECK(deep.at("locations").at(0).at("snapshots") == kSnapshots + 1);
  CHECK(deep.at("policies").at(0).at("snapshots") == kSnapshots + 1);
  CHECK(messages_of(deep, "record-without-snapshot").size() == kRecords - 1 - kSnapshots);
  CHECK(messages_of(deep, "snapshot-without-record").empty());

  const Json snapshots = parsed(kubedr({"snapshots", "crowd", "-o", "json"})).at("snapshots");
  CHECK(snapshots.size() == kSnapshots + 1);
  CHECK(std::all_of(snapshots.begin(), snapshots.end(),
                    [](const Json& one) { return !one.at("record").get<std::string>().empty(); }));

  const Json plan = parsed(kubedr({"sync", "--location", "crowd", "--dry-run", "-o", "json"}));
  CHECK(plan.at("recordsToRemove").size() == kRecords - 1 - kSnapshots);
  CHECK(plan.at("recordsToAdd").empty());
}

TEST_CASE("generations: names of 253 characters") {
  KUBEDR_NEEDS("kube-apiserver");
  World& world = World::shared();
  ControlPlane& plane = world.plane;
  plane.add_policy("named");
  const std::string location(253, 'l');
  const std::string name(253, 'p');
  Json object = plane.get("backuplocation", "named");
  object["metadata"] = {{"name", location}, {"namespace", kNamespace}};
  object.erase("status");
  plane.apply(object.dump());
  object = plane.get("metadatabackuppolicy", "named");
  object["metadata"] = {{"name", name}, {"namespace", kNamespace}};
  object["spec"]["destination"] = location;
  object.erase("status");
  plane.apply(object.dump());

  const RunResult init = plane.kubedr({"init", location});
  CHECK_MESSAGE(init.exit.code == 0, init.err);
  const RunResult backup = plane.kubedr({"backup", name});
  CHECK_MESSAGE(backup.exit.code == 0, backup.err);
  for (const auto& [object_name, reason] :
       {std::pair(location, "InitSucceeded"), std::pair(name, "BackupSucceeded")}) {
    const std::vector<Json> events = plane.events_of(object_name);
    REQUIRE(events.size() == 1);
    CHECK(events[0].at("reason") == reason);
  }
  const Json status = world.status_of({"policy/" + name, "--deep"});
  CHECK(status.at("policies").at(0).at("name") == name);
  CHECK(status.at("policies").at(0).at("location") == location);
  CHECK(status.at("locations").at(0).at("snapshots") == 1);
  const Json listed = parsed(plane.kubedr({"snapshots", name, "-o", "json"})).at("snapshots");
  REQUIRE(listed.size() == 1);
  CHECK(listed.at(0).at("policy") == name);
  const RunResult again = plane.kubedr({"backup", name});
  CHECK_MESSAGE(again.exit.code == 0, again.err);

  // The tables of all that there is still line up in 80 columns.
  const RunResult table = plane.kubedr({"status", "policy/" + name});
  const std::vector<std::string> lines = split(table.out, '\n');
  const auto starts = [&](const std::string& beginning) {
    return std::find_if(lines.begin(), lines.end(),
                        [&](const std::string& line) { return line.starts_with(beginning); });
  };
  for (const auto& [header, row, column] :
       {std::tuple("LOCATION", "llll", "STATUS"), std::tuple("POLICY", "pppp", "STATUS")}) {
    const auto above = starts(header);
    const auto below = starts(row);
    REQUIRE_MESSAGE((above != lines.end() && below != lines.end()), table.out);
    CHECK(above->size() <= 80);
    CHECK(below->size() <= 80);
    CHECK(above->find(column) == below->find("Completed"));
  }
}

TEST_CASE("generations: texts in any script, in tables and documents") {
  KUBEDR_NEEDS("kube-apiserver");
  World& world = World::shared();
  world.plane.add_policy("scripts");
  const std::string text =
      "Verzeichnis \"Schlüssel für München\" fehlt\n証明書が見つかりません 🔥\tẞ́ \u202e "
      "\x1b[31m\n\n";
  world.set_status("metadatabackuppolicy", "scripts",
                   {{"backupStatus", "Failed"},
                    {"backupErrorMessage", text},
                    {"backupTime", "Thu Jan 30 16:02:53 2020"}});
  world.set_status("backuplocation", "scripts",
                   {{"initStatus", "Failed"},
                    {"initErrorMessage", text},
                    {"initTime", "Thu Jan 30 16:02:53 2020"}});
  const Json status = world.status_of({"policy/scripts"});
  CHECK(status.at("policies").at(0).at("lastFailure") == text);
  const std::string line =
      "Verzeichnis \"Schlüssel für München\" fehlt 証明書が見つかりません 🔥\tẞ́ \u202e \x1b[31m";
  CHECK(messages_of(status, "backup-failed", "metadatabackuppolicy/scripts") ==
        std::vector<std::string>{"last backup failed: " + line});
  CHECK(messages_of(status, "init-failed", "backuplocation/scripts") ==
        std::vector<std::string>{line});
  const RunResult yaml = world.plane.kubedr({"status", "policy/scripts", "-o", "yaml"});
  CHECK_MESSAGE(has(yaml.out, "証明書が見つかりません 🔥"), yaml.out);
  // In a table each text is one line, and steers no terminal.
  const RunResult table = world.plane.kubedr({"status", "policy/scripts"});
  CHECK_MESSAGE(has(table.out, "fehlt 証明書が見つかりません 🔥"), table.out);
  CHECK_FALSE(has(table.out, "\x1b"));
}

TEST_CASE("generations: more text than a status takes is shortened, not lost") {
  KUBEDR_NEEDS("kube-apiserver");
  World& world = World::shared();
  ControlPlane& plane = world.plane;
  BackedUpPolicy policy(plane, "talkative");
  for (const std::string& part :
       {std::string("Zugriff für niemanden 証明書 🔥 "), std::string("caf\xe9 \xff\xfe ")}) {
    CAPTURE(part);
    std::string message;
    while (message.size() < 100 * limits::kKiB) message += part;
    const ScriptedServer s3 = refusing_s3(message);
    world.patch("backuplocation", "talkative",
                {{"spec", {{"url", fmt::format("http://127.0.0.1:{}", s3.port())}}}});
    const RunResult backup = policy.backup();
    check_failed(backup, 21, "AccessDenied");
    policy.check_failure_is_published("AccessDenied");
    const std::string said = policy.status().at("backupErrorMessage").get<std::string>();
    CHECK(said.size() <= limits::kStatusMessage);
    CHECK(said.size() > 100);
    CHECK(has(said, part.substr(0, 3)));
    check_failed(plane.kubedr({"init", "talkative"}), 21, "AccessDenied");
    const Json status = plane.get("backuplocation", "talkative").at("status");
    CHECK(status.at("initStatus") == "Failed");
    CHECK(has(status.at("initErrorMessage").get<std::string>(), "AccessDenied"));
    CHECK(plane.kubedr({"status", "policy/talkative", "-o", "json"}).exit.code == 5);
  }
}

TEST_CASE("generations: the longest text that the status takes is what is kept of a longer one") {
  KUBEDR_NEEDS("kube-apiserver");
  World& world = World::shared();
  ControlPlane& plane = world.plane;
  BackedUpPolicy policy(plane, "long-story");
  // Nearly 40 KiB: a folder that is not there, below one with the longest path that etcd may keep.
  std::string folder;
  while (folder.size() < 40 * limits::kKiB) folder += "/schlüssel-und-zertifikate-証明書";
  world.patch("metadatabackuppolicy", "long-story", {{"spec", {{"certsDir", folder}}}});
  CHECK(policy.backup().exit.code != 0);
  const std::string said = policy.status().at("backupErrorMessage").get<std::string>();
  CHECK(said.size() <= limits::kStatusMessage);
  CHECK(said.size() > limits::kStatusMessage - 8);
  CHECK(said.ends_with("..."));
  CHECK(policy.events("BackupFailed") == 1);
}
