#include "cluster/manifest_cluster.h"

#include <doctest/doctest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/hex.h"
#include "support/temp_dir.h"

namespace kubedr::cluster {
namespace {

namespace fs = std::filesystem;

using test::TempDir;

const SystemClock system_clock;
const Call call(system_clock);

std::string location(const std::string& metadata) {
  return "apiVersion: kubedr.catalogicsoftware.com/v1alpha1\n"
         "kind: BackupLocation\n"
         "metadata: {" +
         metadata +
         "}\n"
         "spec: {url: http://h:9000, bucketName: b, credentials: creds}\n";
}

std::string policy(const std::string& name, const std::string& spec) {
  return "apiVersion: kubedr.catalogicsoftware.com/v1alpha1\n"
         "kind: MetadataBackupPolicy\n"
         "metadata: {name: " +
         name + "}\nspec: {" + spec + "}\n";
}

std::string secret(const std::string& fields) {
  return "apiVersion: v1\nkind: Secret\nmetadata: {name: creds}\n" + fields;
}

Error failure(const std::function<void()>& function) {
  try {
    function();
  } catch (const Error& error) {
    return error;
  }
  FAIL("no failure");
  return Error(ErrorKind::internal, "");
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

ManifestCluster read(const TempDir& folder) {
  return {{folder.path()}, "ns", system_clock};
}

}  // namespace

TEST_CASE("a folder's manifests are read, JSON too, and other files left alone") {
  const TempDir folder;
  folder.write("b.yml", location("name: l2"));
  folder.write("a.yaml", location("name: l1, namespace: ns") + "---\n" +
                             policy("p", "destination: l1, schedule: '@daily'"));
  folder.write("c.json", R"({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}})");
  folder.write("README.md", "# not: [yaml");
  ManifestCluster cluster = read(folder);
  REQUIRE(cluster.locations(call).items.size() == 2);
  CHECK(cluster.locations(call).items[0].ref.name == "l1");
  CHECK(cluster.locations(call).items[1].ref.name_space == "ns");
  CHECK(cluster.policy("p", call).retain_num_backups == 120);
  CHECK(cluster.secret("s", "ns", call).empty());
  CHECK(cluster.has_resources());
  CHECK_FALSE(cluster.has_api_server());
  CHECK_FALSE(cluster.identity(call).has_value());
}

TEST_CASE("a List is taken apart; kinds and groups of others are left out") {
  const TempDir folder;
  const fs::path file = folder.write(
      "list.yaml",
      "apiVersion: v1\nkind: List\nitems:\n"
      "- {apiVersion: kubedr.catalogicsoftware.com/v1alpha1, kind: MetadataBackupRecord,\n"
      "   metadata: {name: mbr-1}, spec: {snapshotId: '1', policy: p, backuploc: l}}\n"
      "- {apiVersion: apps/v1, kind: Deployment, metadata: {name: x}}\n"
      "- {apiVersion: other.io/v1, kind: BackupLocation, metadata: {name: x}}\n");
  ManifestCluster cluster({file}, "ns", system_clock);
  CHECK(cluster.records(call).items.size() == 1);
  CHECK(cluster.locations(call).items.empty());
}

TEST_CASE("objects of another namespace are left out, and the error says where one is") {
  const TempDir folder;
  folder.write("a.yaml", location("name: l, namespace: elsewhere"));
  ManifestCluster cluster = read(folder);
  CHECK(cluster.locations(call).items.empty());
  const Error error = failure([&] { cluster.location("l", call); });
  CHECK(error.kind() == ErrorKind::not_found);
  CHECK(error.hint() == "it is in namespace \"elsewhere\"; add -n elsewhere");
}

TEST_CASE("a name that is not there comes with those that are, and a guess") {
  const TempDir folder;
  folder.write("a.yaml", location("name: local-minio") + "---\n" + location("name: offsite"));
  ManifestCluster cluster = read(folder);
  const Error error = failure([&] { cluster.location("local-mino", call); });
  CHECK(error.kind() == ErrorKind::not_found);
  CHECK(std::string(error.what()) ==
        "backuplocation \"local-mino\" not found in namespace \"ns\"; there are: local-minio, "
        "offsite");
  CHECK(error.hint() == "did you mean \"local-minio\"?");
  CHECK(has(failure([&] { cluster.policy("p", call); }).what(), "there is none"));
}

TEST_CASE("the same object twice is an error that names both files") {
  const TempDir folder;
  folder.write("a.yaml", location("name: l"));
  folder.write("b.yaml", location("name: l, namespace: ns"));
  const Error error = failure([&] { read(folder); });
  CHECK(error.kind() == ErrorKind::usage);
  CHECK(has(error.what(), "b.yaml: backuplocation/l is there already, in "));
  CHECK(has(error.what(), "a.yaml"));
}

TEST_CASE("the same name in two namespaces is no duplicate") {
  const TempDir folder;
  folder.write("a.yaml", location("name: l") + "---\n" + location("name: l, namespace: other"));
  CHECK(read(folder).locations(call).items.size() == 1);
}

TEST_CASE("files that are no manifests are refused with their place") {
  struct Case {
    const char* text;
    const char* part;
  };

  const Case cases[] = {
      {"a: [\n", "x.yaml: line "},
      {"7\n", "x.yaml: object 1: is no Kubernetes object"},
      {"a: 1\n", "x.yaml: object 1: kind: required"},
      {"kind: BackupLocation\napiVersion: kubedr.catalogicsoftware.com/v2\n",
       "kubedr.catalogicsoftware.com/v2 is not known"},
      {"kind: Secret\napiVersion: v1\n", "secret: metadata.name: required"},
  };
  for (const Case& one : cases) {
    const TempDir folder;
    folder.write("x.yaml", one.text);
    const Error error = failure([&] { read(folder); });
    INFO(error.what());
    CHECK(error.kind() == ErrorKind::usage);
    CHECK(has(error.what(), one.part));
  }
}

TEST_CASE("a file that is not there and a folder without manifests are not found") {
  const TempDir folder;
  CHECK(failure([&] { read(folder); }).kind() == ErrorKind::not_found);
  CHECK(failure([&] { ManifestCluster({folder / "no.yaml"}, "ns", system_clock); }).kind() ==
        ErrorKind::not_found);
}

TEST_CASE("lists name malformed objects; asking for one throws") {
  const TempDir folder;
  folder.write("a.yaml", policy("good", "destination: l, schedule: x") + "---\n" +
                             policy("bad", "schedule: x"));
  ManifestCluster cluster = read(folder);
  const Listed<crd::Policy> listed = cluster.policies(call);
  CHECK(listed.items.size() == 1);
  REQUIRE(listed.malformed.size() == 1);
  CHECK(listed.malformed[0].text == "metadatabackuppolicy/bad: spec.destination: required");
  CHECK(failure([&] { cluster.policy("bad", call); }).kind() == ErrorKind::usage);
}

TEST_CASE("a Secret's data is decoded, and stringData wins over it") {
  const TempDir folder;
  folder.write("a.yaml", secret("data: {a: YWJj, b: 'YWJjCg==', c: ''}\nstringData: {a: plain}\n"));
  const SecretData data = read(folder).secret("creds", "ns", call);
  CHECK(data.at("a").reveal() == "plain");
  CHECK(data.at("b").reveal() == "abc\n");
  CHECK(data.at("c").empty());
}

TEST_CASE("a damaged Secret is refused without showing anything of it") {
  for (const char* fields :
       {"data: {k: 'hush-hush!'}\n", "stringData: {k: 424242}\n", "data: hush\n"}) {
    const TempDir folder;
    folder.write("a.yaml", secret(fields));
    ManifestCluster cluster = read(folder);
    const Error error = failure([&] { cluster.secret("creds", "ns", call); });
    INFO(error.what());
    CHECK(error.kind() == ErrorKind::usage);
    CHECK(has(error.what(), "secret/creds: "));
    CHECK_FALSE(has(error.what(), "hush-"));
    CHECK_FALSE(has(error.what(), "4242"));
  }
}

TEST_CASE("what would be written is collected and shows in later reads") {
  const TempDir folder;
  folder.write("a.yaml", location("name: l"));
  ManifestCluster cluster = read(folder);
  const crd::ObjectRef ref = cluster.location("l", call).ref;
  const WallTime now = system_clock.now();
  cluster.patch_status(ref, crd::initializing_status(1, now), call);
  cluster.patch_status(ref, crd::init_completed_status(1, now), call);
  cluster.annotate(ref, crd::kInitializedAnnotation, "true", call);
  cluster.create_record("p", "l", "83a71b2c", call);
  cluster.create_record("p", "l", "83a71b2c", call);
  cluster.post_event(ref, crd::init_succeeded("s3:http://h:9000/b"), "host", call);

  const crd::Location after = cluster.location("l", call);
  CHECK(after.status.init_status == "Completed");
  CHECK(after.initialized_annotation);
  REQUIRE(cluster.records(call).items.size() == 1);
  CHECK(cluster.records(call).items[0].created.has_value());

  const std::vector<Json> written = cluster.collected();
  REQUIRE(written.size() == 3);
  CHECK(written[0]["kind"] == "BackupLocation");
  CHECK(written[0]["status"]["initStatus"] == "Completed");
  CHECK(written[0]["metadata"]["annotations"][crd::kInitializedAnnotation] == "true");
  CHECK_FALSE(written[0].contains("spec"));
  CHECK(written[1]["metadata"] == Json({{"name", "mbr-83a71b2c"}, {"namespace", "ns"}}));
  CHECK(written[2]["reason"] == "InitSucceeded");
}

TEST_CASE("a record that is there with another content is a conflict") {
  const TempDir folder;
  folder.write("a.yaml", location("name: l"));
  ManifestCluster cluster = read(folder);
  cluster.create_record("p", "l", "83a71b2c", call);
  CHECK(failure([&] { cluster.create_record("q", "l", "83a71b2c", call); }).kind() ==
        ErrorKind::conflict);
}

TEST_CASE("a status of an object that is not there is an error") {
  const TempDir folder;
  folder.write("a.yaml", location("name: l"));
  ManifestCluster cluster = read(folder);
  const crd::ObjectRef ref{crd::Kind::policy, "p", "ns", "", ""};
  CHECK(failure([&] { cluster.patch_status(ref, Json::object(), call); }).kind() ==
        ErrorKind::not_found);
  CHECK(cluster.collected().empty());
}

TEST_CASE("objects that would be made, changed and deleted show in later reads") {
  const TempDir folder;
  ManifestCluster cluster({folder.write("a.yaml", location("name: l"))}, "ns", system_clock);
  const ObjectName name{"CronJob", "c"};
  CHECK_FALSE(cluster.find_object(name, call));
  const Json object = {
      {"apiVersion", "batch/v1"}, {"kind", "CronJob"}, {"metadata", {{"name", "c"}}}};
  cluster.create_object(object, call);
  CHECK(cluster.find_object(name, call));
  CHECK(failure([&] { cluster.create_object(object, call); }).kind() == ErrorKind::exists);
  cluster.patch_object(name, {{"spec", {{"suspend", true}}}}, call);
  CHECK(cluster.find_object(name, call)->at("spec").at("suspend") == true);
  CHECK(cluster.collected().size() == 2);
  CHECK(cluster.list_objects("BackupLocation", "", Reach::here, call).size() == 1);
  CHECK(cluster.list_objects("BackupLocation", "a=b", Reach::here, call).empty());
  CHECK(cluster.delete_object(name, call));
  CHECK_FALSE(cluster.delete_object(name, call));
  CHECK(cluster.collected().empty());
}

TEST_CASE("a deletion leaves what has the same name in another namespace") {
  const TempDir folder;
  folder.write("a.yaml", location("name: l") + "---\n" + location("name: l, namespace: other"));
  ManifestCluster cluster = read(folder);
  const ObjectName name{"BackupLocation", "l"};
  CHECK(cluster.delete_object(name, call));
  CHECK_FALSE(cluster.delete_object(name, call));
  const std::vector<Json> left = cluster.list_objects(name.kind, "", Reach::everywhere, call);
  REQUIRE(left.size() == 1);
  CHECK(left[0].at("metadata").at("namespace") == "other");
}

}  // namespace kubedr::cluster
