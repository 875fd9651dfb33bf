#ifndef KUBEDR_KUBE_WARNINGS_H
#define KUBEDR_KUBE_WARNINGS_H

#include <string>
#include <string_view>
#include <vector>

namespace kubedr::kube {

// The texts of a Warning header that are for people, those with code 299; one header may hold
// several. What cannot be read is left out.
std::vector<std::string> parse_warnings(std::string_view header);

}  // namespace kubedr::kube

#endif  // KUBEDR_KUBE_WARNINGS_H
