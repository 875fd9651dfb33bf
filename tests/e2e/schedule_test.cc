// Backups that take themselves: the CronJob of a policy, turned into Jobs and Pods by the real
// kube-controller-manager and run by a small kubelet from the image of tests/release.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "e2e/faults.h"
#include "e2e/rights.h"
#include "support/byte_proxy.h"
#include "support/controller_manager.h"
#include "support/image.h"
#include "support/kubelet.h"
#include "support/prometheus.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

constexpr char kImage[] = "registry.example.com/kubectl-kubedr:test";
constexpr std::chrono::minutes kLongest{4};  // a CronJob begins at a full minute

constexpr char kAdmin[] = "kubedr-admin";

std::vector<std::string> with_accounts(std::vector<std::string> flags) {
  flags.emplace_back(KubeApi::kServiceAccounts);
  return flags;
}

// A control plane that runs pods, on a node with that label and taint.
struct World {
  explicit World(const std::string& label)
      : plane({{kAdmin, {}}}, with_accounts(audit.flags())),
        kubelet(plane.api(), {"node-1", {{label, ""}}, {label}, {{kImage, image.root()}}}) {}

  // Of the stories here.
  static World& shared() {
    static World world("node-role.kubernetes.io/control-plane");
    return world;
  }

  AuditLog audit;
  ControlPlane plane;
  ControllerManager controllers{plane.api()};
  Image image{KUBEDR_BINARY};
  Kubelet kubelet;
};

// A policy with a repository.
struct Policy {
  ControlPlane& plane;
  std::string name;

  // Where nothing else is said none of its jobs begins by itself.
  explicit Policy(const std::string& of, std::map<std::string, std::string> spec = {},
                  World& world = World::shared())
      : plane(world.plane), name(of) {
    spec.emplace("schedule", "0 0 1 1 *");
    plane.add_policy(name, spec);
    REQUIRE(run({"init", name}).ok());
  }

  RunResult run(std::vector<std::string> args) const { return plane.kubedr(std::move(args)); }

  RunResult kubectl(std::vector<std::string> args) const {
    args.insert(args.begin(), {"-n", kNamespace});
    return plane.api().kubectl(args);
  }

  void schedule() const {
    const RunResult result = run({"schedule", name, "--image", kImage});
    REQUIRE_MESSAGE(result.ok(), result.err);
  }

  Json cron_job() const { return plane.get("cronjob", name + "-backup-cronjob"); }

  Json status() const { return plane.get("metadatabackuppolicy", name).value("status", Json()); }

  // Pods of its jobs.
  std::vector<Json> pods() const {
    std::vector<Json> pods;
    for (const Json& pod : plane.list("pods")) {
      if (find_string(pod, {"metadata", "labels", "kubedr.backup-policy"}) == name) {
        pods.push_back(pod);
      }
    }
    return pods;
  }

  std::set<std::string> findings() const {
    const RunResult result = run({"status", "policy/" + name, "-o", "json"});
    std::set<std::string> codes;
    const Json report = parse_json(result.out, "status");
    for (const Json& one : report.at("findings")) {
      codes.insert(one.at("code").get<std::string>());
    }
    return codes;
  }

  void patch(const std::string& kind, const std::string& object, const Json& change) const {
    const RunResult patched = kubectl({"patch", kind, object, "--type=merge", "-p", change.dump()});
    REQUIRE_MESSAGE(patched.ok(), patched.err);
  }
};

}  // namespace

