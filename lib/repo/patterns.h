#ifndef KUBEDR_REPO_PATTERNS_H
#define KUBEDR_REPO_PATTERNS_H

#include <string>
#include <vector>

namespace kubedr::repo {

// Paths of a snapshot, as the patterns of restic's --include and --exclude mean them: "/data/pki"
// that path and all below it, "*.db" that name at any depth, "**" any folders, "!" before a pattern
// what those before it do not mean after all.
//
// source   restic internal/filter
struct Patterns {
  std::vector<std::string> exact;
  std::vector<std::string> any_case;  // a list of its own, for which A is a

  bool empty() const { return exact.empty() && any_case.empty(); }

  // Of an absolute path in the snapshot.
  bool match(const std::string& path) const;

  std::vector<std::string> all() const;
};

// Whether it is one: brackets that end, and nothing to escape missing.
bool is_pattern(const std::string& text);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_PATTERNS_H
