// Who may do what: each role of `install` is what its verbs ask the API server for, no more and no
// less; whoever is refused is told the command that helps; what is installed can be taken back.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "base/time.h"
#include "e2e/faults.h"
#include "e2e/rights.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

constexpr char kAdmin[] = "kubedr-admin";
constexpr char kBackup[] = "kubedr-backup";
constexpr char kReader[] = "kubedr-reader";

// A control plane whose API server writes down who asked for what, with a user for each role.
class Audited {
 public:
  Audited() : plane({{kAdmin, {}}, {kBackup, {}}, {kReader, {}}, {"newcomer", {}}}, log_.flags()) {}

  // As README says.
  void bind_roles() {
    bind({"rolebinding", kReader, fmt::format("--clusterrole={}", kReader)}, kReader);
    bind({"rolebinding", kBackup, fmt::format("--role={}", kBackup)}, kBackup);
    bind({"rolebinding", kAdmin, fmt::format("--role={}", kAdmin)}, kAdmin);
    for (const char* user : {kBackup, kAdmin}) {
      bind({"clusterrolebinding", std::string(user) + "-identity", "--clusterrole=kubedr-identity"},
           user);
    }
    for (const char* user : {kReader, kBackup, kAdmin}) {
      REQUIRE(eventually([&] {
        return plane.api()
            .kubectl({"-n", kNamespace, "auth", "can-i", "list", "backuplocations", "--as", user})
            .ok();
      }));
    }
  }

  Rights used_by(const std::string& user) const { return log_.used_by(user); }

  Rights granted(const std::string& kind, const std::string& name) {
    return test::granted(plane, kind, name);
  }

  RunResult kubectl_as(const std::string& user, std::vector<std::string> args,
                       const std::string& input = {}) {
    args.insert(args.begin(), {"-n", kNamespace, "--as", user});
    return plane.api().kubectl(args, input);
  }

 private:
  void bind(std::vector<std::string> args, const std::string& user) {
    args.insert(args.begin(), {"-n", kNamespace, "create"});
    args.push_back("--user=" + user);
    const RunResult bound = plane.api().kubectl(args);
    REQUIRE_MESSAGE(bound.ok(), bound.err);
  }

  AuditLog log_;

 public:
  ControlPlane plane;
};

// A verb as it is run, and what comes of it for each role.
struct Run {
  std::vector<std::string> args;
  int admin;
  int backup;
  int reader;
};

constexpr int kDenied = 21;

// Stands for the key that `key add` made.
constexpr char kAddedKey[] = "added-key";

