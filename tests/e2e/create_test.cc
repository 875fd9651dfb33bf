// Locations and policies for those who do not want to write YAML: made with their Secrets, deleted
// without what must not be lost.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/hex.h"
#include "e2e/faults.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

// What a Secret holds, decoded.
std::map<std::string, std::string> content_of(const Json& secret) {
  std::map<std::string, std::string> content;
  for (const auto& [key, value] : secret.at("data").items()) {
    content[key] = as_text(from_base64(value.get<std::string>()).value());
  }
  return content;
}

std::vector<std::string> create_location(ControlPlane& plane, const std::string& name,
                                         std::vector<std::string> more = {}) {
  std::vector<std::string> args = {"location",       "create",   name, "--url",
                                   plane.s3().url(), "--bucket", name};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

std::map<std::string, std::string> s3_env(ControlPlane& plane) {
  return {{"AWS_ACCESS_KEY_ID", plane.s3().access_key()},
          {"AWS_SECRET_ACCESS_KEY", plane.s3().secret_key()},
          {"RESTIC_PASSWORD", kPassword}};
}

// What the binary asks, and what a person types then: what is typed before is not taken.
using Dialogue = std::vector<std::pair<std::string, std::string>>;

RunResult typed(ControlPlane& plane, std::vector<std::string> args, const Dialogue& dialogue) {
  ProcessOptions options;
  options.terminal = Terminal::input;
  args.insert(args.begin(), KUBEDR_BINARY);
  args.push_back("--kubeconfig=" + plane.api().kubeconfig().string());
  Process process(args, options);
  for (const auto& [question, answer] : dialogue) {
    REQUIRE_MESSAGE(process.wait_for(question, std::chrono::seconds(60)), process.err());
    process.type(answer + "\n");
  }
  const std::optional<Exit> exit = process.wait(std::chrono::seconds(60));
  REQUIRE(exit);
  return {*exit, process.out(), process.err(), process.screen()};
}

}  // namespace

TEST_CASE("create: from nothing to a backup without a line of YAML") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const TempDir folder;
  const RunResult location = plane.kubedr(create_location(plane, "made"), "admin", s3_env(plane));
  CHECK_MESSAGE(location.ok(), location.err);
  CHECK(location.out ==
        "secret/made-credentials created\n"
        "backuplocation.kubedr.catalogicsoftware.com/made created\n");
  CHECK(has(location.err, "kubectl kubedr init made"));
  const RunResult policy = plane.kubedr(
      {"policy", "create", "made", "--location", "made", "--schedule", "0 3 * * *", "--certs-dir",
       plane.certs().string(), "--etcd-endpoint", plane.etcd().endpoint(), "--etcd-cacert",
       plane.etcd().ca_file().string(), "--etcd-cert", plane.etcd().client_cert_file().string(),
       "--etcd-key", plane.etcd().client_key_file().string(), "--retain", "7"});
  CHECK_MESSAGE(policy.ok(), policy.err);
  CHECK(content_of(plane.get("secret", "made-etcd")).at("client.key") + "\n" ==
        plane.etcd().client_key_pem());
  CHECK(plane.get("metadatabackuppolicy", "made").at("spec").at("retainNumBackups") == 7);
  CHECK(plane.kubedr({"init", "made"}).ok());
  CHECK(plane.kubedr({"backup", "made"}).ok());
}

TEST_CASE("create: keys come from files, the environment or a prompt, and are never shown") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const TempDir folder;
  const std::vector<std::string> files = {"--access-key-file",
                                          folder.write("access", "from-a-file\n").string(),
                                          "--secret-key-file",
                                          folder.write("secret", "secret-of-a-file\n").string(),
                                          "--new-password-file",
                                          folder.write("password", "password of a file\n").string(),
                                          "--region",
                                          "eu-west-1",
                                          "--bucket-lookup",
                                          "path"};
  const RunResult from_files = plane.kubedr(create_location(plane, "files", files));
  CHECK_MESSAGE(from_files.ok(), from_files.err);
  CHECK(content_of(plane.get("secret", "files-credentials")) ==
        std::map<std::string, std::string>{{"access_key", "from-a-file"},
                                           {"secret_key", "secret-of-a-file"},
                                           {"restic_repo_password", "password of a file"},
                                           {"region", "eu-west-1"},
                                           {"bucket_lookup", "path"}});

  const RunResult prompted = typed(plane, create_location(plane, "prompted"),
                                   {{"access key: ", "an-access-key"},
                                    {"secret key: ", "a-secret-key"},
                                    {"password for new key: ", "top secret"},
                                    {"password again: ", "top secret"}});
  CHECK_MESSAGE(prompted.ok(), prompted.err);
  CHECK(content_of(plane.get("secret", "prompted-credentials")).at("restic_repo_password") ==
        "top secret");
  for (const RunResult* result : {&from_files, &prompted}) {
    CHECK_FALSE(has(result->out + result->err, "secret-of-a-file"));
    CHECK_FALSE(has(result->out + result->err, "top secret"));
  }
  check_failed(plane.kubedr(create_location(plane, "nowhere")), 2, "no terminal");
  check_failed(typed(plane, create_location(plane, "differ"),
                     {{"access key: ", "a"},
                      {"secret key: ", "b"},
                      {"password for new key: ", "one password"},
                      {"password again: ", "another"}}),
               2, "do not match");
  CHECK_FALSE(plane.api().kubectl({"-n", kNamespace, "get", "secret", "differ-credentials"}).ok());
}