TEST_CASE("schedule: the controller manager makes Jobs of it, and their pods back up") {
  KUBEDR_NEEDS("kube-controller-manager");
  const Policy policy("every-minute", {{"schedule", "* * * * *"}});
  policy.schedule();
  CHECK(eventually([&] { return find_string(policy.status(), {"backupStatus"}) == "Completed"; },
                   kLongest));
  const RunResult suspended = policy.run({"suspend", policy.name});
  REQUIRE_MESSAGE(suspended.ok(), suspended.err);
  CHECK(policy.cron_job().at("spec").at("suspend") == true);
  CHECK(policy.plane.get("metadatabackuppolicy", policy.name).at("spec").at("suspend") == true);

  const Json status = policy.status();
  REQUIRE_FALSE(policy.pods().empty());
  const Json pod = policy.pods().front();
  const std::string pod_name = pod.at("metadata").at("name");
  CHECK(status.at("backupPod") == pod_name);
  const std::string record = status.at("mbrName");
  CHECK(policy.plane.get("metadatabackuprecord", record).at("spec").at("policy") == policy.name);
  bool told = false;
  for (const Json& event : policy.plane.events_of(policy.name)) {
    told = told || (event.at("reason") == "BackupSucceeded" &&
                    event.at("source").at("component") == pod_name);
  }
  CHECK(told);

  // The pod was the operator's by its looks, and the program said what it says.
  CHECK(pod.at("spec").at("hostNetwork") == true);
  const std::string job = pod.at("metadata").at("labels").at("job-name");
  CHECK(eventually([&] {
    return find_integer(policy.plane.get("job", job), {"status", "succeeded"}) == 1;
  }));
  const RunResult log = policy.kubectl({"logs", pod_name});
  CHECK_MESSAGE(has(log.out, "backed up: snapshot " + status.at("snapshotId").get<std::string>()),
                (log.out + log.err));
  CHECK_FALSE(has(log.out, "warning"));

  // Certificates and database are whole.
  const TempDir folder;
  const RunResult restored =
      policy.run({"restore", record, "--target", (folder / "restored").string()});
  CHECK_MESSAGE(restored.ok(), restored.err);
  CHECK(read_text(folder / "restored/data/certificates/apiserver.key") ==
        read_text(policy.plane.certs() / "apiserver.key"));

  REQUIRE(policy.run({"resume", policy.name}).ok());
  CHECK(policy.cron_job().at("spec").at("suspend") == false);
  const RunResult gone = policy.run({"unschedule", policy.name});
  CHECK_MESSAGE(gone.ok(), gone.err);
  CHECK(eventually([&] { return !policy.kubectl({"get", "job", job}).ok(); }));
  CHECK(policy.run({"unschedule", policy.name}).exit.code == 4);
}

TEST_CASE("schedule: a node of before 1.24, which is a master and nothing else, gets the pods") {
  KUBEDR_NEEDS("kube-controller-manager");
  World old("node-role.kubernetes.io/master");
  const Policy policy("on-a-master", {}, old);
  policy.schedule();
  const RunResult result = policy.run({"backup", policy.name, "--in-cluster", "--wait"});
  CHECK_MESSAGE(result.ok(), result.err);
  REQUIRE(policy.pods().size() == 1);
  CHECK(policy.pods().front().at("spec").at("nodeName") == "node-1");
}

TEST_CASE("backup: a policy whose name no pod's label can bear") {
  KUBEDR_NEEDS("kube-controller-manager");
  const Policy shortly("long-names");
  const std::string name(200, 'n');
  shortly.plane.add_policy(name, {{"destination", shortly.name}});
  const RunResult result = shortly.run({"backup", name});
  CHECK_MESSAGE(result.ok(), result.err);
}

