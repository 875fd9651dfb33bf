#include "e2e/rights.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace kubedr::test {
namespace {

std::string right(const std::string& verb, const std::string& group, const std::string& resource,
                  const std::string& subresource = "") {
  const std::string qualified = group.empty() ? resource : resource + "." + group;
  return fmt::format("{} {}{}{}", verb, qualified, subresource.empty() ? "" : "/", subresource);
}

}  // namespace

std::string shown(const Rights& rights) {
  return join({rights.begin(), rights.end()}, "\n");
}

Rights without(const Rights& all, const Rights& others) {
  Rights rest;
  std::set_difference(all.begin(), all.end(), others.begin(), others.end(),
                      std::inserter(rest, rest.end()));
  return rest;
}

Rights granted(ControlPlane& plane, const std::string& kind, const std::string& name) {
  Rights rights;
  const Json role = plane.get(kind, name);
  for (const Json& rule : role.at("rules")) {
    for (const std::string group : rule.at("apiGroups")) {
      for (const std::string resource : rule.at("resources")) {
        const std::size_t slash = resource.find('/');
        const std::string sub = slash == std::string::npos ? "" : resource.substr(slash + 1);
        for (const std::string verb : rule.at("verbs")) {
          rights.insert(right(verb, group, resource.substr(0, slash), sub));
        }
      }
    }
  }
  return rights;
}

AuditLog::AuditLog()
    : policy_(folder_.write("audit-policy.yaml", R"(
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
)")) {}

std::vector<std::string> AuditLog::flags() const {
  return {"--audit-policy-file=" + policy_.string(),
          "--audit-log-path=" + (folder_ / "audit.log").string()};
}

Rights AuditLog::used_by(const std::string& user) const {
  Rights used;
  for (const std::string& line : split(read_text(folder_ / "audit.log"), '\n')) {
    if (line.find('"' + user + '"') == std::string::npos) continue;
    const Json entry = parse_json(line, "audit log");
    const bool allowed =
        find_string(entry, {"annotations", "authorization.k8s.io/decision"}) == "allow";
    const Json* object = find(entry, {"objectRef"});
    const auto impersonated = find_string(entry, {"impersonatedUser", "username"});
    const auto who = impersonated ? impersonated : find_string(entry, {"user", "username"});
    if (who != user || !allowed || object == nullptr) continue;
    if (object->value("apiGroup", "") == "authorization.k8s.io") continue;  // `auth can-i`
    used.insert(right(entry.at("verb"), object->value("apiGroup", ""), object->at("resource"),
                      object->value("subresource", "")));
  }
  return used;
}

}  // namespace kubedr::test
