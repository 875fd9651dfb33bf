#ifndef KUBEDR_CMD_ENVIRONMENT_H
#define KUBEDR_CMD_ENVIRONMENT_H

#include <map>
#include <string>
#include <vector>

#include "base/secret.h"

namespace kubedr::cmd {

// The process's environment, read once in main.
class Environment {
 public:
  explicit Environment(const char* const* variables);

  // Empty when not set.
  const std::string& get(const std::string& name) const;

  Secret secret(const std::string& name) const { return Secret(get(name)); }

  // For programs that we run: "NAME=VALUE" of everything but what is only for us and restic.
  std::vector<std::string> for_programs() const;

  // The first of these that is set.
  const std::string& first(std::initializer_list<const char*> names) const;

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_ENVIRONMENT_H