std::vector<Run> every_verb(const TempDir& folder, const std::string& s3) {
  const std::string password = folder.write("second-password", "for the safe\n");
  const std::string keys = folder.write("key", "abc");
  return {
      {{"version"}, 0, 0, 0},
      {{"help"}, 0, 0, 0},
      {{"completion", "bash"}, 0, 0, 0},
      {{"metrics", "--textfile", (folder / "kubedr.prom").string()}, 0, 0, 0},
      {{"install"}, kDenied, kDenied, kDenied},
      {{"uninstall", "--yes"}, kDenied, kDenied, kDenied},
      {{"location", "create", "other", "--url", s3, "--bucket", "other", "--access-key-file", keys,
        "--secret-key-file", keys, "--new-password-file", password},
       0,
       kDenied,
       kDenied},
      {{"policy", "create", "other", "--location", "prod", "--schedule", "@daily", "--etcd-cacert",
        keys, "--etcd-cert", keys, "--etcd-key", keys},
       0,
       kDenied,
       kDenied},
      {{"policy", "delete", "other", "--delete-secret", "--yes"}, 0, 4, 4},
      {{"location", "delete", "other", "--delete-secret", "--yes"}, 0, 4, 4},
      {{"init", "prod", "--if-needed"}, 0, 0, kDenied},
      {{"doctor", "prod"}, 0, 0, 5},
      {{"backup", "prod"}, 0, 0, kDenied},
      {{"schedule", "prod", "--image", "example.com/image"}, 0, kDenied, kDenied},
      {{"suspend", "prod"}, 0, kDenied, kDenied},
      {{"resume", "prod"}, 0, kDenied, kDenied},
      {{"backup", "prod", "--in-cluster", "--wait", "--timeout", "2s"}, 20, kDenied, kDenied},
      {{"unschedule", "prod"}, 0, kDenied, kDenied},
      {{"snapshots", "prod"}, 0, 0, kDenied},
      {{"status"}, 0, 0, 0},
      {{"status", "prod", "--deep"}, 0, 0, 5},
      {{"restore", "latest", "--policy", "prod", "--target", (folder / "restored").string(),
        "--overwrite", "always"},
       0,
       0,
       kDenied},
      {{"ls", "latest", "--policy", "prod"}, 0, 0, kDenied},
      {{"dump", "latest", "/data/certificates/ca.crt", "--policy", "prod"}, 0, 0, kDenied},
      {{"check", "--policy", "prod"}, 0, 0, kDenied},
      {{"forget", "--policy", "prod", "--keep-last", "1", "--yes"}, 0, 0, kDenied},
      {{"prune", "--policy", "prod", "--max-unused", "0", "--yes"}, 0, 0, kDenied},
      {{"unlock", "--policy", "prod"}, 0, 0, kDenied},
      {{"stats", "--policy", "prod"}, 0, 0, kDenied},
      {{"key", "list", "--policy", "prod"}, 0, 0, kDenied},
      {{"key", "add", "--policy", "prod", "--new-password-file", password}, 0, 0, kDenied},
      {{"key", "remove", kAddedKey, "--policy", "prod", "--yes"}, 0, 0, kDenied},
      {{"repair", "index", "--policy", "prod"}, 0, 0, kDenied},
      {{"sync", "--policy", "prod", "--yes"}, 0, 0, kDenied},
  };
}

// What a help screen lists as its verbs.
std::set<std::string> verbs_below(std::vector<std::string> line) {
  line.emplace_back("--help");
  std::set<std::string> verbs;
  bool inside = false;
  for (const std::string& text : split(test::kubedr(line).out, '\n')) {
    if (text.empty()) inside = false;
    if (inside) verbs.insert(text.substr(2, text.find(' ', 2) - 2));
    if (text == "Subcommands:") inside = true;
  }
  return verbs;
}

// All that can be typed: "status", "key list".
std::set<std::string> known_verbs() {
  std::set<std::string> verbs;
  for (const std::string& verb : verbs_below({})) {
    const std::set<std::string> below = verbs_below({verb});
    if (below.empty()) verbs.insert(verb);
    for (const std::string& more : below) verbs.insert(verb + " " + more);
  }
  return verbs;
}

// Of those, the one that a line begins with.
std::string verb_of(const Run& run, const std::set<std::string>& known) {
  return known.count(run.args[0]) != 0 ? run.args[0] : run.args[0] + " " + run.args[1];
}

// The id of a key that is not in use; of the one in use where it is alone.
std::string added_key(ControlPlane& plane) {
  const Json listed = parsed(plane.kubedr({"key", "list", "--policy", "prod", "-o", "json"}));
  std::string id;
  for (const Json& key : listed.at("keys")) {
    if (id.empty() || !key.at("current").get<bool>()) id = key.at("id");
  }
  return id;
}

// A pod that has ended, for the locks that it left: they are in nobody's way.
void end_pod(ControlPlane& plane, const std::string& name) {
  const Json container = {{"name", "kubedr"}, {"image", "kubedr"}};
  plane.apply(Json{
      {"apiVersion", "v1"},
      {"kind", "Pod"},
      {"metadata", {{"name", name}, {"namespace", kNamespace}}},
      {"spec", {{"automountServiceAccountToken", false}, {"containers", Json::array({container})}}}}
                  .dump());
  const std::string now = format_rfc3339(std::chrono::system_clock::now());
  const Json ended = {
      {"name", "kubedr"},  {"ready", false},
      {"restartCount", 0}, {"image", "none"},
      {"imageID", ""},     {"state", {{"terminated", {{"exitCode", 0}, {"finishedAt", now}}}}}};
  const Json change = {
      {"status", {{"phase", "Succeeded"}, {"containerStatuses", Json::array({ended})}}}};
  const RunResult patched =
      plane.api().kubectl({"-n", kNamespace, "patch", "pod", name, "--subresource=status",
                           "--type=merge", "-p", change.dump()});
  REQUIRE_MESSAGE(patched.ok(), patched.err);
}

