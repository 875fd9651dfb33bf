// SIGKILL at requests to the API server: what a backup has still to tell there, what an uninstall
// has still to take back, a CronJob between its end and its successor; and in the midst of what a
// backup reads of etcd and writes to S3. The same command again puts everything right.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "e2e/faults.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

using Requests = std::vector<std::string>;

// Starts that, and lets the proxy on its way kill it by those rules.
void kill_by(ByteProxy& proxy, const ProxyRules& rules, const std::vector<std::string>& verb) {
  proxy.set_victim(0);
  proxy.set(rules);
  Process victim = start_kubedr(verb);
  proxy.set_victim(victim.pid());
  const auto end = victim.wait(std::chrono::seconds(60));
  REQUIRE(end);
  REQUIRE_MESSAGE(end->signal == SIGKILL, victim.out(), victim.err());
  proxy.set({});
}

// The way to an API server without TLS, which `kubectl proxy` speaks for us: so that the byte proxy
// knows one request from the next.
class PlainApi {
 public:
  explicit PlainApi(ControlPlane& plane)
      : plane_(plane),
        port_(free_port()),
        kubectl_({find_server("kubectl").string(), "proxy", fmt::format("--port={}", port_),
                  "--kubeconfig=" + plane.api().kubeconfig().string()}),
        proxy_(port_) {
    REQUIRE_MESSAGE(kubectl_.wait_for("Starting to serve", std::chrono::seconds(30)),
                    kubectl_.err());
  }

  // What a good run asks, in its order.
  Requests requests_of(const std::vector<std::string>& verb) {
    proxy_.set({});
    const auto before = static_cast<std::ptrdiff_t>(proxy_.requests().size());
    Process process = start_kubedr(through(verb));
    const auto end = process.wait(std::chrono::seconds(60));
    REQUIRE(end);
    REQUIRE_MESSAGE(end->code == 0, process.err());
    const Requests all = proxy_.requests();
    return {all.begin() + before, all.end()};
  }

  // Kills the verb before or after its request of that number, counted from 1.
  void kill_at(const std::vector<std::string>& verb, int request, bool before) {
    ProxyRules rules;
    (before ? rules.kill_before_request : rules.kill_after_request) = request;
    kill_by(proxy_, rules, through(verb));
  }

 private:
  std::vector<std::string> through(std::vector<std::string> verb) const {
    verb.insert(verb.end(), {"--kubeconfig=" + plane_.api().kubeconfig().string(),
                             fmt::format("--server=http://127.0.0.1:{}", proxy_.port())});
    return verb;
  }

  ControlPlane& plane_;
  const int port_;
  Process kubectl_;
  ByteProxy proxy_;
};

// The number of the first request that begins so and holds that; 0 without one.
int number_of(const Requests& requests, std::string_view method, std::string_view part) {
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (has(requests[i], method) && has(requests[i], part)) return static_cast<int>(i) + 1;
  }
  return 0;
}

std::set<std::string> records_of(ControlPlane& plane, const std::string& policy) {
  std::set<std::string> names;
  for (const Json& record : plane.list("metadatabackuprecords")) {
    if (record.at("spec").at("policy") == policy) names.insert(record.at("metadata").at("name"));
  }
  return names;
}

std::set<std::string> records_for(const std::vector<std::string>& snapshots) {
  std::set<std::string> names;
  for (const std::string& id : snapshots) names.insert("mbr-" + id.substr(0, 8));
  return names;
}

// How far a backup that was killed had come with what it has to tell of its snapshot.
std::string told(ControlPlane& plane, const BackedUpPolicy& policy, std::size_t snapshots,
                 int events) {
  const std::vector<std::string> now = policy.snapshot_ids();
  if (now.size() == snapshots) return "nothing";
  REQUIRE(now.size() == snapshots + 1);
  const std::string record = "mbr-" + now.back().substr(0, 8);
  const bool recorded = records_of(plane, policy.name()).count(record) != 0;
  const bool published = policy.status().at("mbrName") == record;
  const bool posted = policy.events("BackupSucceeded") > events;
  // Each step needs the one before.
  CHECK(recorded >= published);
  CHECK(published >= posted);
  return posted ? "event" : published ? "status" : recorded ? "record" : "snapshot";
}

// A policy with a good backup, and so much new in etcd that stream and pack are longer than their
// offsets below.
struct Grown {
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy;
  const std::vector<std::string> good = policy.snapshot_ids();
  const std::vector<std::string> backup = {"backup", policy.name(),
                                           "--kubeconfig=" + plane.api().kubeconfig().string()};

