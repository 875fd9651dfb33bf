#ifndef KUBEDR_CMD_TREE_H
#define KUBEDR_CMD_TREE_H

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

// CLI11's tree of verbs and flags, read back: help, manual pages and completion are made from what
// stands here, so that a new verb is in all of them by being added.
namespace kubedr::cmd {

// Groups of the flags that every verb takes.
inline constexpr char kServer[] = "Which server, as whom";
inline constexpr char kWhere[] = "Where things are";
inline constexpr char kOutput[] = "Output";

// The verbs below one, as help lists them: without the hidden ones.
std::vector<const CLI::App*> verbs_of(const CLI::App& verb);

// The one of that name; null if there is none.
const CLI::App* verb_named(const CLI::App& verb, const std::string& name);

// "key add"; empty for the root.
std::string path_of(const CLI::App& verb);

std::vector<const CLI::Option*> positionals_of(const CLI::App& verb);
std::vector<const CLI::Option*> flags_of(const CLI::App& verb);

// As they are typed: "-n", "--namespace".
std::vector<std::string> names_of(const CLI::Option& flag);

// Whether a value follows it.
bool takes_value(const CLI::Option& option);

bool may_repeat(const CLI::Option& option);

// What its value is called, and known by: the type's name where the verb gives one, else the last
// word of its own. "FILE", "POLICY", "N"; empty for a flag without a value.
std::string value_name(const CLI::Option& option);

// The same for people: "auto|pages|restic" where the list is short.
std::string value_text(const CLI::Option& option);

// Every value that it takes, where these can be listed.
std::vector<std::string> choices_of(const CLI::Option& option);

// "backup [POLICY] [flags]".
std::string usage_of(const CLI::App& verb);

// What stands below a verb's flags.
struct Footer {
  std::vector<std::string> examples;    // lines, as they are typed
  std::vector<std::string> paragraphs;  // what is to be said besides
};

Footer footer_of(const CLI::App& verb);

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_TREE_H
