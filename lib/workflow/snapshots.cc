#include "workflow/snapshots.h"

#include <algorithm>
#include <map>

#include "workflow/identity.h"
#include "workflow/open.h"

namespace kubedr::workflow {
namespace {

ListedSnapshot join_record(repo::SavedSnapshot saved, const std::vector<crd::Record>& records,
                           const std::string& location) {
  ListedSnapshot listed;
  const PolicyName named = policy_of(saved.snapshot);
  listed.policy = named.name;
  listed.name_space = named.name_space;
  const std::string id = saved.id.hex();
  for (const crd::Record& record : records) {
    if (record.location != location || record.snapshot_id.empty()) continue;
    if (!id.starts_with(record.snapshot_id)) continue;
    listed.record = record.ref.name;
    if (listed.policy.empty()) {
      listed.policy = record.policy;
      listed.name_space = record.ref.name_space;
    }
  }
  listed.saved = std::move(saved);
  return listed;
}

bool wanted(const ListedSnapshot& listed, const SnapshotsRequest& request) {
  if (!request.policy.empty() && listed.policy != request.policy) return false;
  if (!request.host.empty() && listed.saved.snapshot.hostname != request.host) return false;
  return std::all_of(request.tags.begin(), request.tags.end(),
                     [&](const std::string& tag) { return has_tag(listed.saved.snapshot, tag); });
}

void keep_latest(std::vector<ListedSnapshot>& snapshots, std::size_t count) {
  std::map<std::string, std::size_t> left;
  std::vector<ListedSnapshot> kept;
  for (auto it = snapshots.rbegin(); it != snapshots.rend(); ++it) {
    const std::string group = it->name_space + "/" + it->policy;
    if (left.try_emplace(group, count).first->second == 0) continue;
    --left[group];
    kept.push_back(std::move(*it));
  }
  std::reverse(kept.begin(), kept.end());
  snapshots = std::move(kept);
}

}  // namespace

crd::Location location_for(const Services& services, const std::string& location,
                           const std::string& policy, const Call& call) {
  if (!location.empty()) return services.cluster.location(location, call);
  if (policy.empty()) return choose_location(services, "", call);
  return services.cluster.location(services.cluster.policy(policy, call).destination, call);
}

std::vector<ListedSnapshot> join_snapshots(std::vector<repo::SavedSnapshot> snapshots,
                                           const std::vector<crd::Record>& records,
                                           const std::string& location,
                                           const SnapshotsRequest& request) {
  std::vector<ListedSnapshot> joined;
  for (repo::SavedSnapshot& saved : snapshots) {
    ListedSnapshot listed = join_record(std::move(saved), records, location);
    if (wanted(listed, request)) joined.push_back(std::move(listed));
  }
  if (request.latest) keep_latest(joined, *request.latest);
  return joined;
}

SnapshotsReport list_snapshots(const Services& services, const SnapshotsRequest& request,
                               const Call& call) {
  const crd::Location location = location_for(services, request.location, request.policy, call);
  const std::vector<crd::Record> records = services.cluster.records(call).items;
  const OpenedRepository opened = open_repository(services, location, call);
  SnapshotsReport report;
  report.location = location.ref.name;
  report.repository_url = opened.store->location();
  report.snapshots = join_snapshots(opened.repository.snapshots(call, &report.damaged), records,
                                    location.ref.name, request);
  return report;
}

}  // namespace kubedr::workflow