  explicit Grown(const std::string& name) : policy(plane, name) {
    plane.etcd().fill("/kubedr-test/" + name + "/", 300, 5000);
  }

  std::ptrdiff_t packs() const {
    const RunResult listed =
        restic("0.18", {"list", "packs", "--no-lock"}, plane.restic_env(policy.name()));
    REQUIRE_MESSAGE(listed.ok(), listed.err);
    return std::count(listed.out.begin(), listed.out.end(), '\n');
  }

  // Of a backup that was killed on its way there.
  void check_goes_on() const {
    CHECK(policy.snapshot_ids() == good);
    check_left_sound(plane.restic_env(policy.name()));
    // The dead one's lock is shared, and so in no backup's way.
    const RunResult next = policy.backup({"--retry-lock", "0"});
    CHECK_MESSAGE(next.ok(), next.err);
    CHECK(policy.snapshot_ids().size() == good.size() + 1);
    const RunResult unlocked = plane.kubedr({"unlock", "--location", policy.name()});
    CHECK_MESSAGE(has(unlocked.out, "removed 1 lock"), unlocked.out, unlocked.err);
    policy.check_repository();
    const TempDir folder;
    const RunResult restored = plane.kubedr(
        {"restore", "latest", "--policy", policy.name(), "--target", (folder / "target").string()});
    CHECK_MESSAGE(restored.ok(), restored.err);
    CHECK(std::filesystem::exists(folder / "target/data/etcd-snapshot.db"));
  }
};

}  // namespace

TEST_CASE("killed in the midst of etcd's stream: what is left is sound, and the next one works") {
  KUBEDR_NEEDS("kube-apiserver");
  const Grown grown("cut-stream");
  ByteProxy etcd(grown.plane.etcd().port());
  ProxyRules rules;
  rules.kill_at_to_client = 1'000'000;  // far behind every other answer
  std::vector<std::string> backup = grown.backup;
  backup.insert(backup.end(),
                {"--etcd-endpoint", fmt::format("https://127.0.0.1:{}", etcd.port())});
  kill_by(etcd, rules, backup);
  grown.check_goes_on();
}

TEST_CASE("killed in the midst of a pack's body: what is left is sound, and the next one works") {
  KUBEDR_NEEDS("kube-apiserver");
  const Grown grown("cut-pack");
  const std::string& name = grown.policy.name();
  const std::ptrdiff_t packs = grown.packs();
  ByteProxy s3(grown.plane.s3().port());
  grown.plane.add_location(name, fmt::format("http://127.0.0.1:{}", s3.port()));
  ProxyRules rules;
  rules.kill_at_to_server = 400'000;  // more than everything else that it sends
  kill_by(s3, rules, grown.backup);
  const Requests requests = s3.requests();
  const auto begun = std::count_if(
      requests.begin(), requests.end(),
      [&](const std::string& request) { return has(request, "PUT /" + name + "/data/"); });
  CHECK(begun > 0);
  CHECK(grown.packs() < packs + begun);
  grown.check_goes_on();
}

TEST_CASE("killed at the API server's requests: a backup, and sync tells what it could not") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "cut-short");
  PlainApi api(plane);
  const std::vector<std::string> backup = {"backup", policy.name()};
  const Requests requests = api.requests_of(backup);
  const int record = number_of(requests, "POST ", "/metadatabackuprecords");
  const int last = static_cast<int>(requests.size());
  REQUIRE(record > 1);
  REQUIRE(last > record + 1);

  std::set<std::string> reached;
  const auto kill_at = [&](int request, bool before) {
    CAPTURE(request);
    CAPTURE(requests[static_cast<std::size_t>(request) - 1]);
    CAPTURE(before);
    plane.etcd().put("/kubedr-test/cut-short", fmt::format("{} {}", request, before));
    const std::vector<std::string> good = policy.snapshot_ids();
    const int events = policy.events("BackupSucceeded");
    api.kill_at(backup, request, before);
    reached.insert(told(plane, policy, good.size(), events));
    check_left_sound(plane.restic_env(policy.name()));

    const RunResult synced = plane.kubedr({"sync", "--location", policy.name(), "--yes"});
    CHECK_MESSAGE(synced.ok(), synced.out, synced.err);
    const std::vector<std::string> now = policy.snapshot_ids();
    CHECK(std::equal(good.begin(), good.end(), now.begin()));
    CHECK(records_of(plane, policy.name()) == records_for(now));
    CHECK(policy.status().at("backupStatus") == "Completed");
    CHECK(policy.status().at("mbrName") == "mbr-" + now.back().substr(0, 8));
    policy.check_next_backup_works();
    CHECK(records_of(plane, policy.name()) == records_for(policy.snapshot_ids()));
  };
  kill_at(1, true);
  for (int request = record; request <= last; ++request) kill_at(request, true);
  kill_at(last, false);
  CHECK(reached == std::set<std::string>{"nothing", "snapshot", "record", "status", "event"});
}

