#include "cmd/changes.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cmd/print.h"

namespace kubedr::cmd {
namespace {

int print_objects(const char* what, const std::vector<std::string>& objects,
                  const std::vector<workflow::FailedStep>& failed_steps, const Context& context) {
  if (context.as_document()) {
    context.print(
        document({{what, objects}, {"failedSteps", to_json(failed_steps)}}, context.flags.output));
  } else {
    const bool name_only = context.flags.output == "name";
    std::string text;
    for (const std::string& object : objects) {
      text += object + (name_only ? "" : std::string(" ") + what) + "\n";
    }
    context.print(text);
  }
  context.show(describe(failed_steps));
  return failed_steps.empty() ? 0 : 3;
}

}  // namespace

int print_created(const workflow::CreateReport& report, const Context& context) {
  return print_objects("created", report.created, report.failed_steps, context);
}

workflow::AgreeToDelete agree_to_delete(const Context& context, const std::string& kept) {
  return [&context, kept](const workflow::DeletePlan& plan) {
    if (!context.flags.yes) {
      std::string text;
      for (const cluster::ObjectName& object : plan.objects) {
        text += fmt::format("delete    {}/{}\n", to_lower(object.kind), object.name);
      }
      if (!plan.secret.empty()) text += fmt::format("delete    secret/{}\n", plan.secret);
      if (plan.records > 0) {
        text += fmt::format("kept      {} record{} that name{} it\n", plan.records,
                            plan.records == 1 ? "" : "s", plan.records == 1 ? "s" : "");
      }
      context.show(text + fmt::format("kept      {}\n", kept));
    }
    return context.confirm("Delete?");
  };
}

int print_deleted(const workflow::DeleteReport& report, const Context& context) {
  if (!report.done && !context.as_document()) {
    context.print("nothing was changed\n");
    return 0;
  }
  return print_objects("deleted", report.deleted, report.failed_steps, context);
}

}  // namespace kubedr::cmd