HeldLock lock_of(const std::string& pod, ControlPlane& plane, const Clock& clock) {
  return HeldLock(open_bucket(plane.s3(), "prod", clock), pod, std::chrono::minutes(31));
}

// Whether a lock may go is asked of the pod that took it.
void unlock_after_a_pod(ControlPlane& plane, const std::string& user) {
  const SystemClock clock;
  const HeldLock lock = lock_of("ended", plane, clock);
  const RunResult result = plane.kubedr({"unlock", "--policy", "prod"}, user);
  CHECK_MESSAGE(has(result.out, "removed 1 lock"), (result.out + result.err));
}

// A record with the finalizer of an operator that is gone, and a prune that failed: what only then
// is asked for.
void bring_about_rare_states(Audited& audited) {
  ControlPlane& plane = audited.plane;
  const Json records = plane.list("metadatabackuprecords");
  REQUIRE_FALSE(records.empty());
  const std::string record = records[0].at("metadata").at("name");
  const RunResult patched = plane.api().kubectl(
      {"-n", kNamespace, "patch", "metadatabackuprecord", record, "--type=merge", "-p",
       R"({"metadata": {"finalizers": ["mbr.finalizers.kubedr.catalogicsoftware.com"]}})"});
  REQUIRE_MESSAGE(patched.ok(), patched.err);
  const RunResult noted = plane.api().kubectl(
      {"-n", kNamespace, "patch", "backuplocation", "prod", "--subresource=status", "--type=merge",
       "-p", R"({"status": {"pruneErrorMessage": "the disk was full"}})"});
  REQUIRE_MESSAGE(noted.ok(), noted.err);
}

// The pod of a MetadataRestore, for whoever carries it out.
void restore_as_pod(Audited& audited, const TempDir& folder, const std::string& user) {
  ControlPlane& plane = audited.plane;
  const std::filesystem::path target = folder / "claim";
  std::filesystem::create_directory(target);
  const TmpfsMount claim(target);
  KUBEDR_NEEDS_RIGHT(claim.mounted(), "mount a tmpfs");
  const Json record = plane.list("metadatabackuprecords").at(0).at("metadata").at("name");
  plane.apply(Json{{"apiVersion", "kubedr.catalogicsoftware.com/v1alpha1"},
                   {"kind", "MetadataRestore"},
                   {"metadata", {{"name", "by-pod"}, {"namespace", kNamespace}}},
                   {"spec", {{"mbrName", record}, {"pvcName", "p"}}}}
                  .dump());
  const Json container = {
      {"name", "kubedr"},
      {"image", "kubedr"},
      {"volumeMounts", Json::array({{{"name", "target"}, {"mountPath", target.string()}}})}};
  const Json volume = {{"name", "target"}, {"persistentVolumeClaim", {{"claimName", "p"}}}};
  plane.apply(Json{{"apiVersion", "v1"},
                   {"kind", "Pod"},
                   {"metadata", {{"name", "restore-pod"}, {"namespace", kNamespace}}},
                   {"spec",
                    {{"automountServiceAccountToken", false},
                     {"containers", Json::array({container})},
                     {"volumes", Json::array({volume})}}}}
                  .dump());
  const RunResult result =
      plane.kubedr({"restore", "--resource", "by-pod", "--target", target.string()}, user,
                   {{"MY_POD_NAME", "restore-pod"}});
  CHECK_MESSAGE(result.ok(), result.err);
}

