#ifndef KUBEDR_WORKFLOW_INIT_H
#define KUBEDR_WORKFLOW_INIT_H

#include <string>
#include <vector>

#include "workflow/services.h"
#include "workflow/steps.h"

namespace kubedr::workflow {

struct InitRequest {
  std::string location;    // empty: the only one there is
  bool if_needed = false;  // a repository that opens is a success
  int version = 2;         // of a new repository, 1 or 2
  // With these the BackupLocation is created first, under `location`.
  std::string url;
  std::string bucket;
  std::string credentials;
};

struct InitReport {
  std::string location;
  std::string repository_url;
  std::string repository_id;
  std::string key_id;
  int version = 0;
  bool created = false;  // false: it was there, and --if-needed said that is fine
  std::vector<FailedStep> failed_steps;
};

// Initializes a location's repository and publishes how that went, as operator mode does.
//
// errors   exists, with restic's words; what the cluster, the store and the repository throw. Every
//          failure after the location was read is published in its status and as an event.
InitReport init(const Services& services, const InitRequest& request, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_INIT_H
