// Which snapshot `latest` is and which ones are counted with --host, --tag and --path, and how `ls`
// sorts: restic 0.18 with the same flags says the same.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "interop/shared_repository.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;
namespace fs = std::filesystem;

namespace {

using Args = std::vector<std::string>;

Args operator+(Args args, const Args& more) {
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

// restic's `--json` prints an object a line.
std::vector<Json> lines_of(const std::string& text) {
  std::vector<Json> objects;
  for (const std::string& line : split(text, '\n')) {
    if (!line.empty()) objects.push_back(parse_json(line, "restic"));
  }
  return objects;
}

// Two nodes' snapshots, of other folders and with other tags; in each a file "which" that says
// which one it is.
class TwoNodes {
 public:
  TwoNodes() {
    repository_.must("0.18", {"init"});
    back_up("a", {"--tag", "x,y"}, {"one"});
    back_up("b", {"--tag", "x"}, {"one", "two"});
    back_up("b", {"--tag", "z"}, {"two"});
    back_up("a", {}, {"one"});
    back_up("c", {"--tag", "x,z"}, {"two"});
    ids_ = repository_.snapshots("0.18");
    REQUIRE(ids_.size() == 5);
  }

  const SharedRepository& repository() const { return repository_; }

  std::string path(const std::string& name) const { return repository_.folder() / name; }

  const std::vector<std::string>& ids() const { return ids_; }

 private:
  void back_up(const std::string& host, const Args& tags, const Args& folders) {
    ++count_;
    Args args = {"backup", "--host", host, "--time", fmt::format("2026-01-0{} 12:00:00", count_)};
    for (const std::string& folder : folders) {
      const std::string size(static_cast<std::size_t>(count_) * 1000, 'x');
      repository_.folder().write(folder + "/which", std::to_string(count_) + size);
      args.push_back(path(folder));
    }
    repository_.must("0.18", args + tags);
  }

  SharedRepository repository_;
  std::vector<std::string> ids_;
  int count_ = 0;
};

struct Filter {
  Args flags;
  std::size_t latest;  // by its number from 1; 0: there is none
  std::size_t count;
};

std::vector<Filter> filters(const TwoNodes& nodes) {
  const std::string one = nodes.path("one");
  const std::string two = nodes.path("two");
  return {{{}, 5, 5},
          {{"-H", "a"}, 4, 2},
          {{"--host", "b"}, 3, 2},
          {{"--host", "b", "--host", "a"}, 4, 4},
          {{"--tag", "x"}, 5, 3},
          {{"--tag", "x,y"}, 1, 1},
          {{"--tag", "y", "--tag", "z"}, 5, 3},
          {{"--tag", ""}, 4, 1},
          {{"--path", one}, 4, 3},
          {{"--path", one, "--path", two}, 2, 1},
          {{"-H", "b", "--tag", "x"}, 2, 1},
          {{"-H", "b", "--path", two, "--tag", "z"}, 3, 1},
          {{"--host", "nobody"}, 0, 0},
          {{"-H", "a", "--path", two}, 0, 0}};
}

std::string latest_of(const TwoNodes& nodes, const std::string& program, const Args& flags) {
  const Args args = Args{"ls", "latest"} + flags;
  if (program == "ours") {
    return nodes.repository().must_ours(args).at("snapshotId").get<std::string>();
  }
  const std::string text = nodes.repository().must(program, args + Args{"--json"});
  return lines_of(text).front().at("id").get<std::string>();
}

}  // namespace

TEST_CASE("filters: latest is the one that restic finds") {
  KUBEDR_NEEDS("restic-0.18");
  const TwoNodes nodes;
  const SharedRepository& repository = nodes.repository();
  int targets = 0;
  for (const auto& [flags, latest, count] : filters(nodes)) {
    const std::string shown = join(flags, " ");
    CAPTURE(shown);
    if (latest == 0) {
      CHECK_FALSE(repository.run("0.18", Args{"ls", "latest"} + flags).ok());
      CHECK(repository.run("ours", Args{"ls", "latest"} + flags).exit.code == 4);
      continue;
    }
    const std::string& id = nodes.ids().at(latest - 1);
    CHECK(latest_of(nodes, "0.18", flags) == id);
    CHECK(latest_of(nodes, "ours", flags) == id);

    const std::string folder = latest == 3 || latest == 5 ? "two" : "one";
    const std::string file = nodes.path(folder + "/which");
    const Args dump = Args{"dump", "latest", file} + flags;
    const std::string content = repository.must("ours", dump);
    CHECK(content.starts_with(std::to_string(latest) + "x"));
    CHECK(content == repository.must("0.18", dump));

    const fs::path target = repository.folder() / fmt::format("target-{}", ++targets);
    repository.must("ours", Args{"restore", "latest", "-t", target.string()} + flags);
    CHECK(read_text(target / fs::path(file).relative_path()) == content);
  }

  // One that is named is meant, whatever else is said.
  const Args named = {"ls", nodes.ids().front(), "--host", "nobody"};
  CHECK(repository.must_ours(named).at("snapshotId") == nodes.ids().front());
  repository.must("0.18", named);
}

TEST_CASE("filters: stats counts the snapshots that restic counts") {
  KUBEDR_NEEDS("restic-0.18");
  const TwoNodes nodes;
  const SharedRepository& repository = nodes.repository();
  const Json all = repository.must_ours({"stats"});
  for (const auto& [flags, latest, count] : filters(nodes)) {
    const std::string shown = join(flags, " ");
    CAPTURE(shown);
    for (const std::string mode : {"restore-size", "raw-data"}) {
      CAPTURE(mode);
      const Args args = Args{"stats", "--mode", mode} + flags;
      const Json theirs = parse_json(repository.must("0.18", args + Args{"--json"}), "restic");
      const Json ours = repository.must_ours(args);
      CHECK(ours.at("snapshotsCount") == count);
      CHECK(theirs.at("snapshots_count") == count);
      CHECK(ours.at("totalSize") == theirs.at("total_size"));
    }
    const Json own = repository.must_ours(Args{"stats"} + flags);
    CHECK(own.at("snapshots") == count);
    CHECK((own.at("storedBytes") < all.at("storedBytes")) == (count < 5));
    // What others need is no waste, and the packs are what they are.
    CHECK(own.at("unusedBytes") == 0);
    CHECK(own.at("packBytes") == all.at("packBytes"));
  }
}

TEST_CASE("ls --sort: the order is restic's") {
  KUBEDR_NEEDS("restic-0.18");
  SharedRepository repository;
  const TempDir& folder = repository.folder();
  std::int64_t time = 1'700'000'000;
  for (const auto& [name, size] : {std::pair{"b.txt", 3000},
                                   {"a.db", 5},
                                   {"sub/z.txt", 5},
                                   {"sub/.profile", 70'000},
                                   {"c", 0},
                                   {"A.DB", 12}}) {
    const fs::path file =
        folder.write(std::string("work/") + name, std::string(static_cast<std::size_t>(size), 'x'));
    time -= 1000;
    const timespec times[2] = {{time / 2, 0}, {time, 0}};
    REQUIRE(utimensat(AT_FDCWD, file.c_str(), times, 0) == 0);
  }
  const fs::path work = folder / "work";
  repository.must("0.18", {"init"});
  repository.must("0.18", {"backup", "--with-atime", work.string()});
  for (const std::string mode : {"name", "size", "time", "mtime", "atime", "ctime", "extension"}) {
    for (const Args& order : {Args{}, Args{"--reverse"}}) {
      CAPTURE(mode);
      CAPTURE(order.size());
      const Args args = Args{"ls", "latest", "--sort", mode} + order;
      Args theirs;
      for (const Json& line : lines_of(repository.must("0.18", args + Args{"--json"}))) {
        if (line.contains("path")) theirs.push_back(line.at("path").get<std::string>());
      }
      Args ours;
      const Json listing = repository.must_ours(args);
      for (const Json& node : listing.at("nodes")) {
        ours.push_back(node.at("path").get<std::string>());
      }
      CHECK(ours.size() > 8);
      CHECK(join(ours, "\n") == join(theirs, "\n"));
      CHECK(repository.must("ours", args) == join(ours, "\n") + "\n");
    }
  }
  const std::string listing = repository.must("ours", {"ls", "latest", "-l", "--human-readable"});
  CHECK(listing.find(human_size(70'000) + " ") != std::string::npos);
  CHECK(listing.find(" 70000 ") == std::string::npos);
}
