#include "crd/resources.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "base/time.h"

namespace kubedr::crd {
namespace {

// Nullopt for what is no number.
std::optional<std::int64_t> parse_integer(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Reads one object's fields; every complaint names the object and the field.
class Fields {
 public:
  Fields(const Json& object, Kind kind) : object_(object) {
    ref_.kind = kind;
    ref_.name = find_string(object, {"metadata", "name"}).value_or("");
    if (ref_.name.empty()) {
      throw Error(ErrorKind::usage, to_lower(kind_name(kind)) + ": metadata.name: required");
    }
    ref_.name_space = find_string(object, {"metadata", "namespace"}).value_or("");
    ref_.uid = find_string(object, {"metadata", "uid"}).value_or("");
    ref_.resource_version = find_string(object, {"metadata", "resourceVersion"}).value_or("");
    ref_.being_deleted = find(object, {"metadata", "deletionTimestamp"}) != nullptr;
  }

  const ObjectRef& ref() const { return ref_; }

  [[noreturn]] void fail(const char* field, const char* why) const {
    throw Error(ErrorKind::usage, fmt::format("{}: spec.{}: {}", ref_.display(), field, why),
                "correct it with `kubectl edit`, or in the file it comes from");
  }

  const Json* spec(const char* field) const {
    const Json* value = find(object_, {"spec", field});
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  std::string text(const char* field) const {
    const Json* value = spec(field);
    if (value == nullptr) return {};
    if (!value->is_string()) fail(field, "must be a string (in quotes)");
    return value->get<std::string>();
  }

  std::string text_or(const char* field, const char* otherwise) const {
    const std::string value = text(field);
    return value.empty() ? otherwise : value;
  }

  std::string required(const char* field) const {
    std::string value = text(field);
    if (value.empty()) fail(field, "required");
    return value;
  }

  std::optional<std::int64_t> integer(const char* field) const {
    const Json* value = spec(field);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_integer()) fail(field, "must be an integer");
    return value->get<std::int64_t>();
  }

  bool flag(const char* field) const {
    const Json* value = spec(field);
    if (value == nullptr) return false;
    if (!value->is_boolean()) fail(field, "must be true or false");
    return value->get<bool>();
  }

  std::string annotation(const char* key) const {
    return find_string(object_, {"metadata", "annotations", key}).value_or("");
  }

  std::map<std::string, std::string> texts(const char* field) const {
    const Json* value = spec(field);
    if (value == nullptr) return {};
    if (!value->is_object()) fail(field, "must be a map of strings");
    std::map<std::string, std::string> texts;
    for (const auto& [key, text] : value->items()) {
      if (!text.is_string()) fail(field, "must be a map of strings");
      texts[key] = text.get<std::string>();
    }
    return texts;
  }

  std::string status(const char* field) const {
    return find_string(object_, {"status", field}).value_or("");
  }

  std::int64_t generation() const {
    return find_integer(object_, {"metadata", "generation"}).value_or(0);
  }

  std::optional<WallTime> created() const {
    const auto text = find_string(object_, {"metadata", "creationTimestamp"});
    return text ? parse_time(*text) : std::nullopt;
  }

 private:
  const Json& object_;
  ObjectRef ref_;
};

constexpr char kSound[] = "sound";
constexpr char kDamaged[] = "damaged";

std::optional<LastCheck> parse_last_check(const std::string& text) {
  const std::size_t blank = text.find(' ');
  if (blank == std::string::npos) return std::nullopt;
  const std::optional<WallTime> time = parse_time(text.substr(0, blank));
  const std::string word = text.substr(blank + 1);
  if (!time || (word != kSound && word != kDamaged)) return std::nullopt;
  return LastCheck{*time, word == kDamaged};
}

}  // namespace

const char* kind_name(Kind kind) {
  switch (kind) {
  case Kind::location:
    return "BackupLocation";
  case Kind::policy:
    return "MetadataBackupPolicy";
  case Kind::record:
    return "MetadataBackupRecord";
  case Kind::restore:
    return "MetadataRestore";
  }
  return "";
}

const char* plural_name(Kind kind) {
  switch (kind) {
  case Kind::location:
    return "backuplocations";
  case Kind::policy:
    return "metadatabackuppolicies";
  case Kind::record:
    return "metadatabackuprecords";
  case Kind::restore:
    return "metadatarestores";
  }
  return "";
}

std::string ObjectRef::display() const {
  return to_lower(kind_name(kind)) + "/" + name;
}

Malformed make_malformed(Kind kind, const Json& object, const std::string& text) {
  return {find_string(object, {"metadata", "namespace"}).value_or(""),
          to_lower(kind_name(kind)) + "/" + find_string(object, {"metadata", "name"}).value_or(""),
          text};
}

Location parse_location(const Json& object) {
  const Fields fields(object, Kind::location);
  Location location;
  location.ref = fields.ref();
  location.generation = fields.generation();
  location.url = fields.required("url");
  location.bucket_name = fields.required("bucketName");
  location.credentials = fields.required("credentials");
  location.initialized_annotation = fields.annotation(kInitializedAnnotation) == "true";
  location.last_check = parse_last_check(fields.annotation(kLastCheckAnnotation));
  location.status.init_status = fields.status("initStatus");
  location.status.init_error_message = fields.status("initErrorMessage");
  location.status.init_time = fields.status("initTime");
  location.status.observed_generation = find_integer(object, {"status", "observedGeneration"});
  location.prune_failure = fields.status("pruneErrorMessage");
  return location;
}

Policy parse_policy(const Json& object) {
  const Fields fields(object, Kind::policy);
  Policy policy;
  policy.ref = fields.ref();
  policy.generation = fields.generation();
  policy.destination = fields.required("destination");
  policy.schedule = fields.required("schedule");
  policy.certs_dir = fields.text("certsDir");
  policy.etcd_endpoint = fields.text_or("etcdEndpoint", policy.etcd_endpoint.c_str());
  policy.etcd_creds = fields.text_or("etcdCreds", policy.etcd_creds.c_str());
  policy.options = fields.texts("options");
  const std::int64_t retain = fields.integer("retainNumBackups").value_or(0);
  if (retain < 0) fields.fail("retainNumBackups", "must not be negative");
  if (retain > 0) policy.retain_num_backups = retain;  // 0 is the webhook's word for "default"
  policy.suspend = fields.flag("suspend");
  policy.created = fields.created();
  policy.retention_failure = fields.annotation(kRetentionFailedAnnotation);
  policy.snapshots = parse_integer(fields.annotation(kSnapshotsAnnotation));
  policy.totals = parse_totals(fields.annotation(kTotalsAnnotation));
  if (const Json* status = find(object, {"status"})) policy.status = parse_policy_status(*status);
  return policy;
}

bool uses_tls(const Policy& policy) {
  const std::vector<std::string> endpoints = split(policy.etcd_endpoint, ',');
  return std::any_of(endpoints.begin(), endpoints.end(), [](const std::string& endpoint) {
    const std::string_view url = trim(endpoint);
    return !url.empty() && !url.starts_with("http://");
  });
}

PolicyStatus parse_policy_status(const Json& status_object) {
  const auto text = [&](const char* field) {
    return find_string(status_object, {field}).value_or("");
  };
  const auto integer = [&](const char* field) {
    return find_integer(status_object, {field}).value_or(0);
  };
  PolicyStatus status;
  status.backup_status = text("backupStatus");
  status.backup_error_message = text("backupErrorMessage");
  status.backup_time = text("backupTime");
  status.backup_pod = text("backupPod");
  status.snapshot_id = text("snapshotId");
  status.files_new = integer("filesNew");
  status.files_changed = integer("filesChanged");
  status.data_added = integer("dataAdded");
  status.total_bytes_processed = integer("totalBytesProcessed");
  status.total_duration_secs = text("totalDurationSecs");
  return status;
}

Record parse_record(const Json& object) {
  const Fields fields(object, Kind::record);
  Record record;
  record.ref = fields.ref();
  record.snapshot_id = fields.required("snapshotId");
  record.policy = fields.required("policy");
  record.location = fields.required("backuploc");
  record.created = fields.created();
  return record;
}

Restore parse_restore(const Json& object) {
  const Fields fields(object, Kind::restore);
  Restore restore;
  restore.ref = fields.ref();
  restore.generation = fields.generation();
  restore.record = fields.required("mbrName");
  restore.claim = fields.required("pvcName");
  return restore;
}

Json make_record(const std::string& name_space, const std::string& policy,
                 const std::string& location, const std::string& snapshot_id) {
  return {{"apiVersion", kApiVersion},
          {"kind", kind_name(Kind::record)},
          {"metadata", {{"name", record_name(snapshot_id)}, {"namespace", name_space}}},
          {"spec", {{"snapshotId", snapshot_id}, {"policy", policy}, {"backuploc", location}}}};
}

std::string to_annotation(const LastCheck& check) {
  return format_rfc3339(check.time) + " " + (check.damaged ? kDamaged : kSound);
}

std::string record_name(const std::string& snapshot_id) {
  return "mbr-" + snapshot_id;
}

}  // namespace kubedr::crd
