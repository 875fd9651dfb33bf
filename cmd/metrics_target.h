#ifndef KUBEDR_CMD_METRICS_TARGET_H
#define KUBEDR_CMD_METRICS_TARGET_H

#include <CLI/CLI.hpp>
#include <string>

#include "cmd/context.h"
#include "cmd/wire.h"
#include "health/exposition.h"
#include "health/fleet.h"

namespace kubedr::cmd {

// Where metrics of a job go: to a file of node_exporter's textfile collector, to a Pushgateway.
struct MetricsTarget {
  std::string textfile;
  std::string push;

  bool any() const { return !textfile.empty() || !push.empty(); }
};

void add_target_flags(CLI::App& verb, MetricsTarget& target);

// The fleet's metrics as text.
std::string metrics_text(const health::Fleet& fleet, health::Exposition exposition);

// Asks for everything once, the repositories too.
health::Fleet survey_for_metrics(const Wired& wired, const Call& call);

// To each target, the first error ending it: for who asked for metrics and nothing else.
//
// errors   what writing the file throws; as push
void deliver(const MetricsTarget& target, const std::string& text, const Context& context,
             const Call& call);

// To each target, after a backup: what fails is a failed step.
void deliver_after_backup(const MetricsTarget& target, const Wired& wired, const Context& context,
                          workflow::Steps& steps);

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_METRICS_TARGET_H
