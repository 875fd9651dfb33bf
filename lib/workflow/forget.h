#ifndef KUBEDR_WORKFLOW_FORGET_H
#define KUBEDR_WORKFLOW_FORGET_H

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "repo/keep.h"
#include "workflow/maintain.h"
#include "workflow/services.h"
#include "workflow/snapshots.h"
#include "workflow/steps.h"

namespace kubedr::workflow {

struct ForgetRequest {
  std::vector<std::string> snapshots;  // ids, prefixes or record names; with rules or filter: none
  std::string location;
  std::string policy;
  SnapshotFilter filter;
  repo::KeepRules rules;
  std::string group_by = "policy";  // comma separated: policy, host, paths, tags; empty: one group
  bool unsafe_allow_remove_all = false;  // of what a filter finds, without rules
  bool prune = false;
  repo::PruneOptions prune_options;
  bool dry_run = false;
};

struct ForgetGroup {
  std::string name;  // "policy kubedr-system/nightly"
  std::vector<repo::Kept> keep;
  std::vector<ListedSnapshot> remove;
};

// What would go, before anything does.
struct ForgetPlan {
  std::string repository_url;
  std::vector<ForgetGroup> groups;
  std::size_t removed() const;
};

struct ForgetReport {
  ForgetPlan plan;
  std::vector<std::string> removed;          // ids
  std::optional<repo::PruneFigures> pruned;  // with dry_run: what would be
  std::vector<FailedStep> failed_steps;      // a record or a snapshot that could not be removed
};

// Deletes each chosen snapshot's record, then the snapshot, under an exclusive lock. `agree` is
// shown the plan and decides; a refusal changes nothing and is no error.
//
// errors   not_found, usage (nothing chosen, an ambiguous id, a rule that would leave a group
//          without snapshots, all of them without a filter), locked
ForgetReport forget(const Services& services, const ForgetRequest& request,
                    const std::function<bool(const ForgetPlan&)>& agree, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_FORGET_H
