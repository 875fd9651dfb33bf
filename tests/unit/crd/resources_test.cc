#include "crd/resources.h"

#include <doctest/doctest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/time.h"
#include "base/yaml.h"
#include "crd/definitions.h"

namespace kubedr::crd {
namespace {

Json object(const std::string& spec) {
  return parse_yaml("metadata: {name: x, namespace: n}\nspec: " + spec + "\n", "test").at(0);
}

Json captured(const std::string& name) {
  const Bytes bytes =
      read_file(std::string(KUBEDR_TEST_DATA) + "/operator-mode/" + name, limits::kYamlBytes);
  return parse_yaml(as_text(bytes), name).at(0);
}

template <class Parse>
std::string complaint(const Parse& parse, const Json& value) {
  try {
    parse(value);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    return error.what();
  }
  return "none";
}

}  // namespace

TEST_CASE("a captured location is read with its reference, annotation and status") {
  const Location location = parse_location(captured("2-init-failed.yaml"));
  CHECK(location.ref.display() == "backuplocation/local-minio");
  CHECK(location.ref.name_space == "kubedr-system");
  CHECK(location.ref.uid == "af1f23b0-ff6f-4cac-b356-0ff23eedba15");
  CHECK(location.ref.resource_version == "224");
  CHECK(location.generation == 1);
  CHECK(location.url == "http://127.0.0.1:29000");
  CHECK(location.bucket_name == "testbucket62");
  CHECK(location.credentials == "minio-creds");
  CHECK(location.initialized_annotation);
  CHECK(location.status.init_status == "Failed");
  CHECK(location.status.init_error_message.ends_with("already initialized\n\n"));
  CHECK(location.status.observed_generation == 1);
}

TEST_CASE("a captured policy is read with its figures") {
  const Policy policy = parse_policy(captured("5-failed-backup.yaml"));
  CHECK(policy.destination == "local-minio");
  CHECK(policy.schedule == "*/10 * * * *");
  CHECK(policy.certs_dir == "/etc/kubernetes/pki");
  CHECK(policy.etcd_endpoint == "http://127.0.0.1:22379");
  CHECK(policy.etcd_creds == "etcd-creds");
  CHECK(policy.retain_num_backups == 3);
  CHECK(policy.options.at("master-node-label-name") == "node-role.kubernetes.io/master");
  CHECK(policy.created == parse_time("2026-11-22T21:54:31Z"));
  CHECK(policy.status.backup_status == "Failed");
  CHECK(policy.status.snapshot_id == "ae3dcb01");
  CHECK(policy.status.data_added == 355466);
  CHECK(policy.status.total_duration_secs == "0.231577967");
}

TEST_CASE("a policy without the optional fields has the webhook's defaults") {
  const Policy policy =
      parse_policy(object("{destination: l, schedule: '@hourly', etcdEndpoint: ''}"));
  CHECK(policy.etcd_endpoint == "https://127.0.0.1:2379");
  CHECK(policy.etcd_creds == "etcd-creds");
  CHECK(policy.retain_num_backups == 120);
  CHECK_FALSE(policy.suspend);
  CHECK(policy.certs_dir.empty());
}

TEST_CASE("a policy's etcd speaks TLS unless each of its endpoints says that it does not") {
  Policy policy;
  CHECK(uses_tls(policy));
  for (const char* list : {"10.0.0.5:2379", "https://a:2379,http://b:2379", "http://a:1, b:2"}) {
    policy.etcd_endpoint = list;
    CHECK_MESSAGE(uses_tls(policy), policy.etcd_endpoint);
  }
  for (const char* list : {"http://a:2379", "http://a:2379, http://b:2379,"}) {
    policy.etcd_endpoint = list;
    CHECK_MESSAGE(!uses_tls(policy), policy.etcd_endpoint);
  }
}

TEST_CASE("retainNumBackups 0 means the default") {
  CHECK(parse_policy(object("{destination: l, schedule: x, retainNumBackups: 0}"))
            .retain_num_backups == 120);
}

TEST_CASE("complaints about a spec name the object and the field") {
  CHECK(complaint(parse_location, object("{bucketName: b, credentials: c}")) ==
        "backuplocation/x: spec.url: required");
  CHECK(complaint(parse_location, object("{url: u, bucketName: '', credentials: c}")) ==
        "backuplocation/x: spec.bucketName: required");
  CHECK(complaint(parse_location, object("{url: u, bucketName: 7, credentials: c}")) ==
        "backuplocation/x: spec.bucketName: must be a string (in quotes)");
  CHECK(complaint(parse_policy, object("{schedule: x}")) ==
        "metadatabackuppolicy/x: spec.destination: required");
  CHECK(complaint(parse_policy, object("{destination: l, schedule: x, retainNumBackups: '3'}")) ==
        "metadatabackuppolicy/x: spec.retainNumBackups: must be an integer");
  CHECK(complaint(parse_policy, object("{destination: l, schedule: x, retainNumBackups: -1}")) ==
        "metadatabackuppolicy/x: spec.retainNumBackups: must not be negative");
  CHECK(complaint(parse_policy, object("{destination: l, schedule: x, suspend: 'no'}")) ==
        "metadatabackuppolicy/x: spec.suspend: must be true or false");
  CHECK(complaint(parse_policy, object("{destination: l, schedule: x, options: {a: 1}}")) ==
        "metadatabackuppolicy/x: spec.options: must be a map of strings");
  CHECK(complaint(parse_record, object("{snapshotId: 12345678, policy: p, backuploc: l}")) ==
        "metadatabackuprecord/x: spec.snapshotId: must be a string (in quotes)");
  CHECK(complaint(parse_record, Json::parse("{}")) ==
        "metadatabackuprecord: metadata.name: required");
  CHECK(complaint(parse_record, Json(7)) == "metadatabackuprecord: metadata.name: required");
}

TEST_CASE("a status of unexpected types counts as not said") {
  Json policy = object("{destination: l, schedule: x}");
  policy["status"] = {{"dataAdded", "many"}, {"backupStatus", 3}, {"filesNew", 2}};
  const PolicyStatus status = parse_policy(policy).status;
  CHECK(status.data_added == 0);
  CHECK(status.backup_status.empty());
  CHECK(status.files_new == 2);
}

TEST_CASE("a record is made as operator mode makes it, and read back") {
  const Json expected = Json::parse(R"({
    "apiVersion": "kubedr.catalogicsoftware.com/v1alpha1", "kind": "MetadataBackupRecord",
    "metadata": {"name": "mbr-83a71b2c", "namespace": "kubedr-system"},
    "spec": {"backuploc": "local-minio", "policy": "test-backup", "snapshotId": "83a71b2c"}})");
  const Json made = make_record("kubedr-system", "test-backup", "local-minio", "83a71b2c");
  CHECK(made == expected);
  const Record record = parse_record(made);
  CHECK(record.snapshot_id == "83a71b2c");
  CHECK(record.policy == "test-backup");
  CHECK(record.location == "local-minio");
}

