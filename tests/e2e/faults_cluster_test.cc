// What may be wrong with the API server, with the way to it and with what we may do there.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "e2e/faults.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

constexpr char kUser[] = "backup-only";

Json rule(const std::string& group, const std::string& resource, std::vector<std::string> verbs) {
  return {{"apiGroups", {group}}, {"resources", {resource}}, {"verbs", verbs}};
}

// What a backup needs, but one thing, granted to kUser while this lives.
class Permissions {
 public:
  Permissions(ControlPlane& plane, const std::string& but) : plane_(plane) {
    constexpr char kGroup[] = "kubedr.catalogicsoftware.com";
    std::vector<Json> rules = {rule(kGroup, "backuplocations", {"get", "list"}),
                               rule(kGroup, "metadatabackuppolicies", {"get", "list"}),
                               rule("", "secrets", {"get"})};
    const std::map<std::string, Json> others = {
        {"record", rule(kGroup, "metadatabackuprecords", {"create", "get", "list", "delete"})},
        {"status", rule(kGroup, "metadatabackuppolicies/status", {"patch"})},
        {"totals", rule(kGroup, "metadatabackuppolicies", {"patch"})},
        {"event", rule("", "events", {"create"})}};
    for (const auto& [step, granted] : others) {
      if (step != but) rules.push_back(granted);
    }
    plane_.apply(role("Role", rules).dump());
    const std::string looked_at = but == "namespace" ? "nodes" : "namespaces";
    plane_.apply(role("ClusterRole", {rule("", looked_at, {"get"})}).dump());
    plane_.apply(binding("Role").dump());
    plane_.apply(binding("ClusterRole").dump());
    // The authorizer learns of it a moment later.
    REQUIRE(eventually([&] {
      return may("get", "secrets") && may("get", looked_at) &&
             may("create", "events") == (but != "event");
    }));
  }

  Permissions(const Permissions&) = delete;
  Permissions& operator=(const Permissions&) = delete;

  ~Permissions() {
    plane_.api().kubectl({"-n", kNamespace, "delete", "role,rolebinding", kUser});
    plane_.api().kubectl({"delete", "clusterrole,clusterrolebinding", kUser});
    eventually([&] { return !may("get", "secrets"); });
  }

 private:
  static Json role(const std::string& kind, const std::vector<Json>& rules) {
    Json object = {{"apiVersion", "rbac.authorization.k8s.io/v1"},
                   {"kind", kind},
                   {"metadata", {{"name", kUser}}},
                   {"rules", rules}};
    if (kind == "Role") object["metadata"]["namespace"] = kNamespace;
    return object;
  }

