#include "workflow/install.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"
#include "workflow/job.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  std::string dry_run = "none";
  bool with_metrics = false;
  workflow::MetricsService metrics;
};

workflow::InstallRequest request_of(const Arguments& arguments) {
  if (arguments.with_metrics) return {arguments.metrics};
  const bool metrics_only = arguments.metrics.service_monitor || !arguments.metrics.image.empty();
  if (metrics_only) {
    throw Error(ErrorKind::usage, "--image and --service-monitor go with --metrics",
                "add --metrics, or leave them out");
  }
  return {};
}

int show(const workflow::InstallRequest& request, const Context& context) {
  if (request.metrics && request.metrics->image.empty()) {
    throw Error(ErrorKind::usage, "--metrics: which image holds this program? --image names it",
                workflow::kImageHint);
  }
  context.print(objects_text(workflow::install_objects(name_space_of(context), request),
                             context.flags.output));
  return 0;
}

int run(const Arguments& arguments, const Context& context) {
  const workflow::InstallRequest request = request_of(arguments);
  if (arguments.dry_run == "client") return show(request, context);
  const Wired wired(context);
  require_cluster(wired.services(), "install", "--dry-run=client -o yaml prints the objects");
  const std::vector<workflow::Installed> installed =
      workflow::install(wired.services(), request, context.call);
  Json list = Json::array();
  std::string text;
  for (const workflow::Installed& one : installed) {
    list.push_back(
        {{"object", one.object}, {"changed", one.applied != cluster::Applied::unchanged}});
    text += context.flags.output == "name"
                ? one.object + "\n"
                : fmt::format("{} {}\n", one.object, applied_word(one.applied));
  }
  context.print(context.as_document() ? document({{"installed", list}}, context.flags.output)
                                      : text);
  return 0;
}

}  // namespace

void add_install(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand(
      "install", "Apply the custom resources' definitions, namespace and roles");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  verb->add_option("--dry-run", arguments->dry_run, "client: print the objects and apply nothing")
      ->check(CLI::IsMember({"none", "client"}));
  verb->add_flag("--metrics", arguments->with_metrics,
                 "Also run `metrics --listen` in the cluster: a Deployment and a Service");
  verb->add_option("--image", arguments->metrics.image,
                   "Image with this program for --metrics; needed the first time");
  verb->add_flag("--service-monitor", arguments->metrics.service_monitor,
                 "With --metrics: a ServiceMonitor, for a Prometheus operator");
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr install\n"
      "  kubectl kubedr install --metrics --image registry.example.com/kubectl-kubedr:1.0.0\n"
      "  kubectl kubedr install --dry-run=client -o yaml > kubedr.yaml\n"
      "  kubectl -n kubedr-system create rolebinding alice --role=kubedr-backup --user=alice\n"
      "  kubectl create clusterrolebinding alice-kubedr --clusterrole=kubedr-identity "
      "--user=alice\n\n"
      "Roles: kubedr-reader (a ClusterRole, part of \"view\"), kubedr-backup and kubedr-admin, to "
      "be\n"
      "bound to people; kubedr-job is what scheduled backups run as. Once more after a change of\n"
      "Secrets' names, it lets kubedr-backup read those and no others.");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
