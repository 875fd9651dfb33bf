#ifndef KUBEDR_E2E_DESK_H
#define KUBEDR_E2E_DESK_H

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "e2e/world.h"
#include "support/process.h"
#include "support/temp_dir.h"

// Somebody who types what the documents say.
namespace kubedr::test {

// A home, which is the working folder, and a PATH with the program and those servers' programs in
// front.
class Desk {
 public:
  explicit Desk(const std::vector<std::string>& programs);

  const TempDir& home() const { return home_; }

  ProcessOptions& options() { return options_; }

  const ProcessOptions& options() const { return options_; }

  RunResult run(const std::vector<std::string>& argv) const;

  // Commands for bash, the first that fails ends them.
  RunResult type(const std::string& commands) const;

  // The same where all must go well; what they wrote to stdout.
  std::string typed(const std::string& commands) const;

 private:
  TempDir home_;
  ProcessOptions options_;
};

// A shell at that desk's terminal, and somebody who presses keys.
class Shell {
 public:
  Shell(const std::vector<std::string>& argv, const Desk& desk, const std::string& setup);

  // The screen must show `expected` after these keys; the line is dropped then.
  void check(const std::string& keys, const std::string& expected);

  // The same where nothing but the line itself may show.
  void check_quiet(const std::string& keys, const std::string& line);

 private:
  bool press(const std::string& keys, const std::string& expected);
  void drop_line();
  // On the screen since the last keys, without colours, bells and the like.
  std::string fresh() const;
  bool shows(const std::string& text) const;

  Process process_;
  std::size_t seen_ = 0;
};

// A document of the checkout: "guides/operate.md".
std::filesystem::path document(const std::string& name);

// What stands between its fences, block by block.
std::vector<std::string> blocks_of(const std::string& name);

// The block in which a line begins so.
std::string block_with(const std::string& name, const std::string& beginning);

// A key of the repository, shortened, that is not the one it is opened with.
std::string other_key(ControlPlane& plane);

void replace_all(std::string& text, const std::string& what, const std::string& with);

}  // namespace kubedr::test

#endif  // KUBEDR_E2E_DESK_H
