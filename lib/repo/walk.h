#ifndef KUBEDR_REPO_WALK_H
#define KUBEDR_REPO_WALK_H

#include <functional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/call.h"
#include "repo/ids.h"
#include "repo/index.h"
#include "repo/repository.h"
#include "repo/tree.h"

namespace kubedr::repo {

// A node met on a walk; `path` is its place in the snapshot: "/data/etcd-snapshot.db".
using VisitNode = std::function<void(const std::string& path, const Node& node)>;

// Told of a folder that cannot be read, or not to its end: "/data/pki: blob ...".
using FolderProblem = std::function<void(const std::string& text)>;

// Whether to look into a folder, asked after it was met.
using EnterFolder = std::function<bool(const std::string& path, const Node& folder)>;

// Every node below `root`, a folder before what is in it, otherwise in the order stored. With
// `problem` the walk goes on behind what is damaged.
//
// errors   corrupt: a tree that cannot be loaded, with the path of its folder; folders in folders
//          beyond what any backup holds
void walk_tree(const Repository& repository, const Index& index, const BlobId& root,
               const VisitNode& visit, const Call& call, const FolderProblem& problem = nullptr,
               const EnterFolder& enter = nullptr);

struct BlobHandleHash {
  std::size_t operator()(const BlobHandle& blob) const {
    return std::hash<BlobId>()(blob.id) ^ static_cast<std::size_t>(blob.type);
  }
};

using BlobSet = std::unordered_set<BlobHandle, BlobHandleHash>;

// What is wrong with a tree: the text begins with "tree ID".
struct TreeProblem {
  std::string text;
  bool unknown = false;  // a blob that no index names; it may be in a pack all the same
};

// Every blob that the trees of these roots need, each tree loaded once. What is wrong with one is
// handed to `problem`, and the walk goes on without it.
//
// units    about 64 bytes a blob
BlobSet find_used_blobs(const Repository& repository, const Index& index,
                        const std::vector<BlobId>& roots,
                        const std::function<void(const TreeProblem&)>& problem, const Call& call);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_WALK_H
