#include "workflow/retention.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "workflow/maintain.h"

// The policy keeps 3; on the left the time of each of its snapshots, on the right its record:
//
//   Mon  mbr-1a   goes: record, then snapshot
//   Tue  (none)   goes: an earlier run was killed between the two
//   Wed  mbr-3c   stays
//   Thu  mbr-4d   stays
//   Fri  mbr-5e   stays: the backup just made
//
// Killed after the record of Monday, its snapshot is an orphan like Tuesday's, and goes next time.
namespace kubedr::workflow {
namespace {

// Copying packs costs reads and writes: so much must be gained.
constexpr std::uint64_t kWorthAPrune = std::uint64_t{64} << 20;
constexpr double kWorthShare = 0.1;
constexpr double kWorthAlways = 0.5;

bool names(const crd::Record& record, const repo::SavedSnapshot& saved) {
  return !record.snapshot_id.empty() && saved.id.hex().starts_with(record.snapshot_id);
}

bool is_of(const crd::Record& record, const crd::Policy& policy) {
  return record.policy == policy.ref.name && record.location == policy.destination &&
         record.ref.name_space == policy.ref.name_space;
}

// By its tag, or for one that operator mode made, by the record that names it.
bool belongs(const RetentionInput& input, const repo::SavedSnapshot& saved) {
  if (has_tag(saved.snapshot, policy_tag(input.policy))) return true;
  if (!saved.snapshot.tags.empty()) return false;
  return std::any_of(input.records.begin(), input.records.end(), [&](const crd::Record& record) {
    return is_of(record, input.policy) && names(record, saved);
  });
}

// Whether both say whose they are, and say it differently.
bool differ(const repo::Snapshot& a, const repo::Snapshot& b, const char* tag) {
  const std::string ours = tag_value(a, tag);
  const std::string theirs = tag_value(b, tag);
  return !ours.empty() && !theirs.empty() && ours != theirs;
}

bool same_identity(const repo::Snapshot& a, const repo::Snapshot& b) {
  return !differ(a, b, "cluster") && !differ(a, b, "etcd");
}

RetentionVerdict doubt(const std::string& why, const std::string& remedy) {
  return {{}, why, remedy};
}

}  // namespace

RetentionVerdict choose_victims(const RetentionInput& input) {
  std::vector<repo::SavedSnapshot> own;
  for (const repo::SavedSnapshot& saved : input.snapshots) {
    if (belongs(input, saved)) own.push_back(saved);
  }
  const bool has_new = std::any_of(own.begin(), own.end(), [&](const repo::SavedSnapshot& saved) {
    return saved.id.hex() == input.own;
  });
  if (!has_new) {
    return doubt("the listing does not show the backup just made",
                 "look at it with `kubectl kubedr snapshots`; the next backup tries again");
  }
  for (const crd::Record& record : input.records) {
    if (!is_of(record, input.policy) || record.snapshot_id.empty()) continue;
    const bool listed =
        std::any_of(input.snapshots.begin(), input.snapshots.end(),
                    [&](const repo::SavedSnapshot& saved) { return names(record, saved); });
    if (listed) continue;
    return doubt(fmt::format("record {} names snapshot {}, which the repository does not list",
                             record.ref.name, record.snapshot_id),
                 "`kubectl kubedr check` tells whether something is lost; `kubectl kubedr sync` "
                 "removes records of nothing");
  }
  const repo::SavedSnapshot newest = own.back();
  if (own.size() > 1 && !input.adopt &&
      !same_identity(newest.snapshot, own[own.size() - 2].snapshot)) {
    return doubt("the etcd is not the one of the backup before: a restored or another cluster",
                 "if that is meant, say so once: kubectl kubedr backup --adopt");
  }
  std::erase_if(own, [&](const repo::SavedSnapshot& saved) {
    return !same_identity(saved.snapshot, newest.snapshot);
  });
  const auto keep = static_cast<std::uint64_t>(std::max<std::int64_t>(input.keep, 1));
  if (own.size() <= keep) return {};
  own.resize(own.size() - keep);
  return {std::move(own), "", ""};
}

namespace {

class Retaining {
 public:
  Retaining(const Services& services, OpenedRepository& opened, const crd::Policy& policy,
            const Call& call)
      : s_(services), opened_(opened), policy_(policy), call_(call) {}

  RetentionReport run(const std::string& own, bool adopt) {
    RetentionReport report;
    // Looked at without a lock first: most backups have nothing to remove.
    const RetentionVerdict before = choose(own, adopt, call_);
    report.doubt = before.doubt;
    report.remedy = before.remedy;
    if (before.victims.empty()) return report;
    repo::Lock lock = opened_.repository.lock_exclusive(s_.owner, s_.lock_retry, call_);
    const Call held = lock.scope();
    const RetentionVerdict verdict = choose(own, adopt, held);
    report.doubt = verdict.doubt;
    report.remedy = verdict.remedy;
    for (const repo::SavedSnapshot& victim : verdict.victims) {
      remove_records(victim, held);
      opened_.repository.remove_snapshot(victim.id, lock, held);
      report.removed.push_back(victim.id.hex());
    }
    PruneReport pruned = prune_locked(s_, opened_, lock, {}, pays, held);
    if (pruned.done) report.pruned = pruned.figures;
    const Afterwards afterwards(call_);
    lock.release(afterwards.call());
    return report;
  }

 private:
  RetentionVerdict choose(const std::string& own, bool adopt, const Call& call) {
    records_ = s_.cluster.records(call).items;
    std::vector<std::string> damaged;
    RetentionInput input{policy_,
                         opened_.repository.snapshots(call, &damaged),
                         records_,
                         own,
                         policy_.retain_num_backups,
                         adopt};
    if (damaged.empty()) return choose_victims(input);
    return doubt("a snapshot cannot be read: " + damaged.front(), "kubectl kubedr check");
  }

  void remove_records(const repo::SavedSnapshot& victim, const Call& call) {
    for (const crd::Record& record : records_) {
      if (record.location == policy_.destination && names(record, victim)) {
        s_.cluster.delete_record(record.ref, call);
      }
    }
  }

  static bool pays(const repo::PruneFigures& plan) {
    const auto used = static_cast<double>(plan.used_blobs.bytes);
    const auto freed = static_cast<double>(plan.bytes_freed);
    return freed > kWorthAlways * used ||
           (plan.bytes_freed > kWorthAPrune && freed > kWorthShare * used);
  }

  const Services& s_;
  OpenedRepository& opened_;
  const crd::Policy& policy_;
  const Call& call_;
  std::vector<crd::Record> records_;
};

}  // namespace

RetentionReport retain(const Services& services, OpenedRepository& opened,
                       const crd::Policy& policy, const std::string& own_snapshot,
                       Retention retention, bool adopt, const Call& call) {
  RetentionReport report;
  if (retention == Retention::never) return report;
  if (retention == Retention::automatic && services.cluster.operator_runs(call)) {
    report.left_to_operator = true;
    return report;
  }
  return Retaining(services, opened, policy, call).run(own_snapshot, adopt);
}

}  // namespace kubedr::workflow
