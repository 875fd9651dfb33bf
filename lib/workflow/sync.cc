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
#include "workflow/locks.h"
#include "workflow/open.h"
#include "workflow/totals.h"

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

// What two plans must have in common to be the same.
std::vector<std::string> changes_of(const SyncPlan& plan) {
  std::vector<std::string> changes;
  for (const ListedSnapshot& one : plan.missing) changes.push_back("add " + one.saved.id.hex());
  for (const crd::Record& one : plan.dangling) changes.push_back("remove " + one.ref.name);
  for (const std::string& policy : plan.stale_status) changes.push_back("status " + policy);
  for (const std::string& policy : plan.uncounted) changes.push_back("totals " + policy);
  for (const cluster::ObjectName& one : plan.held) changes.push_back("release " + one.name);
  return changes;
}

class Syncing {
 public:
  Syncing(const Services& services, const SyncRequest& request, const Call& call)
      : s_(services),
        request_(request),
        call_(call),
        location_(location_for(services, whose().location, whose().policy, call)),
        opened_(open_repository(services, location_, call)) {}

  SyncReport run(const std::function<bool(const SyncPlan&)>& agree) {
    SyncReport report;
    report.plan = plan(call_);
    if (report.plan.empty() || !agree(report.plan)) return report;
    repo::Lock lock = lock_shared(s_, opened_.repository, call_);
    const Call held = lock.scope();
    if (changes_of(plan(held)) != changes_of(report.plan)) {
      throw Error(ErrorKind::conflict,
                  "sync: something changed since the plan was made: nothing was changed",
                  "run sync again");
    }
    Steps steps;
    if (report.plan.stale_location) write_location(steps, held);
    for (const ListedSnapshot& one : report.plan.missing) add_record(one, steps, held);
    for (const crd::Record& record : report.plan.dangling) {
      steps.attempt("record " + record.ref.name, "run sync again",
                    [&] { s_.cluster.delete_record(record.ref, held); });
    }
    for (const std::string& policy : report.plan.stale_status) write_status(policy, steps, held);
    for (const std::string& policy : report.plan.uncounted) {
      steps.attempt("totals of " + policy, "run sync again",
                    [&] { recount(s_, policies_.at(policy), seen_, records_, held); });
    }
    for (const cluster::ObjectName& one : report.plan.held) {
      steps.attempt("release of " + one.name, "run sync again",
                    [&] { s_.cluster.delete_object(one, held); });
    }
    const Afterwards afterwards(call_);
    steps.attempt("unlock", "`kubectl kubedr unlock` removes it once it is stale",
                  [&] { lock.release(afterwards.call()); });
    report.failed_steps = steps.failed();
    report.done = true;
    return report;
  }

 private:
  const Whose& whose() const { return request_.whose; }

