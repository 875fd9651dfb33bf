#ifndef KUBEDR_CMD_TERMINAL_H
#define KUBEDR_CMD_TERMINAL_H

#include <optional>
#include <string>
#include <string_view>

#include "base/call.h"
#include "base/clock.h"
#include "base/secret.h"
#include "workflow/services.h"

namespace kubedr::cmd {

enum class Colour { plain, red, yellow, green, bold };

// A line typed on stdin, without its newline; nullopt where that is no terminal. `hidden`: what is
// typed is not shown.
//
// errors   interrupted and the like, from the call
std::optional<Secret> ask(const std::string& question, bool hidden, const Call& call);

// The two output streams and what can be done with them.
class Terminal {
 public:
  // Colour only on a terminal, and not with --no-color, NO_COLOR or TERM=dumb.
  Terminal(bool quiet, bool no_color);

  bool stderr_is_terminal() const { return stderr_is_terminal_; }

  bool quiet() const { return quiet_; }

  // The text, coloured if stdout can show it.
  std::string paint(Colour colour, std::string_view text) const;

 private:
  bool quiet_;
  bool stdout_colour_;
  bool stderr_is_terminal_;
};

// One line on stderr, redrawn ten times a second, gone when the step ends. Nothing where stderr is
// no terminal.
class ProgressLine final : public workflow::Progress {
 public:
  // Both must outlive this.
  ProgressLine(const Terminal& terminal, const Clock& clock);
  ~ProgressLine() override;

  void begin(std::string_view step, std::uint64_t total_bytes) override;
  void advance(std::uint64_t bytes) override;
  void end() override;

 private:
  void draw();

  const Clock& clock_;
  const bool enabled_;
  std::string step_;
  std::uint64_t total_ = 0;
  std::uint64_t done_ = 0;
  SteadyTime begun_{};
  SteadyTime drawn_{};
  bool visible_ = false;
};

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_TERMINAL_H
