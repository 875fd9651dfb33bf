#include "workflow/install.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/yaml.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  std::string dry_run = "none";
};

void print_objects(const Context& context) {
  const std::vector<Json> objects = workflow::install_objects(name_space_of(context));
  if (context.flags.output == "json") {
    context.print(document({{"apiVersion", "v1"}, {"kind", "List"}, {"items", objects}}, "json"));
    return;
  }
  std::string text;
  for (const Json& object : objects) text += (text.empty() ? "" : "---\n") + to_yaml(object);
  context.print(text);
}

int run(const Arguments& arguments, const Context& context) {
  if (arguments.dry_run == "client") {
    print_objects(context);
    return 0;
  }
  const Wired wired(context);
  if (wired.services().cluster.mode() != "cluster") {
    throw Error(ErrorKind::usage, "install: works on a cluster, not on -f or --repo",
                "--dry-run=client -o yaml prints the objects");
  }
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
  CLI::App* verb =
      root.add_subcommand("install", "Apply the custom resource definitions and the namespace");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  verb->add_option("--dry-run", arguments->dry_run, "client: print the objects and apply nothing")
      ->check(CLI::IsMember({"none", "client"}));
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr install\n"
      "  kubectl kubedr install --dry-run=client -o yaml > kubedr-crds.yaml");
  verb->callback([&action, arguments] {
    action = [arguments](const Context& context) { return run(*arguments, context); };
  });
}

}  // namespace kubedr::cmd
