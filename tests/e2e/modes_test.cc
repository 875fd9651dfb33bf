// The ways to say where things are, without any API server: manifests (-f) and a bare repository
// (--repo); and every etcd that people run.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/hex.h"
#include "base/sha256.h"
#include "e2e/faults.h"
#include "support/byte_proxy.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

using Environment = std::map<std::string, std::string>;

std::string encoded(const std::string& text) {
  return to_base64(as_bytes(text));
}

// A folder of manifests as a repository of a GitOps team has it, with an API server that would
// notice being asked.
class Manifests {
 public:
  explicit Manifests(const EtcdServer& etcd) : unused_port_(free_port()), api_(unused_port_) {
    certificates_ = make_certificates(folder_);
    folder_.write("manifests/location.yaml", fmt::format(R"(
apiVersion: kubedr.catalogicsoftware.com/v1alpha1
kind: BackupLocation
metadata:
  name: disk
spec:
  url: file://{}
  bucketName: etcd
  credentials: disk-creds
---
apiVersion: v1
kind: Secret
metadata: {{name: disk-creds}}
stringData:
  restic_repo_password: "{}"
)",
                                                         repositories().string(), kPassword));
    folder_.write("manifests/policy.yml",
                  fmt::format(R"(
apiVersion: kubedr.catalogicsoftware.com/v1alpha1
kind: MetadataBackupPolicy
metadata: {{name: nightly, namespace: kubedr-system}}
spec:
  destination: disk
  schedule: "0 3 * * *"
  certsDir: {}
  etcdEndpoint: {}
---
apiVersion: v1
kind: Secret
metadata: {{name: etcd-creds, namespace: kubedr-system}}
data: {{ca.crt: {}, client.crt: {}, client.key: {}}}
---
# Of somebody else; not our business.
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
)",
                              certificates_.string(), etcd.endpoint(), encoded(etcd.ca_pem()),
                              encoded(etcd.client_cert_pem()), encoded(etcd.client_key_pem())));
    folder_.write("manifests/notes.txt", "not a manifest");
    folder_.write("kubeconfig", fmt::format(R"(
apiVersion: v1
kind: Config
current-context: only
contexts: [{{name: only, context: {{cluster: only, user: only}}}}]
clusters: [{{name: only, cluster: {{server: "http://127.0.0.1:{}"}}}}]
users: [{{name: only, user: {{token: t}}}}]
)",
                                            api_.port()));
    // The parent of a repository's folder is whoever mounts the disk's.
    std::filesystem::create_directory(repositories());
  }

  std::filesystem::path repositories() const { return folder_ / "disk"; }

  std::string repository() const { return (repositories() / "etcd").string(); }

  const std::filesystem::path& certificates() const { return certificates_; }

  const TempDir& folder() const { return folder_; }

  RunResult kubedr(std::vector<std::string> args) const {
    args.insert(args.end(), {"-f", (folder_ / "manifests").string()});
    return test::kubedr(args, {{"KUBECONFIG", (folder_ / "kubeconfig").string()}});
  }

  int calls_to_api() const { return api_.counts().connections; }

 private:
  TempDir folder_;
  int unused_port_;
  ByteProxy api_;
  std::filesystem::path certificates_;
};

// The object of that kind among what would have been written.
Json not_written(const Json& result, const std::string& kind) {
  for (const Json& object : result.at("notWritten")) {
    if (object.at("kind") == kind) return object;
  }
  FAIL("no " << kind << " in " << result.dump(2));
  return {};
}

Environment bare_env() {
  return {{"RESTIC_PASSWORD", kPassword}};
}

EtcdOptions tls_etcd(const std::string& program = "etcd") {
  EtcdOptions options;
  options.program = program;
  options.tls = true;
  return options;
}

// The command that a restore tells comes next, with that server's version of the tool and another
// data folder, in a shell as people paste it.
RunResult run_told(std::string command, std::string server, const std::filesystem::path& data) {
  const std::string tool = command.substr(0, command.find(' '));
  const std::string program = find_server(tool + server.erase(0, std::string("etcd").size()));
  command.replace(0, tool.size(), program);
  const std::string folder = "/var/lib/etcd";
  const std::size_t at = command.find("--data-dir " + folder);
  REQUIRE_MESSAGE(at != std::string::npos, command);
  command.replace(command.find(folder, at), folder.size(), data.string());
  return run({"bash", "-c", command});
}

