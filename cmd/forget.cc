#include "workflow/forget.h"

#include <fmt/core.h>

#include <charconv>
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
  workflow::ForgetRequest request;
  workflow::Whose whose;
  FilterFlags filter;
  PruneFlags prune;
  std::string last, hourly, daily, weekly, monthly, yearly;
  std::string within, within_hourly, within_daily, within_weekly, within_monthly, within_yearly;
  std::vector<std::string> keep_tags;
};

int parse_count(const char* flag, const std::string& text) {
  if (text.empty()) return 0;
  if (text == "unlimited") return -1;
  int count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error == std::errc() && end == text.data() + text.size() && count >= 0) return count;
  throw Error(ErrorKind::usage, fmt::format("{}: invalid count \"{}\"", flag, text),
              "give a number, or unlimited");
}

repo::CalendarSpan parse_span(const std::string& text) {
  return text.empty() ? repo::CalendarSpan{} : repo::parse_calendar_span(text);
}

repo::KeepRules rules_of(const Arguments& arguments) {
  repo::KeepRules rules;
  rules.last = parse_count("--keep-last", arguments.last);
  rules.hourly = parse_count("--keep-hourly", arguments.hourly);
  rules.daily = parse_count("--keep-daily", arguments.daily);
  rules.weekly = parse_count("--keep-weekly", arguments.weekly);
  rules.monthly = parse_count("--keep-monthly", arguments.monthly);
  rules.yearly = parse_count("--keep-yearly", arguments.yearly);
  rules.within = parse_span(arguments.within);
  rules.within_hourly = parse_span(arguments.within_hourly);
  rules.within_daily = parse_span(arguments.within_daily);
  rules.within_weekly = parse_span(arguments.within_weekly);
  rules.within_monthly = parse_span(arguments.within_monthly);
  rules.within_yearly = parse_span(arguments.within_yearly);
  rules.tags = parse_tag_lists(arguments.keep_tags);
  return rules;
}

Json plan_json(const workflow::ForgetPlan& plan) {
  Json groups = Json::array();
  for (const workflow::ForgetGroup& group : plan.groups) {
    Json keep = Json::array();
    for (const repo::Kept& kept : group.keep) {
      keep.push_back({{"id", kept.saved.id.hex()}, {"reasons", kept.reasons}});
    }
    Json remove = Json::array();
    for (const workflow::ListedSnapshot& victim : group.remove) {
      remove.push_back({{"id", victim.saved.id.hex()},
                        {"time", format_rfc3339_nano(victim.saved.snapshot.time)},
                        {"policy", victim.policy},
                        {"record", victim.record}});
    }
    groups.push_back({{"group", group.name}, {"keep", keep}, {"remove", remove}});
  }
  return groups;
}

Json result_json(const workflow::ForgetReport& report, bool dry_run) {
  Json result = {{"repository", report.plan.repository_url},
                 {"dryRun", dry_run},
                 {"groups", plan_json(report.plan)},
                 {"removed", report.removed},
                 {"failedSteps", to_json(report.failed_steps)}};
  if (report.pruned) result["pruned"] = to_json(*report.pruned);
  return result;
}

std::string plan_text(const workflow::ForgetPlan& plan) {
  std::string text;
  for (const workflow::ForgetGroup& group : plan.groups) {
    if (!group.name.empty()) text += fmt::format("{}:\n", printable(group.name));
    for (const repo::Kept& kept : group.keep) {
      text += fmt::format("  keep   {}  {}  {}\n", kept.saved.id.short_hex(),
                          format_table_time(kept.saved.snapshot.time), join(kept.reasons, ", "));
    }
    for (const workflow::ListedSnapshot& victim : group.remove) {
      text += fmt::format("  remove {}  {}  {}\n", victim.saved.id.short_hex(),
                          format_table_time(victim.saved.snapshot.time), victim.record);
    }
  }
  return text;
}

