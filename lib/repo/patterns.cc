#include "repo/patterns.h"

#include <fnmatch.h>

#include <algorithm>
#include <filesystem>
#include <span>
#include <string_view>

#include "base/text.h"

namespace kubedr::repo {
namespace {

using Parts = std::span<const std::string>;

std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts = split(path, '/');
  std::erase(parts, "");
  return parts;
}

// Whether the pattern's parts are matched by the first ones of the path; "**" by any number.
bool begins_with(Parts path, Parts pattern, int flags) {
  if (pattern.empty()) return true;
  const Parts rest = pattern.subspan(1);
  if (pattern.front() != "**") {
    return !path.empty() && ::fnmatch(pattern.front().c_str(), path.front().c_str(), flags) == 0 &&
           begins_with(path.subspan(1), rest, flags);
  }
  for (std::size_t passed = 0; passed <= path.size(); ++passed) {
    if (begins_with(path.subspan(passed), rest, flags)) return true;
  }
  return false;
}

// A pattern against a path in the snapshot. Anchored at the root if it begins with '/', else
// anywhere; what is below a match matches too.
bool matches(const std::string& pattern, const std::vector<std::string>& parts, int flags) {
  const std::string clean = std::filesystem::path(pattern).lexically_normal().string();
  const std::vector<std::string> wanted = parts_of(clean);
  const std::size_t starts = clean.starts_with('/') ? 1 : parts.size();
  for (std::size_t start = 0; start < starts; ++start) {
    if (begins_with(Parts(parts).subspan(start), wanted, flags)) return true;
  }
  return false;
}

bool list_matches(const std::vector<std::string>& patterns, const std::vector<std::string>& parts,
                  int flags) {
  bool matched = false;
  for (const std::string& pattern : patterns) {
    if (pattern.starts_with('!')) {
      matched = matched && !matches(pattern.substr(1), parts, flags);
    } else {
      matched = matched || matches(pattern, parts, flags);
    }
  }
  return matched;
}

// Behind one character of a bracket, which may be escaped; npos if there is none.
std::size_t after_character(const std::string& text, std::size_t at) {
  if (at < text.size() && text[at] == '\\') ++at;
  return at < text.size() ? at + 1 : std::string::npos;
}

// Behind the bracket that opens at `at`; npos if it does not end.
std::size_t after_bracket(const std::string& text, std::size_t at) {
  ++at;
  if (at < text.size() && (text[at] == '^' || text[at] == '!')) ++at;
  do {
    at = after_character(text, at);
    if (at == std::string::npos || at >= text.size()) return std::string::npos;
  } while (text[at] != ']');
  return at + 1;
}

}  // namespace

bool Patterns::match(const std::string& path) const {
  const std::vector<std::string> parts = parts_of(path);
  return list_matches(exact, parts, 0) || list_matches(any_case, parts, FNM_CASEFOLD);
}

std::vector<std::string> Patterns::all() const {
  std::vector<std::string> patterns = exact;
  patterns.insert(patterns.end(), any_case.begin(), any_case.end());
  return patterns;
}

bool is_pattern(const std::string& text) {
  const std::vector<std::string> parts = split(text, '/');
  return std::all_of(parts.begin(), parts.end(), [](const std::string& part) {
    std::size_t at = 0;
    while (at < part.size()) {
      at = part[at] == '[' ? after_bracket(part, at) : after_character(part, at);
      if (at == std::string::npos) return false;
    }
    return true;
  });
}

}  // namespace kubedr::repo
