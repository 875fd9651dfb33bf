#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"
#include "workflow/schedule.h"

namespace kubedr::cmd {
namespace {

int run(const std::string& policy, bool suspended, const Context& context) {
  const Wired wired(context);
  require_cluster(wired.services(), suspended ? "suspend" : "resume", "");
  const workflow::SuspendReport report =
      workflow::set_suspended(wired.services(), policy, suspended, context.call);
  const std::string name = "metadatabackuppolicy/" + report.policy;
  if (context.as_document()) {
    context.print(document({{"policy", report.policy},
                            {"suspended", suspended},
                            {"changed", report.changed},
                            {"scheduled", report.scheduled}},
                           context.flags.output));
    return 0;
  }
  if (context.flags.output == "name") {
    context.print(name + "\n");
    return 0;
  }
  context.print(fmt::format("{} {}{}\n", name, report.changed ? "" : "already ",
                            suspended ? "suspended" : "resumed"));
  if (!suspended && !report.scheduled) {
    context.remark(
        fmt::format("  it is not scheduled: kubectl kubedr schedule {}\n", report.policy));
  }
  return 0;
}

void add(CLI::App& root, Action& action, const char* name, const char* description,
         bool suspended) {
  CLI::App* verb = root.add_subcommand(name, description);
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto policy = std::make_shared<std::string>();
  verb->add_option("POLICY", *policy,
                   "Name of the MetadataBackupPolicy; may be left out where there is just one");
  verb->footer(
      fmt::format("Examples:\n"
                  "  kubectl kubedr {} nightly\n\n"
                  "Backups that somebody takes by hand go on in either case.",
                  name));
  verb->callback([&action, policy, suspended] {
    action = [policy, suspended](const Context& context) {
      return run(*policy, suspended, context);
    };
  });
}

}  // namespace

void add_suspend(CLI::App& root, Action& action) {
  add(root, action, "suspend", "Pause the scheduled backups of a policy", true);
}

void add_resume(CLI::App& root, Action& action) {
  add(root, action, "resume", "Go on with the scheduled backups of a policy", false);
}

}  // namespace kubedr::cmd
