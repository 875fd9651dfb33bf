#include "workflow/tree_builder.h"

#include "base/error.h"
#include "base/log.h"

namespace kubedr::workflow {
namespace {

bool equal(const repo::Node& a, const repo::Node& b) {
  return a.type == b.type && a.mode == b.mode && a.mtime == b.mtime && a.uid == b.uid &&
         a.gid == b.gid && a.size == b.size && a.content == b.content && a.subtree == b.subtree;
}

void load_folder(const repo::Repository& repository, const repo::Index& index,
                 const repo::BlobId& tree, const std::string& path, const Call& call,
                 TreeBuilder::Parent& nodes) {
  const Bytes json = repository.load_blob(index, {repo::BlobType::tree, tree}, call);
  std::vector<std::pair<std::string, repo::BlobId>> folders;
  repo::parse_tree(as_text(json), "tree " + tree.short_hex(), [&](repo::Node&& node) {
    std::string child = path + "/" + node.name;
    if (node.subtree) folders.emplace_back(child, *node.subtree);
    nodes.insert_or_assign(std::move(child), std::move(node));
  });
  for (const auto& [child, subtree] : folders) {
    load_folder(repository, index, subtree, child, call, nodes);
  }
}

}  // namespace

TreeBuilder::TreeBuilder(repo::Writer& writer, Parent parent)
    : writer_(writer), parent_(std::move(parent)) {}

const repo::Node* TreeBuilder::in_parent(const std::string& path) const {
  const auto found = parent_.find(path);
  return found == parent_.end() ? nullptr : &found->second;
}

void TreeBuilder::count(const std::string& path, const repo::Node& file) {
  const repo::Node* before = in_parent(path);
  if (before == nullptr) {
    ++counts_.files_new;
  } else if (equal(*before, file)) {
    ++counts_.files_unmodified;
  } else {
    ++counts_.files_changed;
  }
}

void TreeBuilder::finish_folder(const std::string& path, std::vector<repo::Node> children,
                                repo::Node& folder, const Call& call) {
  folder.type = repo::NodeType::dir;
  folder.subtree = writer_.save_tree(repo::tree_json(std::move(children)), call);
  const repo::Node* before = in_parent(path);
  if (before == nullptr) {
    ++counts_.dirs_new;
  } else if (equal(*before, folder)) {
    ++counts_.dirs_unmodified;
  } else {
    ++counts_.dirs_changed;
  }
}

TreeBuilder::Parent load_parent(const repo::Repository& repository, const repo::Index& index,
                                const repo::BlobId& root, const Call& call) {
  TreeBuilder::Parent nodes;
  try {
    load_folder(repository, index, root, "", call, nodes);
  } catch (const Error& error) {
    call.require_live();
    log::warn("the parent snapshot cannot be read whole, all files count as new: {}", error.what());
  }
  return nodes;
}

}  // namespace kubedr::workflow