// The verbs on a bare repository, from init to restore, with a saved database.
void check_bare(const std::string& repository, const Environment& env) {
  const TempDir folder;
  EtcdServer etcd;
  etcd.fill("/registry/pods/default/p", 50, 1000);
  const auto database = save_database(etcd, folder / "saved.db");
  const auto run = [&](std::vector<std::string> args) {
    args.insert(args.begin(), {"--repo", repository});
    return test::kubedr(args, env);
  };

  CHECK(run({"snapshots"}).exit.code == 10);
  CHECK(run({"backup", "--etcd-snapshot", database.string()}).exit.code == 10);
  const Json init = parsed(run({"init", "-o", "json"}));
  CHECK(init.at("repositoryVersion") == 2);
  CHECK(init.at("created") == true);
  CHECK(run({"init"}).exit.code == 1);
  CHECK(parsed(run({"init", "--if-needed", "-o", "json"})).at("created") == false);

  const Json backup = parsed(run({"backup", "--etcd-snapshot", database.string(), "--tag", "mine",
                                  "--host", "node-7", "-o", "json"}));
  CHECK(backup.at("filesNew") == 1);
  const Json listed = parsed(run({"snapshots", "-o", "json"})).at("snapshots");
  REQUIRE(listed.size() == 1);
  CHECK(listed[0].at("id") == backup.at("snapshotId"));
  CHECK(listed[0].at("hostname") == "node-7");
  CHECK(parsed(run({"snapshots", "--tag", "mine", "-o", "json"})).at("snapshots").size() == 1);
  CHECK(parsed(run({"snapshots", "--tag", "other", "-o", "json"})).at("snapshots").empty());
  CHECK(parsed(run({"snapshots", "--tag", "mine,other", "-o", "json"})).at("snapshots").empty());
  CHECK(parsed(run({"snapshots", "--tag", "other", "--tag", "mine", "--host", "node-8", "--host",
                    "node-7", "-o", "json"}))
            .at("snapshots")
            .size() == 1);

  const RunResult status = run({"status"});
  CHECK_MESSAGE(status.ok(), (status.out + status.err));
  CHECK_MESSAGE(has(status.out, "kubectl kubedr key add --location bare --repo "), status.out);
  CHECK(run({"status", "--max-age", "1ms"}).exit.code == 5);

  // As restic does it, folders above the target are made.
  const std::string target = (folder / "deep/er/target").string();
  const RunResult restored = run({"restore", "latest", "--target", target});
  REQUIRE_MESSAGE(restored.ok(), restored.err);
  for (const char* made : {"deep", "deep/er", "deep/er/target"}) {
    CHECK(std::filesystem::status(folder / made).permissions() ==
          std::filesystem::perms::owner_all);
  }
  CHECK(files_below(target) ==
        std::map<std::string, std::string>{{"data/etcd-snapshot.db", read_text(database)}});

  Environment theirs = env;
  theirs["RESTIC_REPOSITORY"] = repository;
  const RunResult check = restic("0.18", {"check", "--read-data"}, theirs);
  CHECK_MESSAGE(check.ok(), (check.out + check.err));

  Environment wrong = env;
  wrong.erase("RESTIC_PASSWORD_FILE");
  wrong["RESTIC_PASSWORD"] = "wrong";
  for (const std::vector<std::string>& verb :
       {std::vector<std::string>{"snapshots"},
        {"backup", "--etcd-snapshot", database.string()},
        {"restore", "latest", "--target", (folder / "never").string()}}) {
    CAPTURE(verb.front());
    std::vector<std::string> args = verb;
    args.insert(args.begin(), {"--repo", repository});
    CHECK(test::kubedr(args, wrong).exit.code == 12);
  }
  CHECK_FALSE(std::filesystem::exists(folder / "never"));
}

}  // namespace

