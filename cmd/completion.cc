#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/shells.h"

namespace kubedr::cmd {
namespace {

int run(const std::string& shell, const Context& context) {
  for (const ShellScript& script : shell_scripts()) {
    if (script.shell != shell) continue;
    context.print(
        context.as_document()
            ? document({{"shell", script.shell}, {"script", script.text}}, context.flags.output)
            : script.text);
  }
  return 0;
}

}  // namespace

void add_completion(CLI::App& root, Action& action) {
  CLI::App* verb =
      root.add_subcommand("completion", "Print what makes a shell, or kubectl, complete our lines");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto shell = std::make_shared<std::string>();
  verb->add_option("SHELL", *shell, "bash, zsh or fish; kubectl is for `kubectl kubedr <TAB>`")
      ->check(CLI::IsMember({"bash", "zsh", "fish", "kubectl"}))
      ->required();
  verb->footer(
      "Examples:\n"
      "  source <(kubectl kubedr completion bash)\n"
      "  kubectl kubedr completion zsh > \"${fpath[1]}/_kubectl-kubedr\"\n"
      "  kubectl kubedr completion fish > ~/.config/fish/completions/kubectl-kubedr.fish\n"
      "  kubectl kubedr completion kubectl > ~/bin/kubectl_complete-kubedr\n"
      "  chmod +x ~/bin/kubectl_complete-kubedr\n\n"
      "The scripts complete `kubectl-kubedr`. For `kubectl kubedr` kubectl's own completion calls\n"
      "kubectl_complete-kubedr, which must be in PATH and executable.");
  on_parsed(*verb, action, shell, run);
}

}  // namespace kubedr::cmd
