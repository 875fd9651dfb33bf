#ifndef KUBEDR_E2E_RIGHTS_H
#define KUBEDR_E2E_RIGHTS_H

#include <set>
#include <string>
#include <vector>

#include "e2e/world.h"

// Who may do what, and who did.
namespace kubedr::test {

// "patch metadatabackuppolicies.kubedr.catalogicsoftware.com/status", shown by doctest.
using Rights = std::set<std::string>;

std::string shown(const Rights& rights);
Rights without(const Rights& all, const Rights& others);

// What a role grants.
Rights granted(ControlPlane& plane, const std::string& kind, const std::string& name);

// Where an API server writes down who asked for what.
class AuditLog {
 public:
  AuditLog();

  // Of that API server; it must not outlive this value.
  std::vector<std::string> flags() const;

  // What it allowed that user, or whoever was that user by --as.
  Rights used_by(const std::string& user) const;

 private:
  TempDir folder_;
  std::filesystem::path policy_;
};

}  // namespace kubedr::test

#endif  // KUBEDR_E2E_RIGHTS_H
