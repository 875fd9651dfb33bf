#ifndef KUBEDR_S3_SIGN_H
#define KUBEDR_S3_SIGN_H

#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/secret.h"

namespace kubedr::s3 {

struct Credentials {
  std::string access_key;
  Secret secret_key;
  Secret session_token;  // may be empty
};

// A request as AWS Signature Version 4 sees it.
struct SignRequest {
  std::string method;
  std::string path;                                          // escaped once, as it is sent
  std::vector<std::pair<std::string, std::string>> query;    // not escaped
  std::vector<std::pair<std::string, std::string>> headers;  // all are signed; host among them
  std::string payload_hash;                                  // hex SHA-256, or "UNSIGNED-PAYLOAD"
};

// The canonical request, for tests against AWS's published vectors.
std::string canonical_request(const SignRequest& request);

// The Authorization header's value. The caller sends x-amz-date, x-amz-content-sha256 and, with a
// session token, x-amz-security-token among the signed headers.
//
// source   AWS, "Signature Version 4", service "s3"
Secret authorization(const SignRequest& request, const Credentials& credentials,
                     const std::string& region, WallTime time, const std::string& service = "s3");

}  // namespace kubedr::s3

#endif  // KUBEDR_S3_SIGN_H