int run(Arguments arguments, const Context& context) {
  workflow::ForgetRequest& request = arguments.request;
  request.location = arguments.whose.location;
  request.policy = arguments.whose.policy;
  request.filter = filter_of(arguments.filter);
  request.rules = rules_of(arguments);
  request.prune_options = prune_options_of(arguments.prune);
  const Wired wired(context);
  const bool ask = !request.dry_run && !context.flags.yes;
  bool refused = false;
  const auto agree = [&](const workflow::ForgetPlan& plan) {
    if (ask) context.show(plan_text(plan));
    refused = !context.confirm(
        fmt::format("Remove {} and what records them?", number_of(plan.removed(), "snapshot")));
    return !refused;
  };
  const workflow::ForgetReport report =
      workflow::forget(wired.services(), request, agree, context.call);
  if (context.as_document()) {
    context.print(document(result_json(report, request.dry_run), context.flags.output));
  } else if (refused) {
    context.print("nothing was changed\n");
  } else {
    if (!ask || report.plan.removed() == 0) context.print(plan_text(report.plan));
    const char* would = request.dry_run ? " would be" : "";
    const std::size_t count = request.dry_run ? report.plan.removed() : report.removed.size();
    context.print(fmt::format("{}{} removed\n", number_of(count, "snapshot"), would));
    if (report.pruned) context.print(describe(*report.pruned));
  }
  context.show(describe(report.failed_steps));
  return report.failed_steps.empty() ? 0 : 3;
}

void add_rules(CLI::App& verb, Arguments& arguments) {
  constexpr char kRules[] = "What to keep";
  const auto count = [&](const char* name, std::string& value, const char* what) {
    verb.add_option(name, value, fmt::format("Keep the last N {}, or unlimited", what))
        ->type_name("N")
        ->group(kRules);
  };
  count("-l,--keep-last", arguments.last, "snapshots");
  count("-H,--keep-hourly", arguments.hourly, "hourly ones");
  count("-d,--keep-daily", arguments.daily, "daily ones");
  count("-w,--keep-weekly", arguments.weekly, "weekly ones");
  count("-m,--keep-monthly", arguments.monthly, "monthly ones");
  count("-y,--keep-yearly", arguments.yearly, "yearly ones");
  const auto within = [&](const char* name, std::string& value, const char* what) {
    verb.add_option(name, value, fmt::format("Keep {} within a span such as 1y5m7d2h", what))
        ->type_name("SPAN")
        ->group(kRules);
  };
  within("--keep-within", arguments.within, "all snapshots");
  within("--keep-within-hourly", arguments.within_hourly, "hourly ones");
  within("--keep-within-daily", arguments.within_daily, "daily ones");
  within("--keep-within-weekly", arguments.within_weekly, "weekly ones");
  within("--keep-within-monthly", arguments.within_monthly, "monthly ones");
  within("--keep-within-yearly", arguments.within_yearly, "yearly ones");
  verb.add_option("--keep-tag", arguments.keep_tags,
                  "Keep those with all of these tags (comma separated); may be repeated")
      ->take_all()
      ->expected(1)
      ->group(kRules);
}

}  // namespace

void add_forget(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand(
      "forget", "Remove snapshots and their records, by id or by rules of what to keep");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  workflow::ForgetRequest& request = arguments->request;
  verb->add_option("SNAPSHOT", request.snapshots, "Records' names or snapshots' ids");
  add_whose_flags(*verb, arguments->whose);
  add_rules(*verb, *arguments);
  verb->add_option("-g,--group-by", request.group_by,
                   "Apply the rules to each group by itself: policy (as if nothing is said), host, "
                   "paths, tags");
  add_filter_flags(*verb, arguments->filter, Filtered::all);
  verb->add_flag("--unsafe-allow-remove-all", request.unsafe_allow_remove_all,
                 "Remove all that --policy, --host, --tag or --path find; not together with rules");
  verb->add_flag("--prune", request.prune, "Then remove the data that is no longer needed");
  add_prune_flags(*verb, arguments->prune);
  verb->add_flag("--dry-run", request.dry_run, "Show the plan, change nothing");
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr forget mbr-83a71b2c\n"
      "  kubectl kubedr forget --policy nightly --keep-daily 7 --keep-weekly 4 --dry-run\n"
      "  kubectl kubedr forget --keep-last 30 --prune --yes\n\n"
      "Data goes with `prune`. A day is that of the clock a backup was taken by: ours is UTC.");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