// Told of changes, and not asking at intervals for want of that right.
void watch_status(Audited& audited, const std::string& user) {
  CAPTURE(user);
  const std::string wanted = "watch metadatabackuppolicies.kubedr.catalogicsoftware.com";
  const Process watching = start_kubedr(
      {"status", "--watch", "--kubeconfig=" + audited.plane.api().kubeconfig(user).string()});
  CHECK(eventually([&] { return audited.used_by(user).count(wanted) != 0; }));
}

// What people do with kubectl on the resources of a role they hold.
void look_with_kubectl(Audited& audited, const std::string& user) {
  for (const char* kind :
       {"backuplocations", "metadatabackuppolicies", "metadatabackuprecords", "metadatarestores"}) {
    CAPTURE(kind);
    CHECK(audited.kubectl_as(user, {"get", kind}).ok());
    CHECK(
        audited.kubectl_as(user, {"get", kind, "nothing-of-that-name", "--ignore-not-found"}).ok());
    // It fails where the list before the watch takes longer than the second.
    CHECK(eventually([&] {
      return audited.kubectl_as(user, {"get", kind, "-w", "--request-timeout=1s"}).ok();
    }));
  }
}

void write_with_kubectl(Audited& audited, const std::string& user) {
  const auto object = [](const std::string& kind, const Json& spec) {
    return Json{{"apiVersion", "kubedr.catalogicsoftware.com/v1alpha1"},
                {"kind", kind},
                {"metadata", {{"name", "by-hand"}}},
                {"spec", spec}};
  };
  const std::vector<Json> objects = {
      object("BackupLocation", {{"url", "http://a"}, {"bucketName", "b"}, {"credentials", "c"}}),
      object("MetadataBackupPolicy", {{"destination", "by-hand"}, {"schedule", "@daily"}}),
      object("MetadataBackupRecord", {{"snapshotId", "0"}, {"policy", "p"}, {"backuploc", "b"}}),
      object("MetadataRestore", {{"mbrName", "m"}, {"pvcName", "p"}})};
  for (const Json& one : objects) {
    const std::string kind = one.at("kind");
    CAPTURE(kind);
    CHECK(audited.kubectl_as(user, {"create", "-f", "-"}, one.dump()).ok());
    CHECK(audited.kubectl_as(user, {"label", kind, "by-hand", "a=b"}).ok());
    CHECK(audited.kubectl_as(user, {"delete", kind, "by-hand"}).ok());
  }
}

// Runs each of them; which of the three codes is expected, `code` says.
void run_all(Audited& audited, const std::vector<Run>& runs, const std::string& user,
             int Run::*code) {
  for (const Run& run : runs) {
    const std::string line = user + ": " + join(run.args, " ");
    CAPTURE(line);
    std::vector<std::string> args = run.args;
    for (std::string& one : args) {
      if (one == kAddedKey) one = added_key(audited.plane);
    }
    const RunResult result = audited.plane.kubedr(args, user);
    CHECK_MESSAGE(result.exit.code == run.*code, result.err);
    if (run.*code == kDenied) {
      CHECK_MESSAGE(has(result.err, "forbidden"), result.err);
      CHECK_MESSAGE(has(result.err, "\n  kubectl "), result.err);
    }
  }
}

// The lines of a message that are commands.
std::vector<std::string> commands_in(const std::string& text) {
  std::vector<std::string> commands;
  for (const std::string& line : split(text, '\n')) {
    if (line.starts_with("  kubectl ")) commands.push_back(line.substr(2));
  }
  return commands;
}

}  // namespace

