#include "crd/definitions.h"

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/text.h"
#include "crd/resources.h"

namespace kubedr::crd {
namespace {

using Properties = std::initializer_list<std::pair<const char*, Json>>;

Json object_schema(Properties properties, std::initializer_list<const char*> required = {}) {
  Json schema = {{"type", "object"}};
  for (const auto& [name, property] : properties) schema["properties"][name] = property;
  for (const char* name : required) schema["required"].push_back(name);
  return schema;
}

Json typed(const char* type) {
  Json schema = Json::object();
  schema["type"] = type;
  return schema;
}

Json text(const char* description) {
  return {{"type", "string"}, {"description", description}};
}

Json filled_text(const char* description) {
  Json schema = text(description);
  schema["minLength"] = 1;
  return schema;
}

Json integer(const char* description) {
  return {{"type", "integer"}, {"format", "int64"}, {"description", description}};
}

Json with_default(Json schema, Json value) {
  schema["default"] = std::move(value);
  return schema;
}

// `wide` columns show with `-o wide` only. Times are strings: asctime is no date to kubectl.
Json column(const char* name, const char* path, const char* type = "string") {
  return {{"name", name}, {"type", type}, {"jsonPath", path}};
}

Json wide(Json column) {
  column["priority"] = 1;
  return column;
}

struct Shape {
  Kind kind;
  const char* short_name;
  const char* description;
  Json spec;
  Json status;  // null: the kind has none
  std::vector<Json> columns;
};

Json schema_of(const Shape& shape) {
  Json schema = object_schema({{"apiVersion", typed("string")},
                               {"kind", typed("string")},
                               {"metadata", typed("object")},
                               {"spec", shape.spec}});
  schema["description"] = shape.description;
  if (!shape.status.is_null()) schema["properties"]["status"] = shape.status;
  return schema;
}

Json definition(const Shape& shape) {
  Json columns = Json::array();
  for (const Json& one : shape.columns) columns.push_back(one);
  // Naming any column drops kubectl's own Age.
  columns.push_back(column("Age", ".metadata.creationTimestamp", "date"));

  Json version = {{"name", "v1alpha1"},
                  {"served", true},
                  {"storage", true},
                  {"schema", {{"openAPIV3Schema", schema_of(shape)}}},
                  {"additionalPrinterColumns", columns}};
  if (!shape.status.is_null()) version["subresources"]["status"] = Json::object();

  const std::string kind = kind_name(shape.kind);
  const std::string plural = plural_name(shape.kind);
  return {{"apiVersion", "apiextensions.k8s.io/v1"},
          {"kind", "CustomResourceDefinition"},
          {"metadata", {{"name", plural + "." + kGroup}}},
          {"spec",
           {{"group", kGroup},
            {"scope", "Namespaced"},
            {"names",
             {{"kind", kind},
              {"listKind", kind + "List"},
              {"plural", plural},
              {"singular", to_lower(kind)},
              {"shortNames", Json::array({shape.short_name})}}},
            // Carried over from v1beta1 it may be true, which apiextensions v1 refuses to prune by.
            {"preserveUnknownFields", false},
            {"versions", Json::array({version})}}}};
}

Json location_definition() {
  return definition(
      {.kind = Kind::location,
       .short_name = "bl",
       .description = "A bucket that holds the repository of the backups.",
       .spec = object_schema({{"url", filled_text("S3 end point")},
                              {"bucketName", filled_text("Name of the bucket")},
                              {"credentials", filled_text("Secret with access_key, secret_key and "
                                                          "restic_repo_password")}},
                             {"url", "bucketName", "credentials"}),
       .status = object_schema({{"observedGeneration", integer("Generation that was initialized")},
                                {"initStatus", text("Initializing, Completed or Failed")},
                                {"initErrorMessage", text("Empty on success")},
                                {"initTime", text("UTC")},
                                {"pruneErrorMessage", text("Since a prune failed")}}),
       .columns = {column("Status", ".status.initStatus"), column("URL", ".spec.url"),
                   column("Bucket", ".spec.bucketName"), column("Initialized", ".status.initTime"),
                   wide(column("Credentials", ".spec.credentials")),
                   wide(column("Error", ".status.initErrorMessage"))}});
}

Json policy_spec() {
  const Policy defaults;
  const Json options = {
      {"type", "object"},
      {"description", "master-node-label-name: label of the nodes that run backups"},
      {"additionalProperties", {{"type", "string"}}}};
  const Json master = {{"master-node-label-name", "node-role.kubernetes.io/master"}};
  const Json suspend = {{"type", "boolean"}, {"description", "No scheduled backups while true"}};
  return object_schema(
      {{"destination", text("Name of the BackupLocation")},
       {"schedule", text("Cron line, UTC")},
       {"certsDir", text("Folder of certificates on the node; empty: none")},
       {"etcdEndpoint", with_default(text("URL of etcd"), defaults.etcd_endpoint)},
       {"etcdCreds",
        with_default(text("Secret with ca.crt, client.crt and client.key"), defaults.etcd_creds)},
       {"options", with_default(options, master)},
       {"retainNumBackups", with_default(integer("Backups to keep"), defaults.retain_num_backups)},
       {"suspend", with_default(suspend, defaults.suspend)}},
      {"destination", "schedule"});
}

Json policy_definition() {
  return definition(
      {.kind = Kind::policy,
       .short_name = "mbp",
       .description = "When to back etcd and the certificates up, and where to.",
       .spec = policy_spec(),
       .status =
           object_schema({{"backupTime", text("UTC")},
                          {"backupStatus", text("Initializing, Completed or Failed")},
                          {"backupErrorMessage", text("Empty on success")},
                          {"filesNew", integer("Files that the snapshot before did not have")},
                          {"filesChanged", integer("Files that differ from the snapshot before")},
                          {"dataAdded", integer("Bytes added to the repository")},
                          {"totalBytesProcessed", integer("Bytes backed up")},
                          {"totalDurationSecs", text("Seconds, with a fraction")},
                          {"snapshotId", text("Short id of the last good backup")},
                          {"backupPod", text("Who did the last good backup")},
                          {"mbrName", text("Record of the last backup; empty after a failure")}}),
       .columns = {
           column("Status", ".status.backupStatus"), column("Last Backup", ".status.backupTime"),
           column("Snapshot", ".status.snapshotId"), column("Schedule", ".spec.schedule"),
           column("Suspend", ".spec.suspend", "boolean"), column("Location", ".spec.destination"),
           wide(column("Retain", ".spec.retainNumBackups", "integer")),
           wide(column("Added Bytes", ".status.dataAdded", "integer")),
           wide(column("Seconds", ".status.totalDurationSecs")),
           wide(column("Etcd", ".spec.etcdEndpoint")),
           wide(column("Error", ".status.backupErrorMessage"))}});
}

Json record_definition() {
  return definition(
      {.kind = Kind::record,
       .short_name = "mbr",
       .description = "One backup that can be restored.",
       .spec = object_schema({{"snapshotId", text("Short id of the snapshot")},
                              {"policy", text("Name of the MetadataBackupPolicy")},
                              {"backuploc", text("Name of the BackupLocation")}},
                             {"snapshotId", "policy", "backuploc"}),
       .status = nullptr,
       .columns = {column("Snapshot", ".spec.snapshotId"), column("Policy", ".spec.policy"),
                   column("Location", ".spec.backuploc")}});
}

Json restore_definition() {
  return definition(
      {.kind = Kind::restore,
       .short_name = "mr",
       .description = "Restores the snapshot of a record into a volume.",
       .spec = object_schema({{"mbrName", text("Name of the MetadataBackupRecord")},
                              {"pvcName", text("Name of the PersistentVolumeClaim")}},
                             {"mbrName", "pvcName"}),
       .status = object_schema({{"observedGeneration", integer("Generation that was restored")},
                                {"restoreStatus", text("Completed or Failed")},
                                {"restoreErrorMessage", text("Empty on success")},
                                {"restoreTime", text("RFC 3339, UTC")}},
                               {"restoreStatus", "restoreTime"}),
       .columns = {column("Status", ".status.restoreStatus"), column("Record", ".spec.mbrName"),
                   column("PVC", ".spec.pvcName"), column("Restored", ".status.restoreTime"),
                   wide(column("Error", ".status.restoreErrorMessage"))}});
}

}  // namespace

std::vector<Json> definitions() {
  return {location_definition(), policy_definition(), record_definition(), restore_definition()};
}

// The label is the one that every server sets by itself. Without any field of its own, an apply
// leaves no trace of its manager, and the next one would count as a change.
Json namespace_object(const std::string& name) {
  return {{"apiVersion", "v1"},
          {"kind", "Namespace"},
          {"metadata", {{"name", name}, {"labels", {{"kubernetes.io/metadata.name", name}}}}}};
}

}  // namespace kubedr::crd