TEST_CASE("backup --in-cluster: runs the policy's job once and follows its log to the end") {
  KUBEDR_NEEDS("kube-controller-manager");
  const Policy policy("by-hand", {{"schedule", "0 0 1 1 *"}});
  check_failed(policy.run({"backup", policy.name, "--in-cluster"}), 2, "not scheduled");
  policy.schedule();
  const RunResult result = policy.run({"backup", policy.name, "--in-cluster", "--wait"});
  CHECK_MESSAGE(result.exit.code == 0, result.err);
  const std::string snapshot = policy.status().at("snapshotId");
  CHECK(has(result.out, "snapshot " + snapshot));
  CHECK_MESSAGE(has(result.err, "backed up: snapshot " + snapshot), result.err);

  const Json report =
      parsed(policy.run({"backup", policy.name, "--in-cluster", "--wait", "-o", "json"}));
  CHECK(report.at("exitCode") == 0);
  CHECK(report.at("snapshotId") == policy.status().at("snapshotId"));
  CHECK(report.at("pod") == policy.status().at("backupPod"));

  const RunResult started = policy.run({"backup", policy.name, "--in-cluster", "-o", "name"});
  REQUIRE(started.ok());
  CHECK(started.out.starts_with("job.batch/by-hand-backup-job-"));
  // The controller makes its pod a moment later.
  REQUIRE(eventually([&] {
    const std::vector<Json> pods = policy.pods();
    return std::any_of(pods.begin(), pods.end(), [](const Json& pod) {
      const std::string phase = find_string(pod, {"status", "phase"}).value_or("");
      return phase == "Pending" || phase == "Running";
    });
  }));
  check_failed(policy.run({"backup", policy.name, "--in-cluster"}), 11, "right now");
  CHECK(eventually([&] { return policy.status().at("backupPod") != report.at("pod"); }));
}

TEST_CASE("backup --in-cluster: its log comes while the job runs") {
  KUBEDR_NEEDS("kube-controller-manager");
  ByteProxy slow(World::shared().plane.etcd().port());
  ProxyRules rules;
  rules.bytes_per_second = 20'000;
  slow.set(rules);
  const Policy policy("followed",
                      {{"etcdEndpoint", fmt::format("https://127.0.0.1:{}", slow.port())}});
  policy.schedule();
  Process process = start_kubedr({"backup", policy.name, "--in-cluster", "--wait",
                                  "--kubeconfig=" + policy.plane.api().kubeconfig().string()});
  CHECK_MESSAGE(process.wait_for("etcd: ", kLongest), process.err());
  CHECK_FALSE(process.wait(std::chrono::milliseconds(0)));
  REQUIRE(policy.pods().size() == 1);
  CHECK(find_string(policy.pods().front(), {"status", "phase"}) == "Running");
  slow.set({});
  const std::optional<Exit> ended = process.wait(kLongest);
  REQUIRE(ended);
  CHECK_MESSAGE(ended->code == 0, process.err());
}

TEST_CASE("backup --in-cluster: a failing pod's exit code and words are its own") {
  KUBEDR_NEEDS("kube-controller-manager");
  const Policy policy("wrong-password");
  policy.patch("secret", policy.name + "-creds",
               {{"stringData", {{"restic_repo_password", "another one"}}}});
  policy.schedule();
  const RunResult result = policy.run({"backup", policy.name, "--in-cluster", "--wait"});
  CHECK_MESSAGE(result.exit.code == 12, result.err);
  CHECK(has(result.err, "wrong password"));
  CHECK(policy.status().at("backupStatus") == "Failed");
  // Not tried again: a job that fails has failed.
  const Json pods = policy.pods();
  CHECK(pods.size() == 1);
}