  static Json binding(const std::string& kind) {
    Json object = {
        {"apiVersion", "rbac.authorization.k8s.io/v1"},
        {"kind", kind + "Binding"},
        {"metadata", {{"name", kUser}}},
        {"subjects", {{{"kind", "User"}, {"name", kUser}}}},
        {"roleRef", {{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", kind}, {"name", kUser}}}};
    if (kind == "Role") object["metadata"]["namespace"] = kNamespace;
    return object;
  }

  bool may(const std::string& verb, const std::string& resource) const {
    return plane_.api()
        .kubectl({"-n", kNamespace, "auth", "can-i", verb, resource, "--as", kUser})
        .ok();
  }

  ControlPlane& plane_;
};

// Somebody else's event has the name that the next one about this object wants; returns it.
std::string take_event_name(ControlPlane& plane, const std::string& kind,
                            const std::string& object_name) {
  const Json object = plane.get(kind, object_name);
  const std::string name =
      fmt::format("kubedr.catalogicsoftware.com-v1alpha1-{}-{}-{}", kind, object_name,
                  object.at("metadata").at("resourceVersion").get<std::string>());
  plane.apply(Json{
      {"apiVersion", "v1"},
      {"kind", "Event"},
      {"metadata", {{"name", name}, {"namespace", kNamespace}}},
      {"involvedObject",
       {{"apiVersion", "kubedr.catalogicsoftware.com/v1alpha1"},
        {"kind", kind},
        {"name", object_name},
        {"namespace", kNamespace}}},
      {"reason", "Squatter"},
      {"message", "somebody was here before"},
      {"type",
       "Normal"}}.dump());
  return name;
}

std::vector<std::string> names_of_events(ControlPlane& plane, const std::string& object,
                                         const std::string& reason) {
  std::vector<std::string> names;
  for (const Json& event : plane.events_of(object)) {
    if (event.at("reason") == reason) names.push_back(event.at("metadata").at("name"));
  }
  return names;
}

// One of them wanted that name, and has it with a suffix.
void check_suffixed(const std::vector<std::string>& names, const std::string& name) {
  const auto is_suffixed = [&](const std::string& one) {
    return one.starts_with(name + ".") &&
           one.find_first_not_of("0123456789abcdef", name.size() + 1) == std::string::npos;
  };
  CHECK_MESSAGE(std::count_if(names.begin(), names.end(), is_suffixed) == 1, name);
}

std::string kubeconfig_text(ControlPlane& plane) {
  return read_text(plane.api().kubeconfig());
}

RunResult backup_with(const std::string& kubeconfig, std::vector<std::string> flags = {}) {
  flags.insert(flags.begin(), {"backup", "any", "--kubeconfig", kubeconfig});
  return test::kubedr(flags);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("faults: a backup whose publishing is forbidden is safe, and says what is missing") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  for (const std::string step : {"record", "status", "totals", "event"}) {
    CAPTURE(step);
    BackedUpPolicy policy(plane, "no-" + step);
    const Json before = policy.status();
    const Permissions permissions(plane, step);
    const RunResult result = policy.backup({"-o", "json"}, kUser);
    CAPTURE(result.err);
    REQUIRE(result.exit.code == 3);
    const Json report = parse_json(result.out, "stdout");
    REQUIRE(report.at("failedSteps").size() == 1);
    const Json& failed = report.at("failedSteps")[0];
    CHECK(failed.at("step") == step);
    CHECK(has(failed.at("error").get<std::string>(), "forbidden"));
    CHECK(failed.at("remedy") != "");
    CHECK(has(result.err, fmt::format("warning: {} failed: ", step)));
    CHECK(has(result.err, failed.at("remedy").get<std::string>()));

    const std::vector<std::string> ids = policy.snapshot_ids();
    REQUIRE(ids.size() == 2);
    CHECK(ids.back() == report.at("snapshotId"));
    const std::string record = report.at("record").get<std::string>();
    const bool recorded =
        plane.api().kubectl({"-n", kNamespace, "get", "metadatabackuprecord", record}).ok();
    CHECK(recorded == (step != "record"));
    CHECK((policy.status() == before) == (step == "status"));
    CHECK(policy.events("BackupSucceeded") == (step == "event" ? 1 : 2));
    policy.check_repository();
  }
}

TEST_CASE("faults: without a look at namespaces a backup knows its etcd by the policy in it") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "by-policy");
  const Permissions permissions(plane, "namespace");
  const RunResult good = policy.backup({}, kUser);
  CHECK_MESSAGE(good.ok(), good.err);
  EtcdServer stranger;
  const std::vector<std::string> flags = {"--etcd-endpoint", stranger.endpoint()};
  check_failed(policy.backup(flags, kUser), 2, "does not hold this API server's");
  stranger.put(
      "/registry/kubedr.catalogicsoftware.com/metadatabackuppolicies/kubedr-system/by-policy",
      R"({"metadata":{"uid":"11111111-2222-3333-4444-555555555555"}})");
  check_failed(policy.backup(flags, kUser), 2, "does not hold this API server's");
}

TEST_CASE("faults: an etcd whose values are encrypted is known by the policy's revision") {
  KUBEDR_NEEDS("kube-apiserver");
  const TempDir folder;
  const std::string config = folder.write("encryption.yaml", R"(
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [namespaces, metadatabackuppolicies.kubedr.catalogicsoftware.com]
  providers:
  - aescbc: {keys: [{name: one, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}
)");
  ControlPlane plane({}, {"--encryption-provider-config=" + config});
  BackedUpPolicy policy(plane, "sealed");
  policy.check_next_backup_works();
  EtcdServer stranger;
  stranger.put("/registry/namespaces/kube-system", "k8s:enc:aescbc:v1:two:other");
  stranger.put("/registry/kubedr.catalogicsoftware.com/metadatabackuppolicies/kubedr-system/sealed",
               "k8s:enc:aescbc:v1:two:other");
  check_failed(policy.backup({"--etcd-endpoint", stranger.endpoint()}), 2,
               "does not hold this API server's");
}

TEST_CASE("faults: a user who may do nothing is denied, and no snapshot is made") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "no-rights");
  check_failed(policy.backup({}, "reader"), 21, "forbidden");
  check_failed(plane.kubedr({"init", "no-rights"}, "reader"), 21, "forbidden");
  CHECK(policy.snapshot_ids().size() == 1);
  CHECK(policy.events("BackupFailed") == 0);
}

TEST_CASE("faults: an event whose name is taken is posted all the same") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "taken");
  const std::string nobody = fmt::format("https://127.0.0.1:{}", free_port());
  const std::vector<std::pair<std::string, std::vector<std::string>>> outcomes = {
      {"BackupSucceeded", {}}, {"BackupFailed", {"--etcd-endpoint", nobody}}};
  int squatters = 0;
  for (const auto& [reason, flags] : outcomes) {
    CAPTURE(reason);
    const int before = policy.events(reason);
    const std::string name = take_event_name(plane, "MetadataBackupPolicy", "taken");
    CHECK(policy.backup(flags).exit.code == (reason == "BackupFailed" ? 20 : 0));
    CHECK(policy.events("Squatter") == ++squatters);
    CHECK(policy.events(reason) == before + 1);
    check_suffixed(names_of_events(plane, "taken", reason), name);
  }
}

