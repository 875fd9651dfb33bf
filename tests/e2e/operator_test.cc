// Beside an operator: what is its work is left to it, its jobs are not disturbed, what it wrote is
// read right, and what it left behind holds nothing up. Its own code is not here: a Deployment of
// its name and pods as it makes them stand for it, and what it wrote is in data/operator-mode.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "base/yaml.h"
#include "e2e/desk.h"
#include "e2e/faults.h"
#include "support/image.h"
#include "support/kubelet.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

constexpr char kImage[] = "catalogicsoftware/kubedrutil:1.0";

Json deployment(int replicas) {
  return {
      {"apiVersion", "apps/v1"},
      {"kind", "Deployment"},
      {"metadata",
       {{"name", "kubedr-controller-manager"},
        {"namespace", kNamespace},
        {"labels", {{"control-plane", "controller-manager"}}}}},
      {"spec",
       {{"replicas", replicas},
        {"selector", {{"matchLabels", {{"control-plane", "controller-manager"}}}}},
        {"template",
         {{"metadata", {{"labels", {{"control-plane", "controller-manager"}}}}},
          {"spec",
           {{"containers", Json::array({{{"name", "manager"}, {"image", "controller"}}})}}}}}}}};
}

// An operator is there while this lives.
class Operator {
 public:
  explicit Operator(ControlPlane& plane) : plane_(plane) { scale(1); }

  Operator(const Operator&) = delete;
  Operator& operator=(const Operator&) = delete;

  ~Operator() { scale(0); }

 private:
  void scale(int replicas) { plane_.apply(deployment(replicas).dump()); }

  ControlPlane& plane_;
};

// The environment that its pods share.
Json variables(const std::string& location, const std::string& url) {
  const auto from_secret = [&](const char* name, const char* key) {
    return Json{{"name", name},
                {"valueFrom", {{"secretKeyRef", {{"name", location + "-creds"}, {"key", key}}}}}};
  };
  return {
      {{"name", "MY_POD_NAME"}, {"valueFrom", {{"fieldRef", {{"fieldPath", "metadata.name"}}}}}},
      from_secret("AWS_ACCESS_KEY", "access_key"),
      from_secret("AWS_SECRET_KEY", "secret_key"),
      from_secret("RESTIC_PASSWORD", "restic_repo_password"),
      {{"name", "RESTIC_REPO"}, {"value", fmt::format("s3:{}/{}", url, location)}}};
}

Json pod(const std::string& name, const Json& labels, const std::string& verb, Json env,
         const Json& volumes = Json::array(), const Json& mounts = Json::array()) {
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata", {{"name", name}, {"namespace", kNamespace}, {"labels", labels}}},
          {"spec",
           {{"restartPolicy", "Never"},
            {"volumes", volumes},
            {"containers", Json::array({{{"name", "main"},
                                         {"image", kImage},
                                         {"args", Json::array({"/usr/local/bin/kubedrutil", verb})},
                                         {"env", std::move(env)},
                                         {"volumeMounts", mounts}}})}}}};
}

// As its controller of locations makes it.
Json init_pod(ControlPlane& plane, const std::string& location) {
  Json env = variables(location, plane.s3().url());
  env.push_back({{"name", "KDR_BACKUPLOC_NAME"}, {"value", location}});
  return pod(location + "-init-pod",
             {{"kubedr.type", "backuploc-init"}, {"kubedr.backuploc", location}}, "repoinit", env);
}

