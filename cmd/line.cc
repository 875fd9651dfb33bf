#include "cmd/line.h"

#include <algorithm>

#include "cmd/tree.h"

namespace kubedr::cmd {

Line::Line(const CLI::App& root, const std::vector<std::string>& words) : verb_(&root) {
  for (std::size_t i = 0; i + 1 < words.size(); ++i) take(words[i]);
  finish(words.empty() ? "" : words.back());
}

bool Line::may_be_verb() const {
  return !only_values_ && !after_flag_ && positionals_.empty() && !verbs_of(*verb_).empty();
}

bool Line::has(const CLI::Option* flag) const {
  return std::any_of(flags_.begin(), flags_.end(),
                     [&](const auto& given) { return given.first == flag; });
}

std::string Line::value_of(const std::string& flag) const {
  std::string last;
  for (const auto& [option, value] : flags_) {
    if (option->check_name(flag)) last = value;
  }
  return last;
}

// The verb's own, or one of those above: global flags may stand behind the verb.
const CLI::Option* Line::find_flag(const std::string& name) const {
  for (const CLI::App* app = verb_; app != nullptr; app = app->get_parent()) {
    const CLI::Option* option = app->get_option_no_throw(name);
    if (option != nullptr && option->nonpositional()) return option;
  }
  return nullptr;
}

void Line::take(const std::string& word) {
  if (waiting_ != nullptr) {
    flags_.emplace_back(waiting_, word);
    waiting_ = nullptr;
  } else if (only_values_) {
    positionals_.push_back(word);
  } else if (word == "--") {
    only_values_ = true;
  } else if (word.starts_with("--")) {
    take_flag(word);
  } else if (word.size() > 1 && word.starts_with('-')) {
    take_shorts(word);
  } else if (const CLI::App* below = verb_named(*verb_, word);
             below != nullptr && positionals_.empty()) {
    verb_ = below;
  } else {
    positionals_.push_back(word);
  }
}

void Line::take_flag(const std::string& word) {
  const std::size_t equals = word.find('=');
  const CLI::Option* option = find_flag(word.substr(0, equals));
  if (option == nullptr) return;
  if (equals == std::string::npos && takes_value(*option)) {
    waiting_ = option;
  } else {
    flags_.emplace_back(option, equals == std::string::npos ? "" : word.substr(equals + 1));
  }
}

// "-Aq", "-n prod", "-nprod", "-n=prod".
void Line::take_shorts(const std::string& word) {
  for (std::size_t i = 1; i < word.size(); ++i) {
    const CLI::Option* option = find_flag({'-', word[i]});
    if (option == nullptr) return;
    if (!takes_value(*option)) {
      flags_.emplace_back(option, "");
      continue;
    }
    const std::string value = word.substr(i + 1);
    if (value.empty()) {
      waiting_ = option;
    } else {
      flags_.emplace_back(option, value.starts_with('=') ? value.substr(1) : value);
    }
    return;
  }
}

void Line::finish(const std::string& word) {
  word_ = word;
  if (waiting_ != nullptr) {
    valued_ = waiting_;
    after_flag_ = true;
    return;
  }
  const std::size_t equals = word.find('=');
  if (!only_values_ && word.starts_with("--") && equals != std::string::npos) {
    valued_ = find_flag(word.substr(0, equals));
    after_flag_ = true;
    word_ = word.substr(equals + 1);
    return;
  }
  const std::vector<const CLI::Option*> wanted = positionals_of(*verb_);
  if (positionals_.size() < wanted.size()) {
    valued_ = wanted[positionals_.size()];
  } else if (!wanted.empty() && may_repeat(*wanted.back())) {
    valued_ = wanted.back();
  }
}

}  // namespace kubedr::cmd
