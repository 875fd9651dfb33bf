#include "cmd/terminal.h"

#include <fmt/core.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cstdio>

namespace kubedr::cmd {
namespace {

const char* code_of(Colour colour) {
  switch (colour) {
  case Colour::plain:
    return "";
  case Colour::red:
    return "\033[31m";
  case Colour::yellow:
    return "\033[33m";
  case Colour::green:
    return "\033[32m";
  }
  return "";
}

// Switches a terminal's echo off while it lives.
class NoEcho {
 public:
  NoEcho() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios without = before_;
    without.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    changed_ = tcsetattr(STDIN_FILENO, TCSAFLUSH, &without) == 0;
  }

  ~NoEcho() {
    if (!changed_) return;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
    write_to_stderr("\n");  // the one that was typed was not shown either
  }

  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;

 private:
  termios before_{};
  bool changed_ = false;
};

// Signals are taken by a thread of their own, so a read would never be interrupted.
void wait_for_input(const Call& call) {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  constexpr int kLookMs = 100;
  do {
    call.require_live();
  } while (poll(&input, 1, kLookMs) == 0);
}

}  // namespace

void write_to_stderr(const std::string& text) {
  const ssize_t ignored = ::write(STDERR_FILENO, text.data(), text.size());
  static_cast<void>(ignored);
}

std::optional<Secret> ask(const std::string& question, bool hidden, const Call& call) {
  if (isatty(STDIN_FILENO) != 1) return std::nullopt;
  // Before the question: what is typed as its answer must not be thrown away.
  std::optional<NoEcho> no_echo;
  if (hidden) no_echo.emplace();
  write_to_stderr(question);
  wait_for_input(call);
  std::array<char, 4096> line{};  // the longest line that a terminal hands over
  const ssize_t n = ::read(STDIN_FILENO, line.data(), line.size());
  std::string_view text(line.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  if (text.ends_with('\n')) text.remove_suffix(1);
  Secret answer(text);
  wipe(line.data(), line.size());
  return answer;
}

Terminal::Terminal(bool quiet, bool no_color, bool dumb)
    : quiet_(quiet),
      stdout_colour_(!no_color && !dumb && isatty(STDOUT_FILENO) == 1),
      stdout_is_terminal_(!dumb && isatty(STDOUT_FILENO) == 1),
      stderr_is_terminal_(!dumb && isatty(STDERR_FILENO) == 1) {}

std::string Terminal::paint(Colour colour, std::string_view text) const {
  if (!stdout_colour_ || colour == Colour::plain) return std::string(text);
  return fmt::format("{}{}\033[0m", code_of(colour), text);
}

}  // namespace kubedr::cmd