// As the Job of its CronJob makes it.
Json backup_pod(ControlPlane& plane, const std::string& policy, const std::string& name) {
  Json env = variables(policy, plane.s3().url());
  for (const auto& [variable, value] :
       std::map<std::string, std::string>{{"KDR_POLICY_NAME", policy},
                                          {"ETCD_ENDPOINT", plane.etcd().endpoint()},
                                          {"ETCD_CREDS_DIR", "/etcd_creds"},
                                          {"ETCD_SNAP_PATH", "/data/etcd-snapshot.db"},
                                          {"BACKUP_SRC", "/data"},
                                          {"CERTS_SRC_DIR", "/certs_dir"},
                                          {"CERTS_DEST_DIR", "/data/certificates"}}) {
    env.push_back({{"name", variable}, {"value", value}});
  }
  const Json volumes = {{{"name", "target-dir"}, {"emptyDir", Json::object()}},
                        {{"name", "etcd-creds"}, {"secret", {{"secretName", policy + "-etcd"}}}},
                        {{"name", "certs-dir"},
                         {"hostPath", {{"path", plane.certs().string()}, {"type", "Directory"}}}}};
  const Json mounts = {{{"name", "target-dir"}, {"mountPath", "/data"}},
                       {{"name", "etcd-creds"}, {"mountPath", "/etcd_creds"}},
                       {{"name", "certs-dir"}, {"mountPath", "/certs_dir"}}};
  return pod(name, {{"kubedr.type", "backup"}, {"kubedr.backup-policy", policy}}, "backup", env,
             volumes, mounts);
}

void hold(ControlPlane& plane, const std::string& kind, const std::string& name,
          const std::string& prefix) {
  const Json change = {
      {"metadata",
       {{"finalizers", Json::array({prefix + ".finalizers.kubedr.catalogicsoftware.com"})}}}};
  const RunResult patched = plane.api().kubectl(
      {"-n", kNamespace, "patch", kind, name, "--type=merge", "-p", change.dump()});
  REQUIRE_MESSAGE(patched.ok(), patched.err);
}

bool is_there(ControlPlane& plane, const std::string& kind, const std::string& name) {
  return plane.api().kubectl({"-n", kNamespace, "get", kind, name}).ok();
}

void set_location_status(ControlPlane& plane, const std::string& location, const Json& status) {
  const RunResult patched = plane.api().kubectl({"-n", kNamespace, "patch", "backuplocation",
                                                 location, "--subresource=status", "--type=merge",
                                                 "-p", Json{{"status", status}}.dump()});
  REQUIRE_MESSAGE(patched.ok(), patched.err);
}

// The objects of a capture in a namespace of their own, with what they refer to.
class Capture {
 public:
  // `words` of it stand for others here.
  Capture(ControlPlane& plane, const std::string& file,
          std::map<std::string, std::string> words = {}, const std::string& prefix = "seen-")
      : plane_(plane), name_space_(prefix + file.substr(0, 1)), words_(std::move(words)) {
    REQUIRE(plane.api().kubectl({"create", "namespace", name_space_}).ok());
    add("1-init-succeeded.yaml");
    if (file[0] != '1') add(file);
  }

  Json status() const {
    const RunResult result =
        plane_.kubedr({"status", "-n", name_space_, "--fail-on", "never", "-o", "json"});
    return parsed(result);
  }

  const std::string& name_space() const { return name_space_; }

  RunResult run(std::vector<std::string> args) const {
    args.insert(args.end(), {"-n", name_space_});
    return plane_.kubedr(args);
  }

  static std::set<std::string> findings(const Json& status) {
    std::set<std::string> codes;
    for (const Json& one : status.at("findings")) codes.insert(one.at("code").get<std::string>());
    return codes;
  }

 private:
  void add(const std::string& file) {
    std::string text = read_text(std::string(KUBEDR_TEST_DATA "/operator-mode/") + file);
    for (const auto& [there, here] : words_) replace_all(text, there, here);
    for (Json object : parse_yaml(text, file)) {
      if (object.at("apiVersion") == "v1") continue;  // events
      const std::string kind = object.at("kind");
      const std::string name = object.at("metadata").at("name");
      object["metadata"] = {
          {"name", name},
          {"namespace", name_space_},
          {"annotations", object["metadata"].value("annotations", Json::object())}};
      plane_.apply(object.dump());
      if (!object.contains("status")) continue;
      const RunResult patched = plane_.api().kubectl(
          {"-n", name_space_, "patch", kind, name, "--subresource=status", "--type=merge", "-p",
           Json{{"status", object.at("status")}}.dump()});
      REQUIRE_MESSAGE(patched.ok(), patched.err);
    }
  }

  ControlPlane& plane_;
  const std::string name_space_;
  const std::map<std::string, std::string> words_;
};

}  // namespace

