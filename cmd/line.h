#ifndef KUBEDR_CMD_LINE_H
#define KUBEDR_CMD_LINE_H

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

namespace kubedr::cmd {

// A command line that is being typed, read against the tree as far as it stands: which verb, and
// what its unfinished last word may become.
//
// requires the tree to outlive it
// threads  an immutable value
class Line {
 public:
  // The words behind the program's name; the last one is unfinished, perhaps empty.
  Line(const CLI::App& root, const std::vector<std::string>& words);

  const CLI::App& verb() const { return *verb_; }

  // The unfinished word; of `--flag=value` the value.
  const std::string& word() const { return word_; }

  // What the word is a value of: a flag, or the positional whose turn it is; null if neither.
  const CLI::Option* valued() const { return valued_; }

  // Whether the word may become a verb, or a flag.
  bool may_be_verb() const;

  bool may_be_flag() const { return !only_values_ && !after_flag_; }

  // Words that are no flags and no verbs.
  const std::vector<std::string>& positionals() const { return positionals_; }

  // Flags that stand on the line, with their values.
  const std::vector<std::pair<const CLI::Option*, std::string>>& flags() const { return flags_; }

  bool has(const CLI::Option* flag) const;

  // The last value of a flag; empty if it is not there.
  std::string value_of(const std::string& flag) const;

 private:
  const CLI::Option* find_flag(const std::string& name) const;
  void take(const std::string& word);
  void take_flag(const std::string& word);
  void take_shorts(const std::string& word);
  void finish(const std::string& word);

  const CLI::App* verb_;
  const CLI::Option* waiting_ = nullptr;  // for its value, which is the next word
  bool only_values_ = false;              // behind --
  bool after_flag_ = false;               // the word is a flag's value
  std::vector<std::string> positionals_;
  std::vector<std::pair<const CLI::Option*, std::string>> flags_;
  std::string word_;
  const CLI::Option* valued_ = nullptr;
};

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_LINE_H
