#ifndef KUBEDR_WORKFLOW_SNAPSHOTS_H
#define KUBEDR_WORKFLOW_SNAPSHOTS_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "repo/repository.h"
#include "workflow/services.h"

namespace kubedr::workflow {

// Which repository: the location's, else the policy's, else the only one there is.
struct Whose {
  std::string location;
  std::string policy;
};

// restic's: a snapshot is of one of the hosts, has all tags of one of the lists, and all of the
// paths. What is empty asks for nothing; an empty tag is had by a snapshot without any.
//
// source   restic internal/data/snapshot.go (HasHostname, HasTagList, HasPaths)
struct SnapshotFilter {
  std::vector<std::string> hosts;
  std::vector<std::vector<std::string>> tags;
  std::vector<std::string> paths;

  bool empty() const { return hosts.empty() && tags.empty() && paths.empty(); }

  bool matches(const repo::Snapshot& snapshot) const;
};

// Which one of a repository's snapshots. With `policy` it is one of that policy's.
struct SnapshotChoice {
  std::string snapshot;  // a record's name, an id or the start of one, or "latest"
  Whose whose;           // without a location: the record's
  // Which ones the latest is looked for among; with anything else it says nothing, as with restic.
  SnapshotFilter filter;
};

struct SnapshotsRequest {
  std::string policy;    // empty: of every policy
  std::string location;  // empty: the policy's, or the only one there is
  SnapshotFilter filter;
  std::optional<std::size_t> latest;  // so many of each policy
};

// A snapshot as the repository holds it, joined with its record.
struct ListedSnapshot {
  repo::SavedSnapshot saved;
  std::string policy;  // by its tag, else by the record that names it; may be empty
  std::string name_space;
  std::string record;  // empty: none names it
};

// "kubedr-system/nightly of cluster <uid>", or "(no policy)".
std::string owner_of(const ListedSnapshot& listed);

struct SnapshotsReport {
  std::string location;
  std::string repository_url;
  std::vector<ListedSnapshot> snapshots;  // by time
  std::vector<std::string> damaged;       // snapshot files nobody can read
};

SnapshotsReport list_snapshots(const Services& services, const SnapshotsRequest& request,
                               const Call& call);

// Joins a repository's snapshots with the records of its location and keeps what is asked for.
std::vector<ListedSnapshot> join_snapshots(std::vector<repo::SavedSnapshot> snapshots,
                                           const std::vector<crd::Record>& records,
                                           const std::string& location,
                                           const SnapshotsRequest& request);

// The one snapshot that is meant; the latest of one policy and cluster only. `damaged` names the
// files that could not be read.
//
// errors   not_found; usage: it could mean more than one; corrupt: its file is damaged
ListedSnapshot choose_snapshot(const std::vector<repo::SavedSnapshot>& snapshots,
                               const std::vector<std::string>& damaged,
                               const std::vector<crd::Record>& records, const std::string& location,
                               const SnapshotChoice& choice);

// The same among all of a repository; the log tells of damaged ones.
ListedSnapshot find_snapshot(const repo::Repository& repository,
                             const std::vector<crd::Record>& records, const std::string& location,
                             const SnapshotChoice& choice, const Call& call);

// Where that snapshot is: the location given, else its record's, else as location_for.
crd::Location location_of_snapshot(const Services& services, const SnapshotChoice& choice,
                                   const std::vector<crd::Record>& records, const Call& call);

// The location that a request means: by its name, else the policy's, else the only one.
crd::Location location_for(const Services& services, const std::string& location,
                           const std::string& policy, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_SNAPSHOTS_H
