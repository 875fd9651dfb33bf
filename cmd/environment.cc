#include "cmd/environment.h"

#include <string_view>

namespace kubedr::cmd {
namespace {

const std::string kNotSet;

}  // namespace

Environment::Environment(const char* const* variables) {
  for (; *variables != nullptr; ++variables) {
    const std::string_view variable(*variables);
    const std::size_t equals = variable.find('=');
    if (equals == std::string_view::npos) continue;
    values_.emplace(variable.substr(0, equals), variable.substr(equals + 1));
  }
}

const std::string& Environment::get(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? kNotSet : found->second;
}

std::vector<std::string> Environment::for_programs() const {
  std::vector<std::string> lines;
  for (const auto& [name, value] : values_) {
    if (!name.starts_with("RESTIC_")) lines.push_back(name + "=" + value);
  }
  return lines;
}

const std::string& Environment::first(std::initializer_list<const char*> names) const {
  for (const char* name : names) {
    if (const std::string& value = get(name); !value.empty()) return value;
  }
  return kNotSet;
}

}  // namespace kubedr::cmd
