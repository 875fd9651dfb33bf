#ifndef KUBEDR_WORKFLOW_BROWSE_H
#define KUBEDR_WORKFLOW_BROWSE_H

#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "repo/tree.h"
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

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_BROWSE_H