TEST_CASE("each definition is structural: every schema below the root has a type") {
  const std::function<void(const Json&)> check = [&](const Json& schema) {
    CHECK(schema.at("type").is_string());
    const Json properties = schema.value("properties", Json::object());
    for (const auto& [name, property] : properties.items()) {
      INFO(name);
      check(property);
    }
  };
  for (const Json& definition : definitions()) {
    INFO(definition["metadata"]["name"].get<std::string>());
    CHECK(definition["spec"]["preserveUnknownFields"] == false);
    CHECK(definition["spec"]["versions"].size() == 1);
    check(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
  }
}

TEST_CASE("definitions have the original's names, required fields and subresources") {
  const std::vector<Json> all = definitions();
  REQUIRE(all.size() == 4);
  const auto version = [&](std::size_t i) { return all[i]["spec"]["versions"][0]; };
  const auto part = [&](std::size_t i, const char* name) {
    return version(i)["schema"]["openAPIV3Schema"]["properties"][name];
  };
  CHECK(all[1]["metadata"]["name"] == "metadatabackuppolicies.kubedr.catalogicsoftware.com");
  CHECK(part(0, "spec")["required"] == Json({"url", "bucketName", "credentials"}));
  CHECK(part(1, "spec")["required"] == Json({"destination", "schedule"}));
  CHECK(part(2, "spec")["required"] == Json({"snapshotId", "policy", "backuploc"}));
  CHECK(part(3, "spec")["required"] == Json({"mbrName", "pvcName"}));
  CHECK(part(3, "status")["required"] == Json({"restoreStatus", "restoreTime"}));
  CHECK(part(1, "status")["properties"]["totalDurationSecs"]["type"] == "string");
  CHECK(part(1, "spec")["properties"]["retainNumBackups"]["default"] == 120);
  CHECK(version(0)["subresources"] == Json::parse(R"({"status": {}})"));
  CHECK_FALSE(version(2).contains("subresources"));
  for (std::size_t i = 0; i < all.size(); ++i) {
    CHECK(version(i)["additionalPrinterColumns"].back()["name"] == "Age");
  }
}

TEST_CASE("every captured status field has a place in the schema, or it would be pruned") {
  const std::vector<Json> all = definitions();
  const auto check = [&](std::size_t i, const char* file) {
    const Json& schema = all[i]["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    const Json object = captured(file);
    for (const char* part : {"spec", "status"}) {
      const Json& properties = schema["properties"][part]["properties"];
      for (const auto& [name, value] : object[part].items()) {
        INFO(name);
        REQUIRE(properties.contains(name));
        const std::string type = properties[name]["type"];
        CHECK((value.is_string()           ? "string"
               : value.is_number_integer() ? "integer"
               : value.is_object()         ? "object"
                                           : "boolean") == type);
      }
    }
  };
  check(0, "1-init-succeeded.yaml");
  check(1, "4-second-backup.yaml");
  check(3, "6-restore.yaml");
}

}  // namespace kubedr::crd
