#ifndef KUBEDR_WORKFLOW_TREE_BUILDER_H
#define KUBEDR_WORKFLOW_TREE_BUILDER_H

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/call.h"
#include "repo/repository.h"
#include "repo/tree.h"
#include "repo/writer.h"

namespace kubedr::workflow {

// New, changed and unmodified, as restic counts: against the parent's node of the same path.
struct TreeCounts {
  std::uint64_t files_new = 0;
  std::uint64_t files_changed = 0;
  std::uint64_t files_unmodified = 0;
  std::uint64_t dirs_new = 0;
  std::uint64_t dirs_changed = 0;
  std::uint64_t dirs_unmodified = 0;
};

// Stores trees and counts their nodes against the parent snapshot's.
//
// threads  one thread
class TreeBuilder {
 public:
  // What a path held in the parent; "/data/etcd-snapshot.db".
  using Parent = std::map<std::string, repo::Node>;

  TreeBuilder(repo::Writer& writer, Parent parent);

  // The node's entry in the parent, or nullptr.
  const repo::Node* in_parent(const std::string& path) const;

  // Counts a file node at its path.
  void count(const std::string& path, const repo::Node& file);

  // Stores a folder's tree and fills in the folder's node.
  void finish_folder(const std::string& path, std::vector<repo::Node> children, repo::Node& folder,
                     const Call& call);

  const TreeCounts& counts() const { return counts_; }

 private:
  repo::Writer& writer_;
  const Parent parent_;
  TreeCounts counts_;
};

// Every file and folder of a snapshot's tree by its path. A parent that cannot be read whole is
// only a worse hint: what could be read is returned.
TreeBuilder::Parent load_parent(const repo::Repository& repository, const repo::Index& index,
                                const repo::BlobId& root, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_TREE_BUILDER_H