TEST_CASE("manifests: the whole job with a file:// location, and nobody is asked") {
  KUBEDR_NEEDS("etcd");
  EtcdServer etcd(tls_etcd());
  etcd.fill("/registry/secrets/default/s", 50, 1000);
  const Manifests world(etcd);

  CHECK(world.kubedr({"status"}).exit.code == 5);
  const Json init = parsed(world.kubedr({"init", "-o", "json"}));
  CHECK(init.at("repository") == world.repository());
  const Json location = not_written(init, "BackupLocation");
  CHECK(location.at("status").at("initStatus") == "Completed");
  CHECK(location.at("metadata").at("annotations") ==
        Json{{"initialized.annotations.kubedr.catalogicsoftware.com", "true"}});
  const Json init_event = not_written(init, "Event");
  CHECK(init_event.at("reason") == "InitSucceeded");
  CHECK(init_event.at("involvedObject").at("name") == "disk");

  const Json backup = parsed(world.kubedr({"backup", "-o", "json"}));
  CHECK(backup.at("policy") == "nightly");
  CHECK(backup.at("etcd").at("endpoint") == etcd.endpoint());
  CHECK(backup.at("filesNew") == 6);
  const Json policy = not_written(backup, "MetadataBackupPolicy");
  CHECK(policy.at("status").at("backupStatus") == "Completed");
  CHECK(policy.at("status").at("mbrName") == backup.at("record"));
  CHECK(not_written(backup, "MetadataBackupRecord").at("metadata").at("name") ==
        backup.at("record"));
  CHECK(not_written(backup, "Event").at("reason") == "BackupSucceeded");

  // For people it is named, apart from the result.
  const RunResult told = world.kubedr({"backup", "nightly"});
  REQUIRE_MESSAGE(told.ok(), told.err);
  CHECK_MESSAGE(has(told.err, "not written (no API server): MetadataBackupRecord mbr-"), told.err);
  CHECK_MESSAGE(has(told.err, "not written (no API server): MetadataBackupPolicy nightly"),
                told.err);
  CHECK(has(told.out, "metadatabackuppolicy/nightly backed up"));
  CHECK_FALSE(has(told.out, "not written"));

  const Json listed = parsed(world.kubedr({"snapshots", "nightly", "-o", "json"}));
  REQUIRE(listed.at("snapshots").size() == 2);
  CHECK(listed.at("snapshots")[0].at("policy") == "nightly");
  CHECK(listed.at("snapshots")[1].at("parent") == backup.at("snapshotId"));

  const RunResult status = world.kubedr({"status"});
  CHECK_MESSAGE(status.ok(), (status.out + status.err));
  CHECK_MESSAGE(has(status.out, "kubectl kubedr key add --location disk -f "), status.out);
  CHECK_MESSAGE(!has(status.out, "<unknown>"), status.out);  // the repository tells size and growth
  const std::string escrow = world.folder().write("escrow", "for the safe").string();
  REQUIRE(world.kubedr({"key", "add", "--location", "disk", "--new-password-file", escrow}).ok());
  CHECK(has(world.kubedr({"status"}).out, "No findings."));

  const std::string target = (world.folder() / "target").string();
  const RunResult restored =
      world.kubedr({"restore", "latest", "--policy", "nightly", "--target", target});
  REQUIRE_MESSAGE(restored.ok(), restored.err);
  CHECK(has(restored.out, "etcdutl snapshot restore"));
  CHECK(read_text(target + "/data/certificates/apiserver.key") ==
        read_text(world.certificates() / "apiserver.key"));
  CHECK(run({find_server("etcdutl").string(), "snapshot", "status",
             target + "/data/etcd-snapshot.db"})
            .ok());
  CHECK(world.calls_to_api() == 0);
}

TEST_CASE(
    "manifests: what cannot be published is reported after a failure too, and changes nothing") {
  KUBEDR_NEEDS("etcd");
  EtcdServer etcd(tls_etcd());
  const Manifests world(etcd);
  REQUIRE(world.kubedr({"init"}).ok());
  const auto before = files_below(world.repositories());
  const auto manifests = files_below(world.folder() / "manifests");
  const RunResult again = world.kubedr({"init"});
  CHECK(again.exit.code == 1);
  CHECK_MESSAGE(has(again.err, "repository master key and config already initialized"), again.err);
  etcd.stop();
  const RunResult backup = world.kubedr({"backup", "--timeout", "20s"});
  check_failed(backup, 20, etcd.endpoint());
  CHECK_MESSAGE(has(backup.err, "not written (no API server): MetadataBackupPolicy nightly"),
                backup.err);
  CHECK_MESSAGE(has(backup.err, "not written (no API server): Event "), backup.err);
  CHECK(files_below(world.repositories()) == before);
  CHECK(files_below(world.folder() / "manifests") == manifests);
  CHECK(world.calls_to_api() == 0);
}

