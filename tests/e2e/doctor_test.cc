// `doctor`: tries everything that a backup needs, says what is missing, and what must be allowed.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/yaml.h"
#include "e2e/faults.h"
#include "support/byte_proxy.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

constexpr char kUser[] = "backup-only";
constexpr char kGroup[] = "kubedr.catalogicsoftware.com";

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

// The role's rules, a verb and a resource in each.
std::vector<Json> single_rules(const Json& role) {
  std::vector<Json> rules;
  for (const Json& rule : role.at("rules")) {
    for (const Json& resource : rule.at("resources")) {
      for (const Json& verb : rule.at("verbs")) {
        Json one = rule;
        one["resources"] = Json::array({resource});
        one["verbs"] = Json::array({verb});
        rules.push_back(std::move(one));
      }
    }
  }
  return rules;
}

// A policy of a plain etcd and a repository in a folder, in manifests.
class PlainManifests {
 public:
  PlainManifests(const std::string& policy, const std::string& etcd)
      : folder_(
            files_
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
metadata: {{name: {2}, namespace: kubedr-system}}
spec: {{destination: folder, schedule: "0 * * * *", etcdEndpoint: "{3}", etcdCreds: none}}
)",
                                                 files_.path().string(), kPassword, policy, etcd))
                .parent_path()
                .string()) {}

  const std::string& folder() const { return folder_; }

 private:
  TempDir files_;
  const std::string folder_;
};

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

TEST_CASE("doctor: a store that writes over what it was told to leave") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  ByteProxy proxy(plane.s3().port());
  plane.add_policy("overwriting");
  const Json url = {{"spec", {{"url", fmt::format("http://127.0.0.1:{}", proxy.port())}}}};
  REQUIRE(plane.api()
              .kubectl({"-n", kNamespace, "patch", "backuplocation", "overwriting", "--type=merge",
                        "-p", url.dump()})
              .ok());
  REQUIRE(plane.kubedr({"init", "overwriting"}).ok());
  ProxyRules rules;
  rules.swallowed_header = "if-none-match";
  proxy.set(rules);
  const Json report = examined(plane, "overwriting", 5);
  CHECK(has(the(report, "store-create").at("message"), "two inits at once are not kept apart"));
  CHECK(verdicts(report).at("store-delete") == "good");
  proxy.set({});
  CHECK(verdicts(examined(plane, "overwriting", 0)).at("store-create") == "good");
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
  const PlainManifests manifests("full", etcd.endpoint());
  REQUIRE(test::kubedr({"init", "-f", manifests.folder()}).ok());
  const RunResult result = test::kubedr({"doctor", "-f", manifests.folder(), "-o", "json"});
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

  // Each right is missed, and a backup is as good without those that only tell of it.
  RunResult result;
  const auto missed = [&](const std::string& text) {
    Json found;
    CHECK_MESSAGE(eventually([&] {
                    result = asked();
                    if (result.out.empty()) return false;
                    const Json report = parse_json(result.out, "stdout");
                    for (const Json& one : report.at("examined")) {
                      if (one.at("code") == "rbac" && one.at("message") == text) found = one;
                    }
                    return found.is_object();
                  }),
                  (text + "\n" + result.out + result.err));
    return found.is_object() ? found.at("verdict").get<std::string>() : "";
  };
  for (const Json& role : roles) {
    const std::vector<Json> rules = single_rules(role);
    for (std::size_t i = 0; i < rules.size(); ++i) {
      const std::string verb = rules[i].at("verbs")[0];
      const std::string resource = rules[i].at("resources")[0];
      const std::string group = rules[i].at("apiGroups")[0];
      CAPTURE(verb + " " + resource);
      if (resource == "deployments") continue;                       // both roles grant it
      if (verb == "watch") continue;                                 // no backup uses it
      if (verb + resource == "getmetadatabackuppolicies") continue;  // see below
      Json less = role;
      less["rules"] = rules;
      less["rules"].erase(i);
      plane.apply(less.dump());
      std::string name;
      if (resource == "namespaces") name = " kube-system";
      if (resource == "secrets") name = " rights-creds";
      const bool needed =
          resource == "secrets" || (group == kGroup && (verb == "get" || verb == "list"));
      const std::string verdict =
          missed(fmt::format("may not {} {}{}: {}", verb, resource, name,
                             needed ? "no backup is possible"
                                    : "a backup is taken without it, and says what is missing"));
      CHECK(verdict == (needed ? "error" : "warning"));
      CHECK(result.exit.code == (needed ? 5 : 0));
      plane.apply(role.dump());
    }
  }
  // Without the policy there is nothing to be examined.
  Json less = roles.front().at("kind") == "Role" ? roles.front() : roles.back();
  Json rules = Json::array();
  for (const Json& rule : single_rules(less)) {
    if (rule.at("verbs")[0] == "get" && rule.at("resources")[0] == "metadatabackuppolicies")
      continue;
    rules.push_back(rule);
  }
  less["rules"] = rules;
  plane.apply(less.dump());
  CHECK(eventually([&] { return asked().exit.code == 21; }));
  plane.api().kubectl({"-n", kNamespace, "delete", "rolebinding", kUser});
  plane.api().kubectl({"delete", "clusterrolebinding", kUser});
}

