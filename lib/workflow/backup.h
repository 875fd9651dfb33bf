#ifndef KUBEDR_WORKFLOW_BACKUP_H
#define KUBEDR_WORKFLOW_BACKUP_H

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "repo/repository.h"
#include "workflow/database.h"
#include "workflow/retention.h"
#include "workflow/services.h"
#include "workflow/steps.h"

namespace kubedr::workflow {

enum class Chunker { automatic, pages, restic };

struct BackupRequest {
  std::string policy;  // empty: the only one there is
  DatabaseRequest database;
  std::optional<std::string> certs_dir;  // instead of the policy's; empty: none
  Chunker chunker = Chunker::automatic;
  std::string host;               // in the snapshot instead of ours
  std::vector<std::string> tags;  // besides ours
  Retention retention = Retention::automatic;
  bool adopt = false;    // this etcd is the policy's from now on: retention may count on it
  bool dry_run = false;  // everything but storing and publishing
  bool force = false;    // although a pod backs the policy up right now
};

struct BackupReport {
  std::string policy;
  std::string name_space;
  std::string location;
  std::string repository_url;
  std::string snapshot_id;  // 64 hex digits; empty after a dry run
  std::string parent_id;
  std::string record;  // its name
  std::string etcd;    // the member, or the file
  std::uint64_t etcd_cluster_id = 0;
  // As the member said before its stream: the database has this one or a later. 0: of a file.
  std::int64_t etcd_revision = 0;
  std::uint64_t db_size = 0;
  WallTime time{};
  repo::Summary summary;
  std::chrono::nanoseconds duration{0};
  bool dry_run = false;
  RetentionReport retention;
  std::vector<FailedStep> failed_steps;

  std::string short_id() const { return snapshot_id.substr(0, 8); }
};

// Takes one backup: verified, then committed, then published.
//
// errors   locked: a pod backs the policy up right now, which is no failure to publish; anything
//          before the snapshot is stored, published as operator mode would. Nothing after it: see
//          failed_steps.
BackupReport backup(const Services& services, const BackupRequest& request, const Call& call);

// At which multiples a database is cut: the parent's while they are reasonable, else the smallest
// of 16, 32, 64 and 128 KiB that keep the list of chunks short.
std::size_t page_cut_size(std::uint64_t db_size, std::uint64_t parent_size,
                          std::size_t parent_chunks);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_BACKUP_H
