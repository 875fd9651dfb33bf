#include "workflow/schedule.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/push.h"
#include "cmd/wire.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::ScheduleRequest request;
  std::string dry_run = "none";
};

Json result_json(const workflow::ScheduleReport& report) {
  return {{"policy", report.policy},
          {"object", report.object},
          {"image", report.image},
          {"push", report.push},
          {"changed", report.applied != cluster::Applied::unchanged},
          {"replaced", report.replaced},
          {"deletedJobs", report.deleted_jobs}};
}

std::string result_text(const workflow::ScheduleReport& report) {
  const char* what = report.replaced ? "replaced" : applied_word(report.applied);
  std::string text = fmt::format("{} {}\n", report.object, what);
  for (const std::string& job : report.deleted_jobs) {
    text += fmt::format("job.batch/{} deleted: it could not start\n", job);
  }
  return text;
}

int run(const Arguments& arguments, const Context& context) {
  const auto& push = arguments.request.push;
  if (push && !push->empty()) push_address(*push);  // or it is refused
  const Wired wired(context);
  if (arguments.dry_run == "client") {
    const Json object =
        workflow::scheduled_object(wired.services(), arguments.request, context.call);
    context.print(context.flags.output == "json" ? document(object, "json")
                                                 : objects_text({object}, "yaml"));
    return 0;
  }
  require_cluster(wired.services(), "schedule", "--dry-run=client -o yaml prints the object");
  const workflow::ScheduleReport report =
      workflow::schedule(wired.services(), arguments.request, context.call);
  if (context.as_document()) {
    context.print(document(result_json(report), context.flags.output));
  } else {
    context.print(context.flags.output == "name" ? report.object + "\n" : result_text(report));
  }
  return 0;
}

int stop(const std::string& policy, const Context& context) {
  const Wired wired(context);
  require_cluster(wired.services(), "unschedule", "");
  const std::string object = workflow::unschedule(wired.services(), policy, context.call);
  if (context.as_document()) {
    context.print(document({{"deleted", Json::array({object})}}, context.flags.output));
  } else {
    context.print(object + (context.flags.output == "name" ? "\n" : " deleted\n"));
  }
  return 0;
}

}  // namespace

void add_schedule(CLI::App& root, Action& action) {
  CLI::App* verb =
      root.add_subcommand("schedule", "Take a policy's backups in the cluster, by a CronJob");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  verb->add_option("POLICY", arguments->request.policy,
                   "Name of the MetadataBackupPolicy; may be left out where there is just one");
  verb->add_option("--image", arguments->request.image,
                   "The image with this program; later that of the CronJob, if nothing is said");
  verb->add_option("--push", arguments->request.push,
                   "The Pushgateway that its pods tell of each backup; later that of the CronJob, "
                   "if nothing is said, and none if it is empty")
      ->type_name("URL");
  verb->add_flag("--force", arguments->request.force,
                 "Replace a CronJob that an operator, or somebody else, made");
  verb->add_option("--dry-run", arguments->dry_run, "client: print the CronJob and apply nothing")
      ->check(CLI::IsMember({"none", "client"}));
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr schedule nightly --image registry.example.com/kubectl-kubedr:0.1.0\n"
      "  kubectl kubedr schedule nightly                     # after a change of the policy\n"
      "  kubectl kubedr schedule nightly --push http://pushgateway:9091\n"
      "  kubectl kubedr schedule nightly --image IMAGE --dry-run=client -o yaml\n\n"
      "Its pods run on control-plane nodes, as the service account kubedr-job of `install`.");
  on_parsed(*verb, action, arguments, run);
}

void add_unschedule(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand("unschedule", "Delete the CronJob of a policy");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto policy = std::make_shared<std::string>();
  verb->add_option("POLICY", *policy,
                   "Name of the MetadataBackupPolicy; may be left out where there is just one");
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr unschedule nightly\n\n"
      "Its Jobs go with it, also one that is running. `suspend` only pauses.");
  on_parsed(*verb, action, policy, stop);
}

}  // namespace kubedr::cmd
