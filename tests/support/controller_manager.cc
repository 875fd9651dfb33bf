#include "support/controller_manager.h"

#include <fmt/core.h>

#include "support/server.h"

namespace kubedr::test {

ControllerManager::ControllerManager(const KubeApi& api) {
  const std::string ca = dir_.write("ca.crt", api.ca_pem()).string();
  const std::string kubeconfig = api.kubeconfig().string();
  ProcessOptions options;
  options.log = dir_ / "kube-controller-manager.log";
  process_ = std::make_unique<Process>(
      std::vector<std::string>{
          find_server("kube-controller-manager"), "--kubeconfig=" + kubeconfig,
          "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
          "--controllers=cronjob-controller,job-controller,deployment-controller,"
          "replicaset-controller,garbage-collector-controller,"
          "root-ca-certificate-publisher-controller,clusterrole-aggregation-controller",
          "--root-ca-file=" + ca, "--leader-elect=false", "--bind-address=127.0.0.1",
          fmt::format("--secure-port={}", port_), "--cert-dir=" + (dir_ / "certs").string()},
      options);
  http::Tls tls;
  tls.verify = false;
  http::Client client = local_client(tls);
  const std::string url = fmt::format("https://127.0.0.1:{}/healthz", port_);
  wait_until_ready(*process_, options.log, [&] { return answers(client, url); });
}

}  // namespace kubedr::test