TEST_CASE("faults: an init's event whose name is taken is posted all the same") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_location("taken-init");
  std::ptrdiff_t squatters = 0;
  for (const std::string reason : {"InitSucceeded", "InitFailed"}) {
    CAPTURE(reason);
    const std::string name = take_event_name(plane, "BackupLocation", "taken-init");
    const RunResult init = plane.kubedr({"init", "taken-init"});
    CHECK_MESSAGE(init.exit.code == (reason == "InitFailed" ? 1 : 0), init.err);
    CHECK(std::ssize(names_of_events(plane, "taken-init", "Squatter")) == ++squatters);
    const std::vector<std::string> names = names_of_events(plane, "taken-init", reason);
    CHECK(names.size() == 1);
    check_suffixed(names, name);
  }
}

TEST_CASE("faults: a malformed kubeconfig, and names that are not in it") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const TempDir folder;
  const std::string text = kubeconfig_text(plane);

  check_failed(backup_with(folder.write("yaml", "a: [b").string()), 2, "yaml");
  check_failed(backup_with(folder.write("list", "- a\n- b\n").string()), 2, "list");
  const std::string good = folder.write("good", text).string();
  check_failed(backup_with(good, {"--context", "nowhere"}), 2, "nowhere");
  check_failed(backup_with(good, {"--cluster", "nowhere"}), 2, "nowhere");
  check_failed(backup_with(good, {"--user", "nobody"}), 2, "nobody");
  check_failed(backup_with((folder / "missing").string()), 2, "missing");
}

TEST_CASE("faults: a token that the API server does not know") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const TempDir folder;
  const std::string text =
      replaced(kubeconfig_text(plane), KubeApi::token("admin"), "stale-token-of-yesterday");
  const RunResult result = backup_with(folder.write("config", text).string());
  check_failed(result, 21, "Unauthorized");
  CHECK_FALSE(has(result.err, "stale-token-of-yesterday"));
}

