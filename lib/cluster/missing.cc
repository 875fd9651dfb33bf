#include "cluster/missing.h"

#include <fmt/core.h>

#include "base/text.h"

namespace kubedr::cluster {
namespace {

constexpr std::size_t kShown = 10;

std::string listed(std::vector<std::string> names) {
  if (names.empty()) return "there is none";
  const std::size_t more = names.size() > kShown ? names.size() - kShown : 0;
  names.resize(names.size() - more);
  const std::string text = "there are: " + join(names, ", ");
  return more == 0 ? text : fmt::format("{} and {} more", text, more);
}

}  // namespace

Error missing(const std::string& what, const std::string& name, const std::string& name_space,
              const std::vector<std::string>& names) {
  const std::string meant = closest(name, names);
  const char* elsewhere = names.empty() ? "-n names another namespace"
                                        : "give one of those names, or another namespace with -n";
  return Error(ErrorKind::not_found,
               fmt::format("{} \"{}\" not found in namespace \"{}\"; {}", what, name, name_space,
                           listed(names)),
               meant.empty() ? elsewhere : "did you mean \"" + meant + "\"?");
}

}  // namespace kubedr::cluster
