#include "cmd/status_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "base/time.h"
#include "cmd/print.h"

namespace kubedr::cmd {
namespace {

using std::chrono::seconds;

// Of a terminal as it was always; -o wide takes what it needs.
constexpr std::size_t kColumns = 80;

constexpr char kNotAsked[] = "<not asked>";

Json time_json(const std::optional<WallTime>& time) {
  return time ? Json(format_rfc3339(*time)) : Json(nullptr);
}

template <class T>
Json known(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

std::int64_t whole_seconds(WallTime::duration duration) {
  return std::chrono::floor<seconds>(duration).count();
}

// "0.318463127", as the policy's status has it.
Json duration_json(const std::string& text) {
  double duration = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, duration);
  return error == std::errc() && rest == end ? Json(duration) : Json(nullptr);
}

Json location_json(const ClusterStatus& cluster, std::size_t index) {
  const health::LocationHealth& health = cluster.health.locations[index];
  const health::SeenLocation& seen = cluster.fleet.locations[index];
  Json one = {{"context", cluster.context},
              {"name", health.name},
              {"namespace", health.name_space},
              {"repository", health.repository_url},
              {"initStatus", health.init_status},
              {"initTime", time_json(health.init_time)},
              {"pruneFailure", seen.location.prune_failure},
              {"lastCheck", nullptr},
              {"looked", nullptr},
              {"problem", ""},
              {"snapshots", nullptr},
              {"bytes", nullptr},
              {"keys", nullptr},
              {"locks", nullptr},
              {"staleLocks", nullptr},
              {"oldestLock", nullptr}};
  if (const auto& check = seen.location.last_check) {
    one["lastCheck"] = {{"time", format_rfc3339(check->time)}, {"damaged", check->damaged}};
  }
  if (!seen.repository) return one;
  const health::SeenRepository& repository = *seen.repository;
  one["looked"] = format_rfc3339(repository.looked);
  one["problem"] = repository.problem;
  if (!repository.problem.empty()) return one;
  one["snapshots"] = repository.snapshots.size();
  one["bytes"] = repository.bytes;
  one["keys"] = repository.keys;
  one["locks"] = repository.locks;
  one["staleLocks"] = repository.stale_locks;
  one["oldestLock"] = time_json(repository.oldest_lock);
  return one;
}

Json totals_json(const std::optional<crd::Totals>& totals) {
  if (!totals) return nullptr;
  return {{"succeeded", totals->succeeded},
          {"failed", totals->failed},
          {"failuresInRow", totals->failures_in_row},
          {"failingSince", time_json(totals->failing_since)},
          {"processedBytes", totals->processed_bytes},
          {"addedBytes", totals->added_bytes},
          {"storedBytes", totals->stored_bytes},
          {"lastStoredBytes", totals->last_stored_bytes}};
}

Json certificates_json(const health::Fleet& fleet, const health::PolicyHealth& policy) {
  Json certificates = Json::array();
  for (const health::SeenCertificate& seen : fleet.certificates) {
    if (seen.policy != policy.name || seen.name_space != policy.name_space) continue;
    certificates.push_back({{"name", seen.name}, {"notAfter", format_rfc3339(seen.not_after)}});
  }
  return certificates;
}

Json policy_json(const ClusterStatus& cluster, std::size_t index) {
  const health::PolicyHealth& health = cluster.health.policies[index];
  const crd::Policy& policy = cluster.fleet.policies[index];
  const WallTime now = cluster.fleet.now;
  return {{"context", cluster.context},
          {"name", health.name},
          {"namespace", health.name_space},
          {"location", health.location},
          {"schedule", health.schedule},
          {"suspended", health.suspended},
          {"backupStatus", health.backup_status},
          {"lastFailure", health.backup_status == "Failed" ? health.error_message : ""},
          {"lastAttempt", time_json(health.last_attempt)},
          {"lastGood", time_json(health.last_good)},
          {"ageSeconds",
           health.last_good ? Json(whole_seconds(now - *health.last_good)) : Json(nullptr)},
          {"nextDue", time_json(health.next_due)},
          {"lateAfter", time_json(health.late_after)},
          {"snapshotId", health.snapshot_id},
          {"snapshots", known(health::snapshots_of(cluster.fleet, policy))},
          {"totalBytesProcessed", health.size},
          {"growthBytes", known(health.growth)},
          {"dataAdded", health.added},
          {"durationSeconds", duration_json(policy.status.total_duration_secs)},
          {"totals", totals_json(policy.totals)},
          {"certificates", certificates_json(cluster.fleet, health)}};
}

Json finding_json(const std::string& context, const health::Finding& finding) {
  return {{"context", context},
          {"severity", to_string(finding.severity)},
          {"code", finding.code},
          {"object", finding.object},
          {"namespace", finding.name_space},
          {"message", finding.message},
          {"remedy", finding.remedy}};
}

Colour colour_of(health::Severity severity) {
  switch (severity) {
  case health::Severity::info:
    return Colour::plain;
  case health::Severity::warning:
    return Colour::yellow;
  case health::Severity::error:
    return Colour::red;
  }
  return Colour::plain;
}

std::string status_word(const Terminal& terminal, const std::string& status) {
  if (status.empty()) return "<none>";
  if (status == "Completed") return terminal.paint(Colour::green, status);
  const bool bad = status == "Failed" || status == "Unusable" || status == "Damaged";
  return bad ? terminal.paint(Colour::red, status) : status;
}

// What the tables are made for: which columns say whose a row is.
class Tables {
 public:
  Tables(const std::vector<ClusterStatus>& clusters, const Context& context)
      : clusters_(clusters),
        context_(context),
        wide_(context.flags.output == "wide"),
        contexts_(std::any_of(clusters.begin(), clusters.end(),
                              [](const ClusterStatus& one) { return !one.context.empty(); })),
        namespaces_(context.flags.all_namespaces) {}

