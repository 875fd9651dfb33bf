#ifndef KUBEDR_WORKFLOW_DOCTOR_H
#define KUBEDR_WORKFLOW_DOCTOR_H

#include <string>
#include <vector>

#include "base/json.h"
#include "workflow/services.h"

namespace kubedr::workflow {

// warning: backups go on without it, or for now.
enum class Grade { good, warning, error };

const char* to_string(Grade grade);

// One thing that was tried.
struct Examined {
  Grade grade = Grade::good;
  std::string code;    // stable, for scripts: "s3-delete"
  std::string object;  // "backuplocation/minio"
  std::string message;
  std::string remedy;  // empty where it is good, or nothing can be said
};

struct DoctorReport {
  std::string policy;
  std::string location;
  std::string repository_url;
  std::vector<Examined> examined;  // in the order in which a backup needs them
  std::vector<Json> iam;           // one policy for the store's keys; none where it is a folder
  std::vector<Json> rbac;          // a Role and a ClusterRole; none without an API server
};

// Tries everything that a backup of the policy will need, each for real, and goes on behind what
// fails. What it writes it removes: a pack of 4 KiB that no index names, and a lock.
//
// errors   not_found, usage: no such policy, or more than one and none named; what the API server
//          throws when it cannot be asked at all
DoctorReport examine(const Services& services, const std::string& policy, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_DOCTOR_H
