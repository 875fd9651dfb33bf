// Each finding of `status`: brought about for real, and gone when what it says was done.

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "base/sha256.h"
#include "e2e/faults.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace fs = std::filesystem;

namespace {

// The first finding of that code in what `status -o json` says; null where there is none.
Json with_code(const Json& document, const std::string& code) {
  for (const Json& one : document.at("findings")) {
    if (one.at("code") == code) return one;
  }
  return nullptr;
}

// A finding whose remedy has words that only its reader knows, with those filled in.
Json filled(Json finding, const std::map<std::string, std::string>& words) {
  std::string remedy = finding.at("remedy");
  for (const auto& [word, value] : words) {
    const std::size_t at = remedy.find(word);
    REQUIRE_MESSAGE(at != std::string::npos, remedy);
    remedy.replace(at, word.size(), value);
  }
  finding["remedy"] = remedy;
  return finding;
}

// A policy, and somebody at a shell who does what its findings say, word by word.
class Story {
 public:
  explicit Story(std::string name, const std::map<std::string, std::string>& spec = {},
                 ControlPlane& plane = ControlPlane::shared())
      : plane_(plane), name_(std::move(name)) {
    plane_.add_policy(name_, spec);
    fs::create_directories(home_ / "bin");
    fs::create_symlink(KUBEDR_BINARY, home_ / "bin/kubectl-kubedr");
    fs::create_symlink(find_server("kubectl"), home_ / "bin/kubectl");
  }

  ControlPlane& plane() const { return plane_; }

  const std::string& name() const { return name_; }

  void run(std::vector<std::string> args) const {
    const RunResult result = plane_.kubedr(std::move(args));
    REQUIRE_MESSAGE(result.ok(), (result.out + result.err));
  }

  void init() const { run({"init", name_}); }

  void backup(std::vector<std::string> flags = {}) const {
    flags.insert(flags.begin(), {"backup", name_});
    run(std::move(flags));
  }

  void kubectl(std::vector<std::string> args) const {
    args.insert(args.begin(), {"-n", kNamespace});
    const RunResult result = plane_.api().kubectl(args);
    REQUIRE_MESSAGE(result.ok(), result.err);
  }

  void patch_spec(const Json& spec) const {
    kubectl({"patch", "metadatabackuppolicy", name_, "--type", "merge", "-p",
             Json({{"spec", spec}}).dump()});
  }

  void write(const std::string& file, const std::string& text) const { home_.write(file, text); }

  // A program that is found before the machine's own.
  void write_program(const std::string& name, const std::string& script) const {
    write("bin/" + name, script);
    fs::permissions(home_ / "bin" / name, fs::perms::owner_all);
  }

  fs::path path(const std::string& file) const { return home_ / file; }

  std::string read(const std::string& file) const { return read_text(home_ / file); }

  Json status(const std::vector<std::string>& flags = {"--deep"}) const {
    std::vector<std::string> args = {"status", name_, "-o", "json", "--fail-on", "never"};
    args.insert(args.end(), flags.begin(), flags.end());
    return parsed(plane_.kubedr(args));
  }

  // The finding of that code; null where there is none.
  Json finding(const std::string& code, const std::vector<std::string>& flags = {"--deep"}) const {
    return with_code(status(flags), code);
  }

  // It is there, tells that, and with it the exit code is as its severity wants.
  Json check_there(const std::string& code, const std::string& severity, const std::string& text,
                   const std::vector<std::string>& flags = {"--deep"}) const {
    CAPTURE(code);
    const Json found = finding(code, flags);
    REQUIRE_MESSAGE(found.is_object(), status(flags).dump(2));
    CHECK(found.at("severity") == severity);
    CHECK_MESSAGE(has(found.at("message").get<std::string>(), text), found.dump(2));
    const auto code_with = [&](const std::vector<std::string>& more) {
      std::vector<std::string> args = {"status", name_};
      args.insert(args.end(), flags.begin(), flags.end());
      args.insert(args.end(), more.begin(), more.end());
      const RunResult table = plane_.kubedr(args);
      CHECK(has(table.out, found.at("message").get<std::string>()));
      return table.exit.code;
    };
    const bool any_error = is_any(flags, {"error"});
    CHECK(code_with({}) == (any_error ? 5 : 0));
    CHECK(code_with({"--fail-on", "warning"}) == (is_any(flags, {"error", "warning"}) ? 5 : 0));
    if (severity == "error") CHECK(any_error);
    return found;
  }

  // Whether there is a finding of one of these severities.
  bool is_any(const std::vector<std::string>& flags,
              const std::vector<std::string>& severities) const {
    const Json document = status(flags);
    const Json& findings = document.at("findings");
    return std::any_of(findings.begin(), findings.end(), [&](const Json& one) {
      return std::find(severities.begin(), severities.end(), one.at("severity")) !=
             severities.end();
    });
  }