TEST_CASE("operator: our verbs read what it wrote after each of its steps") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const auto location_of = [](const Json& status) { return status.at("locations").at(0); };
  const auto policy_of = [](const Json& status) { return status.at("policies").at(0); };

  const Json initialized = Capture(plane, "1-init-succeeded.yaml").status();
  CHECK(location_of(initialized).at("initStatus") == "Completed");
  CHECK(location_of(initialized).at("initTime") == "2026-11-22T21:54:32Z");
  CHECK(initialized.at("findings").empty());

  // Its restic found a repository there, and the annotation of the first success stays.
  const Json failed = Capture(plane, "2-init-failed.yaml").status();
  CHECK(location_of(failed).at("initStatus") == "Failed");
  REQUIRE(failed.at("findings").size() == 1);
  CHECK(failed.at("findings")[0].at("severity") == "warning");
  CHECK(has(failed.at("findings")[0].at("message").get<std::string>(),
            "failed: repository master key and config already initialized"));

  const Json first = Capture(plane, "3-first-backup.yaml").status();
  CHECK(policy_of(first).at("backupStatus") == "Completed");
  CHECK(policy_of(first).at("lastGood") == "2026-11-22T21:54:37Z");
  CHECK(policy_of(first).at("snapshotId") == "9a2d69bb");
  CHECK(policy_of(first).at("totalBytesProcessed") == 359041);
  CHECK(policy_of(first).at("dataAdded") == 358282);

  const Json second = Capture(plane, "4-second-backup.yaml").status();
  CHECK(policy_of(second).at("snapshotId") == "ae3dcb01");
  CHECK(policy_of(second).at("lastGood") == "2026-11-22T21:54:39Z");

  const Capture fifth(plane, "5-failed-backup.yaml");
  const Json broken = fifth.status();
  CHECK(policy_of(broken).at("backupStatus") == "Failed");
  CHECK(policy_of(broken).at("lastAttempt") == "2026-11-22T21:56:06Z");
  CHECK(policy_of(broken).at("snapshotId") == "ae3dcb01");
  CHECK(Capture::findings(broken).count("backup-failed") == 1);
  const RunResult table = fifth.run({"status"});
  CHECK_MESSAGE(has(table.out, "FileNotFoundError: [Errno 2]"), table.out);

  const RunResult restore = Capture(plane, "6-restore.yaml")
                                .run({"restore", "--resource", "mr1", "--target", "/nowhere"});
  check_failed(restore, 2, "mounts the claim p");
}

TEST_CASE("operator: what its restic stored is listed, and synchronised, by its own records") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("restic-0.11");
  ControlPlane& plane = ControlPlane::shared();
  const TempDir folder;
  const auto env = plane.restic_env("its-own");
  REQUIRE(restic("0.11", {"init"}, env).ok());
  std::vector<std::string> ids;
  const auto back_up = [&](const std::string& content) {
    folder.write("data/etcd-snapshot.db", content);
    const RunResult saved = restic("0.11", {"backup", "--json", (folder / "data").string()}, env);
    REQUIRE_MESSAGE(saved.ok(), saved.err);
    const std::vector<std::string> lines = split(std::string(trim(saved.out)), '\n');
    ids.push_back(parse_json(lines.back(), "restic").at("snapshot_id").get<std::string>());
  };
  back_up("one");
  back_up("two");
  const Capture second(plane, "4-second-backup.yaml",
                       {{"9a2d69bb", ids[0].substr(0, 8)},
                        {"ae3dcb01", ids[1].substr(0, 8)},
                        {"http://127.0.0.1:29000", plane.s3().url()},
                        {"testbucket62", "its-own"}},
                       "stored-");
  const Json secret = {{"apiVersion", "v1"},
                       {"kind", "Secret"},
                       {"metadata", {{"name", "minio-creds"}, {"namespace", second.name_space()}}},
                       {"stringData",
                        {{"access_key", plane.s3().access_key()},
                         {"secret_key", plane.s3().secret_key()},
                         {"restic_repo_password", kPassword}}}};
  plane.apply(secret.dump());

  const auto recorded = [&] {
    std::map<std::string, std::string> records;
    const Json report = parsed(second.run({"snapshots", "-o", "json"}));
    for (const Json& one : report.at("snapshots")) {
      records[one.at("shortId")] = one.at("record").get<std::string>();
    }
    return records;
  };
  CHECK(recorded() ==
        std::map<std::string, std::string>{{ids[0].substr(0, 8), "mbr-" + ids[0].substr(0, 8)},
                                           {ids[1].substr(0, 8), "mbr-" + ids[1].substr(0, 8)}});
  // Its status and records are right; only our own totals it never wrote.
  const auto plan = [&] {
    Json report = parsed(second.run({"sync", "--dry-run", "-o", "json"}));
    CHECK(report.at("statusToWrite").empty());
    CHECK(report.at("totalsToWrite") == Json::array({"test-backup"}));
    CHECK_FALSE(report.at("locationStatusToWrite").get<bool>());
    return report;
  };
  CHECK(plan().at("recordsToAdd").empty());
  CHECK(plan().at("recordsToRemove").empty());

  // Its pod was killed before it wrote the record: nothing tells whose the snapshot is.
  back_up("three");
  CHECK(recorded().at(ids[2].substr(0, 8)) == "");
  CHECK(plan().at("recordsToAdd").empty());
  // ... or its retention, between the snapshot and the record.
  REQUIRE(restic("0.11", {"forget", ids[0]}, env).ok());
  CHECK(plan().at("recordsToAdd").empty());
  CHECK(plan().at("recordsToRemove") == Json::array({"mbr-" + ids[0].substr(0, 8)}));
}

