#ifndef KUBEDR_WORKFLOW_LOCATION_H
#define KUBEDR_WORKFLOW_LOCATION_H

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "workflow/services.h"
#include "workflow/steps.h"

namespace kubedr::workflow {

struct NewLocation {
  std::string name;
  std::string url;
  std::string bucket;
  std::string credentials;                  // name of the Secret
  std::optional<cluster::SecretData> keys;  // of the Secret to make; none: it is there already
};

// The Secret, if one is to be made, and the BackupLocation.
std::vector<Json> location_objects(const std::string& name_space, const NewLocation& location);

struct CreateReport {
  std::vector<std::string> created;  // as kubectl names them
  std::vector<FailedStep> failed_steps;
};

// Makes both and lets kubedr-backup read the Secret. A Secret of the same content is taken as it
// is.
//
// errors   exists: the location, or a Secret with another content; usage: a URL or keys that cannot
//          be used; not_found: the Secret that should be there, or a key in it
CreateReport create_location(const Services& services, const NewLocation& location,
                             const Call& call);

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

// The repository and its records stay, and so does the Secret unless its deletion is asked for: it
// may hold the only password of the repository.
//
// errors   not_found; usage: policies have it as their destination, or its Secret is used elsewhere
DeleteReport delete_location(const Services& services, const std::string& name, bool delete_secret,
                             const AgreeToDelete& agree, const Call& call);

// Shared with policies.

// Makes a Secret, or finds one of that content.
//
// errors   exists: one of another content
bool create_secret(const Services& services, const std::string& name,
                   const cluster::SecretData& data, const Call& call);

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

#endif  // KUBEDR_WORKFLOW_LOCATION_H