  // Types the remedy, `more` behind it, in a folder with what it may name; then it must be gone.
  void check_mended(const Json& found, const std::string& more = "",
                    const std::vector<std::string>& flags = {"--deep"}) const {
    type(found.at("remedy").get<std::string>() + " " + more);
    const Json left = finding(found.at("code").get<std::string>(), flags);
    CHECK_MESSAGE(left.is_null(), left.dump(2));
  }

  // At a shell of somebody who works on this cluster.
  void type(const std::string& line) const {
    ProcessOptions options;
    options.cwd = home_.path();
    options.env = {{"PATH", (home_ / "bin").string() + ":" + std::getenv("PATH")},
                   {"HOME", home_.path().string()},
                   {"EDITOR", (home_ / "bin/editor").string()},
                   {"KUBECONFIG", plane_.api().kubeconfig().string()}};
    const RunResult typed = test::run({"bash", "-c", "set -eo pipefail; " + line}, options);
    CHECK_MESSAGE(typed.ok(), (line + "\n" + typed.out + typed.err));
  }

  // What `kubectl edit` opens: it changes the object as sed says.
  void write_editor(const std::string& script) const {
    write_program("editor", fmt::format("#!/bin/sh\nsed -i '{}' \"$1\"\n", script));
  }

  std::unique_ptr<storage::Store> bucket() const {
    static const SystemClock clock;
    return open_bucket(plane_.s3(), name_, clock);
  }

  // The files that the remedy for a Secret takes its values from.
  void write_location_keys() const {
    write("access_key", plane_.s3().access_key());
    write("secret_key", plane_.s3().secret_key());
    write("restic_repo_password", kPassword);
  }

  void write_etcd_keys() const {
    write("ca.crt", plane_.etcd().ca_pem());
    write("client.crt", plane_.etcd().client_cert_pem());
    write("client.key", plane_.etcd().client_key_pem());
  }

  // A value of one of its Secrets is another from now on.
  void change_secret(const std::string& secret, const std::string& key,
                     const std::string& value) const {
    kubectl({"patch", "secret", secret, "--type", "merge", "-p",
             Json({{"stringData", {{key, value}}}}).dump()});
  }

 private:
  ControlPlane& plane_;
  const std::string name_;
  TempDir home_;
};

const std::vector<std::string> kDeadEtcd = {"--etcd-endpoint", "https://127.0.0.1:1"};

std::string big_text(std::size_t bytes) {
  std::string text(bytes, 'x');
  for (std::size_t i = 0; i < bytes; i += 64) text[i] = static_cast<char>('a' + i / 64 % 26);
  return text;
}

}  // namespace

TEST_CASE("finding: not initialized, never backed up") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("new");
  for (const auto& flags : {std::vector<std::string>{}, {"--deep"}}) {
    story.check_there("not-initialized", "error", "no repository", flags);
    story.check_there("never-backed-up", "error", "no backup has ever succeeded", flags);
  }
  story.check_mended(story.finding("not-initialized"));
  story.check_mended(story.finding("never-backed-up"));
}

TEST_CASE("finding: a backup failed, and more since") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("failing");
  story.init();
  story.backup();
  std::vector<std::string> args = {"backup", "failing"};
  args.insert(args.end(), kDeadEtcd.begin(), kDeadEtcd.end());
  CHECK(story.plane().kubedr(args).exit.code == 20);
  CHECK_FALSE(has(story.finding("backup-failed").at("message").get<std::string>(), "since"));
  CHECK(story.plane().kubedr(args).exit.code == 20);
  const Json found = story.check_there("backup-failed", "error", "https://127.0.0.1:1",
                                       std::vector<std::string>());
  CHECK(has(found.at("message").get<std::string>(), "the last 2 failed, since 20"));
  story.check_mended(found);
}

TEST_CASE("finding: the last good backup is too old for the schedule") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("restic-0.18");
  const Story story("overdue");
  story.init();
  story.backup();
  age_backups(story.plane(), "overdue", std::chrono::hours(3));
  CHECK(story.finding("backup-late", {"--max-age", "4h"}).is_null());
  story.check_mended(story.check_there("backup-late", "error", "last good backup is 3h", {}));
}

TEST_CASE("finding: a backup is less than half of what they were") {
  KUBEDR_NEEDS("kube-apiserver");
  const TempDir certificates;
  certificates.write("ca.crt", "none, and nobody minds\n");
  const Story story("shrunk", {{"certsDir", certificates.path().string()}});
  story.init();
  story.backup();
  const std::size_t size =
      story.status().at("policies")[0].at("totalBytesProcessed").get<std::size_t>();
  const fs::path large = certificates.write("large", big_text(2 * size));
  story.backup();
  CHECK(story.finding("backup-shrunk").is_null());
  const TempDir aside;
  fs::rename(large, aside / "large");
  story.backup();
  for (const auto& flags : {std::vector<std::string>{}, {"--deep"}}) {
    story.check_there("backup-shrunk", "warning", "is all in certsDir?", flags);
  }
  fs::rename(aside / "large", large);
  story.check_mended(story.finding("backup-shrunk"));
}

