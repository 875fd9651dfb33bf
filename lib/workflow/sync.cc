#include "workflow/sync.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "crd/wording.h"
#include "workflow/identity.h"
#include "workflow/open.h"

namespace kubedr::workflow {
namespace {

using Newest = std::map<std::string, repo::SavedSnapshot>;  // by policy

crd::BackupFigures figures_of(const repo::SavedSnapshot& saved) {
  crd::BackupFigures figures;
  figures.snapshot_id = saved.id.short_hex();
  figures.backup_pod = "sync";
  if (const auto& summary = saved.snapshot.summary) {
    figures.files_new = static_cast<std::int64_t>(summary->files_new);
    figures.files_changed = static_cast<std::int64_t>(summary->files_changed);
    figures.data_added = static_cast<std::int64_t>(summary->data_added);
    figures.total_bytes_processed = static_cast<std::int64_t>(summary->total_bytes_processed);
    figures.duration = summary->backup_end - summary->backup_start;
  }
  return figures;
}

class Syncing {
 public:
  Syncing(const Services& services, const Whose& whose, const Call& call)
      : s_(services), whose_(whose), call_(call) {}

  SyncReport run(const std::function<bool(const SyncPlan&)>& agree) {
    SyncReport report;
    report.plan = plan();
    if (report.plan.empty() || !agree(report.plan)) return report;
    Steps steps;
    for (const ListedSnapshot& one : report.plan.missing) add_record(one, steps);
    for (const crd::Record& record : report.plan.dangling) {
      steps.attempt("record " + record.ref.name, "run sync again",
                    [&] { s_.cluster.delete_record(record.ref, call_); });
    }
    for (const std::string& policy : report.plan.stale_status) write_status(policy, steps);
    report.failed_steps = steps.failed();
    report.done = true;
    return report;
  }

 private:
  SyncPlan plan() {
    const crd::Location location = location_for(s_, whose_.location, whose_.policy, call_);
    // Records before snapshots: one that is made meanwhile has its snapshot listed.
    const std::vector<crd::Record> records = records_of(location.ref.name);
    const OpenedRepository opened = open_repository(s_, location, call_);
    std::vector<std::string> damaged;
    const std::vector<repo::SavedSnapshot> snapshots = opened.repository.snapshots(call_, &damaged);
    require_no_doubt(records, snapshots, damaged);
    SyncPlan plan;
    plan.location = location.ref.name;
    plan.repository_url = opened.store->location();
    for (const crd::Record& record : records) {
      const bool listed = std::any_of(snapshots.begin(), snapshots.end(),
                                      [&](const auto& saved) { return names(record, saved); });
      if (!listed) plan.dangling.push_back(record);
    }
    read_policies(location.ref.name);
    cluster_uid_ = s_.cluster.identity(call_);
    SnapshotsRequest filter;
    filter.policy = whose_.policy;
    for (ListedSnapshot& one : join_snapshots(snapshots, records, location.ref.name, filter)) {
      if (policies_.count(one.policy) == 0 || !is_here(one)) continue;
      newest_.insert_or_assign(one.policy, one.saved);
      if (one.record.empty()) plan.missing.push_back(std::move(one));
    }
    for (const auto& [name, saved] : newest_) {
      const crd::PolicyStatus& status = policies_.at(name).status;
      // A failure since then is news that the repository does not know.
      const bool failed = status.backup_status == "Failed";
      if (!failed && status.snapshot_id != saved.id.short_hex()) plan.stale_status.push_back(name);
    }
    return plan;
  }

  bool is_here(const ListedSnapshot& one) const {
    return (one.name_space.empty() || one.name_space == s_.cluster.name_space()) &&
           is_of_cluster(one.saved.snapshot, cluster_uid_);
  }

  std::vector<crd::Record> records_of(const std::string& location) const {
    std::vector<crd::Record> records = s_.cluster.records(call_).items;
    std::erase_if(records, [&](const crd::Record& record) {
      return record.location != location ||
             (!whose_.policy.empty() && record.policy != whose_.policy);
    });
    return records;
  }

  void read_policies(const std::string& location) {
    for (crd::Policy& policy : s_.cluster.policies(call_).items) {
      if (policy.destination != location) continue;
      const std::string name = policy.ref.name;
      policies_.emplace(name, std::move(policy));
    }
  }

  static void require_no_doubt(const std::vector<crd::Record>& records,
                               const std::vector<repo::SavedSnapshot>& snapshots,
                               const std::vector<std::string>& damaged) {
    if (!damaged.empty()) {
      throw Error(ErrorKind::corrupt, "sync: a snapshot cannot be read: " + damaged.front(),
                  "`kubectl kubedr check` tells what else is damaged");
    }
    if (snapshots.empty() && !records.empty()) {
      throw Error(ErrorKind::failed,
                  fmt::format("sync: the repository lists no snapshot at all, and there are {} "
                              "records: nothing was changed",
                              records.size()),
                  "is it the right bucket? kubectl kubedr snapshots, kubectl kubedr check");
    }
  }

  void add_record(const ListedSnapshot& one, Steps& steps) const {
    const std::string id = one.saved.id.short_hex();
    steps.attempt("record of " + id, "run sync again", [&] {
      s_.cluster.create_record(one.policy, policies_.at(one.policy).destination, id, call_);
    });
  }

  void write_status(const std::string& name, Steps& steps) const {
    const repo::SavedSnapshot& saved = newest_.at(name);
    steps.attempt("status of " + name, "run sync again", [&] {
      s_.cluster.patch_status(policies_.at(name).ref,
                              crd::backup_completed_status(figures_of(saved), saved.snapshot.time),
                              call_);
    });
  }

  const Services& s_;
  const Whose& whose_;
  const Call& call_;
  std::map<std::string, crd::Policy> policies_;
  std::optional<std::string> cluster_uid_;
  Newest newest_;
};

}  // namespace

SyncReport sync(const Services& services, const Whose& whose,
                const std::function<bool(const SyncPlan&)>& agree, const Call& call) {
  return Syncing(services, whose, call).run(agree);
}

}  // namespace kubedr::workflow
