#include "cmd/metrics_target.h"

#include <fmt/core.h>

#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "cmd/push.h"
#include "health/metrics.h"
#include "version.h"
#include "workflow/survey.h"

namespace kubedr::cmd {
namespace {

// node_exporter is another user.
constexpr unsigned kFileMode = 0644;

constexpr std::chrono::seconds kLongestLook{60};

// Beside its target, under a name that the collector does not take for one of its files.
void replace_file(const std::filesystem::path& target, const std::string& text, Random& random) {
  const std::filesystem::path path = fmt::format("{}-tmp-{:016x}", target.string(), random.next());
  TemporaryFile file(path, kFileMode);
  file.set_mode(kFileMode);
  file.write(as_bytes(text));
  file.replace(target);
  sync_directory(target.parent_path());
}

// What the API server tells, or that it tells nothing.
health::Fleet survey_without_repositories(const Wired& wired, const Call& call) {
  const workflow::Services& services = wired.services();
  try {
    return workflow::survey_cluster(services, {}, call.within(call.remaining() / 2));
  } catch (const Error& error) {
    health::Fleet fleet;
    fleet.now = services.clock.now();
    fleet.without_cluster = !services.cluster.has_api_server();
    fleet.problem = error.what();
    return fleet;
  }
}

}  // namespace

void add_target_flags(CLI::App& verb, MetricsTarget& target) {
  verb.add_option("--textfile", target.textfile,
                  "Write Prometheus metrics to this file, for node_exporter's textfile collector")
      ->type_name("FILE");
  verb.add_option("--push", target.push, "Push Prometheus metrics to the Pushgateway at this URL")
      ->type_name("URL");
}

std::string metrics_text(const health::Fleet& fleet, health::Exposition exposition) {
  return health::expose(health::metric_families(fleet, health::judge(fleet), kVersion), exposition);
}

health::Fleet survey_for_metrics(const Wired& wired, const Call& call) {
  workflow::SurveyRequest request;
  request.deep = true;
  request.longest_look = kLongestLook;
  return workflow::survey(wired.services(), request, call);
}

void deliver(const MetricsTarget& target, const std::string& text, const Context& context,
             const Call& call) {
  if (!target.textfile.empty()) replace_file(target.textfile, text, context.random);
  if (!target.push.empty()) push(target.push, text, context.environment, call);
}

void deliver_after_backup(const MetricsTarget& target, const Wired& wired, const Context& context,
                          workflow::Steps& steps) {
  const workflow::Afterwards afterwards(context.call);
  const Call& call = afterwards.call();
  // A store that hangs may have the half of the time: that the backup failed must be told.
  std::optional<health::Fleet> fleet;
  steps.attempt("metrics", "kubectl kubedr metrics",
                [&] { fleet = survey_for_metrics(wired, call.within(call.remaining() / 2)); });
  if (!fleet) fleet = survey_without_repositories(wired, call);
  const std::string text = metrics_text(*fleet, health::Exposition::text);
  for (const MetricsTarget& one :
       {MetricsTarget{target.textfile, ""}, MetricsTarget{"", target.push}}) {
    steps.attempt(one.push.empty() ? "textfile" : "push", "the next backup does it again",
                  [&] { deliver(one, text, context, afterwards.call()); });
  }
}

}  // namespace kubedr::cmd