TEST_CASE("finding: a backup is too small for any API server, and of another etcd") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("small");
  story.init();
  const EtcdServer empty;
  story.backup({"--any-etcd", "--etcd-endpoint", empty.endpoint(), "--no-certs"});
  const Json small = story.check_there("backup-small", "warning", "less than any API server's");
  CHECK(story.finding("other-etcd").is_null());
  story.check_mended(small);
  story.check_mended(story.check_there("other-etcd", "warning", "the last backup is of etcd "));
}

TEST_CASE("finding: a record without its snapshot, a snapshot without its record") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("unrecorded");
  story.init();
  story.backup();
  story.backup();
  story.plane().apply(fmt::format(R"(
apiVersion: kubedr.catalogicsoftware.com/v1alpha1
kind: MetadataBackupRecord
metadata: {{name: mbr-00000bad, namespace: {}}}
spec: {{snapshotId: 00000bad, policy: unrecorded, backuploc: unrecorded}}
)",
                                  kNamespace));
  story.check_mended(
      story.check_there("record-without-snapshot", "error", "00000bad is not in the repository"),
      "--yes");
  story.kubectl({"delete", "metadatabackuprecord",
                 story.plane()
                     .get("metadatabackuppolicy", "unrecorded")
                     .at("status")
                     .at("mbrName")
                     .get<std::string>()});
  story.check_mended(story.check_there("snapshot-without-record", "warning", "has no record"),
                     "--yes");
}

TEST_CASE("finding: locks, of somebody who is gone and of somebody who wants to be alone") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("locks-found");
  story.init();
  char host[256] = {};
  REQUIRE(gethostname(host, sizeof host - 1) == 0);
  const SystemClock clock;
  const auto bucket = [&] { return open_bucket(story.plane().s3(), "locks-found", clock); };
  {
    const HeldLock exclusive(bucket(), "elsewhere", std::chrono::minutes(1), Exclusive::yes);
    CHECK(story.finding("stale-lock").is_null());
    story.check_mended(
        story.check_there("locked", "info", "root@elsewhere (process 1) has locked the repository"),
        "--remove-all");
  }
  constexpr std::int64_t kNobody = 0x7fffff00;
  const HeldLock gone(bucket(), host, std::chrono::minutes(1), Exclusive::no, kNobody);
  CHECK(story.finding("locked").is_null());
  story.check_mended(story.check_there("stale-lock", "warning", "1 lock of somebody who is gone"));
}

TEST_CASE("finding: credentials of a location that are wrong or not there") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("refused");
  story.init();
  story.backup();
  story.write_location_keys();
  const auto keys_there = [&] { return story.plane().get("secret", "refused-creds").at("data"); };
  story.change_secret("refused-creds", "region", "us-east-1");
  story.change_secret("refused-creds", "secret_key", "not-the-one-it-should-be");
  Json found = story.check_there("credentials-refused", "error", "SignatureDoesNotMatch");
  CHECK_FALSE(has(found.at("remedy").get<std::string>(), "session_token"));
  story.check_mended(found);
  CHECK(keys_there().size() == 4);  // what was not to blame is there still
  story.change_secret("refused-creds", "restic_repo_password", "not the one it should be");
  story.check_mended(story.check_there("wrong-password", "error", "wrong password"));
  CHECK(keys_there().size() == 4);
  set_key(story.plane(), "refused-creds", "secret_key", std::nullopt);
  found = story.check_there("credentials-missing", "error", "has no key \"secret_key\"");
  CHECK_FALSE(has(found.at("remedy").get<std::string>(), "--from-file=access_key"));
  story.check_mended(found);
  CHECK(keys_there().size() == 4);
  story.kubectl({"delete", "secret", "refused-creds"});
  story.check_mended(
      story.check_there("credentials-missing", "error", "secret \"refused-creds\" not found"));
}

