#include "workflow/retention.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "workflow/locks.h"
#include "workflow/maintain.h"
#include "workflow/notes.h"
#include "workflow/removal.h"
#include "workflow/totals.h"

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

// Of the bytes that are used, but for the first.
constexpr std::uint64_t kWorthAPrune = std::uint64_t{64} << 20;
constexpr double kWorthShare = 0.1;
constexpr double kWorthAlways = 0.5;

bool is_of(const crd::Record& record, const crd::Policy& policy) {
  return record.policy == policy.ref.name && record.location == policy.destination &&
         record.ref.name_space == policy.ref.name_space;
}

// Whatever cluster it says: that is judged apart.
bool belongs(const RetentionInput& input, const repo::SavedSnapshot& saved) {
  return health::belongs(input.records, input.policy, seen_of(saved, std::nullopt));
}

RetentionVerdict doubt(const std::string& why, const std::string& remedy) {
  return {{}, why, remedy, 0};
}

// The record of a policy's snapshot that is not listed; null when all are.
const crd::Record* find_dangling(const RetentionInput& input) {
  const health::SnapshotIds listed = ids_of(input.snapshots);
  for (const crd::Record& record : input.records) {
    if (!is_of(record, input.policy) || record.snapshot_id.empty()) continue;
    if (listed.of(record) == nullptr) return &record;
  }
  return nullptr;
}

// Why nothing may be deleted by this listing, if there is a reason. `own` is the policy's part.
RetentionVerdict judge_listing(const RetentionInput& input,
                               const std::vector<repo::SavedSnapshot>& own) {
  const bool has_new = std::any_of(own.begin(), own.end(), [&](const repo::SavedSnapshot& saved) {
    return saved.id.hex() == input.own;
  });
  if (!has_new) {
    return doubt("the listing does not show the backup just made",
                 "look at it with `kubectl kubedr snapshots`; the next backup tries again");
  }
  if (const crd::Record* record = find_dangling(input)) {
    return doubt(fmt::format("record {} names snapshot {}, which the repository does not list: "
                             "`kubectl kubedr check` tells whether more is lost",
                             record->ref.name, record->snapshot_id),
                 "kubectl kubedr sync --location " + record->location);
  }
  if (input.listed_before && static_cast<std::int64_t>(own.size()) <= *input.listed_before) {
    return doubt(fmt::format("the repository lists {} backups of this policy, the new one among "
                             "them, and listed {} before it",
                             own.size(), *input.listed_before),
                 "if somebody removed some, the next backup goes on; else kubectl kubedr check");
  }
  const repo::SavedSnapshot& newest = own.back();
  if (newest.id.hex() != input.own) {
    return doubt(fmt::format("snapshot {} has a later time than the backup just made",
                             newest.id.short_hex()),
                 fmt::format("another backup ran at the same time, or a clock is wrong: compare "
                             "`date` on the nodes with `kubectl kubedr snapshots`, and remove one "
                             "from the future with kubectl kubedr forget {}",
                             newest.id.short_hex()));
  }
  const bool has_stranger =
      std::any_of(own.begin(), own.end(), [&](const repo::SavedSnapshot& saved) {
        return !same_identity(saved.snapshot, newest.snapshot);
      });
  if (has_stranger && !has_tag(newest.snapshot, kAdoptedTag)) {
    return doubt("the policy has backups of another etcd: a restored or another cluster",
                 "if that is meant, say so once: kubectl kubedr backup --adopt");
  }
  return {};
}

}  // namespace

RetentionVerdict choose_victims(const RetentionInput& input) {
  std::vector<repo::SavedSnapshot> own;
  for (const repo::SavedSnapshot& saved : input.snapshots) {
    if (belongs(input, saved)) own.push_back(saved);
  }
  RetentionVerdict verdict = judge_listing(input, own);
  verdict.listed = own.size();
  if (!verdict.doubt.empty()) return verdict;
  const repo::SavedSnapshot newest = own.back();
  std::erase_if(own, [&](const repo::SavedSnapshot& saved) {
    return !same_identity(saved.snapshot, newest.snapshot);
  });
  const auto keep = static_cast<std::uint64_t>(std::max<std::int64_t>(input.keep, 1));
  if (own.size() <= keep) return verdict;
  own.resize(own.size() - keep);
  verdict.victims = std::move(own);
  return verdict;
}

bool prune_pays(const repo::PruneFigures& plan) {
  const auto used = static_cast<double>(plan.used_blobs.bytes);
  const auto freed = static_cast<double>(plan.bytes_freed);
  return freed > kWorthAlways * used ||
         (plan.bytes_freed > kWorthAPrune && freed > kWorthShare * used);
}

namespace {

class Retaining {
 public:
  Retaining(const Services& services, OpenedRepository& opened, const RetentionRequest& request,
            const Call& call)
      : s_(services), opened_(opened), request_(request), call_(call) {}

