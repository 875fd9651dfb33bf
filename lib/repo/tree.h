#ifndef KUBEDR_REPO_TREE_H
#define KUBEDR_REPO_TREE_H

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "repo/ids.h"

namespace kubedr::repo {

enum class NodeType { file, dir, symlink, dev, chardev, fifo, socket, irregular };

// One entry of a directory.
struct Node {
  std::string name;  // raw bytes
  NodeType type = NodeType::file;
  std::uint32_t mode = 0;  // Go's FileMode: permission bits plus type bits, see go_mode()
  WallTime mtime{};
  WallTime atime{};
  WallTime ctime{};
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::string user;
  std::string group;
  std::uint64_t inode = 0;
  std::uint64_t device_id = 0;
  std::uint64_t size = 0;         // files
  std::uint64_t links = 0;        // not for directories
  std::string link_target;        // symlinks
  std::vector<BlobId> content;    // files
  std::optional<BlobId> subtree;  // directories
};

// st_mode as Go's FileMode, and its permission bits (with setuid, setgid, sticky) back.
std::uint32_t go_mode(std::uint32_t st_mode);
std::uint32_t permissions_of(std::uint32_t go_mode);

// A tree blob, byte for byte as restic writes it: nodes sorted by name, Go's escapes, a newline at
// the end. Equal directories then have equal ids.
//
// errors   internal: two nodes of one name
// source   restic internal/data/node.go, encoding/json, strconv.Quote
std::string tree_json(std::vector<Node> nodes);

// False for what leads out of a folder: "", ".", "..", or what holds '/' or NUL.
bool is_safe_name(const std::string& name);

// Reads a tree as a stream, node by node in the order stored.
//
// errors   corrupt: not a tree, or a name that cannot be unquoted. Names that are not safe are
//          handed over: who restores must refuse them.
void parse_tree(std::string_view json, const std::string& where,
                const std::function<void(Node&&)>& each);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_TREE_H
