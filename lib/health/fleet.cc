#include "health/fleet.h"

#include <algorithm>

namespace kubedr::health {
crd::CountedBackup counted(const SeenSnapshot& snapshot) {
  crd::CountedBackup backup;
  backup.id = snapshot.id.substr(0, 8);
  backup.time = snapshot.time;
  backup.measured = snapshot.duration.has_value();
  backup.duration = snapshot.duration.value_or(std::chrono::nanoseconds(0));
  backup.end = snapshot.time + backup.duration;
  backup.processed_bytes = snapshot.size;
  backup.added_bytes = snapshot.added;
  backup.stored_bytes = snapshot.stored;
  backup.files = snapshot.files;
  return backup;
}

const SeenLocation* location_of(const Fleet& fleet, const crd::Policy& policy) {
  for (const SeenLocation& seen : fleet.locations) {
    if (seen.location.ref.name == policy.destination &&
        seen.location.ref.name_space == policy.ref.name_space) {
      return &seen;
    }
  }
  return nullptr;
}

bool names_snapshot(const crd::Record& record, const std::string& id) {
  constexpr std::size_t kFewestDigits = 8;  // what operator mode and we write
  return record.snapshot_id.size() >= kFewestDigits && id.starts_with(record.snapshot_id);
}

SnapshotIds::SnapshotIds(std::vector<std::string> ids) : ids_(std::move(ids)) {
  std::sort(ids_.begin(), ids_.end());
}

const std::string* SnapshotIds::of(const crd::Record& record) const {
  const auto first = std::lower_bound(ids_.begin(), ids_.end(), record.snapshot_id);
  return first != ids_.end() && names_snapshot(record, *first) ? &*first : nullptr;
}

bool belongs(const std::vector<crd::Record>& records, const crd::Policy& policy,
             const SeenSnapshot& snapshot) {
  if (!snapshot.policy.empty()) {
    return snapshot.policy == policy.ref.name && snapshot.name_space == policy.ref.name_space;
  }
  if (snapshot.other_tags) return false;
  return std::any_of(records.begin(), records.end(), [&](const crd::Record& record) {
    return record.policy == policy.ref.name && record.location == policy.destination &&
           record.ref.name_space == policy.ref.name_space && names_snapshot(record, snapshot.id);
  });
}

std::optional<std::uint64_t> snapshots_of(const Fleet& fleet, const crd::Policy& policy) {
  const SeenLocation* seen = location_of(fleet, policy);
  if (seen == nullptr || !seen->repository || !seen->repository->seen) {
    return std::nullopt;
  }
  const auto& snapshots = seen->repository->snapshots;
  return std::count_if(snapshots.begin(), snapshots.end(), [&](const SeenSnapshot& snapshot) {
    return belongs(fleet.records, policy, snapshot);
  });
}

bool count_missed(crd::Totals& totals, const crd::Policy& policy,
                  const std::vector<SeenSnapshot>& snapshots,
                  const std::vector<crd::Record>& records) {
  const crd::Totals before = totals;
  const std::optional<WallTime> known = before.counted_until;
  for (const SeenSnapshot& snapshot : snapshots) {
    if (known && snapshot.time <= *known) continue;
    if (belongs(records, policy, snapshot)) crd::count_success(totals, counted(snapshot));
  }
  return !(totals == before);
}

}  // namespace kubedr::health
