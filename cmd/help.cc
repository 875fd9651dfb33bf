#include <fmt/core.h>

#include "base/error.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/tree.h"

namespace kubedr::cmd {
namespace {

int run(const std::vector<std::string>& words, const Context& context) {
  // A tree of its own: what was parsed would be asked for the help of its verb, this one.
  Flags flags;
  CLI::App root;
  Action ignored;
  describe_command_line(root, flags, ignored);
  const CLI::App* verb = &root;
  for (const std::string& word : words) {
    const CLI::App* below = verb_named(*verb, word);
    if (below == nullptr) throw unknown_verb(*verb, word);
    verb = below;
  }
  context.print(verb->help());
  return 0;
}

}  // namespace

void add_help(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand("help", "Print the help of a verb");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto words = std::make_shared<std::vector<std::string>>();
  verb->add_option("VERB", *words, "The verb, and the one below it if there is one");
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr help backup\n"
      "  kubectl kubedr help key add");
  on_parsed(*verb, action, words, run);
}

}  // namespace kubedr::cmd
