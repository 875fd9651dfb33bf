#include "workflow/install.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  std::string dry_run = "none";
};

int run(const Arguments& arguments, const Context& context) {
  if (arguments.dry_run == "client") {
    context.print(
        objects_text(workflow::install_objects(name_space_of(context)), context.flags.output));
    return 0;
  }
  const Wired wired(context);
  require_cluster(wired.services(), "install", "--dry-run=client -o yaml prints the objects");
  const std::vector<workflow::Installed> installed =
      workflow::install(wired.services(), context.call);
  Json list = Json::array();
  std::string text;
  for (const workflow::Installed& one : installed) {
    list.push_back({{"object", one.object}, {"changed", one.changed}});
    text += context.flags.output == "name"
                ? one.object + "\n"
                : fmt::format("{} {}\n", one.object, one.changed ? "configured" : "unchanged");
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
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr install\n"
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
