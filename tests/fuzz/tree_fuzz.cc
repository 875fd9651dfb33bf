#include "fuzz/replay.h"
#include "repo/tree.h"

using namespace kubedr;

std::vector<std::string> fuzz::seeds() {
  repo::Node node;
  node.name = "we\"ird \xff";
  node.content = {repo::BlobId{}};
  return {repo::tree_json({node})};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  return fuzz::expect_refusal_at_most(
      [&] { repo::parse_tree(text, "input", [](repo::Node&&) {}); });
}
