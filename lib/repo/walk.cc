#include "repo/walk.h"

#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"

namespace kubedr::repo {

namespace {

class Walk {
 public:
  Walk(const Repository& repository, const Index& index, const VisitNode& visit,
       const FolderProblem& problem, const EnterFolder& enter, const Call& call)
      : repository_(repository),
        index_(index),
        visit_(visit),
        problem_(problem),
        enter_(enter),
        call_(call) {}

  void folder(const BlobId& tree, const std::string& path, int depth) {
    try {
      nodes(tree, path, depth);
    } catch (const Error& error) {
      if (!problem_ || error.kind() != ErrorKind::corrupt) throw;
      problem_(error.what());
    }
  }

 private:
  void nodes(const BlobId& tree, const std::string& path, int depth) {
    const std::string where = path.empty() ? "/" : printable(path);
    if (depth > limits::kTreeDepth) throw Error(ErrorKind::corrupt, where + ": nested too deeply");
    const Bytes json = load(tree, where);
    parse_tree(as_text(json), where, [&](Node&& node) {
      const std::string inside = path + "/" + node.name;
      visit_(inside, node);
      if (node.type != NodeType::dir || (enter_ && !enter_(inside, node))) return;
      if (node.subtree) {
        folder(*node.subtree, inside, depth + 1);
        return;
      }
      const std::string text = printable(inside) + ": a folder without a tree";
      if (!problem_) throw Error(ErrorKind::corrupt, text);
      problem_(text);
    });
  }

  Bytes load(const BlobId& tree, const std::string& where) const {
    try {
      return repository_.load_blob(index_, {BlobType::tree, tree}, call_);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      throw Error(ErrorKind::corrupt, where + ": " + error.what(), error.hint());
    }
  }

  const Repository& repository_;
  const Index& index_;
  const VisitNode& visit_;
  const FolderProblem& problem_;
  const EnterFolder& enter_;
  const Call& call_;
};

// Trees wait in a list, not on the stack: each is looked at once, however many folders name it.
class UsedBlobs {
 public:
  UsedBlobs(const Repository& repository, const Index& index,
            const std::function<void(const TreeProblem&)>& problem, const Call& call)
      : repository_(repository), index_(index), problem_(problem), call_(call) {}

  BlobSet find(const std::vector<BlobId>& roots) {
    for (const BlobId& root : roots) use_tree(root);
    while (!waiting_.empty()) {
      call_.require_live();
      const BlobId tree = waiting_.back();
      waiting_.pop_back();
      try {
        look_at(tree);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::corrupt) throw;
        problem_({"tree " + tree.hex() + ": " + error.what(),
                  !index_.find({BlobType::tree, tree}).has_value()});
      }
    }
    return std::move(used_);
  }

 private:
  void use_tree(const BlobId& tree) {
    if (used_.insert({BlobType::tree, tree}).second) waiting_.push_back(tree);
  }

  void look_at(const BlobId& tree) {
    const std::string where = "tree " + tree.hex();
    const Bytes json = repository_.load_blob(index_, {BlobType::tree, tree}, call_);
    parse_tree(as_text(json), where, [&](Node&& node) { look_at(node, where); });
  }

  void look_at(const Node& node, const std::string& where) {
    if (node.type == NodeType::dir) {
      if (!node.subtree) {
        problem_({where + ": dir node \"" + printable(node.name) + "\" has no subtree"});
        return;
      }
      use_tree(*node.subtree);
      return;
    }
    for (const BlobId& id : node.content) {
      const BlobHandle blob{BlobType::data, id};
      if (!used_.insert(blob).second || index_.find(blob)) continue;
      problem_({where + ": file \"" + printable(node.name) + "\" blob " + id.hex() +
                    " not found in index",
                true});
    }
  }

  const Repository& repository_;
  const Index& index_;
  const std::function<void(const TreeProblem&)>& problem_;
  const Call& call_;
  BlobSet used_;
  std::vector<BlobId> waiting_;
};

}  // namespace

void walk_tree(const Repository& repository, const Index& index, const BlobId& root,
               const VisitNode& visit, const Call& call, const FolderProblem& problem,
               const EnterFolder& enter) {
  Walk(repository, index, visit, problem, enter, call).folder(root, "", 0);
}

BlobSet find_used_blobs(const Repository& repository, const Index& index,
                        const std::vector<BlobId>& roots,
                        const std::function<void(const TreeProblem&)>& problem, const Call& call) {
  return UsedBlobs(repository, index, problem, call).find(roots);
}

}  // namespace kubedr::repo
