#include "cmd/context.h"

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "base/error.h"

namespace kubedr::cmd {

void Context::print(const std::string& text) const {
  errno = 0;
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (written && std::fflush(stdout) == 0) return;
  if (errno == EPIPE) return;  // whoever reads has seen enough
  throw Error(ErrorKind::failed, "stdout: write: " + std::generic_category().message(errno));
}

void Context::print_committed(const std::string& text, const std::string& remedy,
                              std::vector<workflow::FailedStep>& failed) const {
  try {
    print(text);
  } catch (const Error& error) {
    failed.push_back({"output", error.what(), remedy});
  }
}

void Context::remark(const std::string& text) const {
  if (terminal.quiet()) return;
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace kubedr::cmd