TEST_CASE("operator: retention, init and the schedule are left to it") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("left", {{"retainNumBackups", "1"}});
  REQUIRE(plane.kubedr({"init", "left"}).ok());
  REQUIRE(plane.kubedr({"backup", "left"}).ok());
  plane.add_location("fresh");
  const Operator running(plane);
  const Json report = parsed(plane.kubedr({"backup", "left", "-o", "json"}));
  CHECK(report.at("retention").at("leftToOperator") == true);
  CHECK(report.at("retention").at("removed").empty());

  check_failed(plane.kubedr({"schedule", "left", "--image", "x"}), 1, "operator");
  check_failed(plane.kubedr({"unschedule", "left"}), 1, "kubectl kubedr suspend left");
  check_failed(plane.kubedr({"uninstall", "--delete-records", "--confirm", kNamespace}), 2,
               "operator");

  // Its word is waited for.
  Process waiting = start_kubedr({"init", "fresh", "--kubeconfig", plane.api().kubeconfig()});
  CHECK_FALSE(waiting.wait(std::chrono::seconds(2)));
  set_location_status(plane, "fresh", {{"initStatus", "Completed"}, {"observedGeneration", 1}});
  const std::optional<Exit> ended = waiting.wait(std::chrono::seconds(20));
  REQUIRE(ended);
  CHECK(ended->code == 0);
  CHECK(has(waiting.out(), "was initialized by the operator"));
  set_location_status(plane, "fresh",
                      {{"initStatus", "Failed"}, {"initErrorMessage", "no such bucket\n\n"}});
  check_failed(plane.kubedr({"init", "fresh"}), 1, "no such bucket");
}

TEST_CASE("operator: retention is ours beside it where that is said, for this backup alone") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("always", {{"retainNumBackups", "1"}});
  REQUIRE(plane.kubedr({"init", "always"}).ok());
  const auto back_up = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"backup", "always", "-o", "json"});
    return parsed(plane.kubedr(flags));
  };
  back_up({});
  const Operator running(plane);
  back_up({});
  const Json report = back_up({"--retention", "always"});
  CHECK(report.at("failedSteps").empty());
  CHECK(report.at("retention").at("leftToOperator") == false);
  CHECK(report.at("retention").at("removed").size() == 2);
  const std::string id = report.at("snapshotId").get<std::string>();
  const Json listed = parsed(plane.kubedr({"snapshots", "always", "-o", "json"}));
  REQUIRE(listed.at("snapshots").size() == 1);
  CHECK(listed.at("snapshots")[0].at("id") == id);
  std::vector<std::string> recorded;
  for (const Json& record : plane.list("metadatabackuprecords")) {
    if (record.at("spec").at("policy") != "always") continue;
    recorded.push_back(record.at("spec").at("snapshotId").get<std::string>());
  }
  CHECK(recorded == std::vector{id.substr(0, 8)});
  CHECK(back_up({}).at("retention").at("leftToOperator") == true);
}