TEST_CASE("access: each role is what its verbs ask for, no more and no less") {
  KUBEDR_NEEDS("kube-apiserver");
  Audited audited;
  ControlPlane& plane = audited.plane;
  plane.add_policy("prod", {{"retainNumBackups", "2"}});
  REQUIRE(plane.kubedr({"init", "prod"}).ok());
  // Once more, since then the Secrets' names are known.
  REQUIRE(plane.kubedr({"install"}).ok());
  audited.bind_roles();

  const TempDir folder;
  const std::vector<Run> runs = every_verb(folder, plane.s3().url());
  const std::set<std::string> known = known_verbs();
  std::set<std::string> tried;
  for (const Run& run : runs) tried.insert(verb_of(run, known));
  CHECK(tried == known);

  REQUIRE(plane.kubedr({"backup", "prod"}).ok());
  REQUIRE(plane.kubedr({"backup", "prod"}).ok());
  end_pod(plane, "ended");
  bring_about_rare_states(audited);
  run_all(audited, runs, kBackup, &Run::backup);
  unlock_after_a_pod(plane, kBackup);
  REQUIRE(plane.kubedr({"backup", "prod"}).ok());
  bring_about_rare_states(audited);
  run_all(audited, runs, kAdmin, &Run::admin);
  unlock_after_a_pod(plane, kAdmin);
  restore_as_pod(audited, folder, kAdmin);
  run_all(audited, runs, kReader, &Run::reader);
  // The reader is told what right is missing, and not to make a Secret that is there anew.
  const RunResult deep = plane.kubedr({"status", "prod", "--deep", "-o", "json"}, kReader);
  const Json document = parse_json(deep.out, "status");
  const std::string remedy = document.at("findings").at(0).at("remedy");
  CHECK(document.at("findings").at(0).at("code") == "secret-forbidden");
  CHECK_MESSAGE(has(remedy, "create role kubedr-get-secrets-prod-creds "), remedy);
  for (const char* user : {kReader, kBackup, kAdmin}) watch_status(audited, user);
  look_with_kubectl(audited, kReader);
  look_with_kubectl(audited, kAdmin);
  write_with_kubectl(audited, kAdmin);

  const Rights identity = audited.granted("clusterrole", "kubedr-identity");
  CHECK(identity == Rights{"get deployments.apps", "get namespaces"});
  // Asked for after an answer that was lost.
  const Rights rare = {"get events"};
  // The others where pods run: schedule_test.cc shows that an admin needs them.
  const Rights rare_for_admin = {"get events", "get pods/log", "create cronjobs.batch",
                                 "delete jobs.batch"};
  const auto check = [&](const std::string& user, Rights granted, const Rights& spared) {
    CAPTURE(user);
    // kubectl's discovery, and asking who one is, is everybody's.
    const Rights used = audited.used_by(user);
    CHECK(shown(without(granted, used)) == shown(spared));
    granted.insert(identity.begin(), identity.end());
    CHECK(shown(without(used, granted)) == "");
  };
  check(kReader, audited.granted("clusterrole", kReader), {});
  check(kBackup, audited.granted("role", kBackup), rare);
  check(kAdmin, audited.granted("role", kAdmin), rare_for_admin);
  // The listener, as it runs in the cluster.
  REQUIRE(plane.kubedr({"install", "--metrics", "--image", "example.com/image"}).ok());
  const std::string listener = "system:serviceaccount:kubedr-system:kubedr-metrics";
  const SystemClock clock;
  const HeldLock lock = lock_of("ended", plane, clock);
  CHECK(eventually([&] {
    const RunResult metrics = plane.kubedr({"metrics", "--as", listener});
    return has(metrics.out, "kubedr_repository_up{") && !has(metrics.err, "forbidden");
  }));
  check(listener, audited.granted("role", "kubedr-metrics"), {});
  // A scheduled backup is given its Secrets: the rest is that of a backup from outside.
  const Rights job = audited.granted("role", "kubedr-job");
  CHECK(shown(without(job, audited.granted("role", kBackup))) == "");
  CHECK(job.count("get secrets") == 0);
}

