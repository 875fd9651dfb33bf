#ifndef KUBEDR_WORKFLOW_NAMES_H
#define KUBEDR_WORKFLOW_NAMES_H

#include <functional>
#include <string>

#include "workflow/maintain.h"
#include "workflow/services.h"

namespace kubedr::workflow {

enum class Nameable {
  location,
  policy,
  resource,  // both, as `status` takes them
  record,
  snapshot,  // records, snapshots' ids, latest
  key,
};

// What can be named on a command line, and a word about it.
struct Name {
  std::string name;
  std::string about;
};

// Hands over every name that could be meant, the likeliest first; of snapshots and keys those of
// `whose` repository. Nothing is opened: no password is needed and no key derived, which would take
// longer than whoever presses a key waits.
//
// errors   as the cluster's and the store's, with what came before handed over
void each_name(const Services& services, Nameable kind, const Whose& whose,
               const std::function<void(const Name&)>& take, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_NAMES_H
