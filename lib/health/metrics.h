#ifndef KUBEDR_HEALTH_METRICS_H
#define KUBEDR_HEALTH_METRICS_H

#include <string>
#include <vector>

#include "health/exposition.h"
#include "health/findings.h"
#include "health/fleet.h"

namespace kubedr::health {

// The fleet as metrics: first the operator's, by its names, with its one label `policyName` (and
// `policy_namespace` where policies of all namespaces are seen), then ours, whose labels are
// `policy`, `policy_namespace`, `location`, `location_namespace`. What is not known has no sample.
//
// units    seconds and bytes; times are seconds since 1970
// source   the KubeDR contract, 7: the operator's kubedr_*
std::vector<Family> metric_families(const Fleet& fleet, const Health& health,
                                    const std::string& version);

}  // namespace kubedr::health

#endif  // KUBEDR_HEALTH_METRICS_H
