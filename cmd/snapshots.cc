#include "workflow/snapshots.h"

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
  workflow::SnapshotsRequest request;
  FilterFlags filter;
  std::size_t latest = 0;
};

Json snapshot_json(const workflow::ListedSnapshot& listed) {
  const repo::Snapshot& snapshot = listed.saved.snapshot;
  Json one = {{"id", listed.saved.id.hex()},
              {"shortId", listed.saved.id.short_hex()},
              {"time", format_rfc3339_nano(snapshot.time)},
              {"policy", listed.policy},
              {"namespace", listed.name_space},
              {"record", listed.record},
              {"hostname", snapshot.hostname},
              {"paths", snapshot.paths},
              {"tags", snapshot.tags},
              {"tree", snapshot.tree.hex()}};
  if (snapshot.parent) one["parent"] = snapshot.parent->hex();
  if (snapshot.summary) {
    one["totalBytesProcessed"] = snapshot.summary->total_bytes_processed;
    one["dataAdded"] = snapshot.summary->data_added;
    one["dataAddedPacked"] = snapshot.summary->data_added_packed;
  }
  return one;
}

std::string or_none(const std::string& text) {
  return text.empty() ? "<none>" : text;
}

std::string table_text(const workflow::SnapshotsReport& report, const Context& context) {
  const bool wide = context.flags.output == "wide";
  std::vector<std::string> headers{"ID", "TIME", "POLICY", "RECORD", "SIZE", "ADDED", "AGE"};
  if (wide) headers.insert(headers.end(), {"HOST", "TAGS"});
  Table table(headers);
  const WallTime now = context.clock.now();
  for (const workflow::ListedSnapshot& listed : report.snapshots) {
    const repo::Snapshot& snapshot = listed.saved.snapshot;
    const auto& summary = snapshot.summary;
    std::vector<std::string> row{listed.saved.id.short_hex(),
                                 format_table_time(snapshot.time),
                                 or_none(printable(listed.policy)),
                                 or_none(listed.record),
                                 summary ? human_size(summary->total_bytes_processed) : "<unknown>",
                                 summary ? human_size(summary->data_added_packed) : "<unknown>",
                                 age(snapshot.time, now)};
    if (wide) {
      row.push_back(printable(snapshot.hostname));
      row.push_back(printable(join(snapshot.tags, ",")));
    }
    table.add(std::move(row));
  }
  return table.text(!context.flags.no_headers);
}

int run(Arguments arguments, const Context& context) {
  arguments.request.filter = filter_of(arguments.filter);
  if (arguments.latest > 0) arguments.request.latest = arguments.latest;
  const Wired wired(context);
  const workflow::SnapshotsReport report =
      workflow::list_snapshots(wired.services(), arguments.request, context.call);
  for (const std::string& text : report.damaged) log::warn("{}", text);
  if (context.as_document()) {
    Json list = Json::array();
    for (const auto& listed : report.snapshots) list.push_back(snapshot_json(listed));
    context.print(document({{"location", report.location},
                            {"repository", report.repository_url},
                            {"snapshots", list},
                            {"damaged", report.damaged}},
                           context.flags.output));
    return 0;
  }
  if (context.flags.output == "name") {
    std::string names;
    for (const auto& listed : report.snapshots) {
      names += "snapshot/" + listed.saved.id.short_hex() + "\n";
    }
    context.print(names);
    return 0;
  }
  if (report.snapshots.empty()) {
    context.remark(fmt::format("No snapshots found in {}.\n", report.repository_url));
  }
  context.print(table_text(report, context));
  return 0;
}

}  // namespace

void add_snapshots(CLI::App& root, Action& action) {
  CLI::App* verb =
      root.add_subcommand("snapshots", "List what a repository really holds, with its records");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  workflow::SnapshotsRequest& request = arguments->request;
  verb->add_option("POLICY", request.policy, "Only this policy's");
  verb->add_option("--policy", request.policy, "The same")->excludes("POLICY");
  verb->add_option("--location", request.location, "The BackupLocation to look into");
  verb->add_option("--latest", arguments->latest, "Only the last N of each policy");
  add_filter_flags(*verb, arguments->filter, Filtered::all);
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr snapshots nightly\n"
      "  kubectl kubedr snapshots --location local-minio --latest 1 -o json\n"
      "  RESTIC_PASSWORD_FILE=pw kubectl kubedr snapshots --repo s3:https://minio:9000/etcd");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
