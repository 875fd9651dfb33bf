#include "workflow/restore.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "base/time.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::RestoreRequest request;
  std::string resource;
  std::string target;
  std::string overwrite;
};

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
    return fmt::format("snapshot {} of {} UTC would be restored to {}: {} files, {}{} (dry run)\n",
                       report.snapshot_id.substr(0, 8), format_table_time(report.time),
                       report.target.string(), report.tree.files, human_size(report.tree.bytes),
                       unchanged);
  }
  std::string text = fmt::format("snapshot {} of {} UTC restored to {}: {} files, {}{}\n",
                                 report.snapshot_id.substr(0, 8), format_table_time(report.time),
                                 report.target.string(), report.tree.files,
                                 human_size(report.tree.bytes), unchanged);
  if (report.database.empty()) {
    return text + "no etcd database of this snapshot is in the target\n";
  }
  text += fmt::format("{} is whole: its sha-256 digest matches, revision {}\n\n",
                      report.database.string(), report.database_info.revision);
  text += report.next_commands.size() > 1
              ? "next, on each control-plane node, with its kube-apiserver and etcd stopped:\n"
              : "next, with kube-apiserver and etcd stopped:\n";
  for (const std::string& command : report.next_commands) {
    text += "  " + printable(command) + "\n";
  }
  return text;
}

int run(Arguments arguments, const Context& context) {
  // A pod that operator mode made has these.
  if (arguments.resource.empty() && arguments.request.snapshot.empty()) {
    arguments.resource = context.environment.get("KDR_MR_NAME");
  }
  if (arguments.target.empty()) arguments.target = context.environment.get("KDR_RESTORE_DEST");
  if (!arguments.resource.empty() && !arguments.request.snapshot.empty()) {
    throw Error(ErrorKind::usage, "restore: a snapshot and --resource cannot be given together",
                "the MetadataRestore names its record");
  }
  if (arguments.target.empty()) {
    throw Error(ErrorKind::usage, "restore: --target is needed",
                "name a folder that does not exist yet, e.g. --target ./restored");
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
  context.remark(describe(done.failed_steps));
  return done.failed_steps.empty() ? 0 : 3;
}

}  // namespace

void add_restore(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand(
      "restore", "Bring a snapshot's files back and prove the database by its digest");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  workflow::RestoreRequest& request = arguments->request;
  verb->add_option("SNAPSHOT", request.snapshot,
                   "A record's name, a snapshot's id or the start of one, or latest");
  verb->add_option("--target", arguments->target, "Folder to restore to: new, or empty")
      ->type_name("DIR");
  verb->add_option("--resource", arguments->resource,
                   "Carry out this MetadataRestore, in a pod that mounts its claim at the target");
  verb->add_option("--location", request.location, "The BackupLocation that holds it");
  verb->add_option("--policy", request.policy, "Whose latest");
  verb->add_option("--include", request.options.include,
                   "Only what matches: /data/pki, or a name at any depth; may be repeated")
      ->type_name("PATTERN")
      ->take_all()
      ->expected(1);
  verb->add_option("--overwrite", arguments->overwrite,
                   "Restore into a folder that holds files, and replace them: always, if-changed, "
                   "if-newer or never")
      ->check(CLI::IsMember({"always", "if-changed", "if-newer", "never"}));
  verb->add_flag("--dry-run", request.dry_run, "Say what would be restored, write nothing");
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr restore latest --policy nightly --target ./restored\n"
      "  kubectl kubedr restore mbr-83a71b2c --target ./restored\n"
      "  kubectl kubedr restore mbr-83a71b2c --target ./restored --overwrite if-changed\n"
      "  RESTIC_PASSWORD_FILE=pw kubectl-kubedr --repo s3:https://minio:9000/etcd \\\n"
      "      restore latest --target ./restored\n\n"
      "The command that makes an etcd data directory of it is printed at the end.");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
