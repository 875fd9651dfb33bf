#ifndef KUBEDR_WORKFLOW_EXPIRY_H
#define KUBEDR_WORKFLOW_EXPIRY_H

#include <optional>
#include <string_view>

#include "base/clock.h"

namespace kubedr::workflow {

// The end of the validity of the certificate that ends first, of all in a PEM text; nullopt where
// there is none.
std::optional<WallTime> first_expiry(std::string_view pem);

// Whether the first certificate of a PEM text is that of the key in the other.
bool belong_together(std::string_view certificate_pem, std::string_view key_pem);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_EXPIRY_H