TEST_CASE("create: a dry run prints what kubectl apply takes, and makes nothing") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const RunResult printed = plane.kubedr(
      create_location(plane, "dry", {"--dry-run=client", "-o", "yaml"}), "admin", s3_env(plane));
  REQUIRE_MESSAGE(printed.ok(), printed.err);
  CHECK_FALSE(plane.api().kubectl({"-n", kNamespace, "get", "secret", "dry-credentials"}).ok());
  plane.apply(printed.out);
  CHECK(content_of(plane.get("secret", "dry-credentials")).at("restic_repo_password") == kPassword);
  const Json policy =
      parsed(test::kubedr({"policy", "create", "dry", "--location", "dry", "--schedule", "@daily",
                           "--dry-run=client", "-o", "json"}));
  CHECK(policy.at("kind") == "List");
  plane.apply(policy.dump());
  CHECK(plane.get("metadatabackuppolicy", "dry").at("spec").at("destination") == "dry");
}

TEST_CASE("install: a dry run makes nothing, and kubectl applies what it prints") {
  KUBEDR_NEEDS("kube-apiserver");
  const EtcdServer etcd;
  const KubeApi api(etcd);
  const auto install = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"install", "--metrics", "--image", "example.com/image",
                                 "--kubeconfig", api.kubeconfig().string()});
    const RunResult result = test::kubedr(flags);
    REQUIRE_MESSAGE(result.ok(), result.err);
    return result.out;
  };
  const std::string printed = install({"--dry-run=client", "-o", "yaml"});
  CHECK_FALSE(api.kubectl({"get", "namespace", kNamespace}).ok());
  CHECK(api.kubectl({"get", "crds", "-o", "name"}).out.empty());
  const RunResult applied = api.kubectl({"apply", "-f", "-"}, printed);
  REQUIRE_MESSAGE(applied.ok(), applied.err);
  // All of it, but for what tells who wrote it when.
  const auto there = [&] {
    Json list = parsed(api.kubectl({"get", "-f", "-", "-o", "json"}, printed));
    for (Json& object : list.at("items")) {
      object.at("metadata").erase("managedFields");
      object.at("metadata").erase("resourceVersion");
    }
    return list.at("items");
  };
  const Json by_kubectl = there();
  CHECK(by_kubectl.size() > 10);
  const std::string installed = install({});
  CHECK(std::count(installed.begin(), installed.end(), '\n') ==
        static_cast<std::ptrdiff_t>(by_kubectl.size()));
  CHECK(there() == by_kubectl);
  const std::string again = install({});
  CHECK_MESSAGE(!has(again, "configured"), again);
}

TEST_CASE("create: what is there already, or could not work, is refused and nothing is made") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const auto location = [&](const std::string& name, std::vector<std::string> more = {}) {
    return plane.kubedr(create_location(plane, name, std::move(more)), "admin", s3_env(plane));
  };
  REQUIRE(location("there").ok());
  check_failed(location("there"), 1, "there already");
  check_failed(location("keyless", {"--credentials", "no-such-secret"}), 4, "no-such-secret");
  CHECK(location("sharing", {"--credentials", "there-credentials"}).ok());
  // The Secret that a first try left behind is taken, another one is not.
  REQUIRE(plane.kubedr({"location", "delete", "there", "--yes"}).ok());
  const RunResult again = location("there");
  CHECK_MESSAGE(again.ok(), again.err);
  CHECK_FALSE(has(again.out, "secret/"));
  REQUIRE(plane.kubedr({"location", "delete", "there", "--yes"}).ok());
  auto other = s3_env(plane);
  other["RESTIC_PASSWORD"] = "another";
  check_failed(plane.kubedr(create_location(plane, "there"), "admin", other), 1, "another content");

  std::vector<std::string> no_url = create_location(plane, "no-url");
  no_url[4] = "ftp://host";
  CHECK(plane.kubedr(no_url, "admin", s3_env(plane)).exit.code == 2);
  CHECK_FALSE(plane.api().kubectl({"-n", kNamespace, "get", "secret", "no-url-credentials"}).ok());

  const auto policy = [&](const std::string& destination, const std::string& schedule,
                          std::vector<std::string> more = {}) {
    std::vector<std::string> args = {"policy",    "create",     "refused", "--location",
                                     destination, "--schedule", schedule};
    args.insert(args.end(), more.begin(), more.end());
    return plane.kubedr(args);
  };
  check_failed(policy("nowhere", "@daily"), 4, "nowhere");
  check_failed(policy("sharing", "every day"), 2, "every day");
  check_failed(policy("sharing", "@daily", {"--etcd-creds", "no-such-secret"}), 4,
               "no-such-secret");
  check_failed(policy("sharing", "@daily", {"--etcd-cacert", "/dev/null"}), 2, "together");
  CHECK_FALSE(plane.api().kubectl({"-n", kNamespace, "get", "mbp", "refused"}).ok());
}

