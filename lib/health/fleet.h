#ifndef KUBEDR_HEALTH_FLEET_H
#define KUBEDR_HEALTH_FLEET_H

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "crd/resources.h"

// What was seen of a cluster and its repositories: plain values, built by a survey or by hand.
namespace kubedr::health {

// A snapshot as far as health is concerned.
struct SeenSnapshot {
  std::string id;  // 64 hex digits
  WallTime time{};
  std::string name_space;   // of its policy; empty when unknown
  std::string policy;       // from its tag; empty when it has none
  bool other_tags = false;  // somebody else's: operator mode gives none, and we say whose it is
  std::uint64_t size = 0;   // bytes processed; 0: not told
  std::uint64_t added = 0;
  std::uint64_t stored = 0;
  std::uint64_t files = 0;
  std::optional<std::chrono::nanoseconds> duration;  // nullopt: nothing of all this is told
  std::string etcd;                                  // the cluster id of its etcd; empty: not told
  bool adopted = false;                              // said to be meant, though it is another one
  bool secrets_unreadable = false;  // encrypted in its database, and no certificates beside it
};

// What a look into a location's repository gave; only where one was taken.
struct SeenRepository {
  std::vector<SeenSnapshot> snapshots;  // by time
  std::string problem;                  // why it could not be opened; empty: it could
  ErrorKind problem_kind = ErrorKind::failed;
  std::string remedy;
  bool secret_refused = false;           // the API server did not let us read its Secret
  std::vector<std::string> secret_keys;  // what that has a value for; empty: it was not read
  bool seen = false;  // what follows was, at `looked`: now, or before the problem
  std::size_t keys = 0;
  std::size_t locks = 0;
  std::size_t stale_locks = 0;  // whose holders are gone
  std::optional<WallTime> oldest_lock;
  std::string exclusive_lock;  // whose it is, where one is held; empty: there is none
  std::uint64_t bytes = 0;     // of all its packs
  WallTime looked{};
  std::optional<std::chrono::seconds> clock_offset;  // how much the store's clock is ahead of ours
};

struct SeenLocation {
  crd::Location location;
  std::string repository_url;  // "s3:http://..."
  std::optional<SeenRepository> repository;
};

// A certificate that a policy needs, and until when it is good.
struct SeenCertificate {
  std::string name_space;
  std::string policy;
  std::string name;  // "client.crt" of the Secret of etcd, or "data/pki/apiserver.crt"
  WallTime not_after{};
  bool in_backup = false;  // of the last backup, not of the Secret
};

// Why the Secret that a policy names will not open its etcd.
struct SeenProblem {
  std::string name_space;
  std::string policy;
  std::string text;
};

// The CronJob of a policy.
struct SeenSchedule {
  std::string name_space;
  std::string policy;
  std::vector<std::string> drift;  // what is not as the policy says: "schedule", "certsDir"
  std::string cron_job{};          // its name
  bool foreign = false;            // somebody else made it
  std::string image{};             // of ours: the one with this program
};

// What the API server did not let us look at, so that nothing is said of it.
struct SeenRefusal {
  std::string code;        // of the finding
  std::string name_space;  // empty: of none
  std::string object;      // "metadatabackuppolicy/nightly"
  std::string what;        // "its Secret of etcd"
  std::string text;
  std::string remedy;  // the command that grants the right
};

struct Fleet {
  WallTime now{};
  bool watched = false;              // asked again and again, so that `now` goes on
  std::optional<WallTime> surveyed;  // when the cluster was asked last, and answered
  std::string problem;               // why it cannot be asked since; empty: it can
  std::vector<SeenLocation> locations;
  std::vector<crd::Policy> policies;
  std::vector<crd::Record> records;
  std::vector<SeenCertificate> certificates;  // where the repositories were looked into too
  std::vector<SeenSchedule> schedules;
  bool schedules_known = false;            // all of them are here, and no operator makes any
  std::vector<SeenProblem> etcd_problems;  // likewise
  std::vector<SeenRefusal> refusals;
  std::vector<crd::Malformed> malformed;
  std::optional<std::chrono::seconds> max_age;  // instead of each policy's schedule
  // Nothing but the repositories tells of past backups: there is no API server.
  bool without_cluster = false;
  std::optional<std::chrono::seconds> clock_offset;  // how much the API server's is ahead of ours
  bool all_namespaces = false;                       // policies of one name may be of several
};

const SeenLocation* location_of(const Fleet& fleet, const crd::Policy& policy);

// Whether that record is of the snapshot with that id. Fewer than 8 digits name none: retention
// deletes what a record names, and a "3" would name many.
bool names_snapshot(const crd::Record& record, const std::string& id);

// Whose snapshot is whose record's, for thousands of both.
class SnapshotIds {
 public:
  explicit SnapshotIds(std::vector<std::string> ids);

  // The id of the record's snapshot; null where it is none of these. Lives as long as this does.
  const std::string* of(const crd::Record& record) const;

 private:
  std::vector<std::string> ids_;  // in order
};

// Whether a snapshot is one of that policy: by its tag, or for one that operator mode made, by the
// record that names it. What is counted, shown and deleted as the policy's goes by this.
bool belongs(const std::vector<crd::Record>& records, const crd::Policy& policy,
             const SeenSnapshot& snapshot);

// How many of the policy's snapshots its repository holds; nullopt where nobody could look.
std::optional<std::uint64_t> snapshots_of(const Fleet& fleet, const crd::Policy& policy);

// A snapshot as its policy's totals count it.
crd::CountedBackup counted(const SeenSnapshot& snapshot);

// Counts the policy's snapshots that its totals do not know: all of them where those were lost,
// else the ones whose backup did not live to be counted. True if there were any.
bool count_missed(crd::Totals& totals, const crd::Policy& policy,
                  const std::vector<SeenSnapshot>& snapshots,
                  const std::vector<crd::Record>& records);

}  // namespace kubedr::health

#endif  // KUBEDR_HEALTH_FLEET_H