TEST_CASE(
    "operator: a repository for it is of version 1, and the database cut as its restic cuts") {
  KUBEDR_NEEDS("restic-0.11");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("shared");
  const Operator running(plane);
  const Json init = parsed(plane.kubedr({"init", "shared", "--force", "-o", "json"}));
  CHECK(init.at("repositoryVersion") == 1);
  REQUIRE(plane.kubedr({"backup", "shared"}).ok());
  // A restic backup of the same files finds nearly all of them stored.
  const TempDir folder;
  const RunResult restored = plane.kubedr(
      {"restore", "latest", "--policy", "shared", "--target", (folder / "restored").string()});
  REQUIRE_MESSAGE(restored.ok(), restored.err);
  const RunResult again = restic("0.11", {"backup", "--json", (folder / "restored/data").string()},
                                 plane.restic_env("shared"));
  REQUIRE_MESSAGE(again.ok(), again.err);
  const std::vector<std::string> lines = split(std::string(trim(again.out)), '\n');
  const Json summary = parse_json(lines.back(), "restic");
  CHECK(summary.at("data_added").get<long long>() * 20 <
        summary.at("total_bytes_processed").get<long long>());
}

TEST_CASE("operator: no backup while its job runs, unless that is meant") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "busy");
  const Json status = policy.status();
  Json job = backup_pod(plane, "busy", "busy-backup-cronjob-123-abcde");
  plane.apply(job.dump());
  check_failed(policy.backup(), 11, "busy-backup-cronjob-123-abcde");
  CHECK(policy.status() == status);
  CHECK(policy.events("BackupFailed") == 0);
  const RunResult forced = policy.backup({"--force"});
  CHECK_MESSAGE(forced.ok(), forced.err);
  // One that waits for an image it will never get is in nobody's way, and no pod in its own.
  const auto set_status = [&](const Json& change) {
    const RunResult patched = plane.api().kubectl(
        {"-n", kNamespace, "patch", "pod", "busy-backup-cronjob-123-abcde", "--subresource=status",
         "--type=merge", "-p", Json{{"status", change}}.dump()});
    REQUIRE_MESSAGE(patched.ok(), patched.err);
  };
  const auto container = [](const Json& state) {
    return Json::array({{{"name", "main"},
                         {"image", kImage},
                         {"imageID", ""},
                         {"ready", false},
                         {"restartCount", 0},
                         {"state", state}}});
  };
  set_status({{"containerStatuses", container({{"waiting", {{"reason", "ErrImagePull"}}}})}});
  CHECK(policy.backup().ok());
  set_status({{"containerStatuses", container({{"waiting", {{"reason", "ContainerCreating"}}}})}});
  CHECK(policy.backup().exit.code == 11);
  const RunResult inside =
      plane.kubedr({"backup", "busy"}, "admin", {{"MY_POD_NAME", "busy-backup-cronjob-123-abcde"}});
  CHECK_MESSAGE(inside.ok(), inside.err);
  set_status({{"phase", "Succeeded"}});
  CHECK(policy.backup().ok());
}

