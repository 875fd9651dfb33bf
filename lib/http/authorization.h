#ifndef KUBEDR_HTTP_AUTHORIZATION_H
#define KUBEDR_HTTP_AUTHORIZATION_H

#include <string_view>

#include "base/secret.h"

namespace kubedr::http {

// The Authorization header's value for a name and a password.
//
// source   RFC 7617
Secret basic_authorization(std::string_view name, const Secret& password);

}  // namespace kubedr::http

#endif  // KUBEDR_HTTP_AUTHORIZATION_H