  RetentionReport run(Steps& steps) {
    RetentionReport report;
    const std::size_t failed = steps.failed().size();
    steps.attempt("retention", "the next backup does it", [&] {
      // Looked at without a lock first: most backups have nothing to remove.
      if (choose(report, call_).empty()) return;
      repo::Lock lock = lock_exclusive(s_, opened_.repository, call_);
      remove_victims(lock, report);
      std::optional<std::string> failure;
      if (report.doubt.empty()) failure = prune(lock, report, steps);
      const Afterwards afterwards(call_);
      lock.release(afterwards.call());
      // Only then: backups wait for the lock, and the API server may take its time.
      if (failure) note_prune(s_, request_.location, *failure, call_);
    });
    remember(report, steps, failed);
    return report;
  }

 private:
  std::vector<repo::SavedSnapshot> choose(RetentionReport& report, const Call& call) {
    // As it is by now: who has it keep more while a long backup runs wants that for this one, too.
    const crd::Policy policy = s_.cluster.policy(request_.policy.ref.name, call);
    records_ = s_.cluster.records(call).items;
    std::vector<std::string> damaged;
    snapshots_ = opened_.repository.snapshots(call, &damaged);
    RetentionVerdict verdict = [&] {
      if (policy.ref.uid != request_.policy.ref.uid ||
          policy.destination != request_.policy.destination) {
        return doubt("the policy was made anew or sent elsewhere while the backup ran",
                     "the next backup looks again");
      }
      if (!damaged.empty()) {
        return doubt("a snapshot cannot be read: " + damaged.front(), "kubectl kubedr check");
      }
      return choose_victims({policy, snapshots_, records_, request_.own, policy.retain_num_backups,
                             policy.snapshots});
    }();
    report.doubt = verdict.doubt;
    report.remedy = verdict.remedy;
    listed_ = verdict.listed;
    return std::move(verdict.victims);
  }

  void remove_victims(repo::Lock& lock, RetentionReport& report) {
    const Call held = lock.scope();
    for (const repo::SavedSnapshot& victim : choose(report, held)) {
      remove_with_records(s_, opened_.repository, lock, records_, request_.location, victim, held);
      std::erase_if(snapshots_, [&](const auto& saved) { return saved.id == victim.id; });
      --listed_;
      report.removed.push_back(victim.id.hex());
    }
  }

  // Returns why it failed, or nothing, to be written down where `status` finds it: backups stay
  // green without a prune, for as long as the bucket has room.
  std::string prune(repo::Lock& lock, RetentionReport& report, Steps& steps) {
    const std::size_t failed = steps.failed().size();
    steps.attempt("prune", "kubectl kubedr prune --location " + request_.location.ref.name, [&] {
      repo::PruneOptions options;
      for (const repo::SavedSnapshot& saved : snapshots_) options.known.push_back(saved.id.hex());
      const PruneReport pruned = prune_locked(s_, opened_, lock, options, prune_pays, lock.scope());
      if (pruned.done) report.pruned = pruned.figures;
    });
    const bool worked = steps.failed().size() == failed;
    return worked ? "" : steps.failed().back().error;
  }

  void remember(const RetentionReport& report, const Steps& steps, std::size_t failed) const {
    const auto own = std::find_if(steps.failed().begin() + static_cast<std::ptrdiff_t>(failed),
                                  steps.failed().end(),
                                  [](const FailedStep& step) { return step.step == "retention"; });
    if (own != steps.failed().end()) {
      note_retention(s_, request_.policy, own->error, own->remedy, call_);
    } else {
      note_retention(s_, request_.policy, report.doubt, report.remedy, call_);
    }
    if (listed_ > 0) note_snapshots(s_, request_.policy, listed_, call_);
  }

  const Services& s_;
  OpenedRepository& opened_;
  const RetentionRequest& request_;
  const Call& call_;
  std::vector<crd::Record> records_;
  std::vector<repo::SavedSnapshot> snapshots_;  // of the whole repository
  std::size_t listed_ = 0;                      // of the policy; 0: nothing is known
};

}  // namespace

RetentionReport retain(const Services& services, OpenedRepository& opened,
                       const RetentionRequest& request, Steps& steps, const Call& call) {
  RetentionReport report;
  if (request.retention == Retention::never) return report;
  if (request.retention == Retention::automatic) {
    const std::size_t failed = steps.failed().size();
    steps.attempt("retention", "the next backup does it",
                  [&] { report.left_to_operator = services.cluster.operator_runs(call) == true; });
    if (report.left_to_operator || steps.failed().size() != failed) return report;
  }
  return Retaining(services, opened, request, call).run(steps);
}

}  // namespace kubedr::workflow
