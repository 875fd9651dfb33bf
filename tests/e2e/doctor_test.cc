// `doctor`: tries everything that a backup needs, says what is missing, and what must be allowed.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/yaml.h"
#include "e2e/faults.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

constexpr char kUser[] = "backup-only";

Json examined(ControlPlane& plane, const std::string& policy, int code,
              const std::string& user = "admin") {
  const RunResult result = plane.kubedr({"doctor", policy, "-o", "json"}, user);
  CHECK_MESSAGE(result.exit.code == code, (result.out + result.err));
  return parse_json(result.out, "stdout");
}

// The worst verdict of each code.
std::map<std::string, std::string> verdicts(const Json& report) {
  std::map<std::string, std::string> verdicts;
  for (const Json& one : report.at("examined")) {
    std::string& worst = verdicts[one.at("code")];
    const std::string verdict = one.at("verdict");
    if (worst.empty() || worst == "good" || verdict == "error") worst = verdict;
  }
  return verdicts;
}

Json the(const Json& report, const std::string& code) {
  for (const Json& one : report.at("examined")) {
    if (one.at("code") == code && one.at("verdict") != "good") return one;
  }
  FAIL((code + " is good or was not tried: " + report.dump(2)));
  return nullptr;
}

Json binding(const Json& role) {
  const std::string kind = role.at("kind").get<std::string>();
  Json metadata = {{"name", kUser}};
  if (kind == "Role") metadata["namespace"] = kNamespace;
  return {{"apiVersion", "rbac.authorization.k8s.io/v1"},
          {"kind", kind + "Binding"},
          {"metadata", metadata},
          {"subjects", {{{"kind", "User"}, {"name", kUser}}}},
          {"roleRef",
           {{"apiGroup", "rbac.authorization.k8s.io"},
            {"kind", kind},
            {"name", role.at("metadata").at("name")}}}};
}

}  // namespace

TEST_CASE("doctor: all is tried and good where a backup works, and nothing is left behind") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const BackedUpPolicy policy(plane, "healthy");
  const std::size_t files = [&] {
    const SystemClock clock;
    std::size_t count = 0;
    open_bucket(plane.s3(), "healthy", clock)
        ->list(
            storage::FileKind::pack, [&](const storage::FileInfo&) { ++count; },
            call_for(std::chrono::seconds(30)));
    return count;
  }();
  const Json report = examined(plane, "healthy", 0);
  const auto found = verdicts(report);
  for (const char* code :
       {"location", "rbac", "credentials", "repository", "store-put", "store-get", "store-list",
        "store-create", "store-delete", "lock", "clock-store", "etcd-certificate", "etcd-member",
        "etcd-leader", "etcd-alarm", "etcd-quota", "certificates", "clock-apiserver", "room"}) {
    CAPTURE(code);
    REQUIRE(found.count(code) == 1);
    CHECK(found.at(code) == "good");
  }
  const Json status = parsed(plane.kubedr({"status", "healthy", "--deep", "-o", "json"}));
  CHECK(status.at("locations")[0].at("locks") == 0);
  const SystemClock clock;
  std::size_t after = 0;
  open_bucket(plane.s3(), "healthy", clock)
      ->list(
          storage::FileKind::pack, [&](const storage::FileInfo&) { ++after; },
          call_for(std::chrono::seconds(30)));
  CHECK(after == files);
  policy.check_repository();
}

TEST_CASE("doctor: what is wrong is said, and the rest is tried all the same") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("ailing",
                   {{"certsDir", "/no/such/folder"}, {"etcdEndpoint", "https://127.0.0.1:1"}});
  Json report = examined(plane, "ailing", 5);
  CHECK(has(the(report, "repository").at("message"), "ailing"));  // none yet
  CHECK(has(the(report, "certificates").at("message"), "/no/such/folder"));
  CHECK(has(the(report, "etcd-member").at("message"), "https://127.0.0.1:1"));
  CHECK(verdicts(report).at("credentials") == "good");
  CHECK(verdicts(report).at("room") == "good");
  const RunResult text = plane.kubedr({"doctor", "ailing"});
  CHECK(text.exit.code == 5);
  CHECK(has(text.out, "error: metadatabackuppolicy/ailing: "));
  CHECK(has(text.out, "good: backuplocation/ailing: "));
  check_failed(plane.kubedr({"doctor", "nobody-knows"}), 4, "nobody-knows");

  plane.api().kubectl({"-n", kNamespace, "delete", "secret", "ailing-creds", "ailing-etcd"});
  report = examined(plane, "ailing", 5);
  CHECK(has(the(report, "credentials").at("message"), "ailing-creds"));
  CHECK(has(the(report, "etcd-credentials").at("message"), "ailing-etcd"));
}

