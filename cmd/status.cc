#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "base/time.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/status_text.h"
#include "cmd/wire.h"
#include "workflow/survey.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::SurveyRequest request;
  std::string max_age;
  std::string fail_on = "error";
  std::vector<std::string> contexts;
  bool watch = false;
  std::string interval = "5s";
};

// " --context berlin", or nothing.
std::string flag_text(const std::string& flag, const std::string& value) {
  return value.empty() ? "" : fmt::format(" --{} {}", flag, shell_word(value));
}

// What tells our verbs where the objects are; kubectl's own where they are a cluster's.
std::string source_flags(const Flags& flags) {
  if (!flags.repo.empty()) return flag_text("repo", flags.repo);
  std::string text;
  for (const std::string& file : flags.manifests) text += " -f " + shell_word(file);
  if (!text.empty()) return text;
  return flag_text("kubeconfig", flags.kube.kubeconfig) + flag_text("context", flags.kube.context);
}

// A remedy as it is typed where the flags were needed to ask: each of its commands gets them.
std::string with_source(const std::string& remedy, const Flags& flags) {
  const std::string more = source_flags(flags);
  const bool of_cluster = flags.repo.empty() && flags.manifests.empty();
  if (more.empty() || !remedy.starts_with(of_cluster ? "kubectl " : "kubectl kubedr ")) {
    return remedy;
  }
  std::string text = remedy;
  for (const char* between : {" | ", " && "}) {
    for (std::size_t at = 0; (at = text.find(between, at)) != std::string::npos;) {
      text.insert(at, more);
      at += more.size() + std::string_view(between).size();
    }
  }
  return text + more;
}

// One of the clusters that are asked, with a context of its own.
class AskedCluster {
 public:
  // `name` is the kubeconfig's context; empty: what the flags say.
  AskedCluster(const Context& context, std::string name)
      : name_(std::move(name)), flags_(context.flags), context_{flags_,
                                                                context.environment,
                                                                context.terminal,
                                                                context.clock,
                                                                context.random,
                                                                context.call,
                                                                context.signals} {
    if (!name_.empty()) flags_.kube.context = name_;
    wired_.emplace(context_);
  }

  AskedCluster(const AskedCluster&) = delete;
  AskedCluster& operator=(const AskedCluster&) = delete;

  const std::string& name() const { return name_; }

  ClusterStatus ask(const workflow::SurveyRequest& request) const {
    ClusterStatus status;
    status.context = name_;
    status.fleet = workflow::survey(wired_->services(), request, context_.call);
    status.health = health::judge(status.fleet);
    for (health::Finding& finding : status.health.findings) {
      // Whoever grants the right is somebody else, by a kubeconfig of their own.
      if (finding.code.ends_with("-forbidden")) continue;
      finding.remedy = with_source(finding.remedy, flags_);
    }
    return status;
  }

  // Policies are what every backup changes, however it ends.
  bool wait_for_change(std::chrono::milliseconds time) const {
    return wired_->services().cluster.wait_for_change(crd::kind_name(crd::Kind::policy), "", time,
                                                      context_.call) == true;
  }

 private:
  const std::string name_;
  Flags flags_;
  const Context context_;
  std::optional<Wired> wired_;
};

using AskedClusters = std::vector<std::unique_ptr<AskedCluster>>;

AskedClusters clusters_of(const Arguments& arguments, const Context& context) {
  AskedClusters clusters;
  if (arguments.contexts.empty()) {
    clusters.push_back(std::make_unique<AskedCluster>(context, ""));
    return clusters;
  }
  const Flags& flags = context.flags;
  if (!flags.kube.context.empty() || !flags.manifests.empty() || !flags.repo.empty()) {
    throw Error(ErrorKind::usage, "--contexts cannot be given with --context, -f or --repo",
                "name the one context among the others, --contexts A,B");
  }
  for (const std::string& name : arguments.contexts) {
    if (name.empty()) throw Error(ErrorKind::usage, "--contexts: a name is empty");
    clusters.push_back(std::make_unique<AskedCluster>(context, name));
  }
  return clusters;
}

struct Answer {
  std::vector<ClusterStatus> clusters;
  int unanswered = 0;  // the exit code of the first cluster that could not be asked
};

// One of several clusters that cannot be asked is a finding, and does not hide the others.
Answer ask(const AskedClusters& clusters, const Arguments& arguments, const Context& context) {
  Answer answer;
  for (const auto& cluster : clusters) {
    try {
      answer.clusters.push_back(cluster->ask(arguments.request));
    } catch (const Error& error) {
      context.call.require_live();
      if (clusters.size() == 1) throw;
      if (answer.unanswered == 0) answer.unanswered = exit_code(error.kind());
      ClusterStatus status;
      status.context = cluster->name();
      status.health.findings.push_back({health::Severity::error, "cluster-unanswered",
                                        "context/" + cluster->name(), error.what(), error.hint(),
                                        ""});
      answer.clusters.push_back(std::move(status));
    }
  }
  return answer;
}

std::string text_of(const Answer& answer, const Context& context) {
  if (context.as_document()) {
    return document(status_json(answer.clusters, context.clock.now()), context.flags.output);
  }
  return status_text(answer.clusters, context);
}

