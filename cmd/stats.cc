#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "base/time.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"
#include "workflow/browse.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::Whose whose;
};

double ratio(std::uint64_t plain, std::uint64_t stored) {
  return stored == 0 ? 0 : static_cast<double>(plain) / static_cast<double>(stored);
}

Json policy_json(const workflow::PolicyStats& policy) {
  return {{"policy", policy.policy},
          {"snapshots", policy.snapshots},
          {"first", format_rfc3339_nano(policy.first)},
          {"last", format_rfc3339_nano(policy.last)},
          {"restoreBytes", policy.restore_bytes},
          {"uniqueBytes", policy.unique_bytes},
          {"storedBytes", policy.stored_bytes},
          {"exclusiveBytes", policy.exclusive_bytes},
          {"growthBytesPerDay", policy.growth_per_day}};
}

Json result_json(const workflow::StatsReport& report) {
  Json policies = Json::array();
  for (const workflow::PolicyStats& policy : report.policies) {
    policies.push_back(policy_json(policy));
  }
  return {{"repository", report.repository_url},
          {"snapshots", report.snapshots},
          {"restoreBytes", report.restore_bytes},
          {"uniqueBytes", report.plain_bytes},
          {"storedBytes", report.stored_bytes},
          {"packBytes", report.pack_bytes},
          {"unusedBytes", report.unused_bytes},
          {"packs", report.packs},
          {"blobs", report.blobs},
          {"compressionRatio", ratio(report.plain_bytes, report.stored_bytes)},
          {"totalRatio", ratio(report.restore_bytes, report.pack_bytes)},
          {"policies", policies}};
}

std::string result_text(const workflow::StatsReport& report, const Context& context) {
  std::string text = fmt::format(
      "{}: {} snapshots of {} in {} ({:.1f}x), {} of it unused\n\n", report.repository_url,
      report.snapshots, human_size(report.restore_bytes), human_size(report.pack_bytes),
      ratio(report.restore_bytes, report.pack_bytes), human_size(report.unused_bytes));
  Table table({"POLICY", "SNAPSHOTS", "LAST", "RESTORE SIZE", "STORED", "OWN", "GROWTH/DAY"});
  for (const workflow::PolicyStats& policy : report.policies) {
    table.add({policy.policy.empty() ? "<none>" : printable(policy.policy),
               std::to_string(policy.snapshots), age(policy.last, context.clock.now()),
               human_size(policy.restore_bytes), human_size(policy.stored_bytes),
               human_size(policy.exclusive_bytes), human_size(policy.growth_per_day)});
  }
  return text + table.text(!context.flags.no_headers);
}

int run(const Arguments& arguments, const Context& context) {
  const Wired wired(context);
  const workflow::StatsReport report =
      workflow::stats(wired.services(), arguments.whose, context.call);
  context.print(context.as_document() ? document(result_json(report), context.flags.output)
                                      : result_text(report, context));
  return 0;
}

}  // namespace

void add_stats(CLI::App& root, Action& action) {
  CLI::App* verb =
      root.add_subcommand("stats", "What a repository holds, for whom, and how fast it grows");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  add_whose_flags(*verb, arguments->whose);
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr stats --location local-minio\n"
      "  kubectl kubedr stats -o json\n\n"
      "STORED is what a policy's backups take, OWN what would be free without them.");
  verb->callback([&action, arguments] {
    action = [arguments](const Context& context) { return run(*arguments, context); };
  });
}

}  // namespace kubedr::cmd
