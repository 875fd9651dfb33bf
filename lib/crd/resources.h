#ifndef KUBEDR_CRD_RESOURCES_H
#define KUBEDR_CRD_RESOURCES_H

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "crd/totals.h"

// The custom resources as values. Parsing fills in what the operator's webhook defaulted, and keeps
// what is needed to refer to the object in an event.
//
// source   the KubeDR contract: group kubedr.catalogicsoftware.com, version v1alpha1
namespace kubedr::crd {

inline constexpr char kGroup[] = "kubedr.catalogicsoftware.com";
inline constexpr char kApiVersion[] = "kubedr.catalogicsoftware.com/v1alpha1";
inline constexpr char kDefaultNamespace[] = "kubedr-system";
inline constexpr char kRestoredAnnotation[] = "restored.annotations.kubedr.catalogicsoftware.com";
inline constexpr char kRetentionFailedAnnotation[] =
    "kubedr.catalogicsoftware.com/retention-failed";
inline constexpr char kSnapshotsAnnotation[] = "kubedr.catalogicsoftware.com/snapshots";
inline constexpr char kLastCheckAnnotation[] = "kubedr.catalogicsoftware.com/last-check";
inline constexpr char kInitializedAnnotation[] =
    "initialized.annotations.kubedr.catalogicsoftware.com";

enum class Kind { location, policy, record, restore };

const char* kind_name(Kind kind);    // "BackupLocation"
const char* plural_name(Kind kind);  // "backuplocations"

// Which object, and which state of it.
struct ObjectRef {
  Kind kind = Kind::location;
  std::string name;
  std::string name_space;
  std::string uid;
  std::string resource_version;
  bool being_deleted = false;  // and still there: some finalizer holds it

  // "backuplocation/local-minio", as kubectl names it.
  std::string display() const;
};

// An object that nobody can read.
struct Malformed {
  std::string name_space;
  std::string object;  // "metadatabackuppolicy/x"
  std::string text;    // "metadatabackuppolicy/x: spec.destination: required"
};

Malformed make_malformed(Kind kind, const Json& object, const std::string& text);

struct LocationStatus {
  std::string init_status;  // "", Initializing, Completed, Failed
  std::string init_error_message;
  std::string init_time;  // as found; see base/time.h parse_time
  std::optional<std::int64_t> observed_generation;
};

// How the last `check` of the repository ended.
struct LastCheck {
  WallTime time{};
  bool damaged = false;
};

struct Location {
  ObjectRef ref;
  std::int64_t generation = 0;
  std::string url;
  std::string bucket_name;
  std::string credentials;  // name of the Secret
  bool initialized_annotation = false;
  std::string prune_failure;  // "<time> <text>" since a prune after a backup failed; else empty
  std::optional<LastCheck> last_check;
  LocationStatus status;
};

struct PolicyStatus {
  std::string backup_status;  // "", Initializing, Completed, Failed
  std::string backup_error_message;
  std::string backup_time;  // as found
  std::string backup_pod;
  std::string snapshot_id;  // of the last good backup; 8 hex digits
  std::int64_t files_new = 0;
  std::int64_t files_changed = 0;
  std::int64_t data_added = 0;  // bytes
  std::int64_t total_bytes_processed = 0;
  std::string total_duration_secs;  // "0.318463127"
};

struct Policy {
  ObjectRef ref;
  std::int64_t generation = 0;
  std::string destination;  // name of the BackupLocation
  std::string schedule;     // standard cron line, UTC
  std::string certs_dir;    // may be empty
  std::string etcd_endpoint = "https://127.0.0.1:2379";
  std::string etcd_creds = "etcd-creds";
  std::map<std::string, std::string> options;
  std::int64_t retain_num_backups = 120;
  bool suspend = false;
  std::optional<WallTime> created;
  // "<time> <why>", then a line with what to do, since older backups could not be removed.
  std::string retention_failure;
  std::optional<std::int64_t> snapshots;  // that the repository listed after the last backup
  std::optional<Totals> totals;           // nullopt: never counted, or lost
  PolicyStatus status;
};

struct Record {
  ObjectRef ref;
  std::string snapshot_id;
  std::string policy;
  std::string location;
  std::optional<WallTime> created;
};

struct Restore {
  ObjectRef ref;
  std::int64_t generation = 0;
  std::string record;  // name of the MetadataBackupRecord
  std::string claim;   // name of the PersistentVolumeClaim
};

// errors   usage: `backuplocation/NAME: spec.url: required` and the like
Location parse_location(const Json& object);
Policy parse_policy(const Json& object);
Record parse_record(const Json& object);
Restore parse_restore(const Json& object);

// Whether one of its etcd's endpoints speaks TLS, for which its Secret has the keys. What has no
// scheme does: operator mode's etcdctl is always given them.
bool uses_tls(const Policy& policy);

// A policy's `status` alone. It is somebody else's word: what is of a wrong type counts as not
// said.
PolicyStatus parse_policy_status(const Json& status);

// A record as operator mode creates it: no labels, no owner, no finalizer.
Json make_record(const std::string& name_space, const std::string& policy,
                 const std::string& location, const std::string& snapshot_id);

// The text of a location's last-check annotation: "<time> sound" or "<time> damaged".
std::string to_annotation(const LastCheck& check);

// "mbr-" and the short id.
std::string record_name(const std::string& snapshot_id);

}  // namespace kubedr::crd

#endif  // KUBEDR_CRD_RESOURCES_H
