#include "workflow/stats.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "base/time.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::Whose whose;
  FilterFlags filter;
  std::string mode;
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

// What the snapshots that were asked for take; all of them are what all packs are there for.
std::uint64_t taken_bytes(const workflow::StatsReport& report,
                          const workflow::SnapshotFilter& filter) {
  return filter.empty() ? report.pack_bytes : report.stored_bytes;
}

Json result_json(const workflow::StatsReport& report, const workflow::SnapshotFilter& filter) {
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
          {"totalRatio", ratio(report.restore_bytes, taken_bytes(report, filter))},
          {"policies", policies}};
}

std::string result_text(const workflow::StatsReport& report, const workflow::SnapshotFilter& filter,
                        const Context& context) {
  const std::uint64_t taken = taken_bytes(report, filter);
  std::string text =
      fmt::format("{}: {} of {} in {} ({:.1f}x)", report.repository_url,
                  number_of(report.snapshots, "snapshot"), human_size(report.restore_bytes),
                  human_size(taken), ratio(report.restore_bytes, taken));
  if (filter.empty()) text += fmt::format(", {} of it unused", human_size(report.unused_bytes));
  text += "\n\n";
  Table table({"POLICY", "SNAPSHOTS", "LAST", "RESTORE SIZE", "STORED", "OWN", "GROWTH/DAY"});
  for (const workflow::PolicyStats& policy : report.policies) {
    table.add({policy.policy.empty() ? "<none>" : printable(policy.policy),
               std::to_string(policy.snapshots), age(policy.last, context.clock.now()),
               human_size(policy.restore_bytes), human_size(policy.stored_bytes),
               human_size(policy.exclusive_bytes), human_size(policy.growth_per_day)});
  }
  return text + table.text(!context.flags.no_headers);
}

workflow::StatsMode mode_of(const std::string& name) {
  if (name == "files-by-contents") return workflow::StatsMode::files_by_contents;
  if (name == "blobs-per-file") return workflow::StatsMode::blobs_per_file;
  if (name == "raw-data") return workflow::StatsMode::raw_data;
  return workflow::StatsMode::restore_size;
}

// restic's three, of raw data that can be compressed.
struct Compression {
  explicit Compression(const workflow::ModeStats& stats)
      : ratio(cmd::ratio(stats.compressed_uncompressed_bytes, stats.compressed_bytes)),
        progress(100 * cmd::ratio(stats.compressed_uncompressed_bytes, stats.uncompressed_bytes)),
        space_saving(100 - 100 * cmd::ratio(stats.bytes, stats.uncompressed_bytes)) {}

  double ratio;
  double progress;      // percent of the bytes that are in compressed blobs
  double space_saving;  // percent
};

Json mode_json(const workflow::ModeStats& stats, const std::string& mode) {
  Json json = {{"mode", mode},
               {"snapshotsCount", stats.snapshots},
               {"totalFileCount", stats.files},
               {"totalBlobCount", stats.blobs},
               {"totalSize", stats.bytes}};
  if (stats.uncompressed_bytes == 0) return json;
  const Compression compression(stats);
  json["totalUncompressedSize"] = stats.uncompressed_bytes;
  json["compressionProgress"] = compression.progress;
  json["compressionRatio"] = compression.ratio;
  json["compressionSpaceSaving"] = compression.space_saving;
  return json;
}

// As restic writes it, which leaves out what is 0.
std::string mode_text(const workflow::ModeStats& stats, const std::string& mode) {
  std::string text = fmt::format("Stats in {} mode:\n", mode);
  const auto line = [&](const char* what, const std::string& value) {
    text += fmt::format("{:>24}:  {}\n", what, value);
  };
  line("Snapshots processed", std::to_string(stats.snapshots));
  if (stats.blobs > 0) line("Total Blob Count", std::to_string(stats.blobs));
  if (stats.files > 0) line("Total File Count", std::to_string(stats.files));
  if (stats.uncompressed_bytes > 0) {
    line("Total Uncompressed Size", human_size(stats.uncompressed_bytes));
  }
  line("Total Size", human_size(stats.bytes));
  if (stats.uncompressed_bytes == 0) return text;
  const Compression compression(stats);
  line("Compression Progress", fmt::format("{:.2f}%", compression.progress));
  if (compression.ratio > 0) line("Compression Ratio", fmt::format("{:.2f}x", compression.ratio));
  line("Compression Space Saving", fmt::format("{:.2f}%", compression.space_saving));
  return text;
}

int run(const Arguments& arguments, const Context& context) {
  const workflow::SnapshotFilter filter = filter_of(arguments.filter);
  const Wired wired(context);
  if (!arguments.mode.empty()) {
    const workflow::ModeStats stats = workflow::stats_in_mode(
        wired.services(), arguments.whose, filter, mode_of(arguments.mode), context.call);
    context.print(context.as_document()
                      ? document(mode_json(stats, arguments.mode), context.flags.output)
                      : mode_text(stats, arguments.mode));
    return 0;
  }
  const workflow::StatsReport report =
      workflow::stats(wired.services(), arguments.whose, filter, context.call);
  context.print(context.as_document() ? document(result_json(report, filter), context.flags.output)
                                      : result_text(report, filter, context));
  return 0;
}

}  // namespace

void add_stats(CLI::App& root, Action& action) {
  CLI::App* verb =
      root.add_subcommand("stats", "What a repository holds, for whom, and how fast it grows");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  verb->add_option("--mode", arguments->mode,
                   "Count as restic does: restore-size, files-by-contents, blobs-per-file or "
                   "raw-data")
      ->check(CLI::IsMember({"restore-size", "files-by-contents", "blobs-per-file", "raw-data"}));
  add_whose_flags(*verb, arguments->whose);
  add_filter_flags(*verb, arguments->filter, Filtered::all);
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr stats --location local-minio\n"
      "  kubectl kubedr stats --mode raw-data\n"
      "  kubectl kubedr stats -o json\n\n"
      "STORED is what a policy's backups take, OWN what would be free without them.");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