TEST_CASE("backup --in-cluster: a failed later step does not repeat a good backup") {
  KUBEDR_NEEDS("kube-controller-manager");
  const Policy policy("speechless");
  policy.schedule();
  const Json role = policy.plane.get("role", "kubedr-job");
  Json rules = role.at("rules");
  for (Json& rule : rules) {
    if (rule.at("resources")[0] == "events") rule["verbs"] = {"get"};
  }
  const std::string account = fmt::format("system:serviceaccount:{}:kubedr-job", kNamespace);
  const auto may_tell = [&] {
    return policy.kubectl({"auth", "can-i", "create", "events", "--as", account}).ok();
  };
  policy.patch("role", "kubedr-job", {{"rules", rules}});
  CHECK(eventually([&] { return !may_tell(); }));

  const RunResult result = policy.run({"backup", policy.name, "--in-cluster", "--wait"});
  policy.patch("role", "kubedr-job", {{"rules", role.at("rules")}});
  CHECK_MESSAGE(result.exit.code == 3, result.err);
  CHECK_MESSAGE(has(result.err, "event failed"), result.err);
  const std::vector<Json> pods = policy.pods();
  REQUIRE(pods.size() == 1);
  const std::string job = pods[0].at("metadata").at("labels").at("job-name");
  CHECK(eventually([&] {
    return find_integer(policy.plane.get("job", job), {"status", "failed"}) == 1;
  }));
  CHECK(policy.pods().size() == 1);
  const Json snapshots =
      parsed(policy.run({"snapshots", policy.name, "-o", "json"})).at("snapshots");
  REQUIRE(snapshots.size() == 1);
  CHECK(policy.status().at("backupStatus") == "Completed");
  CHECK(policy.status().at("snapshotId") == snapshots[0].at("shortId"));
  CHECK(eventually(may_tell));
}

TEST_CASE("backup --in-cluster: says why nothing happens, and gives up in time") {
  KUBEDR_NEEDS("kube-controller-manager");
  const Policy policy("no-image");
  const RunResult result = policy.run({"backup", policy.name, "--in-cluster", "--wait", "--image",
                                       "registry.example.com/no-such-image:1", "--timeout", "20s"});
  CHECK(result.exit.code == 20);
  CHECK_MESSAGE(has(result.err, "ErrImagePull"), result.err);
  const Policy elsewhere("other-nodes", {});
  elsewhere.patch("metadatabackuppolicy", elsewhere.name,
                  {{"spec", {{"options", {{"master-node-label-name", "example.com/etcd"}}}}}});
  elsewhere.schedule();
  const RunResult waiting = elsewhere.run(
      {"backup", elsewhere.name, "--in-cluster", "--wait", "--timeout", "20s", "-v=2"});
  CHECK(waiting.exit.code == 20);
  CHECK_MESSAGE(has(waiting.err, "nodes are available"), waiting.err);
  // Told of the pod, and not asking for it each second.
  const std::string pods = fmt::format("/api/v1/namespaces/{}/pods", kNamespace);
  CHECK(has(waiting.err, "kubernetes: WATCH " + pods + "\n"));
  const std::vector<std::string> lines = split(waiting.err, '\n');
  CHECK_MESSAGE(std::count_if(lines.begin(), lines.end(),
                              [&](const std::string& line) {
                                return has(line, "kubernetes: GET " + pods + ":");
                              }) <= 8,
                waiting.err);
}

TEST_CASE("schedule: an image that is there ends the wait for one that is not") {
  KUBEDR_NEEDS("kube-controller-manager");
  const Policy policy("mistyped");
  REQUIRE(policy.run({"schedule", policy.name, "--image", "registry.example.com/mistyped:1"}).ok());
  const RunResult stuck =
      policy.run({"backup", policy.name, "--in-cluster", "--wait", "--timeout", "10s"});
  CHECK_MESSAGE(has(stuck.err, "ErrImagePull"), stuck.err);
  // The limit goes along in each request's query, beside what a deletion says there.
  const RunResult mended =
      policy.run({"schedule", policy.name, "--image", kImage, "--request-timeout=30s"});
  CHECK(has(mended.out, "cronjob.batch/mistyped-backup-cronjob configured\n"));
  CHECK_MESSAGE(has(mended.out, " deleted: it could not start\n"), (mended.out + mended.err));
  CHECK(eventually([&] { return policy.pods().empty(); }));
  const RunResult result = policy.run({"backup", policy.name, "--in-cluster", "--wait"});
  CHECK_MESSAGE(result.ok(), result.err);
}

