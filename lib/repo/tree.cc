#include "repo/tree.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/hex.h"
#include "base/time.h"
#include "repo/json_text.h"

namespace kubedr::repo {
namespace {

// Go's os.FileMode.
constexpr std::uint32_t kPermissions = 0777;
constexpr std::uint32_t kIrregular = 1u << 19;
constexpr std::uint32_t kSticky = 1u << 20;
constexpr std::uint32_t kCharDevice = 1u << 21;
constexpr std::uint32_t kSetgid = 1u << 22;
constexpr std::uint32_t kSetuid = 1u << 23;
constexpr std::uint32_t kSocket = 1u << 24;
constexpr std::uint32_t kNamedPipe = 1u << 25;
constexpr std::uint32_t kDevice = 1u << 26;
constexpr std::uint32_t kSymlink = 1u << 27;
constexpr std::uint32_t kDirectory = 1u << 31;

struct TypeName {
  NodeType type;
  std::string_view name;
};

constexpr std::array<TypeName, 8> kTypeNames{{{NodeType::file, "file"},
                                              {NodeType::dir, "dir"},
                                              {NodeType::symlink, "symlink"},
                                              {NodeType::dev, "dev"},
                                              {NodeType::chardev, "chardev"},
                                              {NodeType::fifo, "fifo"},
                                              {NodeType::socket, "socket"},
                                              {NodeType::irregular, "irregular"}}};

std::string_view type_name(NodeType type) {
  for (const TypeName& entry : kTypeNames) {
    if (entry.type == type) return entry.name;
  }
  return "irregular";
}

std::uint32_t go_type_bits(std::uint32_t st_mode) {
  switch (st_mode & S_IFMT) {
  case S_IFREG:
    return 0;
  case S_IFDIR:
    return kDirectory;
  case S_IFLNK:
    return kSymlink;
  case S_IFBLK:
    return kDevice;
  case S_IFCHR:
    return kDevice | kCharDevice;
  case S_IFIFO:
    return kNamedPipe;
  case S_IFSOCK:
    return kSocket;
  default:
    return kIrregular;
  }
}

// Writes the keys of one node; `omitempty` ones through the *_if functions.
class NodeWriter {
 public:
  explicit NodeWriter(std::string& out) : out_(out) {}

  void write(const Node& node) {
    out_ += R"({"name":)" + go_json_string(go_quote(node.name));
    fmt::format_to(std::back_inserter(out_), R"(,"type":"{}")", type_name(node.type));
    number_if("mode", node.mode);
    fmt::format_to(std::back_inserter(out_),
                   R"(,"mtime":"{}","atime":"{}","ctime":"{}","uid":{},"gid":{})",
                   format_rfc3339_nano(node.mtime), format_rfc3339_nano(node.atime),
                   format_rfc3339_nano(node.ctime), node.uid, node.gid);
    text_if("user", node.user);
    text_if("group", node.group);
    number_if("inode", node.inode);
    number_if("device_id", node.device_id);
    number_if("size", node.size);
    number_if("links", node.links);
    text_if("linktarget", node.link_target);
    // The text above cannot hold any bytes; this key, which restic has since 0.16, can.
    if (!is_utf8(node.link_target))
      text_if("linktarget_raw", to_base64(as_bytes(node.link_target)));
    content(node);
    if (node.subtree) out_ += R"(,"subtree":")" + node.subtree->hex() + '"';
    out_ += '}';
  }

 private:
  void number_if(const char* key, std::uint64_t value) {
    if (value != 0) fmt::format_to(std::back_inserter(out_), R"(,"{}":{})", key, value);
  }

  void text_if(const char* key, const std::string& value) {
    if (value.empty()) return;
    fmt::format_to(std::back_inserter(out_), R"(,"{}":{})", key, go_json_string(value));
  }

  void content(const Node& node) {
    if (node.type != NodeType::file) {
      out_ += R"(,"content":null)";
      return;
    }
    out_ += R"(,"content":[)";
    for (const BlobId& id : node.content) {
      if (out_.back() == '"') out_ += ',';
      out_ += '"';
      out_ += id.hex();
      out_ += '"';
    }
    out_ += ']';
  }