TEST_CASE("finding: temporary keys that are no longer good, or may too little") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("temporary");
  story.init();
  story.backup();
  const Json iam = parsed(story.plane().kubedr({"doctor", "temporary", "--print", "iam"}));
  const auto allow = [&](const Json& policy) {
    for (const auto& [key, value] : temporary_keys(story.plane().s3(), policy)) {
      set_key(story.plane(), "temporary-creds", key, value);
      story.write(key, value);
    }
  };
  allow(iam);
  CHECK(story.finding("credentials-refused").is_null());
  set_key(story.plane(), "temporary-creds", "session_token", "not-a-token");
  Json found = story.check_there("credentials-refused", "error", "InvalidTokenId");
  CHECK(has(found.at("remedy").get<std::string>(), "--from-file=session_token"));
  story.check_mended(found);
  // One that belongs to others needs another all the same.
  set_key(story.plane(), "temporary-creds", "secret_key", "not-the-one-it-should-be");
  found = story.check_there("credentials-refused", "error", "SignatureDoesNotMatch");
  CHECK(has(found.at("remedy").get<std::string>(), "--from-file=session_token"));
  story.check_mended(found);

  Json less = iam;
  for (Json& statement : less.at("Statement")) statement["Action"] = {"s3:PutObject"};
  allow(less);
  found = story.check_there("credentials-refused", "error", "AccessDenied");
  CHECK(has(found.at("remedy").get<std::string>(), "kubectl kubedr doctor temporary --print iam"));
  // What it prints is what the keys are to be allowed.
  story.type(found.at("remedy").get<std::string>() + " > policy.json");
  allow(parse_json(story.read("policy.json"), "policy.json"));
  CHECK(story.finding("credentials-refused").is_null());
}

TEST_CASE("finding: a store whose certificate nobody trusts") {
  KUBEDR_NEEDS("kube-apiserver");
  const S3Server secure(S3Server::Scheme::https);
  const Story story("untrusted");
  story.plane().add_location("untrusted", secure.url());
  story.change_secret("untrusted-creds", "ca.crt", secure.ca_pem());
  story.init();
  story.backup();
  story.change_secret("untrusted-creds", "ca.crt", Certificates().ca_pem());
  const Json found = story.check_there("credentials-refused", "error", "is not trusted");
  CHECK_FALSE(has(found.at("remedy").get<std::string>(), "access_key"));
  story.write("ca.crt", secure.ca_pem());
  story.check_mended(found);
  story.backup();
}

TEST_CASE("finding: what the API server did not let us look at") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("unseen");
  story.init();
  story.backup();
  // A reader of the resources, and of nothing else.
  story.kubectl({"create", "role", "resources", "--verb=get,list",
                 "--resource=backuplocations.kubedr.catalogicsoftware.com,"
                 "metadatabackuppolicies.kubedr.catalogicsoftware.com,"
                 "metadatabackuprecords.kubedr.catalogicsoftware.com"});
  story.kubectl({"create", "rolebinding", "resources", "--role=resources", "--user=reader"});
  const auto found = [&](const std::string& code) -> Json {
    const RunResult result = story.plane().kubedr(
        {"status", "unseen", "--deep", "-o", "json", "--fail-on", "never"}, "reader");
    return result.ok() ? with_code(parse_json(result.out, "status"), code) : Json(code);
  };
  REQUIRE(eventually([&] { return found("secret-forbidden").is_object(); }));
  for (const auto& [code, severity, text] : {std::tuple{"cronjobs-forbidden", "info", "cronjobs"},
                                             {"etcd-secret-forbidden", "info", "unseen-etcd"},
                                             {"secret-forbidden", "error", "unseen-creds"}}) {
    CAPTURE(std::string(code));
    const Json one = found(code);
    REQUIRE(one.is_object());
    CHECK(one.at("severity") == severity);
    CHECK_MESSAGE(has(one.at("message").get<std::string>(), text), one.dump());
    story.type(one.at("remedy"));
    // The authorizer learns of it a moment later.
    CHECK(eventually([&] { return found(code).is_null(); }));
  }
}

TEST_CASE("finding: the Secret of etcd lacks a key, or has one of another certificate") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("keyless");
  story.init();
  story.backup();
  CHECK(story.finding("etcd-credentials").is_null());
  story.write_etcd_keys();
  const Certificate other = story.plane().etcd().certificates().issue({"root"});
  story.change_secret("keyless-etcd", "client.key", other.key_pem);
  story.check_mended(story.check_there("etcd-credentials", "error", "is not the key of its"));
  story.change_secret("keyless-etcd", "ca.crt", "what is this\n");
  story.check_mended(story.check_there("etcd-credentials", "error", "ca.crt is no certificate"));
  story.kubectl({"delete", "secret", "keyless-etcd"});
  story.check_mended(story.check_there("etcd-credentials", "error", "not found"));
}

