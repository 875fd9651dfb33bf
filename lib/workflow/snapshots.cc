#include "workflow/snapshots.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "workflow/identity.h"
#include "workflow/open.h"

namespace kubedr::workflow {
namespace {

constexpr std::size_t kShortId = 8;

// By the digits that each names of its snapshot at the least.
using RecordsById = std::multimap<std::string, const crd::Record*>;

RecordsById by_id(const std::vector<crd::Record>& records, const std::string& location) {
  RecordsById sorted;
  for (const crd::Record& record : records) {
    if (record.location != location) continue;
    sorted.emplace(record.snapshot_id.substr(0, kShortId), &record);
  }
  return sorted;
}

ListedSnapshot join_record(repo::SavedSnapshot saved, const RecordsById& records) {
  ListedSnapshot listed;
  const PolicyName named = policy_of(saved.snapshot);
  listed.policy = named.name;
  listed.name_space = named.name_space;
  const auto [begin, end] = records.equal_range(saved.id.short_hex());
  for (auto it = begin; it != end; ++it) {
    const crd::Record& record = *it->second;
    if (!names(record, saved)) continue;
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
  return request.filter.matches(listed.saved.snapshot);
}

bool contains(const std::vector<std::string>& texts, const std::string& text) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
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

const crd::Record* find_record(const std::vector<crd::Record>& records, const std::string& name) {
  for (const crd::Record& record : records) {
    if (record.ref.name == name) return &record;
  }
  return nullptr;
}

// What a name that nothing has was meant to be: a record's, or as many digits of an id.
std::string meant_by(const std::string& wanted, const std::vector<repo::SavedSnapshot>& snapshots,
                     const std::vector<crd::Record>& records) {
  std::vector<std::string> names;
  for (const crd::Record& record : records) names.push_back(record.ref.name);
  for (const repo::SavedSnapshot& saved : snapshots) {
    names.push_back(saved.id.hex().substr(0, std::max<std::size_t>(8, wanted.size())));
  }
  return closest(wanted, names);
}

// errors   not_found, in restic's words and with what was probably meant
void require_id(const std::string& wanted, const std::vector<repo::SavedSnapshot>& snapshots,
                const std::vector<crd::Record>& records) {
  const bool known = std::any_of(
      snapshots.begin(), snapshots.end(),
      [&](const repo::SavedSnapshot& saved) { return saved.id.hex().starts_with(wanted); });
  if (known && !wanted.empty()) return;
  const std::string meant = meant_by(wanted, snapshots, records);
  throw Error(ErrorKind::not_found, "no matching ID found for prefix \"" + wanted + "\"",
              meant.empty() ? "kubectl kubedr snapshots lists what there is"
                            : "did you mean \"" + meant + "\"?");
}

// Of one policy; a restored cluster has another etcd than before, but is the same cluster.
bool same_owner(const ListedSnapshot& a, const ListedSnapshot& b) {
  if (a.policy != b.policy || a.name_space != b.name_space) return false;
  for (const char* tag : {"cluster", "etcd"}) {
    const std::string one = tag_value(a.saved.snapshot, tag);
    const std::string other = tag_value(b.saved.snapshot, tag);
    if (!one.empty() && !other.empty()) return one == other;
  }
  return true;
}

// "latest" across policies or clusters could bring back the wrong one.
const ListedSnapshot& require_latest(const std::vector<ListedSnapshot>& snapshots,
                                     const SnapshotFilter& filter) {
  std::set<std::string> others;
  for (const ListedSnapshot& listed : snapshots) {
    if (!same_owner(listed, snapshots.back())) others.insert(owner_of(listed));
  }
  if (!others.empty()) {
    others.insert(owner_of(snapshots.back()));
    throw Error(ErrorKind::usage,
                "latest could mean more than one: " + join({others.begin(), others.end()}, ", "),
                "name the policy with --policy, or one of the snapshots by its id");
  }
  if (snapshots.empty()) {
    throw Error(ErrorKind::not_found,
                filter.empty() ? "there is no snapshot"
                               : "there is no snapshot of that host, with those tags and paths",
                "kubectl kubedr snapshots lists what there is");
  }
  return snapshots.back();
}

// What only a damaged file is named by is not gone.
void require_undamaged(const std::vector<repo::SavedSnapshot>& snapshots,
                       const std::vector<std::string>& damaged, const std::string& prefix) {
  const bool is_there = std::any_of(
      snapshots.begin(), snapshots.end(),
      [&](const repo::SavedSnapshot& saved) { return saved.id.hex().starts_with(prefix); });
  if (is_there || prefix.empty()) return;
  for (const std::string& text : damaged) {
    if (!text.starts_with(storage::folder_of(storage::FileKind::snapshot) + prefix)) continue;
    throw Error(ErrorKind::corrupt, text,
                "bring the file back from a copy or an older version in the bucket");
  }
}

}  // namespace

bool SnapshotFilter::matches(const repo::Snapshot& snapshot) const {
  if (!hosts.empty() && !contains(hosts, snapshot.hostname)) return false;
  const bool has_paths = std::all_of(paths.begin(), paths.end(), [&](const std::string& path) {
    return contains(snapshot.paths, path);
  });
  if (!has_paths || tags.empty()) return has_paths;
  return std::any_of(tags.begin(), tags.end(), [&](const std::vector<std::string>& list) {
    return repo::has_all_tags(snapshot, list);
  });
}

std::string owner_of(const ListedSnapshot& listed) {
  if (listed.policy.empty()) return "(no policy)";
  const std::string identity = identity_of(listed.saved.snapshot);
  return (listed.name_space.empty() ? "" : listed.name_space + "/") + listed.policy +
         (identity.empty() ? "" : " of " + identity);
}

ListedSnapshot choose_snapshot(const std::vector<repo::SavedSnapshot>& snapshots,
                               const std::vector<std::string>& damaged,
                               const std::vector<crd::Record>& records, const std::string& location,
                               const SnapshotChoice& choice) {
  const std::string& wanted = choice.snapshot;
  SnapshotsRequest among;
  among.policy = choice.whose.policy;
  if (wanted == "latest") {
    among.filter = choice.filter;
    return require_latest(join_snapshots(snapshots, records, location, among), choice.filter);
  }
  const crd::Record* record = find_record(records, wanted);
  const std::string id = record == nullptr ? wanted : record->snapshot_id;
  require_undamaged(snapshots, damaged, id);
  if (record == nullptr) require_id(wanted, snapshots, records);
  const repo::SavedSnapshot& found = repo::find_snapshot(snapshots, id);
  if (record != nullptr && !names(*record, found)) {
    throw Error(ErrorKind::usage,
                fmt::format("record {}: its snapshotId \"{}\" has less than 8 digits", wanted,
                            record->snapshot_id),
                "name the snapshot by its id; kubectl kubedr snapshots lists them");
  }
  std::vector<ListedSnapshot> joined = join_snapshots({found}, records, location, among);
  if (joined.empty()) {
    throw Error(
        ErrorKind::not_found,
        fmt::format("snapshot {} is not one of policy {}", found.id.short_hex(), among.policy),
        "leave --policy out, or see kubectl kubedr snapshots");
  }
  return joined.front();
}

ListedSnapshot find_snapshot(const repo::Repository& repository,
                             const std::vector<crd::Record>& records, const std::string& location,
                             const SnapshotChoice& choice, const Call& call) {
  std::vector<std::string> damaged;
  const std::vector<repo::SavedSnapshot> snapshots = repository.snapshots(call, &damaged);
  for (const std::string& text : damaged) log::warn("{}", text);
  return choose_snapshot(snapshots, damaged, records, location, choice);
}

crd::Location location_of_snapshot(const Services& services, const SnapshotChoice& choice,
                                   const std::vector<crd::Record>& records, const Call& call) {
  const crd::Record* record = find_record(records, choice.snapshot);
  const std::string& given = choice.whose.location;
  const bool by_record = given.empty() && record != nullptr;
  return location_for(services, by_record ? record->location : given, choice.whose.policy, call);
}

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
  const RecordsById sorted = by_id(records, location);
  for (repo::SavedSnapshot& saved : snapshots) {
    ListedSnapshot listed = join_record(std::move(saved), sorted);
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
