#include "workflow/metrics_service.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "workflow/access.h"
#include "workflow/job.h"

namespace kubedr::workflow {
namespace {

constexpr int kPort = 9797;
constexpr char kMetricsComponent[] = "metrics";
constexpr char kPortName[] = "metrics";
constexpr int kNobody = 65532;

Json object(const char* version, const char* kind, const std::string& name_space, Json spec) {
  return {{"apiVersion", version},
          {"kind", kind},
          {"metadata",
           {{"name", kMetricsRole},
            {"namespace", name_space},
            {"labels", managed_labels(kMetricsComponent)}}},
          {"spec", std::move(spec)}};
}

Json selector() {
  Json labels = managed_labels(kMetricsComponent);
  labels.erase(kManagedBy);
  return labels;
}

Json container(const std::string& name_space, const std::string& image) {
  const Json healthy = {{"httpGet", {{"path", "/healthz"}, {"port", kPortName}}}};
  return {
      {"name", kMetricsComponent},
      {"image", image},
      {"command", Json::array({kProgram})},
      {"args", Json::array({"metrics", "--listen", ":" + std::to_string(kPort), "--namespace",
                            name_space, "--no-cache"})},
      {"ports", Json::array({{{"name", kPortName}, {"containerPort", kPort}}})},
      {"livenessProbe", healthy},
      {"readinessProbe", healthy},
      // What it takes of memory grows with the repositories: a limit would end it at the largest.
      {"resources", {{"requests", {{"cpu", "10m"}, {"memory", "64Mi"}}}}},
      {"securityContext", restricted_container()}};
}

Json deployment(const std::string& name_space, const std::string& image) {
  const Json pod = {{"serviceAccountName", kMetricsRole},
                    {"securityContext",
                     {{"runAsNonRoot", true},
                      {"runAsUser", kNobody},
                      {"runAsGroup", kNobody},
                      {"seccompProfile", {{"type", "RuntimeDefault"}}}}},
                    {"containers", Json::array({container(name_space, image)})}};
  return object("apps/v1", "Deployment", name_space,
                {{"replicas", 1},
                 // Two at a time would be scraped as one.
                 {"strategy", {{"type", "Recreate"}}},
                 {"selector", {{"matchLabels", selector()}}},
                 {"template",
                  {{"metadata", {{"labels", managed_labels(kMetricsComponent)}}}, {"spec", pod}}}});
}

}  // namespace

std::vector<Json> metrics_objects(const std::string& name_space, const MetricsService& service) {
  std::vector<Json> objects = {
      deployment(name_space, service.image),
      object("v1", "Service", name_space,
             {{"selector", selector()},
              {"ports",
               Json::array({{{"name", kPortName}, {"port", kPort}, {"targetPort", kPortName}}})}})};
  if (service.service_monitor) {
    objects.push_back(
        object("monitoring.coreos.com/v1", "ServiceMonitor", name_space,
               {{"selector", {{"matchLabels", selector()}}},
                {"endpoints", Json::array({{{"port", kPortName}, {"interval", "30s"}}})}}));
  }
  return objects;
}

MetricsService require_metrics_service(const Services& services, MetricsService service,
                                       const Call& call) {
  if (service.image.empty()) {
    const auto there = services.cluster.find_object({"Deployment", kMetricsRole}, call);
    if (there) service.image = image_of(*there);
  }
  if (service.image.empty()) {
    throw Error(ErrorKind::usage,
                "install --metrics: which image holds this program? --image is needed the first "
                "time",
                kImageHint);
  }
  if (!service.service_monitor) return service;
  try {
    services.cluster.list_objects("ServiceMonitor", "", cluster::Reach::here, call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
    throw Error(ErrorKind::usage,
                "install --service-monitor: this cluster has no ServiceMonitors: nothing was "
                "changed",
                "install the Prometheus operator first, or let Prometheus scrape service/" +
                    std::string(kMetricsRole));
  }
  return service;
}

}  // namespace kubedr::workflow
