// `install --metrics`: the listener as a Deployment, made into a pod by the real
// kube-controller-manager, run from the image of tests/release, asked as Prometheus asks it.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "e2e/faults.h"
#include "support/controller_manager.h"
#include "support/image.h"
#include "support/kubelet.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

constexpr char kImage[] = "registry.example.com/kubectl-kubedr:test";
constexpr char kMetricsUrl[] = "http://127.0.0.1:9797/metrics";

std::string scraped() {
  http::Client client = local_client();
  http::Request request;
  request.url = kMetricsUrl;
  try {
    return std::string(client.send(request, call_for(std::chrono::seconds(5))).text());
  } catch (const Error& error) {
    return error.what();
  }
}

// A cluster of the Prometheus operator knows these.
constexpr char kServiceMonitors[] = R"(
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicemonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  names: {kind: ServiceMonitor, listKind: ServiceMonitorList, plural: servicemonitors, singular: servicemonitor}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
)";

}  // namespace

TEST_CASE("install --metrics: a listener in the cluster, with no more rights than it uses") {
  KUBEDR_NEEDS("kube-controller-manager");
  ControlPlane plane({}, {KubeApi::kServiceAccounts});
  const ControllerManager controllers(plane.api());
  const Image image(KUBEDR_BINARY);
  const Kubelet worker(plane.api(), {"worker-1", {}, {}, {{kImage, image.root()}}});
  plane.add_policy("watched");
  REQUIRE(plane.kubedr({"init", "watched"}).ok());
  REQUIRE(plane.kubedr({"backup", "watched"}).ok());
  const auto there = [&](const std::string& object) {
    return plane.api().kubectl({"-n", kNamespace, "get", object}).ok();
  };

  check_failed(plane.kubedr({"install", "--metrics"}), 2, "--image");
  check_failed(plane.kubedr({"install", "--service-monitor"}), 2, "go with --metrics");
  check_failed(plane.kubedr({"install", "--metrics", "--image", kImage, "--service-monitor"}), 2,
               "no ServiceMonitors");
  CHECK_FALSE(there("serviceaccount/kubedr-metrics"));

  const RunResult installed = plane.kubedr({"install", "--metrics", "--image", kImage});
  REQUIRE_MESSAGE(installed.ok(), installed.err);
  CHECK(has(installed.out, "deployment.apps/kubedr-metrics created\n"));
  CHECK(has(installed.out, "service/kubedr-metrics created\n"));
  const std::string snapshots =
      "kubedr_policy_snapshots{policy=\"watched\",policy_namespace=\"kubedr-system\"} 1\n";
  CHECK_MESSAGE(
      eventually([&] { return has(scraped(), snapshots); }, std::chrono::seconds(60)),
      (scraped() + plane.api().kubectl({"-n", kNamespace, "get", "pods", "-o", "yaml"}).out));
  CHECK(eventually([&] {
    const Json deployment = plane.get("deployment", "kubedr-metrics");
    return find_integer(deployment, {"status", "availableReplicas"}) == 1;
  }));
  const Json pod = plane.list("pods").at(0);
  CHECK(pod.at("spec").at("serviceAccountName") == "kubedr-metrics");
  CHECK(pod.at("spec").at("securityContext").at("runAsNonRoot") == true);

  // The image is known by now; a Prometheus operator may come later.
  plane.apply(kServiceMonitors);
  RunResult again;
  CHECK(eventually([&] {
    again = plane.kubedr({"install", "--metrics", "--service-monitor"});
    return again.ok();
  }));
  CHECK_MESSAGE(has(again.out, "deployment.apps/kubedr-metrics unchanged\n"), again.err);
  CHECK(there("servicemonitor/kubedr-metrics"));

  const RunResult gone = plane.kubedr({"uninstall", "--yes"});
  CHECK_MESSAGE(gone.ok(), gone.err);
  for (const char* object :
       {"deployment/kubedr-metrics", "service/kubedr-metrics", "servicemonitor/kubedr-metrics",
        "serviceaccount/kubedr-metrics", "role/kubedr-metrics", "rolebinding/kubedr-metrics",
        "clusterrolebinding/kubedr-metrics-kubedr-system"}) {
    CAPTURE(object);
    CHECK_FALSE(there(object));
  }
  CHECK(eventually([&] { return has(scraped(), "refused"); }, std::chrono::seconds(60)));
}
