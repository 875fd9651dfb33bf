#ifndef KUBEDR_SUPPORT_TOKEN_H
#define KUBEDR_SUPPORT_TOKEN_H

#include <string>

#include "base/json.h"

namespace kubedr::test {

// A JSON web token of these claims, signed with a key of Certificates (ES256).
std::string make_token(const std::string& key_pem, const Json& claims);

// The key that verifies it, as an issuer publishes it (RFC 7517).
Json public_jwk(const std::string& key_pem);

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_TOKEN_H
