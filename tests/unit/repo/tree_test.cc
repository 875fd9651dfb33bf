#include "repo/tree.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <random>
#include <string>

#include "base/error.h"
#include "base/sha256.h"
#include "base/time.h"

using namespace kubedr;
using namespace kubedr::repo;

namespace {

const std::string kId(64, '4');

WallTime at(const char* text) {
  return parse_time(text).value();
}

std::vector<Node> parse(const std::string& json) {
  std::vector<Node> nodes;
  parse_tree(json, "tree ab", [&nodes](Node&& node) { nodes.push_back(std::move(node)); });
  return nodes;
}

// What is said about a text, or empty.
std::string complaint(const std::string& json) {
  try {
    parse(json);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::corrupt);
    return error.what();
  }
  return "";
}

std::string tree_of(const std::string& node) {
  return "{\"nodes\":[" + node + "]}\n";
}

// As restic 0.14 wrote it.
const std::string kFile =
    R"({"name":"f","type":"file","mode":420,"mtime":"2026-11-22T07:39:00.315039215Z",)"
    R"("atime":"2026-11-22T07:39:00.315039215Z","ctime":"2026-11-22T07:39:00.3Z","uid":0,"gid":0,)"
    R"("user":"root","group":"root","inode":11101500,"device_id":65024,"size":2,"links":1,)"
    R"("content":[")" +
    kId + R"("]})";

Node file_node() {
  Node node;
  node.name = "f";
  node.mode = go_mode(S_IFREG | 0644);
  node.mtime = node.atime = at("2026-11-22T07:39:00.315039215Z");
  node.ctime = at("2026-11-22T07:39:00.3Z");
  node.user = node.group = "root";
  node.inode = 11101500;
  node.device_id = 65024;
  node.size = 2;
  node.links = 1;
  node.content = {*BlobId::parse(kId)};
  return node;
}

Node bare_node(NodeType type) {
  Node node;
  node.name = "n";
  node.type = type;
  node.mtime = node.atime = node.ctime = at("2026-11-22T07:39:00Z");
  return node;
}

const std::string kBareTimes = R"("mtime":"2026-11-22T07:39:00Z","atime":"2026-11-22T07:39:00Z",)"
                               R"("ctime":"2026-11-22T07:39:00Z","uid":0,"gid":0,)";

std::string with(const std::string& what, const std::string& instead) {
  std::string text = tree_of(kFile);
  REQUIRE(text.find(what) != std::string::npos);
  return text.replace(text.find(what), what.size(), instead);
}

}  // namespace

TEST_CASE("tree: an empty one has restic's id") {
  const std::string json = tree_json({});
  CHECK(json == "{\"nodes\":[]}\n");
  CHECK(BlobId(sha256(as_bytes(json))).hex() ==
        "ac08ce34ba4f8123618661bef2425f7028ffb9ac740578a3ee88684d2523fee8");
  CHECK(parse(json).empty());
}

TEST_CASE("tree: a file, byte for byte, and back") {
  CHECK(tree_json({file_node()}) == tree_of(kFile));
  const std::vector<Node> nodes = parse(tree_of(kFile));
  REQUIRE(nodes.size() == 1);
  CHECK(tree_json(nodes) == tree_of(kFile));
  CHECK(nodes[0].content.size() == 1);
}

TEST_CASE("tree: content is an empty list for files without bytes, null for all others") {
  CHECK(tree_json({bare_node(NodeType::file)}) ==
        tree_of(R"({"name":"n","type":"file",)" + kBareTimes + R"("content":[]})"));
  CHECK(tree_json({bare_node(NodeType::fifo)}) ==
        tree_of(R"({"name":"n","type":"fifo",)" + kBareTimes + R"("content":null})"));
  Node dir = bare_node(NodeType::dir);
  dir.mode = go_mode(S_IFDIR | 0755);
  dir.subtree = BlobId::parse(kId);
  const std::string json = tree_of(R"({"name":"n","type":"dir","mode":2147484141,)" + kBareTimes +
                                   R"("content":null,"subtree":")" + kId + R"("})");
  CHECK(tree_json({dir}) == json);
  CHECK(tree_json(parse(json)) == json);
}

TEST_CASE("tree: link targets that are no UTF-8 are stored twice, and come back whole") {
  Node link = bare_node(NodeType::symlink);
  link.link_target = "to/<x>";
  const std::string plain = tree_of(R"({"name":"n","type":"symlink",)" + kBareTimes +
                                    R"("linktarget":"to/\u003cx\u003e","content":null})");
  CHECK(tree_json({link}) == plain);
  CHECK(parse(plain)[0].link_target == "to/<x>");
  link.link_target = "bad\xff";
  const std::string raw =
      tree_of(R"({"name":"n","type":"symlink",)" + kBareTimes +
              R"("linktarget":"bad\ufffd","linktarget_raw":"YmFk/w==","content":null})");
  CHECK(tree_json({link}) == raw);
  CHECK(parse(raw)[0].link_target == "bad\xff");
}

TEST_CASE("tree: names are escaped twice, and any bytes come back") {
  Node node = bare_node(NodeType::fifo);
  for (const char* name : {"we\"ird <&>", "back\\slash", "\xff", "tab\t", "\xe2\x80\xa8", "\x7f",
                           "..", "a/b", " ", "\xf0\x9f\x98\x80"}) {
    CAPTURE(name);
    node.name = name;
    CHECK(parse(tree_json({node})).at(0).name == name);
  }
  node.name = "we\"ird <&>\t\xff";
  CHECK(tree_json({node}).find(R"("name":"we\\\"ird \u003c\u0026\u003e\\t\\xff",)") !=
        std::string::npos);
}