TEST_CASE("finding: a certificate of etcd's client expires, or has") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("expiring");
  story.init();
  story.backup();
  // A client's that lasts: those of the test's own servers live for a day.
  const auto issue = [&](std::chrono::hours valid) {
    CertificateRequest request{"root"};
    request.valid_from = -std::chrono::hours(24 * 30);
    request.valid_until = valid;
    return story.plane().etcd().certificates().issue(request);
  };
  const auto put = [&](const Certificate& certificate) {
    story.change_secret("expiring-etcd", "client.crt", certificate.certificate_pem);
    story.change_secret("expiring-etcd", "client.key", certificate.key_pem);
  };
  const auto client = [](const Json& found) {
    return found.is_object() && has(found.at("message").get<std::string>(), "client.crt");
  };
  const auto write = [&](const Certificate& certificate) {
    story.write("ca.crt", story.plane().etcd().ca_pem());
    story.write("client.crt", certificate.certificate_pem);
    story.write("client.key", certificate.key_pem);
  };
  const Certificate renewed = issue(std::chrono::hours(24 * 365));
  write(renewed);
  put(issue(std::chrono::hours(24 * 5)));
  story.check_mended(story.check_there("certificate-expires", "warning",
                                       "client.crt in secret expiring-etcd expires in 4d23h"));
  put(issue(-std::chrono::hours(1)));
  const Json found = story.check_there("certificate-expired", "error",
                                       "client.crt in secret expiring-etcd has expired");
  CHECK(client(found));
  story.check_mended(found);
  CHECK_FALSE(has(story.status().dump(), "client.crt in secret expiring-etcd"));
}

TEST_CASE("finding: a certificate in the last backup expires, or has") {
  KUBEDR_NEEDS("kube-apiserver");
  const TempDir pki;
  const Certificates authority;
  const auto issue = [&](std::chrono::hours valid) {
    CertificateRequest request{"kube-apiserver"};
    request.valid_from = -std::chrono::hours(24 * 30);
    request.valid_until = valid;
    return authority.issue(request).certificate_pem;
  };
  pki.write("apiserver.crt", issue(std::chrono::hours(24 * 3)));
  const Story story("old-pki", {{"certsDir", pki.path().string()}});
  story.init();
  story.backup();
  Json found = story.check_there("certificate-expires", "warning",
                                 "apiserver.crt of the last backup expires in 2d23h");
  pki.write("apiserver.crt", issue(std::chrono::hours(24 * 365)));
  story.check_mended(found);
  pki.write("apiserver.crt", issue(-std::chrono::hours(2)));
  story.backup();
  // Backups are taken with another: this one is as good as it was.
  found = story.check_there("certificate-expired", "warning",
                            "apiserver.crt of the last backup has expired 120m ago");
  pki.write("apiserver.crt", issue(std::chrono::hours(24 * 365)));
  story.check_mended(found);
}

TEST_CASE("finding: more snapshots than the policy keeps") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("behind", {{"retainNumBackups", "1"}});
  story.init();
  for (int i = 0; i < 4; ++i) story.backup({"--retention", "never"});
  story.check_mended(
      story.check_there("retention-behind", "warning", "4 snapshots, and 1 are to be kept"));
  CHECK(story.status().at("policies")[0].at("snapshots") == 1);
}

TEST_CASE("finding: a policy is suspended") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("asleep");
  story.init();
  story.backup();
  story.patch_spec({{"suspend", true}});
  story.check_mended(story.check_there("suspended", "warning", "backups are suspended", {}));
  CHECK(story.plane().kubedr({"status", "asleep", "--fail-on", "warning"}).exit.code == 0);
}

TEST_CASE("finding: a CronJob is not as its policy says") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("drifted");
  story.init();
  story.backup();
  story.run({"schedule", "drifted", "--image", "registry.example.com/kubectl-kubedr:1"});
  CHECK(story.finding("schedule-differs").is_null());
  story.patch_spec({{"schedule", "*/5 * * * *"}});
  story.check_mended(story.check_there("schedule-differs", "warning", "policy says: schedule", {}));
}

TEST_CASE("finding: a CronJob that somebody else made is not as its policy says") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("theirs");
  story.init();
  story.backup();
  story.plane().apply(fmt::format(R"(
apiVersion: batch/v1
kind: CronJob
metadata:
  name: theirs-backup-cronjob
  namespace: {}
  labels: {{kubedr.type: backup, kubedr.backup-policy: theirs}}
spec:
  schedule: "0 1 * * *"
  suspend: true
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{{name: theirs-kcx-backup, image: kubedrutil}}]
)",
                                  kNamespace));
  story.check_mended(
      story.check_there("schedule-differs", "warning", "policy says: schedule, suspend", {}), "",
      {});
  const Json cron_job = story.plane().get("cronjob", "theirs-backup-cronjob");
  CHECK(cron_job.at("spec").at("schedule") == "*/10 * * * *");
  const Json& pod = cron_job.at("spec").at("jobTemplate").at("spec").at("template").at("spec");
  CHECK(pod.at("containers")[0].at("image") == "kubedrutil");  // theirs still
}

