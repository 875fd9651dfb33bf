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
  std::optional<std::chrono::seconds> max_age;
};

// Looks at everything that health judges; changes nothing. Without an API server the repositories
// are always looked into, since nothing else tells of past backups.
//
// errors   not_found: a name in `only` that means nothing; what the cluster throws. A repository
//          that cannot be opened is part of the answer.
health::Fleet survey(const Services& services, const SurveyRequest& request, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_SURVEY_H