TEST_CASE("faults: a service account's token that has expired, until its file has a new one") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const auto kubectl = [&](std::vector<std::string> args) {
    args.insert(args.begin(), {"-n", kNamespace});
    const RunResult result = plane.api().kubectl(args);
    REQUIRE_MESSAGE(result.ok(), result.err);
    return result.out;
  };
  kubectl({"create", "serviceaccount", "robot"});
  kubectl({"create", "clusterrolebinding", "robot", "--clusterrole=cluster-admin",
           "--serviceaccount=kubedr-system:robot"});
  const std::string uid =
      kubectl({"get", "serviceaccount", "robot", "-o", "jsonpath={.metadata.uid}"});
  const TempDir folder;
  const std::string config =
      folder
          .write("config", replaced(kubeconfig_text(plane), "token: " + KubeApi::token("admin"),
                                    "tokenFile: secrets/token"))
          .string();
  const auto status_with = [&](const std::string& token) {
    folder.write("secrets/token", token);
    return test::kubedr({"status", "--fail-on", "never", "--kubeconfig", config});
  };
  const RunResult fresh =
      status_with(plane.api().account_token("robot", uid, std::chrono::hours(1)));
  CHECK_MESSAGE(fresh.ok(), fresh.err);
  const std::string old = plane.api().account_token("robot", uid, -std::chrono::minutes(10));
  const RunResult expired = status_with(old);
  check_failed(expired, 21, "Unauthorized");
  CHECK_FALSE(has(expired.err, old));
  const RunResult renewed = status_with(kubectl({"create", "token", "robot"}));
  CHECK_MESSAGE(renewed.ok(), renewed.err);
}

TEST_CASE("kubeconfig: a client certificate, and the name that the server's certificate is for") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const TempDir folder;
  const auto status_as = [&](const CertificateRequest& user, const std::string& server_name) {
    const Certificate client = plane.api().certificates().issue(user);
    folder.write("client.crt", client.certificate_pem);
    folder.write("client.key", client.key_pem);
    std::string text = replaced(kubeconfig_text(plane), "token: " + KubeApi::token("admin"),
                                "{client-certificate: client.crt, client-key: client.key}");
    // This machine by a name that is not in its certificate.
    text = replaced(text, "127.0.0.1", "api.localhost");
    if (!server_name.empty()) {
      text = replaced(text, "server: ", "tls-server-name: " + server_name + "\n    server: ");
    }
    return test::kubedr(
        {"status", "--fail-on", "never", "--kubeconfig", folder.write("config", text).string()});
  };
  const CertificateRequest admin = {"carol", {}, {"system:masters"}};
  check_failed(status_as(admin, ""), 21, "certificate");
  check_failed(status_as(admin, "kubernetes.example"), 21, "certificate");
  const RunResult named = status_as(admin, "kubernetes.default.svc");
  CHECK_MESSAGE(named.ok(), named.err);
  check_failed(status_as({"mallory", {}, {}}, "kubernetes.default.svc"), 21,
               "\"mallory\" cannot list");
}

TEST_CASE("faults: an API server that is not there, or not trusted") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const TempDir folder;
  const std::string text = kubeconfig_text(plane);
  const std::string good = folder.write("good", text).string();
  const std::string nobody = fmt::format("https://127.0.0.1:{}", free_port());
  check_failed(backup_with(good, {"--server", nobody}), 20, nobody);
  const Certificates other;
  const std::string authority = folder.write("ca.crt", other.ca_pem()).string();
  check_failed(backup_with(good, {"--certificate-authority", authority}), 21, "certificate");
}

TEST_CASE("faults: without resource definitions the way out is named") {
  KUBEDR_NEEDS("kube-apiserver");
  EtcdServer etcd;
  const KubeApi api(etcd);
  const RunResult result =
      test::kubedr({"backup", "nightly", "--kubeconfig", api.kubeconfig().string()});
  check_failed(result, 4, "not installed");
  CHECK(has(result.err, "kubectl kubedr install"));
}