TEST_CASE(
    "access: kubedr-backup reads the Secrets in use, and no other; nobody but admins writes") {
  KUBEDR_NEEDS("kube-apiserver");
  Audited audited;
  ControlPlane& plane = audited.plane;
  plane.add_policy("prod");
  REQUIRE(plane.kubedr({"install"}).ok());
  audited.bind_roles();
  plane.apply(R"(
apiVersion: v1
kind: Secret
metadata: {name: other, namespace: kubedr-system}
)");
  const auto may = [&](const std::string& user, std::vector<std::string> question) {
    question.insert(question.begin(), {"auth", "can-i"});
    return audited.kubectl_as(user, question).ok();
  };
  for (const char* secret : {"secret/prod-creds", "secret/prod-etcd", "secret/etcd-creds"}) {
    CAPTURE(secret);
    CHECK(may(kBackup, {"get", secret}));
    CHECK_FALSE(may(kReader, {"get", secret}));
  }
  CHECK_FALSE(may(kBackup, {"get", "secret/other"}));
  CHECK_FALSE(may(kBackup, {"list", "secrets"}));
  for (const char* kind : {"backuplocations", "metadatabackuppolicies", "metadatarestores"}) {
    for (const char* verb : {"create", "update", "patch", "delete", "deletecollection"}) {
      CAPTURE(verb);
      CAPTURE(kind);
      CHECK_FALSE(may(kReader, {verb, kind}));
      // Its annotations tell how backups and retention go.
      const bool annotates =
          kind == std::string("metadatabackuppolicies") && verb == std::string("patch");
      CHECK(may(kBackup, {verb, kind}) == annotates);
    }
  }
  // ... and nothing else of a policy, which RBAC cannot say: an admission policy does.
  const auto patch = [&](const std::string& user, const Json& change) {
    return audited.kubectl_as(
        user, {"patch", "metadatabackuppolicy", "prod", "--type=merge", "-p", change.dump()});
  };
  const Json spec = {{"spec", {{"retainNumBackups", 1}}}};
  // In force a moment after it is there; until then nothing may come of the question.
  CHECK(eventually([&] {
    const RunResult rehearsed =
        audited.kubectl_as(kBackup, {"patch", "metadatabackuppolicy", "prod", "--type=merge",
                                     "--dry-run=server", "-p", spec.dump()});
    return has(rehearsed.err, "nothing of one but annotations");
  }));
  CHECK(has(patch(kBackup, spec).err, "nothing of one but annotations"));
  CHECK(plane.get("metadatabackuppolicy", "prod").at("spec").at("retainNumBackups") == 120);
  CHECK(patch(kBackup, {{"metadata", {{"annotations", {{"a", "b"}}}}}}).ok());
  // An owner that is not there would have Kubernetes delete it.
  const Json owner = {{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", "x"}, {"uid", "none"}};
  for (const Json& metadata : {Json{{"ownerReferences", Json::array({owner})}},
                               Json{{"finalizers", Json::array({"example.com/for-ever"})}},
                               Json{{"labels", {{"a", "b"}}}}}) {
    CHECK(has(patch(kBackup, {{"metadata", metadata}}).err, "nothing of one but annotations"));
  }
  CHECK(patch(kAdmin, spec).ok());
  for (const char* kind : {"rolebindings", "clusterroles", "customresourcedefinitions", "pods"}) {
    CAPTURE(kind);
    CHECK_FALSE(may(kAdmin, {"create", kind}));
  }
  CHECK_FALSE(may(kAdmin, {"patch", "role/kubedr-admin"}));
  CHECK(may(kAdmin, {"patch", "role/kubedr-backup"}));

  // A location of a new Secret: the roles follow.
  REQUIRE(plane.kubedr({"install", "--metrics", "--image", "example.com/image"}).ok());
  const std::string listener = "system:serviceaccount:kubedr-system:kubedr-metrics";
  CHECK(eventually([&] { return may(listener, {"get", "secret/prod-creds"}); }));
  CHECK_FALSE(may(listener, {"get", "secret/other"}));
  const TempDir folder;
  const std::string key = folder.write("key", "abc");
  const std::vector<std::string> create = {"location",
                                           "create",
                                           "new",
                                           "--url",
                                           plane.s3().url(),
                                           "--bucket",
                                           "new",
                                           "--access-key-file",
                                           key,
                                           "--secret-key-file",
                                           key,
                                           "--new-password-file",
                                           key};
  const RunResult created = plane.kubedr(create, kAdmin);
  CHECK_MESSAGE(created.ok(), created.err);
  CHECK(eventually([&] { return may(kBackup, {"get", "secret/new-credentials"}); }));
  CHECK(eventually([&] { return may(listener, {"get", "secret/new-credentials"}); }));
  const RunResult deleted = plane.kubedr({"location", "delete", "new", "--yes"}, kAdmin);
  CHECK_MESSAGE(deleted.ok(), deleted.err);
  CHECK(eventually([&] { return !may(kBackup, {"get", "secret/new-credentials"}); }));
  CHECK(eventually([&] { return !may(listener, {"get", "secret/new-credentials"}); }));
}

TEST_CASE("access: whoever is refused gets there by the commands that the refusals name") {
  KUBEDR_NEEDS("kube-apiserver");
  Audited audited;
  ControlPlane& plane = audited.plane;
  plane.add_policy("prod");
  REQUIRE(plane.kubedr({"init", "prod"}).ok());
  const TempDir folder;
  const std::string key = folder.write("key", "abc");
  const std::vector<std::vector<std::string>> lines = {
      {"status", "--fail-on", "never"},
      {"backup", "prod"},
      {"forget", "latest", "--policy", "prod", "--yes"},
      {"location", "create", "new", "--url", plane.s3().url(), "--bucket", "new",
       "--access-key-file", key, "--secret-key-file", key, "--new-password-file", key},
      {"location", "delete", "new", "--delete-secret", "--yes"}};
  ProcessOptions shell;
  shell.env = {{"KUBECONFIG", plane.api().kubeconfig().string()},
               {"PATH", find_server("kubectl").parent_path().string() + ":/usr/bin:/bin"}};
  for (const std::vector<std::string>& line : lines) {
    const std::string verb = join(line, " ");
    CAPTURE(verb);
    // A location that is made or gone cannot be so once more: there a later step was refused.
    const bool once = line.front() == "location";
    std::set<std::string> given;
    RunResult result = plane.kubedr(line, "newcomer");
    while (result.exit.code == kDenied || result.exit.code == 3) {
      const std::vector<std::string> commands = commands_in(result.err);
      REQUIRE_MESSAGE(!commands.empty(), result.err);
      for (const std::string& command : commands) {
        CAPTURE(command);
        REQUIRE(given.insert(command).second);  // what was granted is not asked for again
        const RunResult granted = run({"/bin/bash", "-c", command}, shell);
        REQUIRE_MESSAGE(granted.ok(), granted.err);
      }
      if (once && result.exit.code == 3) break;
      // The authorizer learns of it a moment later.
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      eventually([&] {
        result = plane.kubedr(line, "newcomer");
        const std::vector<std::string> asked = commands_in(result.err);
        return std::none_of(asked.begin(), asked.end(),
                            [&](const std::string& one) { return given.count(one) != 0; });
      });
    }
    CHECK_MESSAGE(result.exit.code == (once ? 3 : 0), result.err);
  }
}

TEST_CASE("uninstall: what was installed goes, and namespace, Secrets and records stay") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  plane.add_policy("prod");
  REQUIRE(plane.kubedr({"init", "prod"}).ok());
  REQUIRE(plane.kubedr({"backup", "prod"}).ok());
  check_failed(plane.kubedr({"uninstall"}), 2, "no terminal");
  const RunResult result = plane.kubedr({"uninstall", "--yes"});
  CHECK_MESSAGE(result.ok(), result.err);
  CHECK(has(result.out, "role/kubedr-backup deleted"));
  for (const char* kind :
       {"roles", "rolebindings", "serviceaccounts", "clusterroles", "clusterrolebindings",
        "validatingadmissionpolicies", "validatingadmissionpolicybindings"}) {
    CAPTURE(kind);
    for (const Json& object : plane.list(kind)) {
      CHECK_FALSE(has(object.at("metadata").at("name").get<std::string>(), "kubedr"));
    }
  }
  CHECK(plane.list("metadatabackuprecords").size() == 1);
  CHECK(plane.get("secret", "prod-creds").at("data").size() == 3);
  CHECK(plane.kubedr({"snapshots", "prod"}).ok());
  CHECK(plane.kubedr({"uninstall", "--yes"}).ok());  // nothing is left
}

TEST_CASE("uninstall: roles of the cluster stay while another namespace has an installation") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  REQUIRE(plane.kubedr({"install", "-n", "second"}).ok());
  REQUIRE(plane.kubedr({"uninstall", "--yes"}).ok());
  CHECK(plane.api().kubectl({"get", "clusterrole", "kubedr-reader"}).ok());
  CHECK(plane.api().kubectl({"get", "validatingadmissionpolicy", "kubedr-policies"}).ok());
  CHECK(plane.api().kubectl({"get", "clusterrolebinding", "kubedr-identity-second"}).ok());
  CHECK_FALSE(
      plane.api().kubectl({"get", "clusterrolebinding", "kubedr-identity-kubedr-system"}).ok());
  CHECK(plane.api().kubectl({"-n", "second", "get", "role", "kubedr-backup"}).ok());
  REQUIRE(plane.kubedr({"uninstall", "-n", "second", "--yes"}).ok());
  CHECK_FALSE(plane.api().kubectl({"get", "clusterrole", "kubedr-reader"}).ok());
}

