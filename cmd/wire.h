#ifndef KUBEDR_CMD_WIRE_H
#define KUBEDR_CMD_WIRE_H

#include <memory>
#include <vector>

#include "cluster/cluster.h"
#include "cmd/context.h"
#include "http/authorities.h"
#include "http/proxy.h"
#include "kube/kubeconfig.h"
#include "workflow/services.h"
#include "workflow/versions.h"

namespace kubedr::cmd {

// The composition root: decides by the flags who implements what, in which mode.
class Wired {
 public:
  // errors   usage: flags that contradict each other, a kubeconfig that cannot be read
  explicit Wired(const Context& context);

  const workflow::Services& services() const { return *services_; }

  // What would have been written, where there is no API server; for reports.
  std::vector<Json> collected() const;

 private:
  std::unique_ptr<cluster::Cluster> cluster_;
  std::unique_ptr<workflow::Progress> progress_;
  std::unique_ptr<workflow::Services> services_;
};

// errors   usage: `VERB: works on a cluster, not on -f or --repo`
void require_cluster(const workflow::Services& services, const std::string& verb,
                     const std::string& hint);

// Whom the user trusts instead of the system's.
http::Authorities authorities_of(const Environment& environment);

// Which proxies the user wants, in capitals or not.
http::ProxyVariables proxies_of(const Environment& environment);

// "kubectl-kubedr/0.1.0".
std::string user_agent();

// What the API server says of itself.
//
// errors   as kube::Client
workflow::ServerVersion api_server_version(const Context& context);

// What the kubeconfig has for --context, --cluster and --user.
//
// errors   usage: a kubeconfig that cannot be read
kube::ConfigNames kubeconfig_names(const Context& context);

// The namespace that flags and environment mean.
std::string name_space_of(const Context& context);

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_WIRE_H
