#ifndef KUBEDR_WORKFLOW_RESTORE_H
#define KUBEDR_WORKFLOW_RESTORE_H

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "etcd/bolt.h"
#include "repo/restorer.h"
#include "workflow/services.h"
#include "workflow/snapshots.h"
#include "workflow/steps.h"

namespace kubedr::workflow {

struct RestoreRequest {
  SnapshotChoice choice;
  std::filesystem::path target;  // with Overwrite::refuse it must not exist, or be an empty folder
  repo::RestoreOptions options;
  bool dry_run = false;
};

struct RestoreReport {
  std::string snapshot_id;
  std::string repository_url;
  WallTime time{};
  std::string policy;
  std::filesystem::path target;
  repo::RestoredTree tree;
  bool dry_run = false;
  std::filesystem::path database;    // empty: the snapshot's is not in the target
  std::uint64_t database_size = 0;   // without the digest
  std::string database_sha256;       // the digest at its end, which its bytes were compared with
  etcd::DatabaseInfo database_info;  // revision 0: it could not be read
  std::vector<std::string> next_commands;  // one for each member
};

// Brings a snapshot's files back and proves the database by its digest. Damage is met at the end:
// what is whole is in the target then.
//
// errors   not_found; usage: a target that holds something, an ambiguous id; corrupt: the digest,
//          or files and folders, each named; what the repository throws
RestoreReport restore(const Services& services, const RestoreRequest& request, const Call& call);

// A MetadataRestore carried out: its record's snapshot is restored into its PersistentVolumeClaim,
// which the pod that we run in must have mounted at the target or above it. Status, annotation and
// event say how it went, as operator mode would.
//
// errors   usage: not in a pod, or one that has the claim elsewhere; nothing is published then
struct ResourceRestore {
  RestoreReport report;
  std::vector<FailedStep> failed_steps;
};

ResourceRestore restore_resource(const Services& services, const std::string& name,
                                 RestoreRequest request, const Call& call);

// The commands that make a data directory for each member from a restored database.
std::vector<std::string> restore_commands(const std::filesystem::path& database,
                                          const etcd::DatabaseInfo& info);

// What is to be known of these where etcd's version is one that may have --bump-revision and
// --mark-compacted, or not; else empty.
std::string restore_remark(const etcd::DatabaseInfo& info);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_RESTORE_H
