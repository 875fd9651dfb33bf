#include "workflow/totals.h"

#include <functional>

#include "base/error.h"
#include "workflow/identity.h"

namespace kubedr::workflow {
namespace {

using std::chrono::milliseconds;

constexpr int kTries = 20;
constexpr std::uint64_t kLongestPause = 200;  // ms; random, so that two do not meet again and again

// Read, change, write if nobody wrote in between. A write whose answer was lost looks like somebody
// else's: the next read then shows that there is nothing left to change.
void update(const Services& services, const crd::Policy& policy,
            const std::function<void(crd::Totals&)>& change, const Call& call) {
  for (int tries = 1;; ++tries) {
    const crd::Policy now = services.cluster.policy(policy.ref.name, call);
    crd::Totals totals = now.totals.value_or(crd::Totals{});
    change(totals);
    if (now.totals == totals) return;
    try {
      services.cluster.annotate_unchanged(now.ref, crd::kTotalsAnnotation,
                                          crd::to_annotation(totals), call);
      return;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::conflict || tries == kTries) throw;
    }
    call.sleep(milliseconds(services.random.next() % kLongestPause));
  }
}

}  // namespace

health::SeenSnapshot seen_of(const repo::SavedSnapshot& saved,
                             const std::optional<std::string>& cluster_uid) {
  health::SeenSnapshot seen;
  seen.id = saved.id.hex();
  seen.time = saved.snapshot.time;
  seen.etcd = tag_value(saved.snapshot, "etcd");
  seen.adopted = has_tag(saved.snapshot, kAdoptedTag);
  seen.secrets_unreadable = has_tag(saved.snapshot, kSecretsEncryptedTag);
  const PolicyName policy = policy_of(saved.snapshot);
  seen.other_tags = policy.name.empty() && !saved.snapshot.tags.empty();
  if (is_of_cluster(saved.snapshot, cluster_uid)) {
    seen.policy = policy.name;
    seen.name_space = policy.name_space;
  }
  if (const auto& summary = saved.snapshot.summary) {
    seen.size = summary->total_bytes_processed;
    seen.added = summary->data_added;
    seen.stored = summary->data_added_packed;
    seen.files = summary->total_files_processed;
    seen.duration = summary->backup_end - summary->backup_start;
  }
  return seen;
}

void count_success(const Services& services, const crd::Policy& policy,
                   const std::vector<health::SeenSnapshot>& before, const health::SeenSnapshot& own,
                   const Call& call) {
  std::optional<std::vector<crd::Record>> records;
  update(
      services, policy,
      [&](crd::Totals& totals) {
        // Only what operator mode stored needs a record to tell whose it is.
        if (!totals.counted_until && !records) records = services.cluster.records(call).items;
        health::count_missed(totals, policy, before, records.value_or(std::vector<crd::Record>()));
        crd::count_success(totals, health::counted(own));
      },
      call);
}

void count_failure(const Services& services, const crd::Policy& policy, const std::string& id,
                   const Call& call) {
  const WallTime now = services.clock.now();
  update(
      services, policy, [&](crd::Totals& totals) { crd::count_failure(totals, id, now); }, call);
}

void recount(const Services& services, const crd::Policy& policy,
             const std::vector<health::SeenSnapshot>& snapshots,
             const std::vector<crd::Record>& records, const Call& call) {
  update(
      services, policy,
      [&](crd::Totals& totals) { health::count_missed(totals, policy, snapshots, records); }, call);
}

bool needs_recount(const crd::Policy& policy, const std::vector<health::SeenSnapshot>& snapshots,
                   const std::vector<crd::Record>& records) {
  crd::Totals totals = policy.totals.value_or(crd::Totals{});
  return health::count_missed(totals, policy, snapshots, records);
}

}  // namespace kubedr::workflow
