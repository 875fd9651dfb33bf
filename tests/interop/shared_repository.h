#ifndef KUBEDR_INTEROP_SHARED_REPOSITORY_H
#define KUBEDR_INTEROP_SHARED_REPOSITORY_H

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "support/process.h"
#include "support/temp_dir.h"

// What restic and we do to the same repository.
namespace kubedr::test {

// Bytes that do not compress and do not repeat.
std::string noise(std::size_t size, unsigned seed);

// One entry of a file tree, all of what a restore must bring back.
struct Entry {
  std::string type;     // "file", "folder", "link"
  std::string content;  // a link's target, a file's bytes if it is small, else their SHA-256
  unsigned mode = 0;
  std::int64_t mtime = 0;  // ns since 1970
  unsigned uid = 0;
  unsigned gid = 0;

  friend bool operator==(const Entry&, const Entry&) = default;
};

// By path relative to the folder, the folder itself as ".".
using Tree = std::map<std::string, Entry>;

enum class Links { kept, followed };

Tree tree_below(const std::filesystem::path& folder, Links links = Links::kept);

// Checks that two trees are the same, and names each difference.
void check_same(const Tree& got, const Tree& expected);

// A repository in a folder, used by several programs: restics by their version ("0.18"), and the
// shipped binary by the name "ours".
class SharedRepository {
 public:
  const TempDir& folder() const { return folder_; }

  std::string path() const { return (folder_ / "repository").string(); }

  // Whom `password` lets in; all runs from now on use it.
  void use_password(const std::string& password) { password_ = password; }

  RunResult run(const std::string& program, std::vector<std::string> args,
                const std::string& input = {}) const;

  // A good run; its stdout.
  std::string must(const std::string& program, const std::vector<std::string>& args,
                   const std::string& input = {}) const;

  // The same with our own binary and `-o json`.
  Json must_ours(std::vector<std::string> args) const;

  // The program's check with all data read finds nothing, and has no wishes either.
  void check_clean(const std::string& program) const;

  // Full ids, by time.
  std::vector<std::string> snapshots(const std::string& program) const;

  // The folder that the program restored a snapshot to.
  std::filesystem::path restore(const std::string& program, const std::string& snapshot);

  std::map<std::string, std::string> env() const;

 private:
  TempDir folder_;
  std::string password_ = "correct horse battery staple";
  int targets_ = 0;
};

}  // namespace kubedr::test

#endif  // KUBEDR_INTEROP_SHARED_REPOSITORY_H