TEST_CASE("schedule: what differs from the policy is a finding until it is applied again") {
  KUBEDR_NEEDS("kube-controller-manager");
  const Policy policy("drifting");
  REQUIRE(policy.run({"backup", policy.name}).ok());
  check_failed(policy.run({"schedule", policy.name}), 2, "--image");
  policy.schedule();
  CHECK(policy.findings().empty());
  CHECK(has(policy.run({"schedule", policy.name}).out, "unchanged"));

  policy.patch("metadatabackuppolicy", policy.name,
               {{"spec", {{"schedule", "*/5 * * * *"}, {"certsDir", nullptr}}}});
  const RunResult status = policy.run({"status", "policy/" + policy.name});
  CHECK_MESSAGE(has(status.out, "schedule, certsDir"), status.out);
  CHECK(policy.findings().count("schedule-differs") == 1);
  const RunResult again = policy.run({"schedule", policy.name});
  CHECK(has(again.out, "configured"));
  CHECK(policy.findings().empty());
  CHECK(policy.cron_job().at("spec").at("schedule") == "*/5 * * * *");
}

TEST_CASE("schedule: a dry run makes nothing, and kubectl applies what it prints") {
  KUBEDR_NEEDS("kube-controller-manager");
  const Policy policy("rehearsed");
  const RunResult printed =
      policy.run({"schedule", policy.name, "--image", kImage, "--dry-run=client", "-o", "yaml"});
  REQUIRE_MESSAGE(printed.ok(), printed.err);
  CHECK_FALSE(policy.kubectl({"get", "cronjob", "rehearsed-backup-cronjob"}).ok());
  policy.plane.apply(printed.out);
  const Json spec = policy.cron_job().at("spec");
  policy.schedule();
  CHECK(policy.cron_job().at("spec") == spec);
  CHECK(has(policy.run({"schedule", policy.name}).out, "unchanged"));
}

TEST_CASE("schedule --push: its pods tell a Pushgateway, until it is taken away") {
  KUBEDR_NEEDS("kube-controller-manager");
  KUBEDR_NEEDS("pushgateway");
  const Policy policy("pushing");
  const Policy other("not-its");  // a repository that its pods have no keys of
  const Pushgateway gateway;
  check_failed(policy.run({"schedule", policy.name, "--image", kImage, "--push",
                           "http://me:secret@" + gateway.url().substr(7)}),
               2, "a password in a URL");
  const std::string url = gateway.url() + "/metrics/job/kubedr/cronjob/pushing";
  const Json report =
      parsed(policy.run({"schedule", policy.name, "--image", kImage, "--push", url, "-o", "json"}));
  CHECK(report.at("push") == url);
  CHECK(policy.findings().count("schedule-differs") == 0);
  const RunResult backup = policy.run({"backup", policy.name, "--in-cluster", "--wait"});
  CHECK_MESSAGE(backup.exit.code == 0, backup.err);
  const std::string metrics = gateway.metrics();
  const auto value_of = [&](const std::string& name) {
    for (const std::string& line : split(metrics, '\n')) {
      if (line.starts_with(name)) return line.substr(line.rfind(' ') + 1);
    }
    return std::string();
  };
  const std::string labels = "{cronjob=\"pushing\",instance=\"\",job=\"kubedr\",";
  CHECK(value_of("kubedr_num_successful_backups" + labels + "policyName=\"pushing\"") == "1");
  CHECK(value_of("kubedr_repository_up" + labels + "location=\"pushing\"") == "1");
  // Of what it cannot look into it says nothing, least of all that it is broken.
  CHECK(value_of("kubedr_location_info" + labels + "location=\"not-its\"") == "1");
  CHECK(value_of("kubedr_repository_up" + labels + "location=\"not-its\"") == "");

  const auto args = [&] {
    const Json pod = policy.cron_job().at("spec").at("jobTemplate").at("spec").at("template");
    return pod.at("spec").at("containers")[0].at("args");
  };
  CHECK(has(policy.run({"schedule", policy.name}).out, "unchanged"));
  CHECK(args().back() == "--push=" + url);
  CHECK(has(policy.run({"schedule", policy.name, "--push", ""}).out, "configured"));
  CHECK(args() == Json({"backup", "--no-cache"}));
  CHECK(has(policy.run({"schedule", policy.name}).out, "unchanged"));
}