TEST_CASE("doctor: who may nothing gets there by the commands that it names") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  const BackedUpPolicy policy(plane, "unbound");
  // What doctor itself asks for first.
  for (const std::vector<std::string>& args :
       {std::vector<std::string>{"create", "role", "looks", "--verb=get",
                                 "--resource=backuplocations.kubedr.catalogicsoftware.com,"
                                 "metadatabackuppolicies.kubedr.catalogicsoftware.com"},
        {"create", "rolebinding", "looks", "--role=looks", std::string("--user=") + kUser}}) {
    std::vector<std::string> argv = {"-n", kNamespace};
    argv.insert(argv.end(), args.begin(), args.end());
    REQUIRE(plane.api().kubectl(argv).ok());
  }
  const auto asked = [&] { return plane.kubedr({"doctor", "unbound", "-o", "json"}, kUser); };
  REQUIRE(eventually([&] { return asked().exit.code == 5; }));
  std::set<std::string> commands;
  const Json report = parse_json(asked().out, "stdout");
  for (const Json& one : report.at("examined")) {
    if (one.at("code") != "rbac" || one.at("verdict") == "good") continue;
    if (!has(one.at("message").get<std::string>(), "may not")) continue;
    commands.insert(one.at("remedy").get<std::string>());
  }
  CHECK(commands.size() == 2);  // one for each role
  const TempDir home;
  std::filesystem::create_symlink(KUBEDR_BINARY, home / "kubectl-kubedr");
  std::filesystem::create_symlink(find_server("kubectl"), home / "kubectl");
  ProcessOptions shell;
  shell.env = {{"PATH", home.path().string() + ":/usr/bin:/bin"},
               {"HOME", home.path().string()},
               {"KUBECONFIG", plane.api().kubeconfig().string()}};
  for (std::string command : commands) {
    for (std::size_t at = 0; (at = command.find("USER", at)) != std::string::npos;) {
      command.replace(at, 4, kUser);
    }
    const RunResult typed = run({"/bin/bash", "-c", "set -eo pipefail; " + command}, shell);
    CHECK_MESSAGE(typed.ok(), (command + "\n" + typed.err));
  }
  CHECK(eventually([&] {
    const RunResult result = asked();
    return result.ok() && verdicts(parse_json(result.out, "stdout")).at("rbac") == "good";
  }));
  const RunResult backup = policy.backup({}, kUser);
  CHECK_MESSAGE(backup.exit.code == 0, backup.err);
}

