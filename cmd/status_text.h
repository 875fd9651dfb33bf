#ifndef KUBEDR_CMD_STATUS_TEXT_H
#define KUBEDR_CMD_STATUS_TEXT_H

#include <string>
#include <vector>

#include "base/json.h"
#include "cmd/context.h"
#include "health/findings.h"
#include "health/fleet.h"

// What `status` has to say, as text.
namespace kubedr::cmd {

// One cluster's answer, judged.
struct ClusterStatus {
  std::string context;  // of --contexts; empty: the one that was asked
  health::Fleet fleet;
  health::Health health;
};

// The document. Its fields are those of monitoring/status.schema.json.
Json status_json(const std::vector<ClusterStatus>& clusters, WallTime now);

// Tables of locations and policies, then the findings; names alone with -o name.
std::string status_text(const std::vector<ClusterStatus>& clusters, const Context& context);

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_STATUS_TEXT_H