TEST_CASE(
    "uninstall: records go only with the namespace's name typed, an operator's finalizers too") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  plane.add_policy("prod");
  REQUIRE(plane.kubedr({"init", "prod"}).ok());
  REQUIRE(plane.kubedr({"backup", "prod"}).ok());
  const auto held = [&](const std::string& kind, const std::string& name,
                        const std::string& finalizer) {
    const RunResult patched = plane.api().kubectl(
        {"-n", kNamespace, "patch", kind, name, "--type=merge", "-p",
         fmt::format(
             R"({{"metadata": {{"finalizers": ["{}.finalizers.kubedr.catalogicsoftware.com"]}}}})",
             finalizer)});
    REQUIRE_MESSAGE(patched.ok(), patched.err);
  };
  const std::string record = plane.list("metadatabackuprecords")[0].at("metadata").at("name");
  held("metadatabackuprecord", record, "mbr");
  held("metadatabackuppolicy", "prod", "metadata-backup-policy");
  held("backuplocation", "prod", "backuplocation");

  check_failed(plane.kubedr({"uninstall", "--delete-records", "--yes"}), 2, "no terminal");
  check_failed(plane.kubedr({"uninstall", "--delete-records", "--confirm", "default"}), 2,
               "kubedr-system");
  const auto type = [&](const std::string& name) {
    ProcessOptions options;
    options.terminal = Terminal::input;
    options.input = name + "\n";
    return run({KUBEDR_BINARY, "uninstall", "--delete-records",
                "--kubeconfig=" + plane.api().kubeconfig().string()},
               options);
  };
  const RunResult refused = type("y");
  CHECK(refused.out == "nothing was changed\n");
  CHECK(has(refused.err, "lost      1 metadatabackuprecords in namespace kubedr-system"));
  CHECK(plane.list("metadatabackuprecords").size() == 1);

  const RunResult result = type(kNamespace);
  CHECK_MESSAGE(result.ok(), result.err);
  CHECK_FALSE(
      plane.api().kubectl({"get", "crd", "backuplocations.kubedr.catalogicsoftware.com"}).ok());
  CHECK(plane.api().kubectl({"get", "namespace", kNamespace}).ok());
  CHECK(plane.get("secret", "prod-creds").at("data").size() == 3);

  // The repository is what it was: with location and policy, everything is there again.
  REQUIRE(plane.kubedr({"install"}).ok());
  plane.add_policy("prod");
  CHECK(plane.kubedr({"sync", "--policy", "prod", "--yes"}).ok());
  CHECK(plane.list("metadatabackuprecords")[0].at("metadata").at("name") == record);
}
