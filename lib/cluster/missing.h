#ifndef KUBEDR_CLUSTER_MISSING_H
#define KUBEDR_CLUSTER_MISSING_H

#include <string>
#include <vector>

#include "base/error.h"

namespace kubedr::cluster {

// `backuplocation "x" not found in namespace "n"; there are: a, b`, and as the hint the name that
// was probably meant. `what` is the kind in lower case.
Error missing(const std::string& what, const std::string& name, const std::string& name_space,
              const std::vector<std::string>& names);

}  // namespace kubedr::cluster

#endif  // KUBEDR_CLUSTER_MISSING_H
