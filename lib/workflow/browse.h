#ifndef KUBEDR_WORKFLOW_BROWSE_H
#define KUBEDR_WORKFLOW_BROWSE_H

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "repo/tree.h"
#include "workflow/maintain.h"
#include "workflow/services.h"
#include "workflow/snapshots.h"

// Looks into what a repository holds, and changes nothing.
namespace kubedr::workflow {

struct Listing {
  ListedSnapshot snapshot;
  std::string repository_url;
};

struct ListRequest {
  SnapshotChoice choice;
  std::vector<std::string> paths;  // these and what is directly in them; empty: everything
  bool recursive = false;          // what is in their folders too
};

Listing list_files(const Services& services, const ListRequest& request,
                   const std::function<void(const std::string& path, const repo::Node& node)>& each,
                   const Call& call);

// A file's bytes in order, or a folder as tar, each blob verified before it is handed over. A
// database (etcd-snapshot.db) is not proven by its digest before its end: a reader that stops early
// has no whole one.
//
// errors   not_found: no such path; usage: it is neither file nor folder
void dump(const Services& services, const SnapshotChoice& choice, const std::string& path,
          const std::function<void(ByteView bytes)>& write, const Call& call);

struct PolicyStats {
  std::string policy;  // "kubedr-system/nightly"; empty: of nobody we know
  std::uint64_t snapshots = 0;
  WallTime first{};
  WallTime last{};
  std::uint64_t restore_bytes = 0;    // of the newest
  std::uint64_t unique_bytes = 0;     // plain bytes of all blobs its snapshots use
  std::uint64_t stored_bytes = 0;     // what those take in packs
  std::uint64_t exclusive_bytes = 0;  // of that, what no other snapshot uses
  std::uint64_t growth_per_day = 0;   // stored bytes added by its snapshots, per day between them
};

struct StatsReport {
  std::string repository_url;
  // Of the snapshots that the filter finds.
  std::uint64_t snapshots = 0;
  std::uint64_t restore_bytes = 0;  // as if each stood alone
  std::uint64_t plain_bytes = 0;    // of the blobs they use
  std::uint64_t stored_bytes = 0;   // of the same
  // Of the whole repository.
  std::uint64_t pack_bytes = 0;    // of all packs there are
  std::uint64_t unused_bytes = 0;  // of blobs that no snapshot needs
  std::uint64_t packs = 0;
  std::uint64_t blobs = 0;
  std::vector<PolicyStats> policies;
};

StatsReport stats(const Services& services, const Whose& whose, const SnapshotFilter& filter,
                  const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_BROWSE_H
