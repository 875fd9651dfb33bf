#ifndef KUBEDR_CMD_FLAGS_H
#define KUBEDR_CMD_FLAGS_H

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "kube/kubeconfig.h"
#include "workflow/maintain.h"
#include "workflow/snapshots.h"

namespace kubedr::cmd {

// Flags that every verb takes.
struct Flags {
  kube::Flags kube;
  std::string token;     // moved into kube.token, and wiped here
  std::string password;  // likewise
  std::string request_timeout = "0";
  std::string name_space;
  bool all_namespaces = false;
  std::vector<std::string> manifests;  // -f
  std::string repo;                    // --repo
  std::string retry_lock = "10m";
  bool no_cache = false;
  bool no_lock = false;
  std::string output = "table";
  bool no_headers = false;
  bool quiet = false;
  std::string progress = "auto";
  int verbosity = 0;
  bool no_color = false;
  bool yes = false;
};

struct Context;

// What a verb does once everything is parsed; returns the exit code.
using Action = std::function<int(const Context&)>;

// Once its line is parsed the verb is this work on these arguments, which CLI11 fills in before and
// keeps until then.
template <class Arguments, class Work>
void on_parsed(CLI::App& verb, Action& action, const std::shared_ptr<Arguments>& arguments,
               Work work) {
  verb.callback([&action, arguments, work] {
    action = [arguments, work](const Context& context) { return work(*arguments, context); };
  });
}

// The whole command line: the tree that help is printed from. Sets `action` when parsed.
//
// CLI11 writes into `flags` and `action`, which must outlive the tree.
void describe_command_line(CLI::App& root, Flags& flags, Action& action);

// argv as CLI11 can read it: `-v`, `-vv` and `-v=3` become `--v=N`. Under the name of operator
// mode's program, kubedrutil, its `repoinit` is `init`; `backup` and `restore` are called as here.
std::vector<std::string> normalize_arguments(int argc, char** argv);

// The last words for a line that could not be parsed: what was probably meant, else whose help says
// more.
Error explain_parse_error(const CLI::App& root, const CLI::ParseError& error,
                          const std::vector<std::string>& arguments);

// "unknown command "x" for "kubectl kubedr key"", likewise.
Error unknown_verb(const CLI::App& above, const std::string& word);

// Whether a line that could not be parsed asks for its failure as JSON.
bool asks_for_json(const std::vector<std::string>& arguments);

// --timeout and the like; "0" is none.
//
// errors   usage: `FLAG: invalid duration "x"`
std::chrono::milliseconds parse_flag_duration(const std::string& flag, const std::string& text);

// "512MiB", "4G", "0".
//
// errors   usage: `FLAG: invalid size "x"`
std::uint64_t parse_flag_size(const std::string& flag, const std::string& text);

// --location and --policy, for verbs that care for a repository.
void add_whose_flags(CLI::App& verb, workflow::Whose& whose);

// The flags that choose snapshots, as they were given.
struct FilterFlags {
  std::vector<std::string> hosts;
  std::vector<std::string> tags;
  std::vector<std::string> paths;
};

// What the filter is of: all that the verb looks at, or what its `latest` may be.
enum class Filtered { all, latest };

// --host, --tag and --path, for verbs that choose among snapshots. -H is --host's unless the verb
// has it already, as with restic.
void add_filter_flags(CLI::App& verb, FilterFlags& flags, Filtered what);
workflow::SnapshotFilter filter_of(const FilterFlags& flags);

// restic's lists of tags: "a,b" are two that belong together.
std::vector<std::vector<std::string>> parse_tag_lists(const std::vector<std::string>& lists);

// The flags of a prune as they were given.
struct PruneFlags {
  std::string max_unused = "5%";
  std::string max_repack_size;
  bool repack_cacheable_only = false;
  bool repack_small = false;
  std::string repack_smaller_than;
};

void add_prune_flags(CLI::App& verb, PruneFlags& flags);

// errors   usage: a limit that is none
repo::PruneOptions prune_options_of(const PruneFlags& flags);

// The hidden verb that completes a line for a shell.
inline constexpr char kCompleteVerb[] = "__complete";

// One file a verb; each adds its subcommand, its flags and its examples.
void add_backup(CLI::App& root, Action& action);
void add_check(CLI::App& root, Action& action);
void add_complete(CLI::App& root, Action& action);
void add_completion(CLI::App& root, Action& action);
void add_docs(CLI::App& root, Action& action);
void add_doctor(CLI::App& root, Action& action);
void add_dump(CLI::App& root, Action& action);
void add_forget(CLI::App& root, Action& action);
void add_help(CLI::App& root, Action& action);
void add_init(CLI::App& root, Action& action);
void add_install(CLI::App& root, Action& action);
void add_key(CLI::App& root, Action& action);
void add_location(CLI::App& root, Action& action);
void add_ls(CLI::App& root, Action& action);
void add_metrics(CLI::App& root, Action& action);
void add_policy(CLI::App& root, Action& action);
void add_prune(CLI::App& root, Action& action);
void add_repair(CLI::App& root, Action& action);
void add_restore(CLI::App& root, Action& action);
void add_resume(CLI::App& root, Action& action);
void add_schedule(CLI::App& root, Action& action);
void add_snapshots(CLI::App& root, Action& action);
void add_stats(CLI::App& root, Action& action);
void add_status(CLI::App& root, Action& action);
void add_suspend(CLI::App& root, Action& action);
void add_sync(CLI::App& root, Action& action);
void add_uninstall(CLI::App& root, Action& action);
void add_unlock(CLI::App& root, Action& action);
void add_unschedule(CLI::App& root, Action& action);
void add_version(CLI::App& root, Action& action);

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_FLAGS_H
