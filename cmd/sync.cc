#include "workflow/sync.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "base/time.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::SyncRequest request;
  bool dry_run = false;
};

Json result_json(const workflow::SyncReport& report) {
  Json missing = Json::array();
  for (const workflow::ListedSnapshot& one : report.plan.missing) {
    missing.push_back({{"snapshotId", one.saved.id.hex()}, {"policy", one.policy}});
  }
  Json dangling = Json::array();
  for (const crd::Record& record : report.plan.dangling) dangling.push_back(record.ref.name);
  Json held = Json::array();
  for (const cluster::ObjectName& one : report.plan.held) {
    held.push_back(to_lower(one.kind) + "/" + one.name);
  }
  return {{"location", report.plan.location},
          {"repository", report.plan.repository_url},
          {"recordsToAdd", missing},
          {"recordsToRemove", dangling},
          {"statusToWrite", report.plan.stale_status},
          {"totalsToWrite", report.plan.uncounted},
          {"locationStatusToWrite", report.plan.stale_location},
          {"toRelease", held},
          {"done", report.done},
          {"failedSteps", to_json(report.failed_steps)}};
}

std::string plan_text(const workflow::SyncPlan& plan) {
  if (plan.empty()) return "records and status agree with " + plan.repository_url + "\n";
  std::string text = "to agree with " + plan.repository_url + ":\n";
  if (plan.stale_location) {
    text += fmt::format("  write status of location {}\n", printable(plan.location));
  }
  for (const workflow::ListedSnapshot& one : plan.missing) {
    text +=
        fmt::format("  add record for snapshot {} of {} UTC, policy {}\n", one.saved.id.short_hex(),
                    format_table_time(one.saved.snapshot.time), printable(one.policy));
  }
  for (const crd::Record& record : plan.dangling) {
    text += fmt::format("  remove record {}: there is no snapshot {}\n", record.ref.name,
                        record.snapshot_id);
  }
  for (const std::string& policy : plan.stale_status) {
    text += fmt::format("  write status of policy {}\n", printable(policy));
  }
  for (const std::string& policy : plan.uncounted) {
    text += fmt::format("  count the backups of policy {}\n", printable(policy));
  }
  for (const cluster::ObjectName& one : plan.held) {
    text +=
        fmt::format("  let {}/{} go: it is being deleted, and held by an operator that is gone\n",
                    to_lower(one.kind), one.name);
  }
  return text;
}

int run(const Arguments& arguments, const Context& context) {
  const Wired wired(context);
  const bool ask = !arguments.dry_run && !context.flags.yes;
  const auto agree = [&](const workflow::SyncPlan& plan) {
    if (arguments.dry_run) return false;
    if (ask) context.show(plan_text(plan));
    return context.confirm("Continue?");
  };
  const workflow::SyncReport report =
      workflow::sync(wired.services(), arguments.request, agree, context.call);
  if (context.as_document()) {
    context.print(document(result_json(report), context.flags.output));
  } else {
    if (!ask || report.plan.empty()) context.print(plan_text(report.plan));
    if (report.done && report.failed_steps.empty()) context.print("done\n");
    if (!report.done && ask && !report.plan.empty()) context.print("nothing was changed\n");
  }
  context.show(describe(report.failed_steps));
  return report.failed_steps.empty() ? 0 : 1;
}

}  // namespace

void add_sync(CLI::App& root, Action& action) {
  CLI::App* verb =
      root.add_subcommand("sync", "Make records and status agree with what the repository holds");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  add_whose_flags(*verb, arguments->request.whose);
  verb->add_flag("--unsafe-allow-remove-all", arguments->request.unsafe_allow_remove_all,
                 "Let a policy lose every record that it has");
  verb->add_flag("--dry-run", arguments->dry_run, "Show the plan, change nothing");
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr sync --dry-run\n"
      "  kubectl kubedr sync --location local-minio --yes");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
