#ifndef KUBEDR_KUBE_FAILURE_H
#define KUBEDR_KUBE_FAILURE_H

#include <string>
#include <string_view>

#include "base/error.h"
#include "http/client.h"

namespace kubedr::kube {

// A request in the API's own terms, from its method and path.
struct Target {
  std::string verb;  // get, list, create, patch, delete
  std::string group;
  std::string name_space;
  std::string resource;  // "backuplocations"; empty for paths that name none
  std::string name;
  std::string subresource;

  // "patch backuplocations/x/status"
  std::string display() const;
};

Target make_target(std::string_view method, std::string_view path);

// The error of an answer with a status of 300 or more: the server's own message, as kubectl words
// it where there is none, with what would help. 410, an expired page token, is a conflict.
Error make_error(const Target& target, const http::Response& response, WallTime now);

}  // namespace kubedr::kube

#endif  // KUBEDR_KUBE_FAILURE_H
