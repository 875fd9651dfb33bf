#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"
#include "workflow/maintain.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::Whose whose;
  PruneFlags prune;
  bool dry_run = false;
  bool unsafe_allow_remove_all = false;
};

int run(const Arguments& arguments, const Context& context) {
  repo::PruneOptions options = prune_options_of(arguments.prune);
  options.may_be_empty = arguments.unsafe_allow_remove_all;
  const Wired wired(context);
  const auto agree = [&](const repo::PruneFigures& figures) {
    if (arguments.dry_run) return false;
    if (context.flags.yes) return true;
    context.show(describe(figures));
    return context.confirm("Continue?");
  };
  const workflow::PruneReport report =
      workflow::prune(wired.services(), arguments.whose, options, agree, context.call);
  if (context.as_document()) {
    context.print(document({{"repository", report.repository_url},
                            {"done", report.done},
                            {"dryRun", arguments.dry_run},
                            {"plan", to_json(report.figures)}},
                           context.flags.output));
    return 0;
  }
  const bool nothing_to_do = report.figures.bytes_freed == 0 && !report.done;
  const bool shown = !arguments.dry_run && !context.flags.yes && !nothing_to_do;
  if (!shown) context.print(describe(report.figures));
  if (report.done) {
    context.print(fmt::format("{} freed in {}\n", human_size(report.figures.bytes_freed),
                              report.repository_url));
  } else if (!arguments.dry_run) {
    context.print("nothing was changed\n");
  }
  return 0;
}

}  // namespace

void add_prune(CLI::App& root, Action& action) {
  CLI::App* verb =
      root.add_subcommand("prune", "Remove data that no snapshot needs, after showing the plan");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  add_whose_flags(*verb, arguments->whose);
  add_prune_flags(*verb, arguments->prune);
  verb->add_flag("--unsafe-allow-remove-all", arguments->unsafe_allow_remove_all,
                 "Believe a listing without any snapshot, or without one that a record names");
  verb->add_flag("--dry-run", arguments->dry_run, "Show the plan, change nothing");
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr prune --location local-minio\n"
      "  kubectl kubedr prune --max-unused 0 --yes\n"
      "  kubectl kubedr prune --dry-run -o json");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
