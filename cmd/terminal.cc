#include "cmd/terminal.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
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

}  // namespace

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
