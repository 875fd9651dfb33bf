#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "base/time.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"
#include "health/findings.h"
#include "workflow/survey.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::SurveyRequest request;
  std::string max_age;
  std::string fail_on = "error";
};

Json time_json(const std::optional<WallTime>& time) {
  return time ? Json(format_rfc3339(*time)) : Json(nullptr);
}

Json result_json(const health::Health& health) {
  Json locations = Json::array();
  for (const health::LocationHealth& one : health.locations) {
    locations.push_back({{"name", one.name},
                         {"namespace", one.name_space},
                         {"repository", one.repository_url},
                         {"initStatus", one.init_status},
                         {"initTime", time_json(one.init_time)},
                         {"snapshots", one.snapshots ? Json(*one.snapshots) : Json(nullptr)}});
  }
  Json policies = Json::array();
  for (const health::PolicyHealth& one : health.policies) {
    policies.push_back({{"name", one.name},
                        {"namespace", one.name_space},
                        {"location", one.location},
                        {"schedule", one.schedule},
                        {"suspended", one.suspended},
                        {"backupStatus", one.backup_status},
                        {"lastAttempt", time_json(one.last_attempt)},
                        {"lastGood", time_json(one.last_good)},
                        {"snapshotId", one.snapshot_id},
                        {"totalBytesProcessed", one.size},
                        {"dataAdded", one.added},
                        {"nextDue", time_json(one.next_due)}});
  }
  Json findings = Json::array();
  for (const health::Finding& one : health.findings) {
    findings.push_back({{"severity", to_string(one.severity)},
                        {"code", one.code},
                        {"object", one.object},
                        {"message", one.message},
                        {"remedy", one.remedy}});
  }
  return {{"locations", locations}, {"policies", policies}, {"findings", findings}};
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
  if (status == "Failed") return terminal.paint(Colour::red, status);
  return status;
}

std::string locations_table(const health::Health& health, const Context& context) {
  Table table({"LOCATION", "STATUS", "SNAPSHOTS", "REPOSITORY"});
  for (const health::LocationHealth& one : health.locations) {
    table.add({one.name, status_word(context.terminal, one.init_status),
               one.snapshots ? std::to_string(*one.snapshots) : "<not asked>", one.repository_url});
  }
  return table.text(!context.flags.no_headers);
}

std::string due_text(const health::PolicyHealth& policy, WallTime now) {
  if (policy.suspended) return "suspended";
  if (!policy.next_due) return "<none>";
  return "in " + human_duration(std::chrono::ceil<std::chrono::seconds>(*policy.next_due - now));
}

std::string policies_table(const health::Health& health, const Context& context) {
  const bool wide = context.flags.output == "wide";
  std::vector<std::string> headers{"POLICY", "STATUS", "LAST GOOD", "NEXT DUE", "SIZE", "SNAPSHOT"};
  if (wide) headers.insert(headers.end(), {"ADDED", "LOCATION", "SCHEDULE"});
  Table table(headers);
  const WallTime now = context.clock.now();
  for (const health::PolicyHealth& one : health.policies) {
    std::vector<std::string> row{
        one.name,
        status_word(context.terminal, one.backup_status),
        one.last_good ? age(one.last_good, now) + " ago" : "never",
        due_text(one, now),
        one.size > 0 ? human_size(static_cast<std::uint64_t>(one.size)) : "<unknown>",
        one.snapshot_id.empty() ? "<none>" : printable(one.snapshot_id)};
    if (wide) {
      row.push_back(one.added > 0 ? human_size(static_cast<std::uint64_t>(one.added))
                                  : "<unknown>");
      row.push_back(one.location);
      row.push_back(printable(one.schedule));
    }
    table.add(std::move(row));
  }
  return table.text(!context.flags.no_headers);
}

std::string findings_text(const health::Health& health, const Context& context) {
  if (health.findings.empty()) return "No findings.\n";
  std::string text;
  for (const health::Finding& one : health.findings) {
    const std::string severity =
        context.terminal.paint(colour_of(one.severity), to_string(one.severity));
    text += fmt::format("{}: {}: {}\n", severity, one.object, printable(one.message));
    if (!one.remedy.empty()) text += fmt::format("  {}\n", printable(one.remedy));
  }
  return text;
}

std::string result_text(const health::Health& health, const Context& context) {
  if (context.flags.output == "name") {
    std::string names;
    for (const auto& one : health.locations) names += "backuplocation/" + one.name + "\n";
    for (const auto& one : health.policies) names += "metadatabackuppolicy/" + one.name + "\n";
    return names;
  }
  std::string text;
  for (const std::string& part : {locations_table(health, context), policies_table(health, context),
                                  findings_text(health, context)}) {
    if (part.empty()) continue;
    text += (text.empty() ? "" : "\n") + part;
  }
  return text;
}

bool is_failure(const std::vector<health::Finding>& findings, const std::string& fail_on) {
  const std::optional<health::Severity> worst = health::worst(findings);
  if (!worst || fail_on == "never") return false;
  const auto limit = fail_on == "warning" ? health::Severity::warning : health::Severity::error;
  return *worst >= limit;
}

int run(Arguments arguments, const Context& context) {
  if (!arguments.max_age.empty()) {
    arguments.request.max_age = std::chrono::duration_cast<std::chrono::seconds>(
        parse_flag_duration("--max-age", arguments.max_age));
  }
  const Wired wired(context);
  const health::Health health =
      health::judge(workflow::survey(wired.services(), arguments.request, context.call));
  if (health.locations.empty() && health.policies.empty() && !context.as_document()) {
    context.remark("No locations and no policies found.\n");
  }
  context.print(context.as_document() ? document(result_json(health), context.flags.output)
                                      : result_text(health, context));
  return is_failure(health.findings, arguments.fail_on) ? exit_code(ErrorKind::findings) : 0;
}

}  // namespace

void add_status(CLI::App& root, Action& action) {
  CLI::App* verb =
      root.add_subcommand("status", "Locations, policies, last backups, and what is wrong");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  verb->add_option("NAME", arguments->request.only,
                   "Only these: backuplocation/NAME, policy/NAME, or a NAME")
      ->type_name("KIND/NAME");
  verb->add_option("--max-age", arguments->max_age,
                   "How old a last good backup may be, instead of what its schedule says");
  verb->add_flag("--deep", arguments->request.deep,
                 "Look into the repositories: records and snapshots are compared");
  verb->add_option("--fail-on", arguments->fail_on,
                   "Which findings make the exit code 5: error, warning or never")
      ->check(CLI::IsMember({"error", "warning", "never"}));
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr status\n"
      "  kubectl kubedr status policy/nightly --deep\n"
      "  kubectl kubedr status --max-age 26h -o json\n\n"
      "Exit codes: 0 in order, 5 findings, 20 and 21 the cluster could not be asked.");
  verb->callback([&action, arguments] {
    action = [arguments](const Context& context) { return run(*arguments, context); };
  });
}

}  // namespace kubedr::cmd
