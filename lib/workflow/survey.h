#ifndef KUBEDR_WORKFLOW_SURVEY_H
#define KUBEDR_WORKFLOW_SURVEY_H

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "health/fleet.h"
#include "workflow/services.h"

namespace kubedr::workflow {

struct SurveyRequest {
  std::vector<std::string> only;  // "backuplocation/x", "policy/y", or a bare name; empty: all
  bool deep = false;              // look into the repositories too
  std::chrono::milliseconds longest_look = std::chrono::minutes(10);  // into one repository
  std::optional<std::chrono::seconds> max_age;
};

// The resources alone: no repository is looked into.
//
// errors   as survey
health::Fleet survey_cluster(const Services& services, const SurveyRequest& request,
                             const Call& call);

// A look into one repository.
struct RepositoryLook {
  health::SeenRepository repository;
  std::vector<health::SeenCertificate> certificates;  // in the last backup of each policy
};

// For the cluster with that uid; takes `time` at the most. One that cannot be opened is an answer
// too.
RepositoryLook survey_repository(const Services& services, const crd::Location& location,
                                 const std::optional<std::string>& cluster_uid,
                                 std::chrono::milliseconds time, const Call& call);

// What a policy's Secret of etcd, and the certificates in its last backup, are like.
struct SeenKeys {
  std::vector<health::SeenCertificate> certificates;
  std::vector<health::SeenProblem> problems;
  std::vector<health::SeenRefusal> refusals;
};

// Of the Secret: until when its certificates are good, and why it will not open etcd.
SeenKeys survey_keys(const Services& services, const crd::Policy& policy, const Call& call);

// Adds to the policies' totals what the repositories looked into know besides; nothing is written.
void complete_totals(health::Fleet& fleet);

// Looks at everything that health judges; changes nothing. Without an API server the repositories
// are always looked into, since nothing else tells of past backups.
//
// errors   not_found: a name in `only` that means nothing; what the cluster throws. A repository
//          that cannot be opened is part of the answer.
health::Fleet survey(const Services& services, const SurveyRequest& request, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_SURVEY_H