  std::string locations() const {
    Table table = table_of({"LOCATION", "STATUS", "SNAPSHOTS", "SIZE", "CHECKED", "PRUNE"},
                           {"KEYS", "LOCKS", "REPOSITORY"});
    for (const ClusterStatus& cluster : clusters_) {
      for (std::size_t i = 0; i < cluster.health.locations.size(); ++i) {
        table.add(location_row(cluster, i));
      }
    }
    return text_of(std::move(table));
  }

  std::string policies() const {
    Table table = table_of({"POLICY", "STATUS", "LAST GOOD", "NEXT DUE", "SIZE", "GROWTH"},
                           {"SNAPSHOT", "TIME", "ADDED", "FAILURES", "LOCATION", "SCHEDULE"});
    for (const ClusterStatus& cluster : clusters_) {
      for (std::size_t i = 0; i < cluster.health.policies.size(); ++i) {
        table.add(policy_row(cluster, i));
      }
    }
    return text_of(std::move(table));
  }

 private:
  Table table_of(std::vector<std::string> headers, const std::vector<std::string>& more) const {
    if (namespaces_) headers.insert(headers.begin(), "NAMESPACE");
    if (contexts_) headers.insert(headers.begin(), "CONTEXT");
    if (wide_) headers.insert(headers.end(), more.begin(), more.end());
    return Table(std::move(headers));
  }

  std::vector<std::string> row_of(const ClusterStatus& cluster, const std::string& name_space,
                                  const std::string& name) const {
    std::vector<std::string> row;
    if (contexts_) row.push_back(printable(cluster.context));
    if (namespaces_) row.push_back(name_space);
    row.push_back(name);
    return row;
  }

  // Names give way, so that the line fits.
  std::string text_of(Table table) const {
    const std::size_t names = 1U + (namespaces_ ? 1U : 0U) + (contexts_ ? 1U : 0U);
    if (!wide_) table.fit(kColumns, names);
    return table.text(!context_.flags.no_headers);
  }

  std::vector<std::string> location_row(const ClusterStatus& cluster, std::size_t index) const {
    const health::LocationHealth& health = cluster.health.locations[index];
    const health::SeenLocation& seen = cluster.fleet.locations[index];
    const auto& check = seen.location.last_check;
    const bool opened = seen.repository && seen.repository->problem.empty();
    std::string status = health.init_status;
    if (check && check->damaged) status = "Damaged";
    if (seen.repository && !opened) status = "Unusable";
    const auto looked = [&](const std::string& text) { return opened ? text : kNotAsked; };
    const health::SeenRepository none;
    const health::SeenRepository& repository = opened ? *seen.repository : none;
    std::vector<std::string> row = row_of(cluster, health.name_space, health.name);
    row.push_back(status_word(context_.terminal, status));
    row.push_back(looked(std::to_string(repository.snapshots.size())));
    row.push_back(looked(human_size(repository.bytes)));
    row.push_back(check ? age(check->time, cluster.fleet.now) + " ago" : "never");
    row.push_back(seen.location.prune_failure.empty()
                      ? "ok"
                      : context_.terminal.paint(Colour::yellow, "failing"));
    if (wide_) {
      row.push_back(looked(std::to_string(repository.keys)));
      row.push_back(looked(std::to_string(repository.locks)));
      row.push_back(printable(health.repository_url));
    }
    return row;
  }