  SyncPlan plan(const Call& call) {
    // Records before snapshots: one that is made meanwhile has its snapshot listed.
    records_ = read_records(call);
    std::vector<std::string> damaged;
    const std::vector<repo::SavedSnapshot> snapshots = opened_.repository.snapshots(call, &damaged);
    SyncPlan plan;
    plan.location = location_.ref.name;
    plan.repository_url = opened_.store->location();
    plan.stale_location =
        location_.status.init_status != "Completed" || !location_.initialized_annotation;
    const health::SnapshotIds listed = ids_of(snapshots);
    for (const crd::Record& record : records_) {
      if (listed.of(record) == nullptr) plan.dangling.push_back(record);
    }
    require_no_doubt(records_, plan.dangling, damaged);
    read_policies(call);
    cluster_uid_ = s_.cluster.identity(call);
    if (s_.cluster.operator_runs(call) == false) note_held(plan.held);
    SnapshotsRequest filter;
    filter.policy = whose().policy;
    for (ListedSnapshot& one : join_snapshots(snapshots, records_, location_.ref.name, filter)) {
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
    seen_.clear();
    for (const repo::SavedSnapshot& saved : snapshots) {
      seen_.push_back(seen_of(saved, cluster_uid_));
    }
    for (const auto& [name, policy] : policies_) {
      if (!whose().policy.empty() && name != whose().policy) continue;
      if (needs_recount(policy, seen_, records_)) plan.uncounted.push_back(name);
    }
    return plan;
  }

  bool is_here(const ListedSnapshot& one) const {
    return (one.name_space.empty() || one.name_space == s_.cluster.name_space()) &&
           is_of_cluster(one.saved.snapshot, cluster_uid_);
  }

  std::vector<crd::Record> read_records(const Call& call) const {
    std::vector<crd::Record> records = s_.cluster.records(call).items;
    std::erase_if(records, [&](const crd::Record& record) {
      return record.location != location_.ref.name ||
             (!whose().policy.empty() && record.policy != whose().policy);
    });
    return records;
  }

  void note_held(std::vector<cluster::ObjectName>& held) const {
    const auto note = [&](const crd::ObjectRef& ref) {
      if (ref.being_deleted) held.push_back({crd::kind_name(ref.kind), ref.name, ref.name_space});
    };
    for (const crd::Record& record : records_) note(record.ref);
    for (const auto& [name, policy] : policies_) note(policy.ref);
    note(location_.ref);
  }

  void read_policies(const Call& call) {
    policies_.clear();
    newest_.clear();
    for (crd::Policy& policy : s_.cluster.policies(call).items) {
      if (policy.destination != location_.ref.name) continue;
      const std::string name = policy.ref.name;
      policies_.emplace(name, std::move(policy));
    }
  }

  void require_no_doubt(const std::vector<crd::Record>& records,
                        const std::vector<crd::Record>& dangling,
                        const std::vector<std::string>& damaged) const {
    if (!damaged.empty()) {
      throw Error(ErrorKind::corrupt, "sync: a snapshot cannot be read: " + damaged.front(),
                  "`kubectl kubedr check` tells what else is damaged");
    }
    if (request_.unsafe_allow_remove_all) return;
    std::map<std::string, std::size_t> left;
    for (const crd::Record& record : records) ++left[record.policy];
    for (const crd::Record& record : dangling) {
      if (--left[record.policy] > 0) continue;
      throw Error(ErrorKind::failed,
                  fmt::format("sync: the repository lists no snapshot of any record of policy {}: "
                              "nothing was changed",
                              printable(record.policy)),
                  "is it the right bucket? kubectl kubedr snapshots, kubectl kubedr check; if all "
                  "of them are gone, say --unsafe-allow-remove-all");
    }
  }

  void write_location(Steps& steps, const Call& call) const {
    steps.attempt("status of " + location_.ref.name, "run sync again", [&] {
      s_.cluster.patch_status(
          location_.ref, crd::init_completed_status(location_.generation, s_.clock.now()), call);
      s_.cluster.annotate(location_.ref, crd::kInitializedAnnotation, "true", call);
    });
  }

  void add_record(const ListedSnapshot& one, Steps& steps, const Call& call) const {
    const std::string id = one.saved.id.short_hex();
    steps.attempt("record of " + id, "run sync again", [&] {
      s_.cluster.create_record(one.policy, policies_.at(one.policy).destination, id, call);
    });
  }

  void write_status(const std::string& name, Steps& steps, const Call& call) const {
    const repo::SavedSnapshot& saved = newest_.at(name);
    steps.attempt("status of " + name, "run sync again", [&] {
      s_.cluster.patch_status(policies_.at(name).ref,
                              crd::backup_completed_status(figures_of(saved), saved.snapshot.time),
                              call);
    });
  }

  const Services& s_;
  const SyncRequest& request_;
  const Call& call_;
  const crd::Location location_;
  OpenedRepository opened_;
  std::vector<crd::Record> records_;
  std::vector<health::SeenSnapshot> seen_;
  std::map<std::string, crd::Policy> policies_;
  std::optional<std::string> cluster_uid_;
  Newest newest_;
};

}  // namespace

SyncReport sync(const Services& services, const SyncRequest& request,
                const std::function<bool(const SyncPlan&)>& agree, const Call& call) {
  return Syncing(services, request, call).run(agree);
}

}  // namespace kubedr::workflow