TEST_CASE("finding: nobody in the cluster takes a policy's backups") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("by-nobody");
  story.init();
  story.backup();
  story.kubectl({"delete", "cronjobs", "--all"});       // of other stories
  CHECK(story.finding("not-scheduled", {}).is_null());  // advice is for who looks closely
  const std::string image = "registry.example.com/kubectl-kubedr:2";
  story.check_mended(
      filled(story.check_there("not-scheduled", "info", "no CronJob takes its backups"),
             {{"IMAGE", image}}));
  // One policy's image does for the next.
  const Story next("by-nobody-yet");
  next.init();
  next.backup();
  next.check_mended(next.check_there("not-scheduled", "info", "no CronJob takes its backups"));
  const Json cron_job = next.plane().get("cronjob", "by-nobody-yet-backup-cronjob");
  CHECK(has(cron_job.dump(), image));
}

TEST_CASE("finding: an init was killed") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("cut-off");
  ByteProxy proxy(story.plane().s3().port());
  story.plane().add_location("cut-off", fmt::format("http://127.0.0.1:{}", proxy.port()));
  ProxyRules slow;
  slow.delay = std::chrono::seconds(10);
  proxy.set(slow);
  Process init = start_kubedr(
      {"init", "cut-off", "--kubeconfig=" + story.plane().api().kubeconfig().string()});
  const auto began = [&] {
    const Json location = story.plane().get("backuplocation", "cut-off");
    return find_string(location, {"status", "initStatus"}).value_or("") == "Initializing";
  };
  REQUIRE_MESSAGE(eventually(began), init.out(), init.err());
  init.kill(SIGKILL);
  REQUIRE(init.wait(std::chrono::seconds(20)));
  proxy.set({});
  story.check_mended(
      story.check_there("not-initialized", "error", "an init was started and has not ended", {}),
      "", {});
  story.backup();
  story.plane().add_location("cut-off");  // its proxy goes, and others look at all locations
}

TEST_CASE("finding: an init failed, with and without a repository there") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("stumbled");
  story.change_secret("stumbled-creds", "secret_key", "not-the-one-it-should-be");
  CHECK(story.plane().kubedr({"init", "stumbled"}).exit.code == 21);
  const Json found = story.check_there("init-failed", "error", "SignatureDoesNotMatch", {});
  story.change_secret("stumbled-creds", "secret_key", story.plane().s3().secret_key());
  story.check_mended(found, "", {});
  CHECK(story.plane().kubedr({"init", "stumbled"}).exit.code == 1);
  story.check_mended(story.check_there("init-failed-but-usable", "info", "the repository opens"));
}

TEST_CASE("finding: the repository is gone, damaged, or of a kind that nobody knows") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("broken");
  story.init();
  story.backup();
  const Call call = call_for();
  const auto store = story.bucket();
  const storage::FileName config{storage::FileKind::config, ""};
  const Bytes sound = store->load(config, 1 << 20, call);
  const auto replace = [&](const Bytes& bytes) {
    store->save(config, bytes, sha256(bytes), storage::SaveMode::replace, call);
  };
  Bytes flipped = sound;
  flipped[flipped.size() / 2] ^= 1;
  replace(flipped);
  const Json unusable = story.check_there("repository-unusable", "error", "config");
  CHECK(has(unusable.at("remedy").get<std::string>(), "bring config and keys/ back from a copy"));
  replace(sound);
  CHECK(story.finding("repository-unusable").is_null());

  // An index that is gone: `check` tells, and names what mends it.
  std::vector<std::string> indexes;
  store->list(
      storage::FileKind::index,
      [&](const storage::FileInfo& index) { indexes.push_back(index.id); }, call);
  for (const std::string& index : indexes) {
    store->remove({storage::FileKind::index, index}, call);
  }
  const RunResult damaged = story.plane().kubedr({"check", "--location", "broken"});
  CHECK(damaged.exit.code == 5);
  REQUIRE(has(damaged.out + damaged.err, "kubectl kubedr repair index"));
  const Json found =
      story.check_there("repository-damaged", "error", "again names what mends it", {});
  story.run({"repair", "index", "--location", "broken"});
  story.check_mended(found, "", {});

  // All of it is gone, as when somebody emptied the bucket.
  for (const auto kind : {storage::FileKind::key, storage::FileKind::index, storage::FileKind::pack,
                          storage::FileKind::snapshot}) {
    std::vector<std::string> ids;
    store->list(
        kind, [&](const storage::FileInfo& file) { ids.push_back(file.id); }, call);
    for (const std::string& id : ids) store->remove({kind, id}, call);
  }
  store->remove(config, call);
  story.check_mended(story.check_there("no-repository", "error", "unable to open config file"));
}

TEST_CASE("finding: a store that is away") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  const Story story("away", {}, plane);
  story.init();
  story.backup();
  plane.s3().stop();
  const Json found = story.check_there("repository-unreachable", "error", "refused");
  // What is to be mended is not ours: its command tells whether all is well again.
  CHECK(has(found.at("remedy").get<std::string>(), "kubectl kubedr doctor away"));
  CHECK(plane.kubedr({"doctor", "away"}).exit.code == 5);
  plane.s3().restart();
  story.check_mended(found);
}

