#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/listener.h"
#include "cmd/metrics_target.h"
#include "cmd/wire.h"
#include "workflow/monitor.h"

namespace kubedr::cmd {
namespace {

using std::chrono::milliseconds;

// A look takes a minute for each repository at the most; longer than this, and something is stuck.
constexpr milliseconds kStuck = std::chrono::minutes(15);

struct Arguments {
  Listener::Options listen;
  std::string interval = "30s";
  std::string repository_interval = "10m";
  MetricsTarget target;
};

// Until somebody ends it, which is how this ends well.
int serve(const Arguments& arguments, const Context& context) {
  const milliseconds interval = parse_flag_duration("--interval", arguments.interval);
  const milliseconds repositories =
      parse_flag_duration("--repository-interval", arguments.repository_interval);
  if (interval.count() == 0) throw Error(ErrorKind::usage, "--interval: must not be 0");
  const Wired wired(context);
  workflow::Monitor monitor(wired.services(), repositories);
  const SteadyTime started = context.clock.steady();
  const Listener listener(
      arguments.listen,
      {[&](health::Exposition exposition) { return metrics_text(monitor.fleet(), exposition); },
       [&] {
         const SteadyTime last = monitor.last_look().value_or(started);
         return context.clock.steady() - last < interval + kStuck;
       }});
  context.remark(fmt::format("listening on {}\n", listener.url()));
  try {
    while (true) {
      if (!listener.is_listening()) {
        throw Error(ErrorKind::failed, "--listen: no connection can be accepted any more",
                    "are there too many open files? starting anew helps for now");
      }
      monitor.look(context.call);
      context.call.sleep(interval);
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::terminated && error.kind() != ErrorKind::interrupted) throw;
  }
  return 0;
}

int run(const Arguments& arguments, const Context& context) {
  if (!arguments.listen.address.empty()) {
    if (!arguments.target.any()) return serve(arguments, context);
    throw Error(ErrorKind::usage, "--listen cannot be given with --textfile or --push",
                "run it twice: one listens, the other writes");
  }
  const Wired wired(context);
  const health::Fleet fleet = survey_for_metrics(wired, context.call);
  const std::string text = metrics_text(fleet, health::Exposition::text);
  deliver(arguments.target, text, context, context.call);
  if (!arguments.target.any()) context.print(text);
  return 0;
}

}  // namespace

void add_metrics(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand("metrics", "The state of all backups as Prometheus metrics");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  verb->add_option("--listen", arguments->listen.address,
                   "Answer GET /metrics and /healthz at HOST:PORT, or :PORT for all interfaces")
      ->type_name("HOST:PORT");
  verb->add_option("--tls-cert", arguments->listen.certificate_file,
                   "File with the listener's certificate and its chain")
      ->type_name("FILE");
  verb->add_option("--tls-key", arguments->listen.key_file, "File with its key")->type_name("FILE");
  verb->add_option("--interval", arguments->interval,
                   "How often the listener asks the API server; 30s if nothing is said");
  verb->add_option("--repository-interval", arguments->repository_interval,
                   "How often it looks into a repository that has no new backup; 10m if nothing is "
                   "said");
  add_target_flags(*verb, arguments->target);
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr metrics\n"
      "  kubectl kubedr metrics --listen :9797\n"
      "  kubectl kubedr metrics --textfile /var/lib/prometheus/node-exporter/kubedr.prom\n"
      "  kubectl kubedr metrics --push http://pushgateway:9091\n"
      "  kubectl kubedr backup nightly --push "
      "http://pushgateway:9091/metrics/job/kubedr/cluster/a");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
