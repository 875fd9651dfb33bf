#ifndef KUBEDR_WORKFLOW_ACCESS_H
#define KUBEDR_WORKFLOW_ACCESS_H

#include <string>
#include <vector>

#include "base/json.h"
#include "workflow/services.h"

// Who may do what: the roles that `install` makes. Each is to be bound to people by whoever runs
// the cluster; only those of scheduled backups and of the listener are bound here, to their own
// service accounts.
//
//   kubedr-reader    ClusterRole  looks at everything, Secrets aside; part of the cluster's "view"
//   kubedr-backup    Role         takes backups and cares for repositories from outside the
//                                 cluster: reads the Secrets of locations and policies, and no
//                                 others
//   kubedr-admin     Role         everything but install and uninstall
//   kubedr-job       Role         a scheduled backup, whose Secrets its pod is given
//   kubedr-metrics   Role         a listener for Prometheus in the cluster, where one is wanted:
//                                 looks at everything, repositories too, and changes nothing
//   kubedr-identity  ClusterRole  tells this cluster from others
//
// A Role holds for its namespace; the tests compare each with what the verbs really ask for.
// Backups are counted in annotations of policies, which RBAC cannot tell from their spec: an
// admission policy (kubedr-policies, of API servers since 1.30) keeps that to those who may make
// policies.
namespace kubedr::workflow {

inline constexpr char kManagedBy[] = "app.kubernetes.io/managed-by";
inline constexpr char kManager[] = "kubectl-kubedr";
inline constexpr char kReaderRole[] = "kubedr-reader";
inline constexpr char kBackupRole[] = "kubedr-backup";
inline constexpr char kAdminRole[] = "kubedr-admin";
inline constexpr char kJobRole[] = "kubedr-job";  // and the ServiceAccount that it is bound to
inline constexpr char kMetricsRole[] = "kubedr-metrics";  // with all that it is for
inline constexpr char kIdentityRole[] = "kubedr-identity";

// Labels of what we make for ourselves; `component` says for what.
Json managed_labels(const std::string& component);

// Everything of the above but the listener's, in the order in which it is applied. `secrets`: names
// of those that backups need, besides the default one of etcd.
std::vector<Json> access_objects(const std::string& name_space,
                                 const std::vector<std::string>& secrets);

// What the listener's service account may do.
std::vector<Json> metrics_access_objects(const std::string& name_space,
                                         const std::vector<std::string>& secrets);

// The ClusterRoleBindings that the installation in a namespace makes: that of scheduled backups and
// the listener's. Two namespaces may have their own: the name says whose it is.
std::string identity_binding(const std::string& name_space);
std::string metrics_binding(const std::string& name_space);

// The admission policy and its binding.
std::vector<Json> guard_objects();

// The Secrets that the locations and policies of the namespace name.
std::vector<std::string> secrets_in_use(const Services& services, const Call& call);

// Makes kubedr-metrics agree with them, where `install --metrics` made that role.
void refresh_metrics_role(const Services& services, const std::vector<std::string>& secrets,
                          const Call& call);

// The same for kubedr-backup too, and with those that are in use.
void refresh_roles(const Services& services, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_ACCESS_H