  std::string last_good(const health::PolicyHealth& policy, WallTime now) const {
    if (!policy.last_good) return context_.terminal.paint(Colour::red, "never");
    const bool late = policy.late_after && now > *policy.late_after;
    return context_.terminal.paint(late ? Colour::red : Colour::plain,
                                   age(policy.last_good, now) + " ago");
  }

  std::string next_due(const health::PolicyHealth& policy, WallTime now) const {
    if (policy.suspended) return context_.terminal.paint(Colour::yellow, "suspended");
    if (!policy.next_due) return "<none>";
    return "in " + human_duration(std::chrono::ceil<seconds>(*policy.next_due - now));
  }

  std::vector<std::string> policy_row(const ClusterStatus& cluster, std::size_t index) const {
    const health::PolicyHealth& health = cluster.health.policies[index];
    const WallTime now = cluster.fleet.now;
    std::vector<std::string> row = row_of(cluster, health.name_space, health.name);
    row.push_back(status_word(context_.terminal, health.backup_status));
    row.push_back(last_good(health, now));
    row.push_back(next_due(health, now));
    row.push_back(size_text(health.size));
    row.push_back(health.growth ? growth_text(*health.growth) : "<unknown>");
    if (wide_) {
      const auto& totals = cluster.fleet.policies[index].totals;
      row.push_back(health.snapshot_id.empty() ? "<none>" : printable(health.snapshot_id));
      row.push_back(health.last_good ? format_table_time(*health.last_good) : "<none>");
      row.push_back(size_text(health.added));
      row.push_back(totals ? std::to_string(totals->failures_in_row) : "<unknown>");
      row.push_back(health.location);
      row.push_back(printable(health.schedule));
    }
    return row;
  }

  static std::string size_text(std::int64_t size) {
    return size > 0 ? human_size(static_cast<std::uint64_t>(size)) : "<unknown>";
  }

  static std::string growth_text(std::int64_t growth) {
    const std::string size = human_size(static_cast<std::uint64_t>(std::abs(growth)));
    return (growth < 0 ? "-" : "+") + size;
  }

  const std::vector<ClusterStatus>& clusters_;
  const Context& context_;
  const bool wide_;
  const bool contexts_;
  const bool namespaces_;
};

std::string findings_text(const std::vector<ClusterStatus>& clusters, const Context& context) {
  std::string text;
  for (const ClusterStatus& cluster : clusters) {
    const std::string context_name =
        cluster.context.empty() ? "" : printable(cluster.context) + ": ";
    for (const health::Finding& one : cluster.health.findings) {
      const bool ambiguous = context.flags.all_namespaces && !one.name_space.empty();
      const std::string where = context_name + (ambiguous ? one.name_space + ": " : "");
      const std::string severity =
          context.terminal.paint(colour_of(one.severity), to_string(one.severity));
      text += fmt::format("{}: {}{}: {}\n", severity, where, one.object, printable(one.message));
      if (!one.remedy.empty()) text += fmt::format("  {}\n", printable(one.remedy));
    }
  }
  return text.empty() ? "No findings.\n" : text;
}

std::string names_text(const std::vector<ClusterStatus>& clusters) {
  std::string names;
  for (const ClusterStatus& cluster : clusters) {
    for (const auto& one : cluster.health.locations) names += "backuplocation/" + one.name + "\n";
    for (const auto& one : cluster.health.policies) {
      names += "metadatabackuppolicy/" + one.name + "\n";
    }
  }
  return names;
}

}  // namespace

Json status_json(const std::vector<ClusterStatus>& clusters, WallTime now) {
  Json locations = Json::array();
  Json policies = Json::array();
  Json findings = Json::array();
  for (const ClusterStatus& cluster : clusters) {
    for (std::size_t i = 0; i < cluster.health.locations.size(); ++i) {
      locations.push_back(location_json(cluster, i));
    }
    for (std::size_t i = 0; i < cluster.health.policies.size(); ++i) {
      policies.push_back(policy_json(cluster, i));
    }
    for (const health::Finding& finding : cluster.health.findings) {
      findings.push_back(finding_json(cluster.context, finding));
    }
  }
  return {{"time", format_rfc3339(now)},
          {"locations", locations},
          {"policies", policies},
          {"findings", findings}};
}

std::string status_text(const std::vector<ClusterStatus>& clusters, const Context& context) {
  if (context.flags.output == "name") return names_text(clusters);
  const Tables tables(clusters, context);
  std::string text;
  for (const std::string& part :
       {tables.locations(), tables.policies(), findings_text(clusters, context)}) {
    if (part.empty()) continue;
    text += (text.empty() ? "" : "\n") + part;
  }
  return text;
}

}  // namespace kubedr::cmd