TEST_CASE("doctor: an etcd that raises an alarm and is at its quota") {
  KUBEDR_NEEDS("etcd");
  EtcdOptions options;
  options.flags = {"--quota-backend-bytes=1048576"};
  EtcdServer etcd(options);
  // Until it takes no more.
  CHECK_THROWS([&] {
    for (int i = 0; i < 1000; ++i) etcd.fill(fmt::format("/full/{}/", i), 1, 4000);
  }());
  const TempDir folder;
  const auto manifests =
      folder
          .write("m/all.yaml", fmt::format(R"(
apiVersion: kubedr.catalogicsoftware.com/v1alpha1
kind: BackupLocation
metadata: {{name: folder, namespace: kubedr-system}}
spec: {{url: "file://{0}/repository", bucketName: b, credentials: c}}
---
apiVersion: v1
kind: Secret
metadata: {{name: c, namespace: kubedr-system}}
stringData: {{access_key: a, secret_key: b, restic_repo_password: {1}}}
---
apiVersion: kubedr.catalogicsoftware.com/v1alpha1
kind: MetadataBackupPolicy
metadata: {{name: full, namespace: kubedr-system}}
spec: {{destination: folder, schedule: "0 * * * *", etcdEndpoint: "{2}", etcdCreds: none}}
)",
                                           folder.path().string(), kPassword, etcd.endpoint()))
          .parent_path()
          .string();
  REQUIRE(test::kubedr({"init", "-f", manifests}).ok());
  const RunResult result = test::kubedr({"doctor", "-f", manifests, "-o", "json"});
  CHECK_MESSAGE(result.ok(), (result.out + result.err));  // a backup is still taken
  const Json report = parse_json(result.out, "stdout");
  CHECK(the(report, "etcd-alarm").at("verdict") == "warning");
  CHECK(has(the(report, "etcd-alarm").at("message"), "NOSPACE"));
  CHECK(the(report, "etcd-quota").at("verdict") == "warning");
  CHECK(has(the(report, "etcd-quota").at("message"), "of 1.0 MiB, its quota"));
  CHECK(verdicts(report).at("store-delete") == "good");
  CHECK(verdicts(report).count("rbac") == 0);  // there is no API server
  CHECK(report.at("iamPolicy").is_null());     // and no S3
  CHECK(has(the(report, "certificates").at("message"), "spec.certsDir is empty"));
}

TEST_CASE("doctor: the roles that it prints are enough for a backup, and each right is missed") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const BackedUpPolicy policy(plane, "rights", {{"retainNumBackups", "1"}});
  const RunResult printed = plane.kubedr({"doctor", "rights", "--print", "rbac"});
  REQUIRE_MESSAGE(printed.ok(), printed.err);
  const std::vector<Json> roles = parse_yaml(printed.out, "rbac");
  REQUIRE(roles.size() == 2);
  plane.apply(printed.out);
  for (const Json& role : roles) plane.apply(binding(role).dump());
  const auto asked = [&] { return plane.kubedr({"doctor", "rights", "-o", "json"}, kUser); };
  // The authorizer learns of it a moment later.
  REQUIRE(eventually([&] {
    const RunResult result = asked();
    return result.ok() && verdicts(parse_json(result.out, "stdout")).at("rbac") == "good";
  }));
  const RunResult backup = policy.backup({}, kUser);
  CHECK_MESSAGE(backup.exit.code == 0, backup.err);
  CHECK(policy.snapshot_ids().size() == 1);  // the older one was removed, record and all
  CHECK(
      has(plane.kubedr({"doctor", "rights"}, kUser).out, " rights that a backup uses are granted"));

  // Without the right to say so a backup is as good.
  const bool role_first = roles.front().at("kind") == "Role";
  Json less = role_first ? roles.front() : roles.back();
  for (Json& rule : less.at("rules")) {
    if (rule.at("resources")[0] == "events") rule["verbs"] = {"get"};
  }
  plane.apply(less.dump());
  REQUIRE(eventually([&] { return has(asked().out, "may not create events"); }));
  RunResult result = asked();
  CHECK(result.exit.code == 0);
  CHECK(the(parse_json(result.out, "stdout"), "rbac").at("verdict") == "warning");
  for (Json& rule : less.at("rules")) {
    if (rule.at("resources")[0] == "secrets") rule["verbs"] = {"list"};
  }
  plane.apply(less.dump());
  REQUIRE(eventually([&] { return has(asked().out, "may not get secrets rights-creds"); }));
  result = asked();
  CHECK(result.exit.code == 5);
  CHECK(the(parse_json(result.out, "stdout"), "credentials").at("verdict") == "error");
  plane.apply(printed.out);
  plane.api().kubectl({"-n", kNamespace, "delete", "rolebinding", kUser});
  plane.api().kubectl({"delete", "clusterrolebinding", kUser});
}

TEST_CASE("doctor: the IAM policy names the bucket, the prefix and the verbs that are used") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const BackedUpPolicy policy(plane, "iam");
  const RunResult printed = plane.kubedr({"doctor", "iam", "--print", "iam"});
  REQUIRE(printed.ok());
  const Json statements = parse_json(printed.out, "iam").at("Statement");
  REQUIRE(statements.size() == 2);
  CHECK(statements[0].at("Resource")[0] == "arn:aws:s3:::iam");
  CHECK(statements[1].at("Resource")[0] == "arn:aws:s3:::iam/*");
  CHECK(statements[1].at("Action") == Json({"s3:GetObject", "s3:PutObject", "s3:DeleteObject"}));
  const RunResult bare = test::kubedr(
      {"doctor", "--repo", fmt::format("s3:{}/iam/deep/er", plane.s3().url()), "--print", "iam"},
      plane.restic_env("iam"));
  CHECK(has(bare.out, "arn:aws:s3:::iam/deep/er/*"));
}

