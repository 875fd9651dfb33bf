#ifndef KUBEDR_CMD_SHELLS_H
#define KUBEDR_CMD_SHELLS_H

#include <string>
#include <vector>

namespace kubedr::cmd {

// What makes a shell, or kubectl, complete our lines: a short script that asks the program itself
// for every candidate, so that it is never out of date.
struct ShellScript {
  std::string shell;  // as `completion` takes it
  std::string file;   // its name in completions/
  std::string text;
};

const std::vector<ShellScript>& shell_scripts();

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_SHELLS_H