TEST_CASE("schedule: somebody else's CronJob is left alone, or replaced as a whole") {
  KUBEDR_NEEDS("kube-controller-manager");
  const Policy policy("taken");
  const Json theirs = {
      {"apiVersion", "batch/v1"},
      {"kind", "CronJob"},
      {"metadata",
       {{"name", "taken-backup-cronjob"},
        {"namespace", kNamespace},
        {"labels", {{"kubedr.type", "backup"}, {"kubedr.backup-policy", "taken"}}}}},
      {"spec",
       {{"schedule", "0 1 * * *"},
        {"jobTemplate",
         {{"spec",
           {{"template",
             {{"spec",
               {{"restartPolicy", "Never"},
                {"containers",
                 Json::array({{{"name", "taken-kcx-backup"}, {"image", "kubedrutil"}}})}}}}}}}}}}}};
  policy.plane.apply(theirs.dump());
  CHECK(policy.findings().count("schedule-differs") == 1);
  check_failed(policy.run({"schedule", policy.name, "--image", kImage}), 1, "--force");
  const RunResult result = policy.run({"schedule", policy.name, "--image", kImage, "--force"});
  CHECK_MESSAGE(has(result.out, "replaced"), result.err);
  const Json pod = policy.cron_job().at("spec").at("jobTemplate").at("spec").at("template");
  CHECK(pod.at("spec").at("containers").size() == 1);
  CHECK(pod.at("spec").at("containers")[0].at("image") == kImage);
}

TEST_CASE("schedule: what its pods would miss is told before anything is applied") {
  KUBEDR_NEEDS("kube-controller-manager");
  const Policy policy("half-ready");
  const auto refused = [&](const std::string& what) {
    check_failed(policy.run({"schedule", policy.name, "--image", kImage}), 4, what);
  };
  policy.patch("secret", "half-ready-etcd", {{"data", {{"client.key", nullptr}}}});
  refused("client.key");
  REQUIRE(policy.kubectl({"delete", "secret", "half-ready-etcd"}).ok());
  refused("half-ready-etcd");
  CHECK_FALSE(policy.kubectl({"get", "cronjob", "half-ready-backup-cronjob"}).ok());
  const std::string long_name(40, 'x');
  policy.plane.add_policy(long_name);
  check_failed(policy.run({"schedule", long_name, "--image", kImage}), 2, "52");
}

TEST_CASE("policy: deleted with its CronJob; the controllers then collect what it owned") {
  KUBEDR_NEEDS("kube-controller-manager");
  const Policy policy("short-lived");
  policy.schedule();
  const RunResult result = policy.run({"policy", "delete", policy.name, "--yes"});
  CHECK_MESSAGE(result.ok(), result.err);
  CHECK_FALSE(policy.kubectl({"get", "cronjob", "short-lived-backup-cronjob"}).ok());
  const Policy other("by-kubectl");
  other.schedule();
  REQUIRE(other.kubectl({"delete", "metadatabackuppolicy", other.name}).ok());
  CHECK(eventually([&] {
    return !other.kubectl({"get", "cronjob", "by-kubectl-backup-cronjob"}).ok();
  }));
}