TEST_CASE("doctor: the IAM policy that it prints is enough, and each right of it is missed") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("narrow", {{"retainNumBackups", "1"}});
  const SystemClock clock;
  // The one right besides: whoever has only these finds the bucket made.
  open_bucket(plane.s3(), "narrow", clock)->create(call_for(std::chrono::seconds(30)));
  const Json iam = parsed(plane.kubedr({"doctor", "narrow", "--print", "iam"}));
  const auto allow = [&](const Json& policy) {
    for (const auto& [key, value] : temporary_keys(plane.s3(), policy)) {
      set_key(plane, "narrow-creds", key, value);
    }
  };
  allow(iam);
  for (const std::vector<std::string>& args : {std::vector<std::string>{"init", "narrow"},
                                               {"backup", "narrow"},
                                               {"backup", "narrow"},
                                               {"check", "--location", "narrow", "--read-data"},
                                               {"prune", "--location", "narrow", "--yes"}}) {
    const RunResult result = plane.kubedr(args);
    CHECK_MESSAGE(result.exit.code == 0, result.err);
  }
  CHECK(parsed(plane.kubedr({"snapshots", "narrow", "-o", "json"})).at("snapshots").size() == 1);
  examined(plane, "narrow", 0);

  struct Missing {
    const char* action;
    const char* code;
    const char* message;
  };

  for (const Missing& missing : {Missing{"s3:ListBucket", "repository", "list keys"},
                                 Missing{"s3:GetObject", "repository", "get "},
                                 Missing{"s3:PutObject", "store-put", "put data/"},
                                 Missing{"s3:DeleteObject", "store-delete", "delete data/"}}) {
    CAPTURE(std::string(missing.action));
    Json less = iam;
    std::size_t dropped = 0;
    for (Json& statement : less.at("Statement")) {
      Json::array_t actions = statement.at("Action").get<Json::array_t>();
      dropped += std::erase(actions, missing.action);
      statement["Action"] = actions;
    }
    CHECK(dropped == 1);
    allow(less);
    const Json report = examined(plane, "narrow", 5);
    const Json named = the(report, missing.code);
    CHECK(named.at("verdict") == "error");
    CHECK_MESSAGE(has(named.at("message"), "AccessDenied"), named.dump());
    CHECK_MESSAGE(has(named.at("message"), missing.message), named.dump());
    CHECK_MESSAGE(has(named.at("remedy"), "--print iam"), named.dump());
  }
  // What could not be deleted meanwhile is in nobody's way.
  allow(iam);
  REQUIRE(plane.kubedr({"unlock", "--location", "narrow", "--remove-all", "--yes"}).ok());
  examined(plane, "narrow", 0);
  const RunResult check = plane.kubedr({"check", "--location", "narrow"});
  CHECK_MESSAGE(check.ok(), check.err);
}

TEST_CASE("doctor: no room for what a slow store cannot take") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const BackedUpPolicy policy(plane, "cramped");
  const TempDir folder;
  std::filesystem::create_directory(folder / "tmp");
  const TmpfsMount small(folder / "tmp", "8m");
  KUBEDR_NEEDS_RIGHT(small.mounted(), "mount a tmpfs");
  const auto doctor = [&](const std::string& place) {
    return plane.kubedr({"doctor", "cramped", "-o", "json"}, "admin", {{"TMPDIR", place}});
  };
  RunResult result = doctor((folder / "tmp").string());
  CHECK(result.exit.code == 5);
  CHECK(has(the(parse_json(result.out, "stdout"), "room").at("message"), "only 8.0 MiB are free"));
  result = doctor((folder / "none").string());
  CHECK(result.exit.code == 5);
  CHECK(has(the(parse_json(result.out, "stdout"), "room").at("message"), "none"));
  CHECK(doctor(folder.path().string()).exit.code == 0);
}

TEST_CASE("doctor: an etcd certificate that has expired") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const BackedUpPolicy policy(plane, "expired");
  const Certificate old = plane.etcd().certificates().issue_expired({"client"});
  set_key(plane, "expired-etcd", "client.crt", old.certificate_pem);
  set_key(plane, "expired-etcd", "client.key", old.key_pem);
  const Json report = examined(plane, "expired", 5);
  CHECK(the(report, "etcd-certificate").at("message") == "client.crt has expired");
  CHECK(the(report, "etcd-certificate").at("object") == "secret/expired-etcd");
  CHECK(the(report, "etcd-member").at("verdict") == "error");
  CHECK(verdicts(report).at("store-put") == "good");
  set_key(plane, "expired-etcd", "client.crt", plane.etcd().client_cert_pem());
  set_key(plane, "expired-etcd", "client.key", plane.etcd().client_key_pem());
  examined(plane, "expired", 0);
}
