#include "workflow/restore.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "base/time.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"

namespace kubedr::cmd {
namespace {

// What --include, --iinclude, --include-file and --iinclude-file were given, or the same of
// --exclude.
struct PatternFlags {
  std::vector<std::string> exact, any_case;
  std::vector<std::string> files, any_case_files;
};

struct Arguments {
  workflow::RestoreRequest request;
  FilterFlags filter;
  PatternFlags include;
  PatternFlags exclude;
  std::string resource;
  std::string target;
  std::string overwrite;
};

// "$HOME/x" and "${HOME}/x" as restic reads them in a file of patterns; "$$" is a dollar.
std::string expand(const std::string& text, const Environment& environment) {
  static const std::regex kVariable(R"(\$(?:(\$)|\{(\w+)\}|(\w+)))");
  std::string expanded;
  auto rest = text.cbegin();
  for (std::sregex_iterator at(text.begin(), text.end(), kVariable), end; at != end; ++at) {
    const std::smatch& match = *at;
    expanded.append(rest, match[0].first);
    expanded += match[1].matched ? "$" : environment.get(match[2].str() + match[3].str());
    rest = match[0].second;
  }
  return expanded.append(rest, text.cend());
}

// One a line, without comments.
void read_patterns(const std::vector<std::string>& files, const Environment& environment,
                   std::vector<std::string>& patterns) {
  constexpr std::size_t kLimit = 1 << 20;
  for (const std::string& file : files) {
    const Bytes bytes = read_file(file, kLimit);
    for (const std::string& line : split(as_text(bytes), '\n')) {
      const std::string pattern(trim(line));
      if (!pattern.starts_with('#')) patterns.push_back(expand(pattern, environment));
    }
  }
}

// errors   usage: what is no pattern; those of reading a file
repo::Patterns patterns_of(const PatternFlags& flags, const Environment& environment) {
  repo::Patterns patterns{flags.exact, flags.any_case};
  read_patterns(flags.files, environment, patterns.exact);
  read_patterns(flags.any_case_files, environment, patterns.any_case);
  std::erase(patterns.exact, "");
  std::erase(patterns.any_case, "");
  for (const std::string& pattern : patterns.all()) {
    if (repo::is_pattern(pattern)) continue;
    throw Error(ErrorKind::usage, fmt::format("restore: invalid pattern \"{}\"", pattern),
                "a bracket is closed by another, and a backslash stands before something");
  }
  return patterns;
}

repo::Overwrite overwrite_of(const std::string& name) {
  if (name == "always") return repo::Overwrite::always;
  if (name == "if-changed") return repo::Overwrite::if_changed;
  if (name == "if-newer") return repo::Overwrite::if_newer;
  if (name == "never") return repo::Overwrite::never;
  return repo::Overwrite::refuse;
}

Json members_json(const etcd::DatabaseInfo& info) {
  Json members = Json::array();
  for (const etcd::Member& member : info.members) {
    members.push_back({{"name", member.name}, {"peerURLs", member.peer_urls}});
  }
  return members;
}

Json result_json(const workflow::RestoreReport& report,
                 const std::vector<workflow::FailedStep>& failed_steps) {
  Json result = {{"snapshotId", report.snapshot_id},
                 {"repository", report.repository_url},
                 {"time", format_rfc3339_nano(report.time)},
                 {"policy", report.policy},
                 {"target", report.target.string()},
                 {"files", report.tree.files},
                 {"bytes", report.tree.bytes},
                 {"verified", report.tree.verified},
                 {"unchanged", report.tree.unchanged},
                 {"dryRun", report.dry_run},
                 {"skipped", report.tree.skipped},
                 {"warnings", report.tree.warnings},
                 {"database", nullptr},
                 {"nextCommands", report.next_commands},
                 {"failedSteps", to_json(failed_steps)}};
  if (report.database.empty()) return result;
  result["database"] = {{"path", report.database.string()},
                        {"size", report.database_size},
                        {"sha256", report.database_sha256},
                        {"revision", report.database_info.revision},
                        {"members", members_json(report.database_info)}};
  return result;
}

std::string result_text(const workflow::RestoreReport& report) {
  const std::string unchanged =
      report.tree.unchanged == 0 ? "" : fmt::format(", {} left as they are", report.tree.unchanged);
  if (report.dry_run) {
    return fmt::format("snapshot {} of {} UTC would be restored to {}: {}, {}{} (dry run)\n",
                       report.snapshot_id.substr(0, 8), format_table_time(report.time),
                       report.target.string(), number_of(report.tree.files, "file"),
                       human_size(report.tree.bytes), unchanged);
  }
  std::string text = fmt::format("snapshot {} of {} UTC restored to {}: {}, {}{}\n",
                                 report.snapshot_id.substr(0, 8), format_table_time(report.time),
                                 report.target.string(), number_of(report.tree.files, "file"),
                                 human_size(report.tree.bytes), unchanged);
  if (report.tree.verified > 0) {
    text += number_of(report.tree.verified, "file") + " read back from the disk, no differences\n";
  }
  if (report.database.empty()) {
    return text + "no etcd database of this snapshot is in the target\n";
  }
  text += report.database.string() + " is whole: its sha-256 digest matches";
  // What is whole may be of an etcd that this program cannot read.
  const std::int64_t revision = report.database_info.revision;
  text += revision == 0 ? "\n\n" : fmt::format(", revision {}\n\n", revision);
  text += report.next_commands.size() > 1
              ? "next, on each control-plane node, with its kube-apiserver and etcd stopped:\n"
              : "next, with kube-apiserver and etcd stopped:\n";
  for (const std::string& command : report.next_commands) {
    text += "  " + printable(command) + "\n";
  }
  if (const std::string remark = workflow::restore_remark(report.database_info); !remark.empty()) {
    text += remark + "\n";
  }
  return text;
}

int run(Arguments arguments, const Context& context) {
  // A pod that operator mode made has these.
  if (arguments.resource.empty() && arguments.request.choice.snapshot.empty()) {
    arguments.resource = context.environment.get("KDR_MR_NAME");
  }
  if (arguments.target.empty()) arguments.target = context.environment.get("KDR_RESTORE_DEST");
  if (!arguments.resource.empty() && !arguments.request.choice.snapshot.empty()) {
    throw Error(ErrorKind::usage, "restore: a snapshot and --resource cannot be given together",
                "the MetadataRestore names its record");
  }
  if (arguments.target.empty()) {
    throw Error(ErrorKind::usage, "restore: --target is needed",
                "name a folder that does not exist yet, e.g. --target ./restored");
  }
  arguments.request.choice.filter = filter_of(arguments.filter);
  arguments.request.options.include = patterns_of(arguments.include, context.environment);
  arguments.request.options.exclude = patterns_of(arguments.exclude, context.environment);
  const repo::RestoreOptions& options = arguments.request.options;
  if (!options.include.empty() && !options.exclude.empty()) {
    throw Error(ErrorKind::usage, "restore: include and exclude patterns are mutually exclusive",
                "with `!` before it a pattern takes back what the one before it means");
  }
  if (options.verify && arguments.request.dry_run) {
    throw Error(ErrorKind::usage, "restore: --dry-run and --verify are mutually exclusive");
  }
  arguments.request.target = arguments.target;
  arguments.request.options.overwrite = overwrite_of(arguments.overwrite);
  // A pod that is started again goes on where the last one was broken off.
  if (!arguments.resource.empty() && arguments.overwrite.empty()) {
    arguments.request.options.overwrite = repo::Overwrite::if_changed;
  }
  const Wired wired(context);
  const workflow::ResourceRestore done =
      arguments.resource.empty()
          ? workflow::ResourceRestore{workflow::restore(wired.services(), arguments.request,
                                                        context.call),
                                      {}}
          : workflow::restore_resource(wired.services(), arguments.resource, arguments.request,
                                       context.call);
  const workflow::RestoreReport& report = done.report;
  for (const std::string& text : report.tree.warnings) log::warn("{}", text);
  for (const std::string& text : report.tree.skipped) log::warn("skipped: {}", text);
  if (context.as_document()) {
    context.print(document(result_json(report, done.failed_steps), context.flags.output));
  } else if (context.flags.output == "name") {
    context.print(report.target.string() + "\n");
  } else {
    context.print(result_text(report));
  }
  context.show(describe(done.failed_steps));
  return done.failed_steps.empty() ? 0 : 3;
}

// "-i,--include" and what belongs to it.
void add_patterns(CLI::App& verb, const std::string& short_name, const std::string& name,
                  const std::string& meaning, PatternFlags& flags) {
  const auto add = [&](const std::string& names, std::vector<std::string>& values, const char* type,
                       const std::string& what) {
    verb.add_option(names, values, what + "; may be repeated")
        ->type_name(type)
        ->take_all()
        ->expected(1)
        ->group("What of it");
  };
  add(short_name + ",--" + name, flags.exact, "PATTERN", meaning);
  add("--i" + name, flags.any_case, "PATTERN", "As --" + name + ", for which A is a");
  add("--" + name + "-file", flags.files, "FILE", "With a pattern a line, and # before comments");
  add("--i" + name + "-file", flags.any_case_files, "FILE", "The same, for which A is a");
}

void add_pattern_flags(CLI::App& verb, Arguments& arguments) {
  add_patterns(verb, "-i", "include",
               "Only what matches: /data/pki, or a name at any depth such as *.crt",
               arguments.include);
  add_patterns(verb, "-e", "exclude", "All but what matches", arguments.exclude);
}

}  // namespace

void add_restore(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand(
      "restore", "Bring a snapshot's files back and prove the database by its digest");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  workflow::RestoreRequest& request = arguments->request;
  verb->add_option("SNAPSHOT", request.choice.snapshot,
                   "A record's name, a snapshot's id or the start of one, or latest");
  verb->add_option("-t,--target", arguments->target, "Folder to restore to: new, or empty")
      ->type_name("DIR");
  verb->add_option("--resource", arguments->resource,
                   "Carry out this MetadataRestore, in a pod that mounts its claim at the target");
  add_whose_flags(*verb, request.choice.whose);
  verb->add_option("--overwrite", arguments->overwrite,
                   "Restore into a folder that holds files, and replace them: always, if-changed, "
                   "if-newer or never")
      ->check(CLI::IsMember({"always", "if-changed", "if-newer", "never"}));
  add_filter_flags(*verb, arguments->filter, Filtered::latest);
  verb->add_flag("--sparse")->description("Leave holes where a file is zeros; done without it too");
  verb->add_flag("--verify", request.options.verify,
                 "Read each file back from the disk before it gets its name");
  verb->add_flag("--dry-run", request.dry_run, "Say what would be restored, write nothing");
  add_pattern_flags(*verb, *arguments);
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr restore latest --policy nightly --target ./restored\n"
      "  kubectl kubedr restore mbr-83a71b2c --target ./restored\n"
      "  kubectl kubedr restore mbr-83a71b2c --target ./restored --overwrite if-changed\n"
      "  kubectl kubedr restore latest --target ./restored --exclude '*.key'\n"
      "  RESTIC_PASSWORD_FILE=pw kubectl-kubedr --repo s3:https://minio:9000/etcd \\\n"
      "      restore latest --target ./restored\n\n"
      "The command that makes an etcd data directory of it is printed at the end.");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
