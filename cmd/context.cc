#include "cmd/context.h"

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/text.h"

namespace kubedr::cmd {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

bool Context::print(const std::string& text) const {
  errno = 0;
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (written && std::fflush(stdout) == 0) return true;
  if (errno == EPIPE) return false;  // whoever reads has seen enough
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

bool Context::confirm(const std::string& question) const {
  if (flags.yes) return true;
  const std::optional<Secret> answer =
      ask(question + " [y/N] ", false, call.within(std::chrono::minutes(2)));
  if (!answer) {
    throw Error(ErrorKind::usage, "there is no terminal to ask on: nothing was changed",
                "answer beforehand with --yes");
  }
  return answer->reveal() == "y" || answer->reveal() == "yes";
}

Secret Context::ask_new_password() const {
  constexpr char kAgain[] = "nothing was changed: run the same command again";
  std::optional<Secret> first = ask("enter password for new key: ", true, call);
  const std::optional<Secret> second =
      first ? ask("enter password again: ", true, call) : std::nullopt;
  if (!second) {
    throw Error(ErrorKind::usage, "there is no terminal to ask for the new password",
                "give it with --new-password-file");
  }
  if (first->empty()) throw Error(ErrorKind::usage, "an empty password is not a password", kAgain);
  if (!(*first == *second)) throw Error(ErrorKind::usage, "the passwords do not match", kAgain);
  return std::move(*first);
}

void Context::remark(const std::string& text) const {
  if (terminal.quiet()) return;
  show(text);
}

void Context::show(const std::string& text) const {
  std::fwrite(text.data(), 1, text.size(), stderr);
}

Secret read_secret(const std::string& file) {
  const WipedBytes read(read_file(file, limits::kSecretBytes));
  std::string_view text = as_text(read.bytes);
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  return Secret(trim(text));
}

}  // namespace kubedr::cmd