TEST_CASE("manifests: init names what it could not publish, whether it works or not") {
  KUBEDR_NEEDS("etcd");
  const EtcdServer etcd(tls_etcd());
  const Manifests world(etcd);
  const std::string location = "not written (no API server): BackupLocation disk\n";
  const std::string event = "not written (no API server): Event ";
  const RunResult made = world.kubedr({"init"});
  REQUIRE_MESSAGE(made.ok(), made.err);
  CHECK_MESSAGE(has(made.err, location), made.err);
  CHECK_MESSAGE(has(made.err, event), made.err);
  CHECK_FALSE(has(made.out, "not written"));

  // A failure has no document: with -o json, too, it is told.
  for (const std::vector<std::string>& flags : {std::vector<std::string>{}, {"-o", "json"}}) {
    std::vector<std::string> args = {"init"};
    args.insert(args.end(), flags.begin(), flags.end());
    const RunResult again = world.kubedr(args);
    CHECK(again.exit.code == 1);
    CHECK(again.out == "");
    CHECK_MESSAGE(has(again.err, location), again.err);
    CHECK_MESSAGE(has(again.err, event), again.err);
  }
  // A result has: there it is with all its fields, and nobody is told twice.
  const RunResult document = world.kubedr({"backup", "-o", "json"});
  CHECK(not_written(parsed(document), "Event").at("reason") == "BackupSucceeded");
  CHECK_FALSE(has(document.err, "not written"));
}

TEST_CASE("manifests, bare: a file:// URL without a whole path is no folder of here") {
  const TempDir folder;
  const auto check_refused = [&](std::vector<std::string> args, const std::string& url) {
    ProcessOptions options;
    options.cwd = folder.path();
    options.env = bare_env();
    options.env["HOME"] = folder.path().string();
    args.insert(args.begin(), KUBEDR_BINARY);
    const RunResult result = run(args, options);
    check_failed(result, 2, url + ": a file:// URL names a folder");
    CHECK_MESSAGE(has(result.err, "\n  write three slashes: file:///"), result.err);
  };
  for (const std::string url : {"file://backups/etcd", "file://nas.example.com/etcd", "file://"}) {
    CAPTURE(url);
    const auto manifests = folder.write("manifests/location.yaml", fmt::format(R"(
apiVersion: kubedr.catalogicsoftware.com/v1alpha1
kind: BackupLocation
metadata: {{name: disk}}
spec: {{url: "{}", bucketName: etcd, credentials: disk-creds}}
---
apiVersion: v1
kind: Secret
metadata: {{name: disk-creds}}
stringData: {{restic_repo_password: "{}"}}
)",
                                                                               url, kPassword));
    for (const char* verb : {"init", "snapshots"}) {
      check_refused({verb, "--repo", url}, url);
      check_refused({verb, "-f", manifests.string()}, url);
    }
    CHECK(files_below(folder.path()).size() == 1);  // the manifest
  }
}

TEST_CASE(
    "manifests: a full disk under a file:// location fails the backup and leaves no half file") {
  KUBEDR_NEEDS("etcd");
  EtcdServer etcd(tls_etcd());
  etcd.fill("/registry/secrets/default/s", 400, 8000);
  const Manifests world(etcd);
  const TmpfsMount disk(world.repositories(), "1m");
  KUBEDR_NEEDS_RIGHT(disk.mounted(), "mount a tmpfs");
  REQUIRE(world.kubedr({"init"}).ok());
  const auto before = files_below(world.repository());

  const RunResult backup = world.kubedr({"backup"});
  check_failed(backup, 1, "No space left on device");
  CHECK_MESSAGE(has(backup.err, "not written (no API server): MetadataBackupPolicy nightly"),
                backup.err);
  CHECK_MESSAGE(has(backup.err, "not written (no API server): Event "), backup.err);
  CHECK_FALSE(has(backup.err, "MetadataBackupRecord"));  // there is nothing that it could name
  for (const auto& [name, content] : files_below(world.repository())) {
    if (before.count(name) != 0) continue;
    CHECK_MESSAGE(name.starts_with("data/"), name);
    CHECK_MESSAGE(name.substr(name.rfind('/') + 1) == to_hex(sha256(as_bytes(content))), name);
  }

  const TmpfsMount room(world.repositories());  // over the small one, and empty
  REQUIRE(world.kubedr({"init"}).ok());
  const Json again = parsed(world.kubedr({"backup", "-o", "json"}));
  CHECK(not_written(again, "MetadataBackupPolicy").at("status").at("backupStatus") == "Completed");
  CHECK(not_written(again, "MetadataBackupRecord").at("spec").at("policy") == "nightly");
}

