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

bool is_of(const crd::Record& record, const crd::Policy& policy) {
  return record.policy == policy.ref.name && record.location == policy.destination &&
         record.ref.name_space == policy.ref.name_space;
}

// By its tag, or for one that operator mode made, by the record that names it.
bool belongs(const RetentionInput& input, const repo::SavedSnapshot& saved) {
  const PolicyName tagged = policy_of(saved.snapshot);
  if (!tagged.name.empty()) {
    return tagged.name == input.policy.ref.name && tagged.name_space == input.policy.ref.name_space;
  }
  if (!saved.snapshot.tags.empty()) return false;
  return std::any_of(input.records.begin(), input.records.end(), [&](const crd::Record& record) {
    return is_of(record, input.policy) && names(record, saved);
  });
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
  if (newest.id.hex() != input.own) {
    return doubt(fmt::format("snapshot {} has a later time than the backup just made",
                             newest.id.short_hex()),
                 "another backup ran at the same time, or a clock is wrong: compare `date` on the "
                 "nodes with `kubectl kubedr snapshots`");
  }
  if (!has_tag(newest.snapshot, kAdoptedTag) &&
      std::any_of(own.begin(), own.end(), [&](const repo::SavedSnapshot& saved) {
        return !same_identity(saved.snapshot, newest.snapshot);
      })) {
    return doubt("the policy has backups of another etcd: a restored or another cluster",
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
  Retaining(const Services& services, OpenedRepository& opened, const RetentionRequest& request,
            const Call& call)
      : s_(services), opened_(opened), request_(request), call_(call) {}

  RetentionReport run(Steps& steps) {
    RetentionReport report;
    steps.attempt("retention", "the next backup does it", [&] {
      // Looked at without a lock first: most backups have nothing to remove.
      if (choose(report, call_).empty()) return;
      repo::Lock lock = opened_.repository.lock_exclusive(s_.owner, s_.lock_retry, call_);
      remove_victims(lock, report);
      prune(lock, report, steps);
      const Afterwards afterwards(call_);
      lock.release(afterwards.call());
    });
    return report;
  }

 private:
  std::vector<repo::SavedSnapshot> choose(RetentionReport& report, const Call& call) {
    records_ = s_.cluster.records(call).items;
    std::vector<std::string> damaged;
    RetentionInput input{request_.policy, opened_.repository.snapshots(call, &damaged), records_,
                         request_.own, request_.policy.retain_num_backups};
    RetentionVerdict verdict =
        damaged.empty()
            ? choose_victims(input)
            : doubt("a snapshot cannot be read: " + damaged.front(), "kubectl kubedr check");
    report.doubt = verdict.doubt;
    report.remedy = verdict.remedy;
    return std::move(verdict.victims);
  }

  void remove_victims(repo::Lock& lock, RetentionReport& report) {
    const Call held = lock.scope();
    for (const repo::SavedSnapshot& victim : choose(report, held)) {
      remove_records(victim, held);
      opened_.repository.remove_snapshot(victim.id, lock, held);
      report.removed.push_back(victim.id.hex());
    }
  }

  // A failure is written down where `status` finds it: backups stay green without a prune, for as
  // long as the bucket has room.
  void prune(repo::Lock& lock, RetentionReport& report, Steps& steps) {
    const std::size_t failed = steps.failed().size();
    steps.attempt("prune", "kubectl kubedr prune --location " + request_.location.ref.name, [&] {
      const PruneReport pruned = prune_locked(s_, opened_, lock, {}, pays, lock.scope());
      if (pruned.done) report.pruned = pruned.figures;
    });
    const bool worked = steps.failed().size() == failed;
    note_prune(s_, request_.location, worked ? "" : steps.failed().back().error, call_);
  }

  void remove_records(const repo::SavedSnapshot& victim, const Call& call) {
    for (const crd::Record& record : records_) {
      if (record.location == request_.policy.destination && names(record, victim)) {
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
  const RetentionRequest& request_;
  const Call& call_;
  std::vector<crd::Record> records_;
};

}  // namespace

RetentionReport retain(const Services& services, OpenedRepository& opened,
                       const RetentionRequest& request, Steps& steps, const Call& call) {
  RetentionReport report;
  if (request.retention == Retention::never) return report;
  if (request.retention == Retention::automatic) {
    const std::size_t failed = steps.failed().size();
    steps.attempt("retention", "the next backup does it",
                  [&] { report.left_to_operator = services.cluster.operator_runs(call); });
    if (report.left_to_operator || steps.failed().size() != failed) return report;
  }
  return Retaining(services, opened, request, call).run(steps);
}

}  // namespace kubedr::workflow
