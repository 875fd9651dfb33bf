#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"
#include "workflow/maintain.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::Whose whose;
  bool read_all_packs = false;
};

Json result_json(const workflow::RepairReport& report) {
  const repo::RepairedIndex& repaired = report.repaired;
  return {{"repository", report.repository_url},
          {"packsRead", repaired.packs_read},
          {"packsUnreadable", repaired.packs_unreadable},
          {"packsDropped", repaired.packs_dropped},
          {"indexFilesRemoved", repaired.index_files_removed},
          {"indexFilesWritten", repaired.index_files_written},
          {"problems", repaired.problems}};
}

std::string result_text(const workflow::RepairReport& report) {
  const repo::RepairedIndex& repaired = report.repaired;
  std::string text;
  for (const std::string& problem : repaired.problems) text += printable(problem) + "\n";
  if (repaired.index_files_written == 0 && repaired.index_files_removed == 0) {
    return text + "the index of " + report.repository_url + " needs no repair\n";
  }
  text += fmt::format(
      "{}: {} read, {} dropped; {} written, {} removed\n"
      "next: kubectl kubedr check\n",
      report.repository_url, number_of(repaired.packs_read, "pack"), repaired.packs_dropped,
      number_of(repaired.index_files_written, "index file"), repaired.index_files_removed);
  return text;
}

int run(const Arguments& arguments, const Context& context) {
  const Wired wired(context);
  const workflow::RepairReport report = workflow::repair_index(
      wired.services(), arguments.whose, arguments.read_all_packs, context.call);
  context.print(context.as_document() ? document(result_json(report), context.flags.output)
                                      : result_text(report));
  return 0;
}

}  // namespace

void add_repair(CLI::App& root, Action& action) {
  CLI::App* group = root.add_subcommand("repair", "Mend what can be mended of a repository");
  group->require_subcommand(1);
  group->footer("Examples:\n  kubectl kubedr repair index --location local-minio");
  CLI::App* verb =
      group->add_subcommand("index", "Build the index anew from the packs that are there");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  add_whose_flags(*verb, arguments->whose);
  verb->add_flag("--read-all-packs", arguments->read_all_packs,
                 "Read the header of every pack, trust no index file");
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr repair index --location local-minio\n"
      "  kubectl kubedr repair index --repo /mnt/backups --read-all-packs");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