TEST_CASE("manifests: a file, several paths, and what is wrong with one of them") {
  KUBEDR_NEEDS("etcd");
  const EtcdServer etcd(tls_etcd());
  const Manifests world(etcd);
  const TempDir folder;
  const std::string location = (world.folder() / "manifests/location.yaml").string();
  const std::string policy = (world.folder() / "manifests/policy.yml").string();
  CHECK(test::kubedr({"init", "-f", location}).ok());
  CHECK(test::kubedr({"snapshots", "nightly", "-f", location, "-f", policy}).ok());
  CHECK(test::kubedr({"snapshots", "nightly", "-f", location}).exit.code == 4);
  CHECK(test::kubedr({"snapshots", "-f", location, "-f", location}).exit.code == 2);
  CHECK(test::kubedr({"snapshots", "-f", (folder / "none").string()}).exit.code == 4);
  CHECK(test::kubedr({"snapshots", "-f", location, "--repo", "/x"}, bare_env()).exit.code == 2);
  CHECK(test::kubedr({"install", "-f", location}).exit.code == 2);
  const std::string broken = folder.write("broken.yaml", "kind: [BackupLocation").string();
  const RunResult result = test::kubedr({"status", "-f", broken});
  CHECK(result.exit.code == 2);
  CHECK_MESSAGE(has(result.err, "broken.yaml: line 1"), result.err);
  // Objects without a namespace are in the one that is asked for; the policy names its own.
  CHECK(test::kubedr({"snapshots", "-n", "other", "-f", location}).ok());
  CHECK(test::kubedr({"snapshots", "nightly", "-n", "other", "-f", location, "-f", policy})
            .exit.code == 4);
}

TEST_CASE("bare: a folder, the password from the environment") {
  KUBEDR_NEEDS("etcd");
  const TempDir folder;
  check_bare((folder / "repository").string(), bare_env());
}

TEST_CASE("bare: a folder, the password from a file that ends in a newline") {
  KUBEDR_NEEDS("etcd");
  const TempDir folder;
  const auto file = folder.write("password", std::string(kPassword) + "\n");
  check_bare((folder / "repository").string(), {{"RESTIC_PASSWORD_FILE", file.string()}});
}

TEST_CASE("bare: a bucket with a prefix, on S3") {
  KUBEDR_NEEDS("minio");
  const S3Server s3;
  Environment env = bare_env();
  env["AWS_ACCESS_KEY_ID"] = s3.access_key();
  env["AWS_SECRET_ACCESS_KEY"] = s3.secret_key();
  check_bare(fmt::format("s3:{}/bare/some/prefix", s3.url()), env);
  Environment wrong = env;
  wrong["AWS_SECRET_ACCESS_KEY"] = "nobody-knows-this-one";
  CHECK(
      test::kubedr({"snapshots", "--repo", fmt::format("s3:{}/bare/some/prefix", s3.url())}, wrong)
          .exit.code == 21);
  CHECK(test::kubedr({"snapshots", "--repo", fmt::format("s3:{}/bare/other", s3.url())}, env)
            .exit.code == 10);
}

TEST_CASE("bare: an S3 with TLS of its own authority") {
  KUBEDR_NEEDS("minio");
  const S3Server s3(S3Server::Scheme::https);
  Environment env = bare_env();
  env["AWS_ACCESS_KEY_ID"] = s3.access_key();
  env["AWS_SECRET_ACCESS_KEY"] = s3.secret_key();
  const std::string repository = fmt::format("s3:{}/bare", s3.url());
  const RunResult refused = test::kubedr({"init", "--repo", repository}, env);
  CHECK_FALSE(refused.ok());
  CHECK_MESSAGE(has(refused.err, "certificate"), refused.err);
  env["RESTIC_CACERT"] = s3.ca_file().string();
  const RunResult init = test::kubedr({"init", "--repo", repository}, env);
  CHECK_MESSAGE(init.ok(), init.err);
  CHECK(test::kubedr({"snapshots", "--repo", repository}, env).ok());
}

