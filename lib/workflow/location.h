#ifndef KUBEDR_WORKFLOW_LOCATION_H
#define KUBEDR_WORKFLOW_LOCATION_H

#include <optional>
#include <string>
#include <vector>

#include "workflow/changes.h"
#include "workflow/services.h"

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

// Makes both and lets kubedr-backup read the Secret. A Secret of the same content is taken as it
// is.
//
// errors   exists: the location, or a Secret with another content; usage: a URL or keys that cannot
//          be used; not_found: the Secret that should be there, or a key in it
CreateReport create_location(const Services& services, const NewLocation& location,
                             const Call& call);

// The repository and its records stay, and so does the Secret unless its deletion is asked for: it
// may hold the only password of the repository.
//
// errors   not_found; usage: policies have it as their destination, or its Secret is used elsewhere
DeleteReport delete_location(const Services& services, const std::string& name, bool delete_secret,
                             const AgreeToDelete& agree, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_LOCATION_H