TEST_CASE("doctor: a location that is not there, a lock that is in the way, a clock that is off") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS_PROGRAM("faketime");
  ControlPlane& plane = ControlPlane::shared();
  const BackedUpPolicy policy(plane, "hindered");
  const auto send_to = [&](const std::string& destination) {
    const RunResult patched = plane.api().kubectl(
        {"-n", kNamespace, "patch", "metadatabackuppolicy", "hindered", "--type=merge", "-p",
         Json({{"spec", {{"destination", destination}}}}).dump()});
    REQUIRE_MESSAGE(patched.ok(), patched.err);
  };
  send_to("nowhere");
  Json report = examined(plane, "hindered", 5);
  CHECK(the(report, "location").at("verdict") == "error");
  CHECK(has(the(report, "location").at("message"), "\"nowhere\" not found"));
  CHECK(verdicts(report).at("etcd-member") == "good");  // the rest is tried
  send_to("hindered");
  {
    const SystemClock clock;
    const HeldLock exclusive(open_bucket(plane.s3(), "hindered", clock), "elsewhere",
                             std::chrono::minutes(1), Exclusive::yes);
    report = examined(plane, "hindered", 5);
    CHECK(the(report, "lock").at("verdict") == "error");
    CHECK(has(the(report, "lock").at("message"), "elsewhere"));
    CHECK_FALSE(the(report, "lock").at("remedy").get<std::string>().empty());
    CHECK(verdicts(report).at("store-delete") == "good");
  }
  examined(plane, "hindered", 0);

  const auto at = [&](const std::string& clock, int code) {
    ProcessOptions options;
    options.env = {{"HOME", "/nowhere"}};
    const RunResult result =
        run({"faketime", "--exclude-monotonic", "-f", clock, KUBEDR_BINARY, "doctor", "hindered",
             "-o", "json", "--kubeconfig=" + plane.api().kubeconfig().string()},
            options);
    CHECK_MESSAGE(result.exit.code == code, (result.out + result.err));
    return parse_json(result.out, "stdout");
  };
  report = at("-5m", 0);  // ahead, certificates would not be valid yet
  for (const char* code : {"clock-store", "clock-apiserver"}) {
    CAPTURE(std::string(code));
    CHECK(the(report, code).at("verdict") == "warning");
    CHECK(has(the(report, code).at("message"), " ahead of this machine's"));
    CHECK(the(report, code).at("remedy") == "timedatectl set-ntp true");
  }
  report = at("+20m", 5);  // S3 refuses
  CHECK(has(the(report, "repository").at("message"), "RequestTimeTooSkewed"));
  CHECK(has(the(report, "clock-store").at("message"), "20m behind"));
}

TEST_CASE("doctor: an etcd without a leader") {
  KUBEDR_NEEDS("etcd");
  EtcdServer etcd;
  const PlainManifests manifests("leaderless", etcd.endpoint());
  REQUIRE(test::kubedr({"init", "-f", manifests.folder()}).ok());
  const auto doctor = [&] {
    return parse_json(test::kubedr({"doctor", "-f", manifests.folder(), "-o", "json"}).out,
                      "stdout");
  };
  CHECK(verdicts(doctor()).at("etcd-leader") == "good");
  // A second member that never comes: one of two is no majority.
  etcd.gateway("/v3/cluster/member/add", R"({"peerURLs": ["http://127.0.0.1:1"]})");
  Json report;
  CHECK(eventually(
      [&] {
        report = doctor();
        return verdicts(report).at("etcd-leader") == "warning";
      },
      std::chrono::seconds(120)));
  CHECK(has(the(report, "etcd-leader").at("message"), "it has no leader"));
  CHECK(verdicts(report).at("etcd-member") == "good");
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
  // The fifth is what `init` finds the bucket with, and what a refused region is looked up with; a
  // server that names its own in the refusal, as this one does, is found without.
  const ByteProxy proxy(plane.s3().port());
  plane.add_location("narrow", fmt::format("http://127.0.0.1:{}", proxy.port()));
  allow(iam);
  CHECK(has(plane.kubedr({"init", "narrow"}).err, "already"));
  CHECK(saw_request(proxy, "GET /narrow/?location"));
  plane.add_location("narrow");

  // Of the packs' folder alone, which is read and listed for nothing but them.
  const auto without = [&](const Json& denied) {
    Json less = iam;
    less["Statement"].push_back(denied);
    allow(less);
    return examined(plane, "narrow", 5);
  };
  Json report = without({{"Effect", "Deny"},
                         {"Action", {"s3:GetObject"}},
                         {"Resource", {"arn:aws:s3:::narrow/data/*"}}});
  CHECK(the(report, "store-get").at("verdict") == "error");
  CHECK(verdicts(report).at("store-put") == "good");
  report = without({{"Effect", "Deny"},
                    {"Action", {"s3:ListBucket"}},
                    {"Resource", {"arn:aws:s3:::narrow"}},
                    {"Condition", {{"StringLike", {{"s3:prefix", "data/*"}}}}}});
  CHECK(the(report, "store-list").at("verdict") == "error");
  CHECK(verdicts(report).at("store-get") == "good");
  CHECK(verdicts(report).at("repository") == "good");

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
