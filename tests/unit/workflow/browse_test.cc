#include "workflow/browse.h"

#include <doctest/doctest.h>

#include "bare_repository.h"

using namespace kubedr;
using namespace kubedr::workflow;
using namespace kubedr::repo::test;
using kubedr::workflow::test::BareRepository;

namespace {

// A snapshot of files "a/b/db", "a/file" and "ab", each with its name for content.
void back_up_folders(BareRepository& world) {
  repo::Repository repository = world.open(world.store);
  repo::Lock lock = repository.lock_shared(kOwner, kNoRetry, world.call);
  repo::Index index = repository.load_index(lock, world.call);
  repo::Writer writer(repository, lock, index, small_packs());
  const auto file = [&](const std::string& name) {
    BytesSource source({name.begin(), name.end()});
    return file_node(name, writer.save_file(source, repo::Cut::fixed(1024), lock.scope()));
  };
  const auto folder = [&](const std::string& name, std::vector<repo::Node> nodes) {
    repo::Node node;
    node.name = name;
    node.type = repo::NodeType::dir;
    node.mode = (1U << 31U) | 0750U;
    node.subtree = writer.save_tree(repo::tree_json(std::move(nodes)), lock.scope());
    return node;
  };
  repo::Snapshot snapshot;
  snapshot.time = day(1);
  const repo::Node tree =
      folder("", {folder("a", {folder("b", {file("db")}), file("file")}), file("ab")});
  snapshot.tree = *tree.subtree;
  const repo::Written written = writer.finish(lock.scope());
  repository.save_snapshot(snapshot, written, lock, lock.scope());
  lock.release(world.call);
}

}  // namespace

TEST_CASE("ls: a path brings what is directly in it, and with recursive all that is below") {
  BareRepository repository;
  back_up_folders(repository);
  const auto listed = [&](std::vector<std::string> of, bool recursive = false) {
    std::string paths;
    list_files(
        repository.services(), {{"latest", {}, {}}, std::move(of), recursive},
        [&](const std::string& path, const repo::Node&) { paths += path + " "; }, repository.call);
    return paths;
  };
  CHECK(listed({}) == "/a /a/b /a/b/db /a/file /ab ");
  CHECK(listed({"/a"}) == "/a /a/b /a/file ");
  CHECK(listed({"a/"}) == "/a /a/b /a/file ");
  CHECK(listed({"/a"}, true) == "/a /a/b /a/b/db /a/file ");
  CHECK(listed({"/"}) == "/a /ab ");
  CHECK(listed({"/"}, true) == listed({}));
  CHECK(listed({"/a/b/db", "/ab"}) == "/a/b/db /ab ");
  CHECK(listed({"/b"}) == "");
}