TEST_CASE("finding: a policy whose location is gone, and one whose schedule says nothing") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("homeless");
  story.init();
  story.backup();
  story.write_location_keys();
  story.patch_spec({{"destination", "nowhere"}});
  story.check_mended(
      filled(story.check_there("no-location", "error", "backuplocation \"nowhere\"", {}),
             {{"URL", story.plane().s3().url()}, {"BUCKET", "homeless"}}),
      "--access-key-file access_key --secret-key-file secret_key"
      " --new-password-file restic_repo_password");
  story.patch_spec({{"schedule", "61 * * * *"}});
  story.write_editor("s/61 \\* /1 * /");
  story.check_mended(story.check_there("bad-schedule", "error", "61", {}));
}

TEST_CASE("finding: an object that nobody can read") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  const Story story("legible", {}, plane);
  story.init();
  story.backup();
  const std::string snapshot =
      plane.get("metadatabackuppolicy", "legible").at("status").at("snapshotId");

  struct Case {
    std::string kind;
    std::string plural;
    std::string spec;
    std::string edit;  // as sed knows it
  };

  for (const Case& one :
       {Case{"MetadataBackupPolicy", "metadatabackuppolicies", R"({schedule: "@daily"})",
             "s/^  schedule/  destination: legible\\n  schedule/"},
        Case{"BackupLocation", "backuplocations",
             fmt::format(R"({{url: "{}", bucketName: legible}})", plane.s3().url()),
             "s/^  bucketName/  credentials: legible-creds\\n  bucketName/"},
        Case{"MetadataBackupRecord", "metadatabackuprecords",
             "{policy: legible, backuploc: legible}",
             "s/^  policy/  snapshotId: " + snapshot + "\\n  policy/"}}) {
    CAPTURE(one.kind);
    const RunResult loosened = plane.api().kubectl(
        {"patch", "crd", one.plural + ".kubedr.catalogicsoftware.com", "--type=json", "-p",
         R"([{"op": "remove",
              "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/required"}])"});
    REQUIRE_MESSAGE(loosened.ok(), loosened.err);
    const std::string object = fmt::format(
        "apiVersion: kubedr.catalogicsoftware.com/v1alpha1\nkind: {}\n"
        "metadata: {{name: illegible, namespace: {}}}\nspec: {}\n",
        one.kind, kNamespace, one.spec);
    CHECK(eventually([&] { return plane.api().kubectl({"apply", "-f", "-"}, object).ok(); }));
    // Asked for without a name: it is not one that could be found by it.
    const auto found = [&]() -> Json {
      const RunResult result = plane.kubedr({"status", "-o", "json", "--fail-on", "never"});
      return with_code(parsed(result), "malformed-object");
    };
    const Json malformed = found();
    REQUIRE_MESSAGE(malformed.is_object(), plane.kubedr({"status", "-o", "json"}).out);
    CHECK(malformed.at("severity") == "error");
    CHECK(has(malformed.at("object").get<std::string>(), "/illegible"));
    story.write_editor(one.edit);
    story.type(malformed.at("remedy"));
    CHECK(found().is_null());
  }
}

TEST_CASE("finding: what retention stumbles over") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("restic-0.18");
  const Story story("stuck", {{"retainNumBackups", "2"}});
  story.init();
  story.backup();
  story.backup();
  const Json records = story.plane().list("metadatabackuprecords");
  const auto record = std::find_if(records.begin(), records.end(), [](const Json& one) {
    return one.at("spec").at("policy") == "stuck";
  });
  REQUIRE(record != records.end());
  const std::string snapshot = record->at("spec").at("snapshotId");
  const RunResult forgotten =
      restic("0.18", {"forget", snapshot}, story.plane().restic_env("stuck"));
  REQUIRE_MESSAGE(forgotten.ok(), forgotten.err);
  story.backup();
  const Json found =
      story.check_there("retention-failing", "warning", "older backups are not removed", {});
  // The remedy mends the cause; the next backup shows it.
  CHECK(has(found.at("remedy").get<std::string>(), "sync"));
  story.type(found.at("remedy").get<std::string>() + " --yes");
  story.backup();
  CHECK(story.finding("retention-failing", {}).is_null());
}

