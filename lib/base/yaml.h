#ifndef KUBEDR_BASE_YAML_H
#define KUBEDR_BASE_YAML_H

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace kubedr {

// Every document of a YAML (or JSON) text as JSON, `kind: List` taken apart. Plain scalars get
// YAML 1.2's core types as Kubernetes reads them, quoted ones stay strings.
//
// errors   usage: `WHERE: line N: ...`; too large, nested too deeply, too many aliases
std::vector<Json> parse_yaml(std::string_view text, std::string_view where);

// One document as kubectl prints it: keys sorted, block style, strings quoted where they must be,
// multi-line ones as literal blocks.
std::string to_yaml(const Json& value);

}  // namespace kubedr

#endif  // KUBEDR_BASE_YAML_H