TEST_CASE("create: kubectl knows the short names, and a policy of two fields is read back whole") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_location("whole");
  const auto apply = [&](const char* kind, const Json& spec) {
    plane.apply(Json{
        {"apiVersion", "kubedr.catalogicsoftware.com/v1alpha1"},
        {"kind", kind},
        {"metadata", {{"name", "whole"}, {"namespace", kNamespace}}},
        {"spec",
         spec}}.dump());
  };
  apply("MetadataBackupPolicy", {{"destination", "whole"}, {"schedule", "@daily"}});
  apply("MetadataBackupRecord",
        {{"snapshotId", "01234567"}, {"policy", "whole"}, {"backuploc", "whole"}});
  apply("MetadataRestore", {{"mbrName", "whole"}, {"pvcName", "rescue"}});
  const auto kubectl = [&](const std::string& verb, const std::string& what,
                           std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"-n", kNamespace, verb, what});
    const RunResult result = plane.api().kubectl(more);
    REQUIRE_MESSAGE(result.ok(), result.err);
    return result.out;
  };
  const std::string all = kubectl("get", "bl,mbp,mbr,mr", {"-o", "name"});
  for (const char* kind :
       {"backuplocation", "metadatabackuppolicy", "metadatabackuprecord", "metadatarestore"}) {
    CHECK_MESSAGE(has(all, fmt::format("{}.kubedr.catalogicsoftware.com/whole\n", kind)), all);
  }
  CHECK(plane.get("mbp", "whole").at("spec") ==
        Json{{"destination", "whole"},
             {"schedule", "@daily"},
             {"etcdEndpoint", "https://127.0.0.1:2379"},
             {"etcdCreds", "etcd-creds"},
             {"options", {{"master-node-label-name", "node-role.kubernetes.io/master"}}},
             {"retainNumBackups", 120},
             {"suspend", false}});
  for (const char* kind : {"mr", "mbr", "mbp", "bl"}) kubectl("delete", kind, {"whole"});
}

TEST_CASE("delete: a Secret of both a policy and a location stays") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("shared", {{"etcdCreds", "shared-creds"}});
  check_failed(plane.kubedr({"policy", "delete", "shared", "--delete-secret", "--yes"}), 2,
               "is also that of backuplocation/shared");
  CHECK(plane.kubedr({"policy", "delete", "shared", "--yes"}).ok());
  CHECK(plane.get("secret", "shared-creds").at("data").contains("restic_repo_password"));
}

TEST_CASE("delete: a location in use stays, and Secrets stay unless asked for") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("old");
  REQUIRE(plane.kubedr({"init", "old"}).ok());
  REQUIRE(plane.kubedr({"backup", "old"}).ok());
  check_failed(plane.kubedr({"location", "delete", "old", "--yes"}), 2, "old");
  check_failed(plane.kubedr({"policy", "delete", "old"}), 2, "no terminal");
  const RunResult no = typed(plane, {"policy", "delete", "old"}, {{"[y/N] ", "n"}});
  CHECK(no.out == "nothing was changed\n");
  CHECK(has(no.err, "1 record that names it"));
  CHECK(plane.kubedr({"policy", "delete", "old", "--yes"}).ok());
  CHECK(plane.get("secret", "old-etcd").at("data").size() == 3);
  const RunResult gone = plane.kubedr({"location", "delete", "old", "--delete-secret", "--yes"});
  CHECK(gone.out == "backuplocation/old deleted\nsecret/old-creds deleted\n");
  CHECK_FALSE(plane.api().kubectl({"-n", kNamespace, "get", "secret", "old-creds"}).ok());
  check_failed(plane.kubedr({"location", "delete", "old", "--yes"}), 4, "old");

  // Held back by an operator that is gone.
  plane.add_location("held");
  const RunResult patched = plane.api().kubectl({"-n", kNamespace, "patch", "backuplocation",
                                                 "held", "--type=merge", "-p",
                                                 R"({"metadata": {"finalizers":
           ["backuplocation.finalizers.kubedr.catalogicsoftware.com"]}})"});
  REQUIRE_MESSAGE(patched.ok(), patched.err);
  REQUIRE(plane.api()
              .kubectl({"-n", kNamespace, "delete", "backuplocation", "held", "--wait=false"})
              .ok());
  CHECK(plane.kubedr({"location", "delete", "held", "--yes"}).ok());
  CHECK_FALSE(plane.api().kubectl({"-n", kNamespace, "get", "backuplocation", "held"}).ok());
}
