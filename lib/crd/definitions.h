#ifndef KUBEDR_CRD_DEFINITIONS_H
#define KUBEDR_CRD_DEFINITIONS_H

#include <string>
#include <vector>

#include "base/json.h"

namespace kubedr::crd {

// The four CustomResourceDefinitions, apiextensions.k8s.io/v1: group, names, fields, subresources
// and required lists of the original; defaults of its webhook; printer columns.
std::vector<Json> definitions();

// The Namespace object.
Json namespace_object(const std::string& name);

}  // namespace kubedr::crd

#endif  // KUBEDR_CRD_DEFINITIONS_H