TEST_CASE("finding: the remedy acts in the namespace of what it is about") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  const Story story("twin", {}, plane);
  story.init();
  story.backup();
  const RunResult made = plane.api().kubectl({"create", "namespace", "second"});
  REQUIRE_MESSAGE(made.ok(), made.err);
  for (const auto& [kind, name] : {std::pair{"secret", "twin-creds"},
                                   {"secret", "twin-etcd"},
                                   {"backuplocation", "twin"},
                                   {"metadatabackuppolicy", "twin"}}) {
    Json object = plane.get(kind, name);
    object.erase("status");
    object["metadata"] = {{"name", name}, {"namespace", "second"}};
    plane.apply(object.dump());
  }
  const auto found = [&]() -> Json {
    const RunResult result = plane.kubedr({"status", "-A", "-o", "json", "--fail-on", "never"});
    return with_code(parsed(result), "never-backed-up");
  };
  const Json never = found();
  REQUIRE_MESSAGE(never.is_object(), plane.kubedr({"status", "-A", "-o", "json"}).out);
  CHECK(never.at("namespace") == "second");
  CHECK(has(plane.kubedr({"status", "-A"}).out, "error: second: metadatabackuppolicy/twin: "));
  const std::size_t before = plane.list("metadatabackuprecords").size();
  story.type(never.at("remedy"));
  CHECK(found().is_null());
  CHECK(plane.list("metadatabackuprecords").size() == before);
}

TEST_CASE("finding: one password only opens the repository") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story story("one-key");
  story.init();
  story.write("escrow", "for the safe");
  story.check_mended(story.check_there("single-key", "info", "one password only"),
                     "--new-password-file escrow");
}

TEST_CASE("finding: the clocks of the API server and of S3 differ from ours") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS_PROGRAM("faketime");
  const Story story("clocks");
  story.init();
  story.backup();
  const auto seen_by = [&](const std::string& clock) {
    ProcessOptions options;
    options.env = {{"HOME", "/nowhere"}};
    const RunResult result = run({"faketime", "-f", clock, KUBEDR_BINARY, "status", "clocks",
                                  "--deep", "-o", "json", "--fail-on", "never", "--no-cache",
                                  "--kubeconfig=" + story.plane().api().kubeconfig().string()},
                                 options);
    return parsed(result).at("findings");
  };
  const auto skews = [](const Json& findings) {
    std::map<std::string, std::string> messages;
    for (const Json& one : findings) {
      if (one.at("code") == "clock-skew") messages[one.at("object")] = one.at("message");
    }
    return messages;
  };
  auto found = skews(seen_by("+10m"));
  REQUIRE(found.size() == 2);
  CHECK(has(found.at("apiserver"), "the API server's clock is 10m behind this machine's"));
  CHECK(has(found.at("backuplocation/clocks"), "the store's clock is 10m behind this machine's"));
  found = skews(seen_by("-10m"));
  REQUIRE(found.size() == 2);
  CHECK(has(found.at("apiserver"), " ahead of this machine's"));
  // Off by so much that S3 refuses: it is not the keys that are to blame.
  for (const auto& [clock, text] : {std::pair{"+20m", "20m behind"}, {"-20m", " ahead of"}}) {
    const Json document = seen_by(clock);
    found = skews(document);
    CHECK(has(found.at("backuplocation/clocks"), text));
    CHECK(has(found.at("backuplocation/clocks"), "RequestTimeTooSkewed"));
    CHECK(std::count_if(document.begin(), document.end(), [](const Json& one) {
            return one.at("severity") == "error" && one.at("code") != "backup-late";
          }) == 1);
  }
  // The remedy is the right time, as it comes from elsewhere to those who ask for it.
  story.write("clock", "+20m");
  story.write_program("timedatectl", fmt::format("#!/bin/sh\ntest \"$*\" = 'set-ntp true'\n"
                                                 "printf +0m > {}\n",
                                                 story.path("clock").string()));
  const Json document = seen_by(story.read("clock"));
  const auto one = std::find_if(document.begin(), document.end(),
                                [](const Json& each) { return each.at("code") == "clock-skew"; });
  REQUIRE(one != document.end());
  story.type(one->at("remedy"));
  CHECK(skews(seen_by(story.read("clock"))).empty());
}

TEST_CASE("finding: encrypted Secrets, and no certificates beside them") {
  KUBEDR_NEEDS("kube-apiserver");
  const TempDir folder;
  const auto encryption = folder.write("enc/encryption.yaml", R"(
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aescbc: {keys: [{name: one, secret: bm90IGEgc2VjcmV0LCAzMiBieXRlcyBsb25nIG9rPz8=}]}
  - identity: {}
)");
  ControlPlane plane({}, {"--encryption-provider-config=" + encryption.string()});
  const Story story("encrypted", {{"certsDir", ""}}, plane);
  story.init();
  story.backup();
  const Json found =
      story.check_there("secrets-unreadable", "warning", "the API server encrypts Secrets");
  story.check_mended(filled(found, {{"DIR", (folder / "enc").string()}}));
  // One that was taken without those that the policy names.
  story.backup({"--no-certs"});
  story.check_mended(
      story.check_there("secrets-unreadable", "warning", "the API server encrypts Secrets"));
}
