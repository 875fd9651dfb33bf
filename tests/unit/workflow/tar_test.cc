#include "workflow/tar.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <regex>

#include "support/process.h"
#include "support/temp_dir.h"
#include "unit/repo/repositories.h"

using namespace kubedr;
using namespace kubedr::workflow;
using kubedr::repo::Node;
using kubedr::repo::NodeType;
using kubedr::repo::test::noise;
using kubedr::test::TempDir;

namespace {

Node node_of(NodeType type, std::uint32_t mode = 0640) {
  Node node;
  node.type = type;
  node.mode = mode;
  node.mtime = WallTime(std::chrono::seconds(1'600'000'000));
  node.user = "root";
  node.group = "root";
  return node;
}

// What tar(1) makes of a stream.
struct Archive {
  TarWriter writer{[this](ByteView bytes) { append(stream, bytes); }};

  void file(const std::string& path, const Bytes& content, const Node& node) {
    writer.begin(path, node, content.size());
    writer.write(content);
  }

  std::string tar(std::vector<std::string> args) {
    const std::filesystem::path archive = folder.write("archive.tar", as_text(stream));
    args.insert(args.begin(), {"tar", "-C", folder.path().string(), "-f", archive.string()});
    const kubedr::test::RunResult result = kubedr::test::run(args);
    CHECK_MESSAGE(result.ok(), result.err);
    return result.out;
  }

  Bytes stream;
  TempDir folder;
};

}  // namespace

TEST_CASE("tar: what goes in comes out of tar(1)") {
  Archive archive;
  const std::string deep = "data/" + std::string(90, 'd') + "/" + std::string(90, 'f');
  Node link = node_of(NodeType::symlink, 0777);
  link.link_target = std::string(150, 'l');
  Node owned = node_of(NodeType::file, 0600);
  owned.uid = 4'000'000'000;
  owned.user = std::string(40, 'u');
  archive.writer.begin("data", node_of(NodeType::dir, (1U << 31U) | 0750U), 0);
  archive.file("data/db", noise(5'000, 1), node_of(NodeType::file));
  archive.file("data/empty", {}, node_of(NodeType::file));
  archive.file(deep, noise(512, 2), owned);
  archive.writer.begin("data/pipe", node_of(NodeType::fifo), 0);
  archive.writer.begin("data/link", link, 0);
  archive.writer.finish();
  CHECK(archive.stream.size() % 512 == 0);

  // Its columns are as wide as what it has seen so far.
  const std::string listed = std::regex_replace(
      archive.tar({"-tv", "--numeric-owner", "--full-time", "--utc"}), std::regex(" +"), " ");
  CHECK(listed.find("-rw-r----- 0/0 5000 2020-09-13 12:26:40 data/db\n") != std::string::npos);
  CHECK(listed.find("4000000000/0") != std::string::npos);
  CHECK(listed.find("pipe") == std::string::npos);
  archive.tar({"-x", "--no-same-owner"});
  CHECK(kubedr::test::read_text(archive.folder / "data/db") == as_text(noise(5'000, 1)));
  CHECK(kubedr::test::read_text(archive.folder / deep) == as_text(noise(512, 2)));
  CHECK(std::filesystem::is_empty(archive.folder / "data/empty"));
  CHECK(std::filesystem::read_symlink(archive.folder / "data/link") == link.link_target);
}

TEST_CASE("tar: names are bytes, long ones too") {
  for (const std::size_t length : {10U, 200U}) {
    Archive archive;
    const std::string name = std::string(length, 'n') + "\xff";
    archive.file(name, noise(10, 1), node_of(NodeType::file));
    archive.writer.finish();
    archive.tar({"-x", "--no-same-owner"});
    CHECK(kubedr::test::read_text(archive.folder / name) == as_text(noise(10, 1)));
  }
}

TEST_CASE("tar: content is as long as was said") {
  TarWriter writer([](ByteView) {});
  writer.begin("file", node_of(NodeType::file), 3);
  writer.write(noise(2, 1));
  CHECK_THROWS_AS(writer.write(noise(2, 1)), Error);
  CHECK_THROWS_AS(writer.finish(), Error);
}