TEST_CASE("access: a scheduled backup asks for all that its service account may, and no more") {
  KUBEDR_NEEDS("kube-controller-manager");
  KUBEDR_NEEDS("pushgateway");
  const Policy policy("least", {{"retainNumBackups", "1"}});
  // Only to push metrics are locations and policies listed.
  const Pushgateway gateway;
  REQUIRE(policy
              .run({"schedule", policy.name, "--image", kImage, "--push",
                    gateway.url() + "/metrics/job/kubedr"})
              .ok());
  REQUIRE(policy.run({"backup", policy.name}).ok());
  // What only an operator that is gone, and a prune that failed, leave behind.
  const std::string record = policy.status().at("mbrName");
  policy.patch("metadatabackuprecord", record,
               {{"metadata",
                 {{"finalizers", Json::array({"mbr.finalizers.kubedr.catalogicsoftware.com"})}}}});
  REQUIRE(policy
              .kubectl({"patch", "backuplocation", policy.name, "--subresource=status",
                        "--type=merge", "-p", R"({"status": {"pruneErrorMessage": "no space"}})"})
              .ok());
  const RunResult result = policy.run({"backup", policy.name, "--in-cluster", "--wait"});
  REQUIRE_MESSAGE(result.ok(), result.err);
  CHECK_FALSE(policy.kubectl({"get", "metadatabackuprecord", record}).ok());

  const Rights used =
      World::shared().audit.used_by(fmt::format("system:serviceaccount:{}:kubedr-job", kNamespace));
  Rights may = granted(policy.plane, "role", "kubedr-job");
  // Asked for after an answer that was lost.
  CHECK(shown(without(may, used)) == "get events");
  may.merge(granted(policy.plane, "clusterrole", "kubedr-identity"));
  CHECK(shown(without(used, may)) == "");
}

TEST_CASE("access: an admin needs the rights to jobs and their pods") {
  KUBEDR_NEEDS("kube-controller-manager");
  const Policy policy("by-an-admin");
  for (const char* grant :
       {"rolebinding,--role=kubedr-admin", "clusterrolebinding,--clusterrole=kubedr-identity"}) {
    const std::vector<std::string> words = split(grant, ',');
    REQUIRE(policy
                .kubectl(
                    {"create", words[0], "by-an-admin", words[1], fmt::format("--user={}", kAdmin)})
                .ok());
  }
  const auto run = [&](std::vector<std::string> args) {
    return policy.plane.kubedr(std::move(args), kAdmin);
  };
  // To apply what is not there takes the right to create as well, within the patch.
  const Json rules = policy.plane.get("role", "kubedr-admin").at("rules");
  Json fewer = rules;
  for (Json& rule : fewer) {
    if (rule.at("resources")[0] == "cronjobs") rule["verbs"] = {"get", "list", "patch", "delete"};
  }
  policy.patch("role", "kubedr-admin", {{"rules", fewer}});
  const std::vector<std::string> schedule = {"schedule", policy.name, "--image", "mistyped"};
  CHECK(eventually([&] { return has(run(schedule).err, "cannot create resource \"cronjobs\""); }));
  policy.patch("role", "kubedr-admin", {{"rules", rules}});
  CHECK(eventually([&] { return run(schedule).ok(); }));

  CHECK(run({"backup", policy.name, "--in-cluster", "--wait", "--timeout", "10s"}).exit.code == 20);
  CHECK(has(run({"schedule", policy.name, "--image", kImage}).out, "it could not start"));
  const RunResult result = run({"backup", policy.name, "--in-cluster", "--wait"});
  CHECK_MESSAGE(result.ok(), result.err);
  const Rights used = World::shared().audit.used_by(kAdmin);
  CHECK(shown(without({"delete jobs.batch", "get pods/log"}, used)) == "");
}

TEST_CASE("access: whoever may view the cluster may look at its backups") {
  KUBEDR_NEEDS("kube-controller-manager");
  ControlPlane& plane = World::shared().plane;
  REQUIRE(plane.api()
              .kubectl(
                  {"create", "clusterrolebinding", "viewer", "--clusterrole=view", "--user=reader"})
              .ok());
  CHECK(eventually([&] { return plane.kubedr({"status"}, "reader").exit.code != 21; }));
}
