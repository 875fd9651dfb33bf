#include "version.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"

namespace kubedr::cmd {
namespace {

int run(const Context& context) {
  const Json result = {{"version", kVersion}};
  context.print(context.as_document() ? document(result, context.flags.output)
                                      : fmt::format("kubectl-kubedr {}\n", kVersion));
  return 0;
}

}  // namespace

void add_version(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand("version", "Print the version");
  verb->footer("Examples:\n  kubectl kubedr version\n  kubectl kubedr version -o json");
  verb->callback([&action] { action = run; });
}

}  // namespace kubedr::cmd
