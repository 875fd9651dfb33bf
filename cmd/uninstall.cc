#include "workflow/uninstall.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::UninstallRequest request;
  std::string confirm;  // the namespace's name, for whoever has no terminal to type it on
};

std::string plan_text(const workflow::UninstallPlan& plan, const std::string& name_space) {
  std::string text;
  for (const auto& [what, count] : plan.losses)
    text += fmt::format("lost      {} {}\n", count, what);
  for (const cluster::ObjectName& object : plan.objects) {
    const bool counted = object.kind.starts_with("Metadata") || object.kind == "BackupLocation";
    if (!counted) text += fmt::format("delete    {}/{}\n", to_lower(object.kind), object.name);
  }
  return text +
         fmt::format("kept      namespace/{}, its Secrets, and every repository\n", name_space);
}

// Records are not lost by a habit of typing y.
bool typed_name(const std::string& name_space, const Arguments& arguments, const Context& context) {
  if (!arguments.confirm.empty()) {
    if (arguments.confirm == name_space) return true;
    throw Error(ErrorKind::usage,
                fmt::format("--confirm {}: the namespace is \"{}\": nothing was changed",
                            arguments.confirm, name_space),
                "add -n NAMESPACE if another one is meant");
  }
  const std::optional<Secret> answer =
      ask(fmt::format("Type the namespace's name, {}, to delete the records: ", name_space), false,
          context.call);
  if (!answer) {
    throw Error(ErrorKind::usage, "there is no terminal to type the name on: nothing was changed",
                "give the namespace's name with --confirm");
  }
  return answer->reveal() == name_space;
}

int run(const Arguments& arguments, const Context& context) {
  const Wired wired(context);
  require_cluster(wired.services(), "uninstall", "");
  const std::string& name_space = wired.services().cluster.name_space();
  const auto agree = [&](const workflow::UninstallPlan& plan) {
    if (plan.objects.empty()) return false;
    const bool with_name = arguments.request.delete_records;
    if (with_name || !context.flags.yes) context.show(plan_text(plan, name_space));
    return with_name ? typed_name(name_space, arguments, context)
                     : context.confirm("Delete these?");
  };
  const workflow::UninstallReport report =
      workflow::uninstall(wired.services(), arguments.request, agree, context.call);
  if (context.as_document()) {
    context.print(document({{"deleted", report.deleted}}, context.flags.output));
    return 0;
  }
  if (!report.done) {
    context.print("nothing was changed\n");
    return 0;
  }
  std::string text;
  for (const std::string& object : report.deleted) text += object + " deleted\n";
  context.print(text);
  return 0;
}

}  // namespace

void add_uninstall(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand(
      "uninstall", "Take back what install and schedule made; Secrets and repositories stay");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  verb->add_flag("--delete-records", arguments->request.delete_records,
                 "The custom resources too, in every namespace: locations, policies and records");
  verb->add_option("--confirm", arguments->confirm,
                   "The namespace's name, instead of typing it; goes with --delete-records");
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr uninstall\n"
      "  kubectl kubedr uninstall --delete-records\n\n"
      "Never deletes a namespace, a Secret or a repository. Records can be had again from the\n"
      "repository with `sync`, once its location and policy are there.");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