TEST_CASE("killed at the API server's requests: a backup, and the next one works without sync") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "cut-again");
  PlainApi api(plane);
  const std::vector<std::string> backup = {"backup", policy.name()};
  const int record = number_of(api.requests_of(backup), "POST ", "/metadatabackuprecords");
  REQUIRE(record > 1);
  for (const bool before : {true, false}) {
    CAPTURE(before);
    const std::size_t good = policy.snapshot_ids().size();
    api.kill_at(backup, record, before);
    CHECK(policy.snapshot_ids().size() == good + 1);
    policy.check_next_backup_works();
    CHECK(policy.snapshot_ids().size() == good + 2);
  }
}

TEST_CASE("killed at the API server's requests: an uninstall, and the next one takes the rest") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  PlainApi api(plane);
  const std::vector<std::string> uninstall = {"uninstall", "--yes"};
  const auto ours = [&] {
    const RunResult got = plane.api().kubectl(
        {"get", "-A", "-o", "name", "-l", "app.kubernetes.io/managed-by=kubectl-kubedr",
         "roles,rolebindings,serviceaccounts,clusterroles,clusterrolebindings,"
         "validatingadmissionpolicies,validatingadmissionpolicybindings"});
    REQUIRE_MESSAGE(got.ok(), got.err);
    return static_cast<int>(std::count(got.out.begin(), got.out.end(), '\n'));
  };
  const int all = ours();
  REQUIRE(all > 5);
  const Requests requests = api.requests_of(uninstall);
  CHECK(ours() == 0);
  const int first = number_of(requests, "DELETE ", "");
  const int last = static_cast<int>(requests.size());
  REQUIRE(first > 1);
  REQUIRE(last > first + 3);
  std::set<int> left;
  for (const int request : {1, first, first + 1, (first + last) / 2, last}) {
    CAPTURE(request);
    REQUIRE(plane.kubedr({"install"}).ok());
    REQUIRE(ours() == all);
    api.kill_at(uninstall, request, true);
    left.insert(ours());
    const RunResult again = plane.kubedr(uninstall);
    CHECK_MESSAGE(again.ok(), again.out, again.err);
    CHECK(ours() == 0);
    CHECK(plane.api().kubectl({"get", "namespace", kNamespace}).ok());
  }
  CHECK(left.size() == 4);  // nothing done yet, twice; then less and less
  CHECK(*left.rbegin() == all);
}

TEST_CASE("killed at the API server's requests: a schedule that replaces somebody's CronJob") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const BackedUpPolicy policy(plane, "replaced");
  const std::string name = "replaced-backup-cronjob";
  const std::string image = "registry.example.com/kubedr:1";
  PlainApi api(plane);
  const Json container = {{"name", "theirs"}, {"image", "kubedrutil"}};
  const Json pod = {{"restartPolicy", "Never"}, {"containers", {container}}};
  const Json theirs = {
      {"apiVersion", "batch/v1"},
      {"kind", "CronJob"},
      {"metadata", {{"name", name}, {"namespace", kNamespace}}},
      {"spec",
       {{"schedule", "0 0 * * *"}, {"jobTemplate", {{"spec", {{"template", {{"spec", pod}}}}}}}}}};
  const std::vector<std::string> schedule = {"schedule", "replaced", "--image", image, "--force"};
  const auto containers = [&] {
    const Json spec = plane.get("cronjob", name).at("spec").at("jobTemplate").at("spec");
    return spec.at("template").at("spec").at("containers");
  };
  plane.apply(theirs.dump());
  const int deletion = number_of(api.requests_of(schedule), "DELETE ", "/cronjobs/");
  REQUIRE(deletion > 1);
  for (const int request : {deletion, deletion + 1}) {
    CAPTURE(request);
    plane.api().kubectl({"-n", kNamespace, "delete", "cronjob", name});
    plane.apply(theirs.dump());
    api.kill_at(schedule, request, true);
    const bool there = plane.api().kubectl({"-n", kNamespace, "get", "cronjob", name}).ok();
    CHECK(there == (request == deletion));
    if (there) CHECK(containers()[0].at("image") == "kubedrutil");
    const RunResult again = plane.kubedr(schedule);
    CHECK_MESSAGE(again.ok(), again.out, again.err);
    REQUIRE(containers().size() == 1);
    CHECK(containers()[0].at("image") == image);
  }
}