TEST_CASE("tree: nodes are sorted by bytes, and a name twice is our own bug") {
  std::vector<Node> nodes;
  for (const char* name : {"b", "\xff", "a", "B", "aa", "\xc3\xbc"}) {
    nodes.push_back(bare_node(NodeType::fifo));
    nodes.back().name = name;
  }
  std::string order;
  for (const Node& node : parse(tree_json(nodes))) order += node.name + " ";
  CHECK(order == "B a aa b \xc3\xbc \xff ");
  nodes.push_back(nodes.front());
  try {
    tree_json(nodes);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::internal);
  }
}

TEST_CASE("tree: modes as restic stores them") {
  CHECK(go_mode(S_IFDIR | 0755) == 2147484141u);
  CHECK(go_mode(S_IFLNK | 0777) == 134218239u);
  CHECK(go_mode(S_IFBLK | 0644) == 67109284u);
  CHECK(go_mode(S_IFCHR | 0644) == 69206436u);
  CHECK(go_mode(S_IFIFO | 0644) == 33554852u);
  CHECK(go_mode(S_IFSOCK | 0644) == (1u << 24 | 0644));
  CHECK(go_mode(S_IFREG | 04755) == 8389101u);
  CHECK(go_mode(S_IFREG | 02755) == 4194797u);
  CHECK(go_mode(S_IFDIR | 01777) == 2148532735u);
  for (const std::uint32_t mode : {0u, 0644u, 0777u, 01777u, 02755u, 04755u, 07777u}) {
    CHECK(permissions_of(go_mode(S_IFREG | mode)) == mode);
    CHECK(permissions_of(go_mode(S_IFDIR | mode)) == mode);
  }
}

TEST_CASE("tree: a database's 65,000 blobs come back in their order") {
  Node node = file_node();
  node.content.clear();
  for (int number = 0; number < 65000; ++number) {
    node.content.emplace_back(sha256(as_bytes(std::to_string(number))));
  }
  CHECK(parse(tree_json({node})).at(0).content == node.content);
}

TEST_CASE("tree: attributes that are not restored and keys of other versions are passed over") {
  const std::string json = with(
      R"("content")",
      R"("extended_attributes":[{"name":"user.x","value":"AA=="}],"generic_attributes":{"a":{}},)"
      R"("device":5,"error":"","future":null,"content")");
  CHECK(tree_json(parse(json)) == tree_of(kFile));
}

TEST_CASE("tree: what is none is corrupt") {
  REQUIRE(complaint(tree_of(kFile)).empty());
  CHECK(complaint(R"({"nodes":null})").empty());
  for (const char* text :
       {"", "{}", "[]", "null", "5", R"({"nodes":{}})", R"({"nodes":5})", R"({"nodes":[5]})",
        R"({"nodes":[[]]})", R"({"nodes":[null]})", R"({"nodes":[{}]})"}) {
    CAPTURE(text);
    CHECK_FALSE(complaint(text).empty());
  }
  CHECK(complaint(with("\"f\"", "\"\"")) == "tree ab: not a tree: node with empty name");
  CHECK(complaint(with("\"f\"", "\"\\\\q\"")) ==
        "tree ab: not a tree: a name that cannot be unquoted");
  CHECK_FALSE(complaint(with("\"file\"", "\"door\"")).empty());
  CHECK_FALSE(complaint(with("\"type\":\"file\",", "")).empty());
  CHECK_FALSE(complaint(with("2026-11-22T07:39:00.3Z", "noon")).empty());
  CHECK_FALSE(complaint(with("\"mode\":420", "\"mode\":4294967296")).empty());
  CHECK_FALSE(complaint(with("\"mode\":420", "\"mode\":\"420\"")).empty());
  CHECK_FALSE(complaint(with("\"size\":2", "\"size\":-2")).empty());
  CHECK_FALSE(complaint(with("\"size\":2", "\"size\":2e0")).empty());
  CHECK_FALSE(complaint(with("\"user\":\"root\"", "\"user\":[]")).empty());
  CHECK_FALSE(complaint(with("4444", "444")).empty());
  CHECK_FALSE(complaint(with("[\"" + kId + "\"]", "null")).empty());
  CHECK_FALSE(complaint(with("[\"" + kId + "\"]", "[5]")).empty());
  CHECK_FALSE(complaint(with("[\"" + kId + "\"]", "[null]")).empty());
  CHECK_FALSE(complaint(with("[\"" + kId + "\"]", "[[]]")).empty());
  CHECK_FALSE(complaint(with("\"file\"", "\"dir\"")).empty());
}

TEST_CASE("tree: random damage is taken or corrupt, nothing else") {
  const std::string json = tree_of(kFile);
  std::mt19937 random(9);
  for (int round = 0; round < 5000; ++round) {
    std::string damaged = json;
    for (auto left = 1 + random() % 3; left > 0; --left) {
      const std::size_t at = random() % damaged.size();
      if (random() % 2 == 0) {
        damaged[at] = "{}[]\",:0-9.etnul\\\xff"[random() % 19];
      } else {
        damaged.erase(at, 1 + random() % 10);
      }
    }
    complaint(damaged);
  }
}
