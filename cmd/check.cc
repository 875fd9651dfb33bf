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
  workflow::CheckRequest request;
  bool read_data = false;
  std::string subset;
};

constexpr int kDamaged = 5;

const char* name_of(repo::Problem::Severity severity) {
  return severity == repo::Problem::Severity::error ? "error" : "hint";
}

Json result_json(const workflow::CheckedRepository& checked) {
  const repo::CheckReport& report = checked.report;
  Json problems = Json::array();
  for (const repo::Problem& problem : report.problems) {
    problems.push_back({{"severity", name_of(problem.severity)},
                        {"code", problem.code},
                        {"object", problem.object},
                        {"message", problem.message},
                        {"remedy", problem.remedy}});
  }
  Json broken = Json::array();
  for (const repo::SnapshotId& id : report.broken_snapshots) broken.push_back(id.hex());
  return {{"repository", checked.repository_url},
          {"snapshots", report.snapshots},
          {"unreadableSnapshots", report.unreadable_snapshots},
          {"packs", report.packs},
          {"packsRead", report.packs_read},
          {"bytesRead", report.bytes_read},
          {"errors", report.errors()},
          {"problems", problems},
          {"brokenSnapshots", broken},
          {"suggestRepairIndex", report.suggest_repair_index},
          {"suggestPrune", report.suggest_prune}};
}

// A pack's worth of hints may come by the hundred after a killed backup: each remedy once.
std::string problems_text(const std::vector<repo::Problem>& problems) {
  std::string text;
  for (std::size_t i = 0; i < problems.size(); ++i) {
    const repo::Problem& problem = problems[i];
    text += fmt::format("{}: {}\n", name_of(problem.severity), printable(problem.message));
    const bool last = i + 1 == problems.size() || problems[i + 1].remedy != problem.remedy;
    if (last && !problem.remedy.empty()) text += fmt::format("  {}\n", problem.remedy);
  }
  return text;
}

std::string result_text(const workflow::CheckedRepository& checked) {
  const repo::CheckReport& report = checked.report;
  std::string text = problems_text(report.problems);
  text += fmt::format("{}: {}, {}", checked.repository_url, number_of(report.snapshots, "snapshot"),
                      number_of(report.packs, "pack"));
  if (report.packs_read > 0) {
    text += fmt::format(", {} of them read ({})", report.packs_read, human_size(report.bytes_read));
  }
  text += "\n";
  for (const repo::SnapshotId& id : report.broken_snapshots) {
    text += fmt::format("snapshot {} cannot be restored in full\n", id.short_hex());
  }
  if (report.errors() == 0) return text + "no errors were found\n";
  return text + fmt::format("{} {} found, {} of {} whole\n", number_of(report.errors(), "error"),
                            report.errors() == 1 ? "was" : "were", report.whole_snapshots(),
                            number_of(report.snapshots, "snapshot"));
}

int run(Arguments arguments, const Context& context) {
  if (arguments.read_data && !arguments.subset.empty()) {
    throw Error(ErrorKind::usage,
                "check flags --read-data and --read-data-subset cannot be used together");
  }
  repo::ReadData& read_data = arguments.request.read_data;
  if (arguments.read_data) read_data.kind = repo::ReadData::Kind::all;
  if (!arguments.subset.empty()) read_data = repo::parse_read_data_subset(arguments.subset);
  const Wired wired(context);
  const workflow::CheckedRepository checked =
      workflow::check(wired.services(), arguments.request, context.call);
  context.print(context.as_document() ? document(result_json(checked), context.flags.output)
                                      : result_text(checked));
  return checked.report.errors() == 0 ? 0 : kDamaged;
}

}  // namespace

void add_check(CLI::App& root, Action& action) {
  CLI::App* verb =
      root.add_subcommand("check", "Look for damage in a repository, and say what mends it");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  add_whose_flags(*verb, arguments->request.whose);
  verb->add_flag("--read-data", arguments->read_data, "Read all data, not just what names it");
  verb->add_option("--read-data-subset", arguments->subset,
                   "Read a part of it: n/t, x% or a size such as 500M");
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr check --location local-minio\n"
      "  kubectl kubedr check --read-data-subset 5%\n"
      "  kubectl kubedr check --repo /mnt/backups --read-data -o json\n\n"
      "Exit codes: 0 no errors, 5 there is damage, others as for every verb.");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
