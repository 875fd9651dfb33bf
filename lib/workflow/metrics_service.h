#ifndef KUBEDR_WORKFLOW_METRICS_SERVICE_H
#define KUBEDR_WORKFLOW_METRICS_SERVICE_H

#include <string>
#include <vector>

#include "base/json.h"
#include "workflow/services.h"

// `metrics --listen` as a Deployment in the cluster, for Prometheus to scrape. All is
// called kubedr-metrics.
namespace kubedr::workflow {

struct MetricsService {
  std::string image;             // empty: that of the Deployment that is there
  bool service_monitor = false;  // for a Prometheus operator
};

// Deployment, Service and, where it is asked for, ServiceMonitor, in the order they are applied.
std::vector<Json> metrics_objects(const std::string& name_space, const MetricsService& service);

// The same with the image filled in, for a cluster that takes them.
//
// errors   usage: no image; a ServiceMonitor in a cluster that knows none
MetricsService require_metrics_service(const Services& services, MetricsService service,
                                       const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_METRICS_SERVICE_H