TEST_CASE("operator: its pods run from our image as from the original's") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane({}, {KubeApi::kServiceAccounts});
  const Image image(KUBEDR_BINARY);
  const Kubelet kubelet(plane.api(), {"node-1", {}, {}, {{kImage, image.root()}}});
  // The operator's own service account may do everything; its CA is the cluster's.
  REQUIRE(plane.api().kubectl({"-n", kNamespace, "create", "serviceaccount", "default"}).ok());
  REQUIRE(plane.api()
              .kubectl({"create", "clusterrolebinding", "manager", "--clusterrole=cluster-admin",
                        fmt::format("--serviceaccount={}:default", kNamespace)})
              .ok());
  const TempDir folder;
  REQUIRE(
      plane.api()
          .kubectl({"-n", kNamespace, "create", "configmap", "kube-root-ca.crt",
                    "--from-file=ca.crt=" + folder.write("ca.crt", plane.api().ca_pem()).string()})
          .ok());
  plane.add_policy("original", {{"retainNumBackups", "1"}});
  const Operator running(plane);

  plane.apply(init_pod(plane, "original").dump());
  const auto phase = [&](const std::string& name) {
    return find_string(plane.get("pod", name), {"status", "phase"}).value_or("");
  };
  const auto ends = [&](const std::string& name) {
    CHECK(eventually([&] { return phase(name) == "Succeeded" || phase(name) == "Failed"; },
                     std::chrono::minutes(2)));
    const RunResult log = plane.api().kubectl({"-n", kNamespace, "logs", name});
    REQUIRE_MESSAGE(phase(name) == "Succeeded", (log.out + log.err));
  };
  ends("original-init-pod");
  const Json location = plane.get("backuplocation", "original");
  CHECK(location.at("status").at("initStatus") == "Completed");
  CHECK(plane.events_of("original").at(0).at("source").at("component") == "original-init-pod");
  const RunResult version = restic("0.18", {"cat", "config"}, plane.restic_env("original"));
  CHECK_MESSAGE(parse_json(version.out, "config").at("version") == 1, version.err);

  for (const char* name : {"original-backup-cronjob-1-aaaaa", "original-backup-cronjob-2-bbbbb"}) {
    plane.apply(backup_pod(plane, "original", name).dump());
    ends(name);
    const Json status = plane.get("metadatabackuppolicy", "original").at("status");
    CHECK(status.at("backupPod") == name);
    CHECK(status.at("filesNew").get<int>() + status.at("filesChanged").get<int>() > 0);
  }
  CHECK(plane.list("metadatabackuprecords").size() == 2);  // retention is the operator's
}

TEST_CASE("operator gone: what it left holds nothing in deletion") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  plane.add_policy("prod");
  REQUIRE(plane.kubedr({"init", "prod"}).ok());
  REQUIRE(plane.kubedr({"backup", "prod"}).ok());
  REQUIRE(plane.kubedr({"backup", "prod"}).ok());
  const std::string record = plane.list("metadatabackuprecords")[0].at("metadata").at("name");
  hold(plane, "metadatabackuprecord", record, "mbr");
  hold(plane, "metadatabackuppolicy", "prod", "metadata-backup-policy");
  hold(plane, "backuplocation", "prod", "backuplocation");
  const auto remove = [&](const std::string& kind, const std::string& name) {
    REQUIRE(plane.api().kubectl({"-n", kNamespace, "delete", kind, name, "--wait=false"}).ok());
    CHECK(is_there(plane, kind, name));
  };
  remove("metadatabackuprecord", record);
  remove("metadatabackuppolicy", "prod");
  {
    // While it runs that is its work.
    const Operator running(plane);
    const RunResult left = plane.kubedr({"sync", "--yes"});
    CHECK_MESSAGE(left.ok(), left.err);
    CHECK(is_there(plane, "metadatabackuprecord", record));
  }
  const RunResult plan = plane.kubedr({"sync", "--dry-run"});
  CHECK_MESSAGE(has(plan.out, "let metadatabackuppolicy/prod go"), plan.out);
  const RunResult done = plane.kubedr({"sync", "--yes"});
  CHECK_MESSAGE(done.ok(), done.err);
  CHECK_FALSE(is_there(plane, "metadatabackuprecord", record));
  CHECK_FALSE(is_there(plane, "metadatabackuppolicy", "prod"));

  // Our own verbs never leave anything hanging.
  CHECK(plane.kubedr({"location", "delete", "prod", "--yes"}).ok());
  CHECK_FALSE(is_there(plane, "backuplocation", "prod"));

  // A finalizer of somebody else is not ours to remove.
  plane.add_location("other");
  const RunResult patched = plane.api().kubectl({"-n", kNamespace, "patch", "backuplocation",
                                                 "other", "--type=merge", "-p",
                                                 R"({"metadata": {"finalizers": ["example.com/mine",
            "backuplocation.finalizers.kubedr.catalogicsoftware.com"]}})"});
  REQUIRE_MESSAGE(patched.ok(), patched.err);
  CHECK(plane.kubedr({"location", "delete", "other", "--yes"}).ok());
  CHECK(plane.get("backuplocation", "other").at("metadata").at("finalizers") ==
        Json::array({"example.com/mine"}));
}