bool is_failure(const std::vector<ClusterStatus>& clusters, const std::string& fail_on) {
  if (fail_on == "never") return false;
  const auto limit = fail_on == "warning" ? health::Severity::warning : health::Severity::error;
  return std::any_of(clusters.begin(), clusters.end(), [&](const ClusterStatus& cluster) {
    const std::optional<health::Severity> worst = health::worst(cluster.health.findings);
    return worst && *worst >= limit;
  });
}

// Over what was there before: the cursor goes home, and what is left of longer lines goes.
std::string in_place(const std::string& text) {
  std::string frame = "\033[H";
  for (const char c : text) frame += c == '\n' ? std::string("\033[K\n") : std::string(1, c);
  return frame + "\033[J";
}

// A cluster that does not answer for a while is told, and asked again.
std::string frame_of(const AskedClusters& clusters, const Arguments& arguments,
                     const Context& context) {
  const std::string time = format_table_time(context.clock.now()) + " UTC\n\n";
  const std::string head = context.as_document() ? "" : time;
  try {
    return head + text_of(ask(clusters, arguments, context), context);
  } catch (const Error& error) {
    context.call.require_live();
    return context.as_document() ? error_json(error) : head + describe(error);
  }
}

// Until something has changed in one of them, or the time is over: ages move by themselves. Several
// take turns; what happens in one of them meanwhile is heard when it has its turn.
void wait_for_change(const AskedClusters& clusters, std::chrono::milliseconds time,
                     const Call& call) {
  using std::chrono::milliseconds;
  constexpr milliseconds kTurn{200};
  const milliseconds turn = clusters.size() == 1 ? time : kTurn;
  const SteadyTime end = call.clock().steady() + time;
  while (true) {
    for (const auto& cluster : clusters) {
      const auto left = std::chrono::ceil<milliseconds>(end - call.clock().steady());
      if (left <= milliseconds::zero()) return;
      if (cluster->wait_for_change(std::min(left, turn))) return;
    }
  }
}

// Until somebody ends it, or nobody reads any more.
int watch(const AskedClusters& clusters, const Arguments& arguments, const Context& context) {
  const auto interval = parse_flag_duration("--interval", arguments.interval);
  if (interval.count() == 0) throw Error(ErrorKind::usage, "--interval: must not be 0");
  const bool redraw = context.terminal.stdout_is_terminal() && !context.as_document();
  try {
    if (redraw) context.print("\033[2J");
    while (true) {
      const std::string frame = frame_of(clusters, arguments, context);
      const std::string gap = context.as_document() ? "" : "\n";
      if (!context.print(redraw ? in_place(frame) : frame + gap)) return 0;
      wait_for_change(clusters, interval, context.call);
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::terminated && error.kind() != ErrorKind::interrupted) throw;
  }
  return 0;
}

int run(Arguments arguments, const Context& context) {
  if (!arguments.max_age.empty()) {
    arguments.request.max_age = std::chrono::duration_cast<std::chrono::seconds>(
        parse_flag_duration("--max-age", arguments.max_age));
  }
  const AskedClusters clusters = clusters_of(arguments, context);
  if (arguments.watch) return watch(clusters, arguments, context);
  const Answer answer = ask(clusters, arguments, context);
  const bool empty =
      std::all_of(answer.clusters.begin(), answer.clusters.end(), [](const ClusterStatus& cluster) {
        return cluster.health.locations.empty() && cluster.health.policies.empty();
      });
  if (empty && !context.as_document()) {
    context.remark("No locations and no policies found.\n");
  }
  context.print(text_of(answer, context));
  if (answer.unanswered != 0) return answer.unanswered;
  return is_failure(answer.clusters, arguments.fail_on) ? exit_code(ErrorKind::findings) : 0;
}

}  // namespace

void add_status(CLI::App& root, Action& action) {
  CLI::App* verb =
      root.add_subcommand("status", "Locations, policies, last backups, and what is wrong");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  verb->add_option("NAME", arguments->request.only,
                   "Only these: backuplocation/NAME, policy/NAME, or a NAME")
      ->type_name("KIND/NAME");
  verb->add_option("--max-age", arguments->max_age,
                   "How old a last good backup may be, instead of what its schedule says");
  verb->add_flag("--deep", arguments->request.deep,
                 "Look into the repositories: records and snapshots are compared");
  verb->add_option("--fail-on", arguments->fail_on,
                   "Which findings make the exit code 5: error, warning or never")
      ->check(CLI::IsMember({"error", "warning", "never"}));
  verb->add_option("--contexts", arguments->contexts,
                   "Ask the clusters of these kubeconfig contexts, as in a,b,c, and show them in "
                   "one table")
      ->delimiter(',');
  verb->add_flag(
      "-w,--watch", arguments->watch,
      "Ask again whenever a policy changes, and as time goes by, until it is interrupted: in "
      "place on a terminal, else one answer after the other");
  verb->add_option("--interval", arguments->interval,
                   "How long --watch waits while nothing changes; 5s if nothing is said");
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr status\n"
      "  kubectl kubedr status policy/nightly --deep\n"
      "  kubectl kubedr status --max-age 26h -o json\n"
      "  kubectl kubedr status --contexts berlin,tokyo -A\n"
      "  kubectl kubedr status --watch --interval 30s\n\n"
      "Exit codes: 0 in order, 5 findings, 20 and 21 the cluster could not be asked.");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