  std::string& out_;
};

class TreeReader final : public JsonEvents {
 public:
  TreeReader(const std::string& where, const std::function<void(Node&&)>& each)
      : where_(where), each_(each) {}

  bool begin_object() override {
    if (at_ == At::start) {
      at_ = At::root;
      return true;
    }
    if (at_ == At::nodes) {
      at_ = At::node;
      node_ = Node{};
      seen_ = 0;
      return true;
    }
    require_unknown_key();
    return false;
  }

  bool begin_array() override {
    if (at_ == At::root && key_ == "nodes") {
      at_ = At::nodes;
      has_nodes_ = true;
      return true;
    }
    if (at_ == At::node && key_ == "content") {
      at_ = At::content;
      node_.content.clear();
      seen_ |= kContent;
      return true;
    }
    require_unknown_key();
    return false;
  }

  void end() override {
    if (at_ == At::content) {
      at_ = At::node;
    } else if (at_ == At::node) {
      require_complete_node();
      each_(std::move(node_));
      at_ = At::nodes;
    } else if (at_ == At::nodes) {
      at_ = At::root;
    } else if (!has_nodes_) {
      fail("no nodes");
    }
  }

  void key(std::string& name) override { key_.swap(name); }

  void text(std::string& value) override {
    if (at_ == At::content) {
      node_.content.push_back(parse_id(value));
    } else if (at_ != At::node || !(take_name(value) || take_time(value) || take_text(value))) {
      require_unknown_key();
    }
  }

  void number(std::uint64_t value) override {
    if (at_ != At::node || !(take_short(value) || take_long(value))) require_unknown_key();
  }

  void null() override {
    if (at_ == At::root && key_ == "nodes") {
      has_nodes_ = true;
    } else if (at_ != At::root && at_ != At::node) {
      fail("null in a wrong place");
    }
  }

  void other() override { require_unknown_key(); }

 private:
  enum class At { start, root, nodes, node, content };

  static constexpr unsigned kName = 1;
  static constexpr unsigned kType = 2;
  static constexpr unsigned kContent = 4;

  bool take_name(const std::string& value) {
    if (key_ == "name") {
      if (!go_unquote(value, node_.name)) fail("a name that cannot be unquoted");
      seen_ |= kName;
    } else if (key_ == "type") {
      node_.type = parse_type(value);
      seen_ |= kType;
    } else if (key_ == "subtree") {
      node_.subtree = parse_id(value);
    } else {
      return false;
    }
    return true;
  }

  bool take_time(const std::string& value) {
    WallTime* const time = key_ == "mtime"   ? &node_.mtime
                           : key_ == "atime" ? &node_.atime
                           : key_ == "ctime" ? &node_.ctime
                                             : nullptr;
    if (time == nullptr) return false;
    const std::optional<WallTime> parsed = parse_time(value);
    if (!parsed) fail("a time that is none");
    *time = *parsed;
    return true;
  }

  bool take_text(std::string& value) {
    if (key_ == "linktarget_raw") {
      const std::optional<Bytes> raw = from_base64(value);
      if (!raw) fail("a link target that is not base64");
      raw_target_ = std::string(as_text(*raw));
      return true;
    }
    std::string* const text = key_ == "user"         ? &node_.user
                              : key_ == "group"      ? &node_.group
                              : key_ == "linktarget" ? &node_.link_target
                                                     : nullptr;
    if (text == nullptr) return false;
    text->swap(value);
    return true;
  }

  bool take_short(std::uint64_t value) {
    std::uint32_t* const number = key_ == "mode"  ? &node_.mode
                                  : key_ == "uid" ? &node_.uid
                                  : key_ == "gid" ? &node_.gid
                                                  : nullptr;
    if (number == nullptr) return false;
    if (value > UINT32_MAX) fail("a number beyond 32 bits");
    *number = static_cast<std::uint32_t>(value);
    return true;
  }