TEST_CASE("bare: without a password nothing is tried") {
  const TempDir folder;
  const RunResult result = test::kubedr({"init", "--repo", (folder / "repository").string()});
  CHECK(result.exit.code == 2);
  CHECK_MESSAGE(has(result.err, "RESTIC_PASSWORD"), result.err);
  CHECK_FALSE(std::filesystem::exists(folder / "repository"));
}

TEST_CASE("bare: a saved database that is not whole is no backup") {
  KUBEDR_NEEDS("etcd");
  const TempDir folder;
  EtcdServer etcd;
  etcd.fill("/k", 20, 1000);
  const std::string repository = (folder / "repository").string();
  REQUIRE(test::kubedr({"init", "--repo", repository}, bare_env()).ok());
  const std::string whole = read_text(save_database(etcd, folder / "whole.db"));
  std::string flipped = whole;
  flipped[whole.size() / 2] = static_cast<char>(flipped[whole.size() / 2] ^ 1);
  for (const std::string& damaged :
       {whole.substr(0, whole.size() - 1), whole.substr(0, whole.size() - 32), flipped,
        std::string(), std::string(5000, 'x')}) {
    CAPTURE(damaged.size());
    const auto file = folder.write("damaged.db", damaged);
    const RunResult result = test::kubedr(
        {"backup", "--repo", repository, "--etcd-snapshot", file.string()}, bare_env());
    CHECK_MESSAGE(result.exit.code == 22, result.err);
  }
  CHECK(
      test::kubedr({"backup", "--repo", repository, "--etcd-snapshot", (folder / "none").string()},
                   bare_env())
          .exit.code == 4);
  CHECK(parsed(test::kubedr({"snapshots", "--repo", repository, "-o", "json"}, bare_env()))
            .at("snapshots")
            .empty());
}

TEST_CASE("backup: etcd 3.4, 3.5 and 3.6 are backed up, and restored by their own tools") {
  struct Version {
    const char* server;
    const char* tool;  // that knows `snapshot status` and `snapshot restore`
  };

  for (const Version& version :
       {Version{"etcd-3.4", "etcdctl-3.4"}, {"etcd-3.5", "etcdutl-3.5"}, {"etcd", "etcdutl"}}) {
    KUBEDR_NEEDS(version.server);
    KUBEDR_NEEDS(version.tool);
    CAPTURE(version.server);
    EtcdServer etcd(tls_etcd(version.server));
    etcd.fill("/registry/configmaps/default/c", 100, 2000);
    etcd.put("/registry/precious", "42");
    const TempDir folder;
    Environment env = bare_env();
    const std::string repository = (folder / "repository").string();
    REQUIRE(test::kubedr({"init", "--repo", repository}, env).ok());
    const RunResult backup = test::kubedr(
        {"backup", "--repo", repository, "--etcd-endpoint", etcd.endpoint(), "--etcd-cacert",
         etcd.ca_file().string(), "--etcd-cert", etcd.client_cert_file().string(), "--etcd-key",
         etcd.client_key_file().string(), "-o", "json"},
        env);
    REQUIRE_MESSAGE(backup.ok(), backup.err);
    const Json stored = parsed(backup);
    const std::string target = (folder / "target").string();
    const RunResult restored = test::kubedr(
        {"restore", "latest", "--repo", repository, "--target", target, "-o", "json"}, env);
    REQUIRE_MESSAGE(restored.ok(), restored.err);
    const Json database = parsed(restored).at("database");
    CHECK(database.at("revision") == stored.at("etcd").at("revision"));
    CHECK(database.at("members").at(0).at("name") == "default");

    const std::string tool = find_server(version.tool).string();
    const std::string db = database.at("path").get<std::string>();
    ProcessOptions options;
    options.env = {{"ETCDCTL_API", "3"}};
    const RunResult status = run({tool, "snapshot", "status", db, "-w", "json"}, options);
    REQUIRE_MESSAGE(status.ok(), status.err);
    CHECK(parse_json(status.out, version.tool).at("revision") == database.at("revision"));
    EtcdOptions again;
    again.program = version.server;
    again.data = folder / "new-data";
    const std::string next = parsed(restored).at("nextCommands").at(0).get<std::string>();
    const RunResult made = run_told(next, version.server, again.data);
    REQUIRE_MESSAGE(made.ok(), (next + "\n" + made.err));
    EtcdServer revived(again);
    CHECK(revived.get("/registry/precious") == "42");
  }
}
