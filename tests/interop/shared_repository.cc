#include "interop/shared_repository.h"

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/hex.h"
#include "base/sha256.h"
#include "e2e/world.h"
#include "support/restic.h"

namespace kubedr::test {
namespace {

constexpr std::size_t kSmall = 100;

Entry entry_of(const std::filesystem::path& path, Links links) {
  struct stat info {};

  const int failed = links == Links::kept ? lstat(path.c_str(), &info) : stat(path.c_str(), &info);
  REQUIRE_MESSAGE(failed == 0, path.string());
  Entry entry;
  entry.mode = info.st_mode & 07777U;
  entry.mtime = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
  entry.uid = info.st_uid;
  entry.gid = info.st_gid;
  if (S_ISLNK(info.st_mode)) {
    entry.type = "link";
    entry.content = std::filesystem::read_symlink(path).string();
  } else if (S_ISDIR(info.st_mode)) {
    entry.type = "folder";
  } else {
    entry.type = "file";
    const std::string bytes = read_text(path);
    entry.content = bytes.size() <= kSmall ? bytes : to_hex(sha256(as_bytes(bytes)));
  }
  return entry;
}

std::string shown(const Tree& tree, const std::string& name) {
  const auto found = tree.find(name);
  if (found == tree.end()) return "nothing";
  const Entry& entry = found->second;
  return fmt::format("{} '{}' {:o} {} {}:{}", entry.type, entry.content, entry.mode, entry.mtime,
                     entry.uid, entry.gid);
}

}  // namespace

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

Tree tree_below(const std::filesystem::path& folder, Links links) {
  using std::filesystem::directory_options;
  Tree tree;
  tree.emplace(".", entry_of(folder, links));
  const auto options =
      links == Links::kept ? directory_options::none : directory_options::follow_directory_symlink;
  for (const auto& found : std::filesystem::recursive_directory_iterator(folder, options)) {
    tree.emplace(found.path().lexically_relative(folder).string(), entry_of(found.path(), links));
  }
  return tree;
}

void check_same(const Tree& got, const Tree& expected) {
  if (got == expected) return;
  std::map<std::string, int> names;
  for (const Tree* tree : {&got, &expected}) {
    for (const auto& [name, entry] : *tree) ++names[name];
  }
  for (const auto& [name, count] : names) {
    CAPTURE(name);
    CHECK(shown(got, name) == shown(expected, name));
  }
}

std::map<std::string, std::string> SharedRepository::env() const {
  return {{"RESTIC_REPOSITORY", path()}, {"RESTIC_PASSWORD", password_}};
}

RunResult SharedRepository::run(const std::string& program, std::vector<std::string> args,
                                const std::string& input) const {
  if (program != "ours") return restic(program, args, env(), input);
  args.insert(args.end(), {"--repo", path()});
  return kubedr(args, {{"RESTIC_PASSWORD", password_}});
}

std::string SharedRepository::must(const std::string& program, const std::vector<std::string>& args,
                                   const std::string& input) const {
  const RunResult result = run(program, args, input);
  CAPTURE(program);
  CAPTURE(args.front());
  REQUIRE_MESSAGE(result.ok(), (result.out + result.err));
  return result.out;
}

Json SharedRepository::must_ours(std::vector<std::string> args) const {
  args.insert(args.end(), {"-o", "json"});
  return parse_json(must("ours", args), "ours");
}

void SharedRepository::check_clean(const std::string& program) const {
  CAPTURE(program);
  if (program != "ours") return check_restic_finds_nothing(program, env());
  const Json report = must_ours({"check", "--read-data"});
  CHECK_MESSAGE(report.at("problems").empty(), report.dump(2));
}

std::vector<std::string> SharedRepository::snapshots(const std::string& program) const {
  const Json list = program == "ours"
                        ? must_ours({"snapshots"}).at("snapshots")
                        : parse_json(must(program, {"snapshots", "--json"}), "snapshots");
  std::vector<std::string> ids;
  for (const Json& one : list) ids.push_back(one.at("id").get<std::string>());
  return ids;
}

std::filesystem::path SharedRepository::restore(const std::string& program,
                                                const std::string& snapshot) {
  const std::filesystem::path target = folder_ / fmt::format("target-{}", ++targets_);
  const RunResult result = run(program, {"restore", snapshot, "--target", target.string()});
  CAPTURE(program);
  REQUIRE_MESSAGE(result.ok(), (result.out + result.err));
  CHECK_MESSAGE(result.err.empty(), result.err);
  return target;
}

}  // namespace kubedr::test
