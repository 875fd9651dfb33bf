// What a restore's flags mean, beside restic 0.18 with the same flags: the same files, modes, times
// and owners are in the two targets afterwards.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "interop/shared_repository.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;
namespace fs = std::filesystem;

namespace {

using Args = std::vector<std::string>;

void set_mtime(const fs::path& path, std::int64_t seconds) {
  const timespec times[2] = {{0, UTIME_OMIT}, {seconds, 123'456'789}};
  REQUIRE(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
}

// A repository of restic's with one snapshot of a folder as control planes have it.
class Saved {
 public:
  Saved() {
    folder().write("work/db", noise(700'000, 1));
    folder().write("work/pki/ca.crt", "the authority");
    folder().write("work/pki/ca.key", "its secret");
    folder().write("work/pki/etcd/ca.crt", "etcd's authority");
    folder().write("work/pki/etcd/peer/peer.crt", "a peer");
    folder().write("work/manifests/etcd.yaml", "kind: Pod");
    fs::create_symlink("pki/ca.crt", root() / "current.crt");
    age(root());
  }

  const TempDir& folder() const { return repository_.folder(); }

  fs::path root() const { return folder() / "work"; }

  // Of all that is there now.
  void back_up() {
    repository_.must("0.18", {"init"});
    repository_.must("0.18", {"backup", root().string()});
  }

  // By that program, into a target that `prepare` has filled; what is in it then.
  Tree restore(const std::string& program, const Args& flags,
               const std::function<void(const fs::path&)>& prepare = {}) {
    const fs::path target = folder() / fmt::format("flags-{}", ++targets_);
    if (prepare) prepare(target);
    Args args = {"restore", "latest", "--target", target.string()};
    args.insert(args.end(), flags.begin(), flags.end());
    repository_.must(program, args);
    const fs::path found = target / root().relative_path();
    return fs::exists(found) ? tree_below(found) : Tree();
  }

  const SharedRepository& repository() const { return repository_; }

  // Everything below was written long ago.
  static void age(const fs::path& folder) {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      set_mtime(entry.path(), 1'600'000'000);
    }
    set_mtime(folder, 1'600'000'000);
  }

 private:
  SharedRepository repository_;
  int targets_ = 0;
};

// Folders aside: those that only lead to a file are not spoken of.
Tree files_of(Tree tree) {
  std::erase_if(tree, [](const auto& entry) { return entry.second.type == "folder"; });
  return tree;
}

}  // namespace

TEST_CASE("restore --include: brings what restic brings") {
  KUBEDR_NEEDS("restic-0.18");
  Saved saved;
  saved.back_up();
  const std::string root = saved.root().string();
  const std::vector<std::pair<Args, std::size_t>> cases = {
      {{root + "/pki"}, 4},        {{root + "/pki/"}, 4}, {{"*.crt"}, 4},
      {{"pki/ca.*"}, 2},           {{"etcd"}, 2},         {{"ca.key", "db"}, 2},
      {{"pki/**/*.crt"}, 3},       {{"[a-d]?"}, 1},       {{root + "/p*/etcd"}, 2},
      {{root + "/**/peer"}, 1},    {{"manifests/**"}, 1}, {{"work"}, 7},
      {{"etcd.yaml", "*.key"}, 2}, {{"current.crt"}, 1},
  };
  for (const auto& [patterns, count] : cases) {
    CAPTURE(patterns.front());
    Args flags;
    for (const std::string& pattern : patterns) {
      flags.insert(flags.end(), {"--include", pattern});
    }
    const Tree theirs = saved.restore("0.18", flags);
    const Tree ours = saved.restore("ours", flags);
    check_same(ours, theirs);
    CHECK(files_of(ours).size() == count);
  }
  CHECK(saved.repository()
            .run("ours",
                 {"restore", "latest", "--target", saved.folder() / "none", "--include", "nobody"})
            .exit.code == 4);
}

TEST_CASE("restore --exclude and its kin: leave out and bring what restic does") {
  KUBEDR_NEEDS("restic-0.18");
  Saved saved;
  // By the variable's value, which both programs are given.
  const std::string named = "work/" + saved.repository().env().at("RESTIC_PASSWORD");
  saved.folder().write(named, "found by a variable");
  Saved::age(saved.root());
  saved.back_up();
  const auto file = [&](const std::string& name, const std::string& text) {
    return saved.folder().write(name, text).string();
  };
  const std::string keys = file("keys", "# keys\n\n  *.key$NOT_SET  \n${RESTIC_PASSWORD}\r\n");
  const std::string shouted = file("shouted", "*.CRT\n!PEER.crt\n");
  const std::string root = saved.root().string();
  const std::vector<std::pair<Args, std::size_t>> cases = {
      {{"-e", "*.key"}, 7},
      {{"--exclude", root + "/pki"}, 4},
      {{"-e", "pki/"}, 4},
      {{"-e", "pki/**"}, 4},
      {{"-e", "PKI"}, 8},
      {{"-e", "*"}, 0},
      {{"--iexclude", "PKI"}, 4},
      {{"--iexclude", "*.CRT", "-e", "db"}, 3},
      {{"-e", "*.crt", "-e", "!ca.crt"}, 6},
      {{"-e", "!ca.crt", "-e", "*.crt"}, 4},
      {{"-e", "pki/*", "-e", "!pki/ca.key"}, 5},
      {{"-e", "pki", "-e", "!ca.key"}, 4},
      {{"-e", "*.crt", "--iexclude", "!ca.crt"}, 4},
      {{"-e", ""}, 8},
      {{"--exclude-file", keys}, 6},
      {{"--iexclude-file", shouted}, 5},
      {{"-i", "*.crt", "-i", "!peer.crt"}, 3},
      {{"-i", root + "/pki", "-i", "!etcd"}, 2},
      {{"--iinclude", "*.KEY"}, 1},
      {{"--iinclude", "Db", "-i", "ca.key"}, 2},
      {{"--include-file", keys}, 2},
      {{"--iinclude-file", shouted}, 3},
      {{"--exclude-file", keys, "--exclude-file", shouted}, 6},
  };
  for (const auto& [flags, count] : cases) {
    CAPTURE(flags.front());
    CAPTURE(flags.back());
    const Tree theirs = saved.restore("0.18", flags);
    const Tree ours = saved.restore("ours", flags);
    check_same(ours, theirs);
    CHECK(files_of(ours).size() == count);
  }
  for (const Args& flags : std::vector<Args>{{"-i", "db", "-e", "pki"},
                                             {"-e", "[a-"},
                                             {"--include-file", file("bad", "pki/ca\\\n")},
                                             {"--dry-run", "--verify"}}) {
    CAPTURE(flags.front());
    Args args = {"restore", "latest", "--target", saved.folder() / "none"};
    args.insert(args.end(), flags.begin(), flags.end());
    CHECK_FALSE(saved.repository().run("0.18", args).ok());
    CHECK(saved.repository().run("ours", args).exit.code == 2);
  }
  CHECK_FALSE(fs::exists(saved.folder() / "none"));
}

TEST_CASE("restore --verify: reads back the files that were restored, and no others") {
  KUBEDR_NEEDS("restic-0.18");
  Saved saved;
  saved.back_up();
  const std::string target = saved.folder() / "verified";
  const auto verified = [&](const Args& flags) {
    Args args = {"restore", "latest", "--target", target, "--verify", "--sparse"};
    args.insert(args.end(), flags.begin(), flags.end());
    return saved.repository().must_ours(args).at("verified");
  };
  CHECK(verified({}) == 6);
  CHECK(verified({"--overwrite", "if-changed"}) == 0);
  CHECK(verified({"--overwrite", "always", "-i", "*.crt"}) == 3);
  check_same(saved.restore("ours", {"--verify"}), saved.restore("0.18", {"--verify"}));
}

TEST_CASE("restore --overwrite: replaces and leaves what restic does") {
  KUBEDR_NEEDS("restic-0.18");
  Saved saved;
  saved.back_up();
  const std::int64_t saved_at = 1'600'000'000;
  const auto prepare = [&](const fs::path& target) {
    const fs::path there = target / saved.root().relative_path();
    fs::create_directories(there.parent_path());
    fs::copy(saved.root(), there, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    const auto write = [&](const std::string& name, const std::string& content, std::int64_t at) {
      std::ofstream(there / name, std::ios::trunc) << content;
      set_mtime(there / name, at);
    };
    Saved::age(there);
    write("pki/ca.key", "ITS SECRET", saved_at);   // of that size and time, and another
    write("pki/ca.crt", "newer", saved_at + 100);  // edited since
    write("pki/etcd/ca.crt", "older", saved_at - 100);
    write("db", std::string(700'000, 'x'), saved_at + 100);
    write("mine", "nobody saved this", saved_at);
    fs::remove(there / "manifests/etcd.yaml");
  };
  for (const std::string& mode : {std::string("always"), std::string("if-changed"),
                                  std::string("if-newer"), std::string("never")}) {
    CAPTURE(mode);
    const Tree theirs = saved.restore("0.18", {"--overwrite", mode}, prepare);
    const Tree ours = saved.restore("ours", {"--overwrite", mode}, prepare);
    check_same(files_of(ours), files_of(theirs));
    CHECK(ours.at("mine").content == "nobody saved this");
    CHECK(ours.at("manifests/etcd.yaml").content == "kind: Pod");
    CHECK((ours.at("pki/etcd/ca.crt").content == "older") == (mode == "never"));
    CHECK((ours.at("pki/ca.crt").content == "newer") == (mode == "never" || mode == "if-newer"));
    CHECK((ours.at("pki/ca.key").content == "ITS SECRET") == (mode != "always"));
  }
}

TEST_CASE("restore --dry-run: counts what a restore would do, and does nothing") {
  KUBEDR_NEEDS("restic-0.18");
  Saved saved;
  saved.back_up();
  const fs::path target = saved.folder() / "rehearsed";
  const auto figures = [&](Args flags, bool dry_run) {
    flags.insert(flags.begin(), {"restore", "latest", "--target", target.string()});
    if (dry_run) flags.emplace_back("--dry-run");
    const Json report = saved.repository().must_ours(flags);
    CHECK(report.at("dryRun") == dry_run);
    return Json{report.at("files"), report.at("bytes"), report.at("unchanged")};
  };
  for (const Args& flags : {Args{}, {"--overwrite", "if-changed"}, {"--overwrite", "always"}}) {
    const bool is_there = fs::exists(target);
    const Tree before = is_there ? tree_below(target) : Tree();
    const Json rehearsed = figures(flags, true);
    CHECK(fs::exists(target) == is_there);
    if (is_there) check_same(tree_below(target), before);
    CHECK(figures(flags, false) == rehearsed);
  }
  CHECK(saved.repository()
            .run("ours", {"restore", "latest", "--target", target.string(), "--dry-run"})
            .exit.code == 2);
}

TEST_CASE("restore: root brings back modes, times and owners, of links too") {
  KUBEDR_NEEDS("restic-0.18");
  KUBEDR_NEEDS_RIGHT(geteuid() == 0, "give files away");
  Saved saved;
  const std::vector<std::pair<std::string, mode_t>> modes = {
      {"db", 0600},         {"pki/ca.crt", 0444},          {"pki/ca.key", 0400},
      {"pki", 0711},        {"pki/etcd/ca.crt", 04755},    {"pki/etcd", 02750},
      {"manifests", 01777}, {"manifests/etcd.yaml", 0000},
  };
  unsigned owner = 1000;
  for (const auto& [name, mode] : modes) {
    const fs::path path = saved.root() / name;
    REQUIRE(chown(path.c_str(), owner, owner + 1) == 0);
    REQUIRE(chmod(path.c_str(), mode) == 0);
    owner += 100'000;
  }
  REQUIRE(lchown((saved.root() / "current.crt").c_str(), 4'000'000'000, 65'534) == 0);
  Saved::age(saved.root());
  saved.back_up();
  const Tree expected = tree_below(saved.root());
  check_same(saved.restore("0.18", {}), expected);
  check_same(saved.restore("ours", {}), expected);
}
