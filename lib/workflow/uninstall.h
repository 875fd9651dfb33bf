#ifndef KUBEDR_WORKFLOW_UNINSTALL_H
#define KUBEDR_WORKFLOW_UNINSTALL_H

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "workflow/services.h"

namespace kubedr::workflow {

struct UninstallRequest {
  bool delete_records = false;  // the definitions too, and with them every object of theirs
};

struct UninstallPlan {
  std::vector<cluster::ObjectName> objects;   // in the order they go
  std::map<std::string, std::size_t> losses;  // by "metadatabackuprecords in namespace n"
  bool delete_records = false;
};

struct UninstallReport {
  UninstallPlan plan;
  std::vector<std::string> deleted;  // as kubectl names them
  bool done = false;                 // false: `agree` said no
};

// Takes back what `install` and `schedule` made: the CronJobs of the namespace, the listener for
// Prometheus, roles, bindings and service accounts; what is the whole cluster's once no other
// namespace has any. A namespace, a Secret or a repository is never deleted, and definitions only
// when that is asked for: then their objects go first, in all namespaces, each freed of finalizers
// that an operator left behind.
//
// errors   usage: records are to be deleted while an operator runs, which would delete their
//          snapshots too
UninstallReport uninstall(const Services& services, const UninstallRequest& request,
                          const std::function<bool(const UninstallPlan&)>& agree, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_UNINSTALL_H