  bool take_long(std::uint64_t value) {
    std::uint64_t* const number = key_ == "inode"       ? &node_.inode
                                  : key_ == "device_id" ? &node_.device_id
                                  : key_ == "size"      ? &node_.size
                                  : key_ == "links"     ? &node_.links
                                                        : nullptr;
    if (number == nullptr) return false;
    *number = value;
    return true;
  }

  BlobId parse_id(const std::string& text) const {
    const std::optional<BlobId> id = BlobId::parse(text);
    if (!id) fail("an id is not 64 hex digits");
    return *id;
  }

  NodeType parse_type(std::string_view name) const {
    for (const TypeName& entry : kTypeNames) {
      if (entry.name == name) return entry.type;
    }
    fail("a node with an invalid type");
  }

  void require_complete_node() {
    if ((seen_ & kName) == 0 || node_.name.empty()) fail("node with empty name");
    if ((seen_ & kType) == 0) fail("a node with an invalid type");
    if (node_.type == NodeType::file && (seen_ & kContent) == 0) fail("a file without content");
    if (node_.type == NodeType::dir && !node_.subtree) fail("a dir node without subtree");
    if (raw_target_) node_.link_target = std::move(*raw_target_);
    raw_target_.reset();
  }

  // Called for a value of a type that no known key has here.
  void require_unknown_key() const {
    if (at_ == At::start || at_ == At::nodes || at_ == At::content) fail("a value of a wrong type");
    static constexpr std::array<std::string_view, 18> kNodeKeys{
        "name",           "type",      "subtree", "mtime", "atime",   "ctime",
        "linktarget_raw", "user",      "group",   "mode",  "uid",     "gid",
        "inode",          "device_id", "size",    "links", "content", "linktarget"};
    const bool known = at_ == At::root
                           ? key_ == "nodes"
                           : std::find(kNodeKeys.begin(), kNodeKeys.end(), key_) != kNodeKeys.end();
    if (known) fail("a value of a wrong type");
  }

  [[noreturn]] void fail(const char* why) const {
    throw Error(ErrorKind::corrupt, where_ + ": not a tree: " + why);
  }

  const std::string& where_;
  const std::function<void(Node&&)>& each_;
  At at_ = At::start;
  std::string key_;
  Node node_;
  std::optional<std::string> raw_target_;
  unsigned seen_ = 0;
  bool has_nodes_ = false;
};

}  // namespace

std::uint32_t go_mode(std::uint32_t st_mode) {
  std::uint32_t mode = (st_mode & kPermissions) | go_type_bits(st_mode);
  if ((st_mode & S_ISUID) != 0) mode |= kSetuid;
  if ((st_mode & S_ISGID) != 0) mode |= kSetgid;
  if ((st_mode & S_ISVTX) != 0) mode |= kSticky;
  return mode;
}

std::uint32_t permissions_of(std::uint32_t go_mode) {
  std::uint32_t mode = go_mode & kPermissions;
  if ((go_mode & kSetuid) != 0) mode |= S_ISUID;
  if ((go_mode & kSetgid) != 0) mode |= S_ISGID;
  if ((go_mode & kSticky) != 0) mode |= S_ISVTX;
  return mode;
}

std::string tree_json(std::vector<Node> nodes) {
  // std::string compares as memcmp does, which is restic's order.
  std::sort(nodes.begin(), nodes.end(),
            [](const Node& a, const Node& b) { return a.name < b.name; });
  std::string out = R"({"nodes":[)";
  const Node* previous = nullptr;
  for (const Node& node : nodes) {
    if (previous != nullptr && previous->name == node.name) {
      throw Error(ErrorKind::internal, "tree: two nodes named " + go_quote(node.name));
    }
    if (previous != nullptr) out += ',';
    NodeWriter(out).write(node);
    previous = &node;
  }
  return out += "]}\n";
}

bool is_safe_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
}

void parse_tree(std::string_view json, const std::string& where,
                const std::function<void(Node&&)>& each) {
  TreeReader reader(where, each);
  read_json(json, where, reader);
}

}  // namespace kubedr::repo
