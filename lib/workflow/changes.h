#ifndef KUBEDR_WORKFLOW_CHANGES_H
#define KUBEDR_WORKFLOW_CHANGES_H

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "workflow/services.h"
#include "workflow/steps.h"

// What locations and policies have in common when they are made and deleted.
namespace kubedr::workflow {

struct CreateReport {
  std::vector<std::string> created;  // as kubectl names them
  std::vector<FailedStep> failed_steps;
};

// The Secret with these keys, if there are any, and the object.
std::vector<Json> with_secret(const Json& object, const std::string& name,
                              const std::optional<cluster::SecretData>& keys);

// Makes both and lets kubedr-backup read the Secret. One of the same content is taken as it is.
//
// errors   exists: the object, or a Secret with another content
CreateReport create_objects(const Services& services, const Json& object, const std::string& secret,
                            const std::optional<cluster::SecretData>& keys, const Call& call);

// What goes with a location or a policy.
struct DeletePlan {
  std::vector<cluster::ObjectName> objects;
  std::string secret;       // goes after them; empty: none
  std::size_t records = 0;  // that stay, and name it
};

struct DeleteReport {
  std::vector<std::string> deleted;  // as kubectl names them
  std::vector<FailedStep> failed_steps;
  bool done = false;  // false: `agree` said no
};

using AgreeToDelete = std::function<bool(const DeletePlan&)>;

// That no other location or policy names this Secret, and none that cannot be read might: with it
// goes the only copy of what is in it.
//
// errors   usage
void require_unshared(const Services& services, const std::string& secret,
                      const crd::ObjectRef& owner, const Call& call);

// Deletes what is in the plan, and lets kubedr-backup no longer read what nobody needs.
DeleteReport delete_planned(const Services& services, const DeletePlan& plan,
                            const AgreeToDelete& agree, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_CHANGES_H
