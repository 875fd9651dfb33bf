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
  // Of a new repository, 1 or 2; 0: 1 for an operator, whose restic knows no other, and for an API
  // server of its time (before 1.22), else 2.
  int version = 0;
  bool force = false;  // although an operator runs, whose work it is
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
  bool created = false;      // false: it was there, and --if-needed said that is fine
  bool by_operator = false;  // it did the work; nothing is known of the repository itself
  std::vector<FailedStep> failed_steps;
};

// Initializes a location's repository and publishes how that went, as operator mode does. Where an
// operator runs, it does so itself as soon as it sees the location: then this waits for its word.
//
// errors   exists, with restic's words; what the cluster, the store and the repository throw. Every
//          failure after the location was read is published in its status and as an event.
InitReport init(const Services& services, const InitRequest& request, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_INIT_H
