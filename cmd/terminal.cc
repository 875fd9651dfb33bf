#include "cmd/terminal.h"

#include <fmt/core.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/text.h"

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
  case Colour::bold:
    return "\033[1m";
  }
  return "";
}

// A terminal that was closed meanwhile makes these fail: progress is never worth an error.
void write_quietly(const std::string& text) {
  const ssize_t ignored = ::write(STDERR_FILENO, text.data(), text.size());
  static_cast<void>(ignored);
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
    write_quietly("\n");  // the one that was typed was not shown either
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

std::optional<Secret> ask(const std::string& question, bool hidden, const Call& call) {
  if (isatty(STDIN_FILENO) != 1) return std::nullopt;
  write_quietly(question);
  std::optional<NoEcho> no_echo;
  if (hidden) no_echo.emplace();
  wait_for_input(call);
  std::array<char, 4096> line{};  // the longest line that a terminal hands over
  const ssize_t n = ::read(STDIN_FILENO, line.data(), line.size());
  std::string_view text(line.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  if (text.ends_with('\n')) text.remove_suffix(1);
  Secret answer(text);
  wipe(line.data(), line.size());
  return answer;
}

Terminal::Terminal(bool quiet, bool no_color)
    : quiet_(quiet),
      stdout_colour_(!no_color && isatty(STDOUT_FILENO) == 1),
      stderr_is_terminal_(isatty(STDERR_FILENO) == 1) {}

std::string Terminal::paint(Colour colour, std::string_view text) const {
  if (!stdout_colour_ || colour == Colour::plain) return std::string(text);
  return fmt::format("{}{}\033[0m", code_of(colour), text);
}

ProgressLine::ProgressLine(const Terminal& terminal, const Clock& clock)
    : clock_(clock), enabled_(terminal.stderr_is_terminal() && !terminal.quiet()) {}

ProgressLine::~ProgressLine() {
  end();
}

void ProgressLine::begin(std::string_view step, std::uint64_t total_bytes) {
  step_ = step;
  total_ = total_bytes;
  done_ = 0;
  begun_ = clock_.steady();
  draw();
}

void ProgressLine::advance(std::uint64_t bytes) {
  done_ += bytes;
  if (clock_.steady() - drawn_ >= std::chrono::milliseconds(100)) draw();
}

void ProgressLine::end() {
  if (!visible_) return;
  write_quietly("\r\033[K");
  visible_ = false;
}

void ProgressLine::draw() {
  if (!enabled_) return;
  drawn_ = clock_.steady();
  const double seconds = std::chrono::duration<double>(drawn_ - begun_).count();
  std::string line = fmt::format("\r\033[K{}", step_);
  if (done_ > 0) line += "  " + human_size(done_);
  if (done_ > 0 && total_ > 0) {
    line += fmt::format(" of {}  {}%", human_size(total_),
                        std::min<std::uint64_t>(100, done_ * 100 / total_));
  }
  if (done_ > 0 && seconds > 0.5) {
    line += fmt::format(
        "  {}/s", human_size(static_cast<std::uint64_t>(static_cast<double>(done_) / seconds)));
  }
  write_quietly(line);
  visible_ = true;
}

}  // namespace kubedr::cmd
