#include "health/metrics.h"

#include <algorithm>
#include <charconv>

namespace kubedr::health {
namespace {

double seconds_of(WallTime time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

template <class Duration>
double seconds_in(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

double number(std::uint64_t value) {
  return static_cast<double>(value);
}

double number(std::int64_t value) {
  return static_cast<double>(value);
}

double flag(bool value) {
  return value ? 1 : 0;
}

// "0.318463127", as status has it.
std::optional<double> parse_seconds(const std::string& text) {
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return seconds;
}

// Families in the order of their first sample.
class Families {
 public:
  void gauge(const char* name, const char* help, const Labels& labels, double value) {
    family(name, MetricType::gauge, help).samples.push_back({"", labels, value});
  }

  void counter(const char* name, const char* help, const Labels& labels, double value) {
    family(name, MetricType::counter, help).samples.push_back({"", labels, value});
  }

  void durations(const char* name, const char* help, const Labels& labels,
                 const crd::Totals& totals) {
    Family& histogram = family(name, MetricType::histogram, help);
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < totals.duration_counts.size(); ++i) {
      below += totals.duration_counts[i];
      Labels bucket = labels;
      const bool bounded = i < crd::kDurationBounds.size();
      bucket.emplace_back("le", bounded ? std::to_string(crd::kDurationBounds[i]) : "+Inf");
      histogram.samples.push_back({"_bucket", bucket, number(below)});
    }
    histogram.samples.push_back({"_sum", labels, totals.duration_sum});
    histogram.samples.push_back({"_count", labels, number(below)});
  }

  std::vector<Family> take() { return std::move(families_); }

 private:
  Family& family(const char* name, MetricType type, const char* help) {
    const auto found = std::find_if(families_.begin(), families_.end(),
                                    [&](const Family& family) { return family.name == name; });
    if (found != families_.end()) return *found;
    families_.push_back({name, type, help, {}});
    return families_.back();
  }

  std::vector<Family> families_;
};

// What the original's dashboards ask for. It counted no failure; we do.
void add_operators(Families& families, const Fleet& fleet, const crd::Policy& policy) {
  Labels labels{{"policyName", policy.ref.name}};
  if (fleet.all_namespaces) labels.emplace_back("policy_namespace", policy.ref.name_space);
  if (!policy.status.snapshot_id.empty()) {
    families.gauge("kubedr_backup_size_bytes", "Bytes that the last good backup added.", labels,
                   number(policy.status.data_added));
  }
  if (!policy.totals) return;
  const crd::Totals& totals = *policy.totals;
  families.counter("kubedr_num_backups", "Backups, good and failed.", labels,
                   number(totals.succeeded + totals.failed));
  families.counter("kubedr_num_successful_backups", "Good backups.", labels,
                   number(totals.succeeded));
  families.counter("kubedr_num_failed_backups", "Failed backups.", labels, number(totals.failed));
  families.durations("kubedr_backup_duration_seconds", "How long good backups took.", labels,
                     totals);
}

Labels labels_of(const crd::Policy& policy) {
  return {{"policy", policy.ref.name}, {"policy_namespace", policy.ref.name_space}};
}

void add_totals(Families& families, const Labels& labels, const crd::Totals& totals) {
  families.counter("kubedr_backups_total", "Backups, good and failed.", labels,
                   number(totals.succeeded + totals.failed));
  families.counter("kubedr_successful_backups_total", "Good backups.", labels,
                   number(totals.succeeded));
  families.counter("kubedr_failed_backups_total", "Failed backups.", labels, number(totals.failed));
  families.counter("kubedr_backup_processed_bytes_total", "Bytes that good backups read.", labels,
                   number(totals.processed_bytes));
  families.counter("kubedr_backup_added_bytes_total",
                   "Bytes that good backups read and that were not stored before.", labels,
                   number(totals.added_bytes));
  families.counter("kubedr_backup_stored_bytes_total",
                   "Bytes that good backups stored, compressed and sealed.", labels,
                   number(totals.stored_bytes));
  families.gauge("kubedr_backup_consecutive_failures", "Failures since the last good backup.",
                 labels, number(totals.failures_in_row));
  if (totals.failing_since) {
    families.gauge("kubedr_backup_failing_since_timestamp_seconds",
                   "When the first backup since the last good one failed.", labels,
                   seconds_of(*totals.failing_since));
  }
}

void add_files(Families& families, Labels labels, const crd::Policy& policy) {
  constexpr char kName[] = "kubedr_backup_last_files";
  constexpr char kHelp[] =
      "Files in the last good backup, by what became of them since the one "
      "before.";
  labels.emplace_back("state", "");
  const auto add = [&](const char* state, std::int64_t count) {
    labels.back().second = state;
    families.gauge(kName, kHelp, labels, number(count));
  };
  const crd::PolicyStatus& status = policy.status;
  add("new", status.files_new);
  add("changed", status.files_changed);
  if (!policy.totals) return;
  const auto all = static_cast<std::int64_t>(policy.totals->last_files);
  const std::int64_t left = all - status.files_new - status.files_changed;
  if (left >= 0) add("unmodified", left);
}

void add_last_good(Families& families, const Labels& labels, const crd::Policy& policy,
                   const PolicyHealth& health) {
  if (health.size > 0) {
    families.gauge("kubedr_backup_last_processed_bytes", "Bytes that the last good backup read.",
                   labels, number(health.size));
    families.gauge("kubedr_backup_last_added_bytes",
                   "Bytes that the last good backup read and that were not stored before.", labels,
                   number(health.added));
  }
  if (policy.totals && policy.totals->last_success) {
    families.gauge("kubedr_backup_last_stored_bytes",
                   "Bytes that the last good backup stored, compressed and sealed.", labels,
                   number(policy.totals->last_stored_bytes));
  }
  if (policy.status.snapshot_id.empty()) return;
  add_files(families, labels, policy);
  if (const auto duration = parse_seconds(policy.status.total_duration_secs)) {
    families.gauge("kubedr_backup_last_duration_seconds", "How long the last good backup took.",
                   labels, *duration);
  }
}

// An age that is written down once would never grow.
void add_age(Families& families, const Labels& labels, const Fleet& fleet,
             const PolicyHealth& health) {
  if (!fleet.watched || !health.last_good) return;
  families.gauge("kubedr_backup_age_seconds", "How old the last good backup is.", labels,
                 seconds_in(fleet.now - *health.last_good));
}

void add_times(Families& families, const Labels& labels, const PolicyHealth& health) {
  const auto add = [&](const char* name, const char* help, const std::optional<WallTime>& time) {
    if (time) families.gauge(name, help, labels, seconds_of(*time));
  };
  add("kubedr_backup_last_success_timestamp_seconds", "When the last good backup was.",
      health.last_good);
  add("kubedr_backup_last_attempt_timestamp_seconds", "When the last backup ended, good or failed.",
      health.last_attempt);
  if (health.last_attempt) {
    families.gauge("kubedr_backup_last_attempt_failed", "Whether the last backup failed.", labels,
                   flag(health.backup_status == "Failed"));
  }
  add("kubedr_backup_next_due_timestamp_seconds", "When the next backup is due.", health.next_due);
  add("kubedr_backup_late_timestamp_seconds",
      "From when on the last good backup is too old for the schedule.", health.late_after);
}

void add_snapshots(Families& families, const Labels& labels, const Fleet& fleet,
                   const crd::Policy& policy) {
  if (!fleet.without_cluster) {
    const auto records =
        std::count_if(fleet.records.begin(), fleet.records.end(), [&](const crd::Record& record) {
          return record.policy == policy.ref.name && record.ref.name_space == policy.ref.name_space;
        });
    families.gauge("kubedr_policy_records", "Records of the policy's backups.", labels,
                   number(std::int64_t{records}));
  }
  if (const auto count = snapshots_of(fleet, policy)) {
    families.gauge("kubedr_policy_snapshots", "Backups of the policy that the repository holds.",
                   labels, number(*count));
  }
}

void add_policy(Families& families, const Fleet& fleet, const crd::Policy& policy,
                const PolicyHealth& health) {
  const Labels labels = labels_of(policy);
  Labels info = labels;
  info.insert(info.end(), {{"location", policy.destination}, {"schedule", policy.schedule}});
  families.gauge("kubedr_policy_info", "A policy, where it stores and when.", info, 1);
  families.gauge("kubedr_policy_suspended", "Whether the policy is suspended.", labels,
                 flag(policy.suspend));
  add_times(families, labels, health);
  add_age(families, labels, fleet, health);
  if (policy.totals) add_totals(families, labels, *policy.totals);
  add_last_good(families, labels, policy, health);
  add_snapshots(families, labels, fleet, policy);
}

void add_repository(Families& families, const Labels& labels, const Fleet& fleet,
                    const SeenRepository& seen) {
  families.gauge("kubedr_repository_up", "Whether the repository could be opened.", labels,
                 flag(seen.problem.empty()));
  families.gauge("kubedr_repository_look_timestamp_seconds",
                 "When the repository was looked into last.", labels, seconds_of(seen.looked));
  if (!seen.seen) return;
  families.gauge("kubedr_repository_snapshots", "Snapshots in the repository, whosever they are.",
                 labels, number(std::uint64_t{seen.snapshots.size()}));
  families.gauge("kubedr_repository_size_bytes", "Bytes of all packs in the repository.", labels,
                 number(seen.bytes));
  families.gauge("kubedr_repository_keys", "Passwords that open the repository.", labels,
                 number(std::uint64_t{seen.keys}));
  families.gauge("kubedr_repository_locks", "Locks on the repository.", labels,
                 number(std::uint64_t{seen.locks}));
  families.gauge("kubedr_repository_stale_locks",
                 "Locks on the repository of somebody who is gone.", labels,
                 number(std::uint64_t{seen.stale_locks}));
  if (!fleet.watched) return;
  // Without a lock the age is 0, so that an alert on it ends.
  families.gauge("kubedr_repository_oldest_lock_age_seconds",
                 "Seconds since the oldest lock was refreshed; 0 without one.", labels,
                 seen.oldest_lock ? seconds_in(fleet.now - *seen.oldest_lock) : 0);
}

void add_location(Families& families, const Fleet& fleet, const SeenLocation& seen,
                  const LocationHealth& health) {
  const crd::ObjectRef& ref = seen.location.ref;
  const Labels labels{{"location", ref.name}, {"location_namespace", ref.name_space}};
  Labels info = labels;
  info.emplace_back("repository", seen.repository_url);
  families.gauge("kubedr_location_info", "A location and its repository.", info, 1);
  families.gauge("kubedr_location_initialized",
                 "Whether the location's repository was initialized.", labels,
                 flag(health.init_status == "Completed"));
  families.gauge("kubedr_repository_prune_failing", "Whether the last prune after a backup failed.",
                 labels, flag(!seen.location.prune_failure.empty()));
  if (const auto& check = seen.location.last_check) {
    families.gauge("kubedr_repository_last_check_timestamp_seconds",
                   "When the repository was checked last.", labels, seconds_of(check->time));
    families.gauge("kubedr_repository_last_check_failed", "Whether the last check found damage.",
                   labels, flag(check->damaged));
  }
  if (seen.repository) add_repository(families, labels, fleet, *seen.repository);
}

void add_findings(Families& families, const Health& health) {
  for (const Severity severity : {Severity::info, Severity::warning, Severity::error}) {
    const auto count =
        std::count_if(health.findings.begin(), health.findings.end(),
                      [&](const Finding& finding) { return finding.severity == severity; });
    families.gauge("kubedr_findings", "Findings of `kubectl kubedr status`.",
                   {{"severity", to_string(severity)}}, number(std::int64_t{count}));
  }
}

}  // namespace

std::vector<Family> metric_families(const Fleet& fleet, const Health& health,
                                    const std::string& version) {
  Families families;
  families.gauge("kubedr_build_info", "The program that tells all this.", {{"version", version}},
                 1);
  if (!fleet.without_cluster) {
    families.gauge("kubedr_api_server_up", "Whether the API server answers.", {},
                   flag(fleet.problem.empty()));
  }
  if (!fleet.surveyed) return families.take();
  families.gauge("kubedr_survey_timestamp_seconds", "When the resources were read last.", {},
                 seconds_of(*fleet.surveyed));
  for (const crd::Policy& policy : fleet.policies) add_operators(families, fleet, policy);
  // Health was made of this fleet: one entry for each of its objects, in their order.
  for (std::size_t i = 0; i < fleet.policies.size(); ++i) {
    add_policy(families, fleet, fleet.policies[i], health.policies[i]);
  }
  for (const SeenCertificate& seen : fleet.certificates) {
    families.gauge("kubedr_certificate_expiry_timestamp_seconds",
                   "Until when a certificate that backups need is good.",
                   {{"policy", seen.policy},
                    {"policy_namespace", seen.name_space},
                    {"certificate", seen.name}},
                   seconds_of(seen.not_after));
  }
  for (std::size_t i = 0; i < fleet.locations.size(); ++i) {
    add_location(families, fleet, fleet.locations[i], health.locations[i]);
  }
  add_findings(families, health);
  return families.take();
}

}  // namespace kubedr::health
