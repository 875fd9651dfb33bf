#include "health/findings.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "base/time.h"
#include "health/remedies.h"
#include "health/schedule.h"

namespace kubedr::health {
namespace {

using std::chrono::seconds;

// How long after its due time a backup may be missing: starting a pod and storing a first backup.
constexpr std::chrono::minutes kGrace{15};
constexpr std::int64_t kRetentionSlack = 2;
constexpr std::size_t kSizesCompared = 8;

// A database with nothing but what an API server puts there at its first start is larger.
constexpr std::int64_t kSmallest = 64 << 10;

constexpr std::chrono::hours kExpiresSoon{14 * 24};

// S3 refuses a quarter of an hour, and certificates and locks go wrong long before.
constexpr std::chrono::seconds kClockOffset{120};
constexpr std::chrono::minutes kClockRefused{14};  // an answer is on its way for a while

std::string age_text(WallTime now, WallTime then) {
  return human_duration(std::chrono::floor<seconds>(now - then));
}

// A message of operator mode may end in newlines and span lines: one line here.
std::string one_line(const std::string& text) {
  std::string line(trim(text));
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

void take_last_from_repository(const Fleet& fleet, const crd::Policy& policy,
                               PolicyHealth& health) {
  const SeenLocation* seen = location_of(fleet, policy);
  if (seen == nullptr || !seen->repository) return;
  const bool told = health.size > 0;
  for (const SeenSnapshot& snapshot : seen->repository->snapshots) {
    if (!belongs(fleet.records, policy, snapshot)) continue;
    const bool newer = !health.last_good || *health.last_good < snapshot.time;
    if (newer) {
      health.last_good = snapshot.time;
      health.snapshot_id = snapshot.id.substr(0, 8);
    }
    if (snapshot.size > 0 && (newer || !told)) {
      health.size = static_cast<std::int64_t>(snapshot.size);
      health.added = static_cast<std::int64_t>(snapshot.added);
    }
  }
}

// A failure overwrites backupTime, but not when the last good backup was: the totals tell, or the
// record that was made right after it.
void take_last_from_totals(const crd::Policy& policy, PolicyHealth& health) {
  if (policy.totals) health.last_good = policy.totals->last_success;
}

void take_last_from_records(const Fleet& fleet, const crd::Policy& policy, PolicyHealth& health) {
  for (const crd::Record& record : fleet.records) {
    if (record.policy != policy.ref.name || record.ref.name_space != policy.ref.name_space)
      continue;
    if (!record.created || (health.last_good && *health.last_good >= *record.created)) continue;
    health.last_good = record.created;
    health.snapshot_id = record.snapshot_id;
  }
}

// Sizes of the last good backups, in their order: from the repository where it was looked into.
std::vector<std::uint64_t> recent_sizes(const Fleet& fleet, const crd::Policy& policy) {
  const SeenLocation* seen = location_of(fleet, policy);
  if (seen == nullptr || !seen->repository || !seen->repository->seen) {
    return policy.totals ? policy.totals->recent_sizes : std::vector<std::uint64_t>();
  }
  std::vector<std::uint64_t> sizes;
  for (const SeenSnapshot& snapshot : seen->repository->snapshots) {
    if (snapshot.size > 0 && belongs(fleet.records, policy, snapshot)) {
      sizes.push_back(snapshot.size);
    }
  }
  if (sizes.size() > kSizesCompared) {
    sizes.erase(sizes.begin(), sizes.end() - static_cast<std::ptrdiff_t>(kSizesCompared));
  }
  return sizes;
}

void compare_sizes(const Fleet& fleet, const crd::Policy& policy, PolicyHealth& health) {
  const std::vector<std::uint64_t> sizes = recent_sizes(fleet, policy);
  if (sizes.size() < 2) return;
  const auto last = static_cast<std::int64_t>(sizes.back());
  health.growth = last - static_cast<std::int64_t>(sizes[sizes.size() - 2]);
  health.largest_before = *std::max_element(sizes.begin(), sizes.end() - 1);
}

PolicyHealth health_of(const Fleet& fleet, const crd::Policy& policy) {
  PolicyHealth health;
  health.name = policy.ref.name;
  health.name_space = policy.ref.name_space;
  health.location = policy.destination;
  health.schedule = policy.schedule;
  health.suspended = policy.suspend;
  health.backup_status = policy.status.backup_status;
  health.last_attempt = parse_time(policy.status.backup_time);
  health.snapshot_id = policy.status.snapshot_id;
  health.size = policy.status.total_bytes_processed;
  health.added = policy.status.data_added;
  health.error_message = policy.status.backup_error_message;
  const bool last_was_good = policy.status.backup_status == "Completed";
  if (last_was_good) health.last_good = health.last_attempt;
  if (!last_was_good) take_last_from_totals(policy, health);
  if (!health.last_good) take_last_from_records(fleet, policy, health);
  take_last_from_repository(fleet, policy, health);
  compare_sizes(fleet, policy, health);
  if (health.backup_status.empty() && health.last_good) health.backup_status = "Completed";
  return health;
}

// What is wrong with a repository that does not open, for scripts.
const char* problem_code(ErrorKind kind) {
  switch (kind) {
  case ErrorKind::denied:
    return "credentials-refused";
  case ErrorKind::wrong_password:
    return "wrong-password";
  case ErrorKind::not_found:
    return "credentials-missing";
  case ErrorKind::no_repository:
    return "no-repository";
  case ErrorKind::unavailable:
    return "repository-unreachable";
  default:
    return "repository-unusable";
  }
}

class Judge {
 public:
  explicit Judge(const Fleet& fleet) : fleet_(fleet), remedies_(fleet) {}

  Health run() {
    for (const crd::Malformed& one : fleet_.malformed) judge_malformed(one);
    judge_clock();
    for (const SeenLocation& seen : fleet_.locations) judge_location(seen);
    for (const crd::Policy& policy : fleet_.policies) judge_policy(policy);
    judge_records();
    for (const SeenRefusal& one : fleet_.refusals) judge_refusal(one);
    std::stable_sort(health_.findings.begin(), health_.findings.end(),
                     [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
    return std::move(health_);
  }

 private:
  void add(Severity severity, const std::string& code, const crd::ObjectRef& ref,
           const std::string& message, const std::string& remedy) {
    health_.findings.push_back({severity, code, ref.display(), message, remedy, ref.name_space});
  }

  void judge_malformed(const crd::Malformed& one) {
    health_.findings.push_back({Severity::error, "malformed-object", one.object, one.text,
                                remedies_.edit(one.name_space, one.object), one.name_space});
  }

  // What could not be looked at is not well for that.
  void judge_refusal(const SeenRefusal& one) {
    health_.findings.push_back({Severity::info, one.code, one.object,
                                one.what + " could not be looked at: " + one_line(one.text),
                                one_line(one.remedy), one.name_space});
  }

  void judge_clock() {
    const auto fault = clock_fault("the API server's clock", fleet_.clock_offset);
    if (!fault) return;
    health_.findings.push_back(
        {Severity::warning, "clock-skew", "apiserver", *fault, kSetClock, ""});
  }

  // Whoever is asked at another time than its own refuses.
  static bool is_refused_for_clock(const SeenRepository& seen) {
    return seen.problem_kind == ErrorKind::denied && !seen.problem.empty() && seen.clock_offset &&
           std::chrono::abs(*seen.clock_offset) >= kClockRefused;
  }

  void judge_store_clock(const SeenRepository& seen, const crd::ObjectRef& ref) {
    const auto fault = clock_fault("the store's clock", seen.clock_offset);
    if (!fault) return;
    const bool refused = is_refused_for_clock(seen);
    add(refused ? Severity::error : Severity::warning, "clock-skew", ref,
        refused ? *fault + ": " + one_line(seen.problem) : *fault, kSetClock);
  }

  void judge_problem(const crd::Location& location, const SeenRepository& seen) {
    if (is_refused_for_clock(seen)) return;  // said already
    // Who may not read the Secret is no reason to make it anew.
    const char* code = seen.secret_refused ? "secret-forbidden" : problem_code(seen.problem_kind);
    const std::string remedy =
        seen.secret_refused ? seen.remedy : remedies_.repository(location, seen);
    add(Severity::error, code, location.ref, one_line(seen.problem), one_line(remedy));
  }

  void judge_location(const SeenLocation& seen) {
    const crd::Location& location = seen.location;
    const bool opened = seen.repository && seen.repository->problem.empty();
    LocationHealth health;
    health.name = location.ref.name;
    health.name_space = location.ref.name_space;
    health.repository_url = seen.repository_url;
    health.init_status = location.status.init_status;
    health.init_time = parse_time(location.status.init_time);
    if (seen.repository) health.snapshots = seen.repository->snapshots.size();
    if (opened && health.init_status.empty()) health.init_status = "Completed";
    if (seen.repository) judge_store_clock(*seen.repository, location.ref);
    judge_init(seen, health.init_status, opened);
    if (!location.prune_failure.empty()) {
      add(Severity::warning, "prune-failing", location.ref,
          "a prune after a backup failed: " + one_line(location.prune_failure),
          remedies_.of_location("prune", location.ref));
    }
    if (location.last_check && location.last_check->damaged) {
      add(Severity::error, "repository-damaged", location.ref,
          "the last check found damage: `check` again names what mends it",
          remedies_.of_location("check", location.ref));
    }
    if (opened) judge_repository(*seen.repository, location.ref);
    health_.locations.push_back(std::move(health));
  }

  // What the repository says goes before what the status says, where it could be asked.
  void judge_init(const SeenLocation& seen, const std::string& init_status, bool opened) {
    const crd::Location& location = seen.location;
    const std::string init = remedies_.command("init " + location.ref.name, location.ref);
    const std::string init_if_needed =
        remedies_.command("init " + location.ref.name + " --if-needed", location.ref);
    const bool failed = init_status == "Failed";
    const bool none_yet = init_status != "Completed" && seen.repository && !opened &&
                          seen.repository->problem_kind == ErrorKind::no_repository;
    if (seen.repository && !opened && !none_yet) return judge_problem(location, *seen.repository);
    if (failed && opened) {
      return add(Severity::info, "init-failed-but-usable", location.ref,
                 "the last init failed, but the repository opens: " +
                     one_line(location.status.init_error_message),
                 init_if_needed);
    }
    if (failed) {
      // An init that found a repository already there changed nothing: it may well be good.
      const Severity severity =
          location.initialized_annotation ? Severity::warning : Severity::error;
      return add(severity, "init-failed", location.ref,
                 one_line(location.status.init_error_message), init_if_needed);
    }
    if (opened || init_status == "Completed") return;
    add(Severity::error, "not-initialized", location.ref,
        init_status.empty() ? "no repository was initialized here yet"
                            : "an init was started and has not ended",
        init);
  }

  void judge_repository(const SeenRepository& seen, const crd::ObjectRef& ref) {
    if (seen.keys == 1) {
      add(Severity::info, "single-key", ref,
          "one password only opens the repository: if it is lost, so are the backups",
          remedies_.of_location("key add", ref));
    }
    if (seen.stale_locks > 0) {
      add(Severity::warning, "stale-lock", ref,
          fmt::format("{} lock{} of somebody who is gone", seen.stale_locks,
                      seen.stale_locks == 1 ? "" : "s"),
          remedies_.of_location("unlock", ref));
    }
    if (!seen.exclusive_lock.empty()) {
      add(Severity::info, "locked", ref,
          fmt::format("{} has locked the repository for itself: backups wait until that ends; "
                      "if it never does, add --remove-all",
                      seen.exclusive_lock),
          remedies_.of_location("unlock", ref));
    }
  }

  // What retention leaves for a moment is not worth a word.
  void judge_retention(const crd::Policy& policy) {
    const std::optional<std::uint64_t> count = snapshots_of(fleet_, policy);
    if (!count || fleet_.without_cluster) return;
    const std::int64_t keep = std::max<std::int64_t>(policy.retain_num_backups, 1);
    if (static_cast<std::int64_t>(*count) <= keep + kRetentionSlack) return;
    add(Severity::warning, "retention-behind", policy.ref,
        fmt::format("{} snapshots, and {} are to be kept", *count, keep), remedies_.backup(policy));
  }

  void judge_schedule(const crd::Policy& policy) {
    bool scheduled = false;
    for (const SeenSchedule& seen : fleet_.schedules) {
      const bool is_its =
          seen.policy == policy.ref.name && seen.name_space == policy.ref.name_space;
      scheduled = scheduled || is_its;
      if (!is_its || seen.drift.empty()) continue;
      add(Severity::warning, "schedule-differs", policy.ref,
          "its CronJob is not as the policy says: " + join(seen.drift, ", "),
          remedies_.schedule(policy, seen));
    }
    if (!fleet_.schedules_known || scheduled || policy.suspend) return;
    add(Severity::info, "not-scheduled", policy.ref,
        "no CronJob takes its backups: nobody does, unless something outside the cluster",
        remedies_.first_schedule(policy));
  }

  void judge_policy(const crd::Policy& policy) {
    PolicyHealth health = health_of(fleet_, policy);
    if (location_of(fleet_, policy) == nullptr) {
      add(Severity::error, "no-location", policy.ref,
          fmt::format("its destination, backuplocation \"{}\", does not exist", policy.destination),
          remedies_.command(
              "location create " + shell_word(policy.destination) + " --url URL --bucket BUCKET",
              policy.ref));
    }
    if (health.backup_status == "Failed") {
      add(Severity::error, "backup-failed", policy.ref, failure_text(policy, health),
          remedies_.backup(policy));
    }
    if (policy.suspend) {
      add(Severity::warning, "suspended", policy.ref, "backups are suspended",
          remedies_.command("resume " + policy.ref.name, policy.ref));
    }
    judge_schedule(policy);
    judge_age(policy, health);
    judge_size(policy, health);
    judge_newest(policy);
    judge_keys(policy);
    if (!policy.retention_failure.empty()) {
      const std::string& text = policy.retention_failure;
      const std::size_t line = std::min(text.find('\n'), text.size());
      add(Severity::warning, "retention-failing", policy.ref,
          "older backups are not removed: " + one_line(text.substr(0, line)),
          remedies_.in_namespace(one_line(text.substr(line)), policy.ref));
    }
    judge_retention(policy);
    health_.policies.push_back(std::move(health));
  }

  static std::string failure_text(const crd::Policy& policy, const PolicyHealth& health) {
    const std::string text = "last backup failed: " + one_line(health.error_message);
    const auto& totals = policy.totals;
    if (!totals || !totals->failing_since || totals->failures_in_row < 2) return text;
    return fmt::format("{} (the last {} failed, since {})", text, totals->failures_in_row,
                       format_rfc3339(*totals->failing_since));
  }

  void judge_size(const crd::Policy& policy, const PolicyHealth& health) {
    if (health.size <= 0 || fleet_.without_cluster) return;
    const auto size = static_cast<std::uint64_t>(health.size);
    const char* question = "is it the right etcd, and is all in certsDir?";
    if (health.size < kSmallest) {
      add(Severity::warning, "backup-small", policy.ref,
          fmt::format("last good backup has {} only, less than any API server's database: {}",
                      human_size(size), question),
          remedies_.backup(policy));
    } else if (size < health.largest_before / 2) {
      add(Severity::warning, "backup-shrunk", policy.ref,
          fmt::format("last good backup has {}, one shortly before it had {}: {}", human_size(size),
                      human_size(health.largest_before), question),
          remedies_.backup(policy));
    }
  }

  // What the newest backup tells, where somebody looked.
  void judge_newest(const crd::Policy& policy) {
    const SeenLocation* seen = location_of(fleet_, policy);
    if (seen == nullptr || !seen->repository) return;
    std::vector<const SeenSnapshot*> own;
    for (const SeenSnapshot& snapshot : seen->repository->snapshots) {
      if (belongs(fleet_.records, policy, snapshot)) own.push_back(&snapshot);
    }
    if (own.empty()) return;
    const SeenSnapshot& newest = *own.back();
    const auto other = std::find_if(own.begin(), own.end(), [&](const SeenSnapshot* snapshot) {
      return !snapshot->etcd.empty() && snapshot->etcd != newest.etcd;
    });
    if (!newest.etcd.empty() && !newest.adopted && other != own.end()) {
      add(Severity::warning, "other-etcd", policy.ref,
          fmt::format("the last backup is of etcd {}, others are of etcd {}: old ones stay until "
                      "that is said to be meant",
                      newest.etcd, (*other)->etcd),
          remedies_.backup(policy, " --adopt"));
    }
    if (newest.secrets_unreadable) {
      add(Severity::warning, "secrets-unreadable", policy.ref,
          "the API server encrypts Secrets, and the last backup has no certificates and keys to "
          "read them with: set spec.certsDir to the folder that has them",
          remedies_.certificates(policy));
    }
  }

  // Those of etcd's client, and of the last backup.
  void judge_keys(const crd::Policy& policy) {
    const auto is_own = [&](const auto& seen) {
      return seen.policy == policy.ref.name && seen.name_space == policy.ref.name_space;
    };
    for (const SeenProblem& problem : fleet_.etcd_problems) {
      if (!is_own(problem)) continue;
      add(Severity::error, "etcd-credentials", policy.ref, one_line(problem.text),
          Remedies::etcd_secret(policy));
    }
    for (const SeenCertificate& seen : fleet_.certificates) {
      if (is_own(seen)) judge_certificate(policy, seen);
    }
  }

  void judge_certificate(const crd::Policy& policy, const SeenCertificate& seen) {
    const auto left = std::chrono::floor<seconds>(seen.not_after - fleet_.now);
    if (left > kExpiresSoon) return;
    const bool expired = left < seconds(0);
    const std::string where = seen.in_backup ? seen.name + " of the last backup"
                                             : seen.name + " in secret " + policy.etcd_creds;
    const std::string when = expired ? "has expired " + human_duration(-left) + " ago"
                                     : "expires in " + human_duration(left);
    // A backup is taken with the Secret's, and is as good with any of its own.
    const bool stops_backups = expired && !seen.in_backup;
    add(stops_backups ? Severity::error : Severity::warning,
        expired ? "certificate-expired" : "certificate-expires", policy.ref,
        fmt::format("{} {}: renew it", where, when),
        seen.in_backup ? remedies_.backup(policy) : Remedies::etcd_secret(policy));
  }

  void judge_age(const crd::Policy& policy, PolicyHealth& health) {
    std::optional<Schedule> schedule;
    try {
      // A repository given on the command line has no schedule that anybody told us.
      if (!policy.schedule.empty()) schedule = Schedule::parse(policy.schedule);
    } catch (const Error& error) {
      add(Severity::error, "bad-schedule", policy.ref,
          fmt::format("{}: {}", error.what(), error.hint()),
          remedies_.edit(policy.ref.name_space, policy.ref.display()));
    }
    if (schedule && !policy.suspend) health.next_due = schedule->next_after(fleet_.now);
    if (!health.last_good) {
      add(Severity::error, "never-backed-up", policy.ref, "no backup has ever succeeded",
          remedies_.backup(policy));
      return;
    }
    if (fleet_.max_age) {
      health.late_after = *health.last_good + *fleet_.max_age;
    } else if (schedule && !policy.suspend) {
      const auto due = schedule->next_after(*health.last_good);
      if (due) health.late_after = *due + kGrace;
    }
    if (!health.late_after || fleet_.now <= *health.late_after) return;
    add(Severity::error, "backup-late", policy.ref,
        fmt::format("last good backup is {} old", age_text(fleet_.now, *health.last_good)),
        remedies_.backup(policy));
  }

  // Only where a repository was looked into can records and snapshots be compared.
  void judge_records() {
    if (fleet_.without_cluster) return;
    for (const SeenLocation& seen : fleet_.locations) {
      if (!seen.repository || !seen.repository->problem.empty()) continue;
      judge_records_of(seen);
    }
  }

  bool is_of(const crd::Record& record, const SeenLocation& seen) const {
    return record.location == seen.location.ref.name &&
           record.ref.name_space == seen.location.ref.name_space;
  }

  void judge_records_of(const SeenLocation& seen) {
    const auto& snapshots = seen.repository->snapshots;
    std::vector<std::string> listed;
    for (const SeenSnapshot& snapshot : snapshots) listed.push_back(snapshot.id);
    const SnapshotIds ids(std::move(listed));
    std::set<std::string_view> recorded;
    for (const crd::Record& record : fleet_.records) {
      if (!is_of(record, seen)) continue;
      if (const std::string* id = ids.of(record)) {
        recorded.insert(*id);
        continue;
      }
      add(Severity::error, "record-without-snapshot", record.ref,
          fmt::format("snapshot {} is not in the repository", record.snapshot_id),
          remedies_.of_location("sync", seen.location.ref));
    }
    for (const SeenSnapshot& snapshot : snapshots) {
      if (snapshot.policy.empty()) continue;  // somebody else's
      if (recorded.find(snapshot.id) != recorded.end()) continue;
      add(Severity::warning, "snapshot-without-record", seen.location.ref,
          fmt::format("snapshot {} of policy {} has no record", snapshot.id.substr(0, 8),
                      snapshot.policy),
          remedies_.of_location("sync", seen.location.ref));
    }
  }

  const Fleet& fleet_;
  const Remedies remedies_;
  Health health_;
};

}  // namespace

const char* to_string(Severity severity) {
  switch (severity) {
  case Severity::info:
    return "info";
  case Severity::warning:
    return "warning";
  case Severity::error:
    return "error";
  }
  return "error";
}

std::optional<std::string> clock_fault(const std::string& whose,
                                       const std::optional<seconds>& offset) {
  if (!offset || std::chrono::abs(*offset) < kClockOffset) return std::nullopt;
  return fmt::format("{} is {} {} this machine's", whose, human_duration(std::chrono::abs(*offset)),
                     *offset > seconds(0) ? "ahead of" : "behind");
}

Health judge(const Fleet& fleet) {
  return Judge(fleet).run();
}

std::optional<Severity> worst(const std::vector<Finding>& findings) {
  std::optional<Severity> worst;
  for (const Finding& finding : findings) {
    if (!worst || finding.severity > *worst) worst = finding.severity;
  }
  return worst;
}

}  // namespace kubedr::health
