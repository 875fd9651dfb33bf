#ifndef KUBEDR_CMD_TERMINAL_H
#define KUBEDR_CMD_TERMINAL_H

#include <optional>
#include <string>
#include <string_view>

#include "base/call.h"
#include "base/clock.h"
#include "base/secret.h"

namespace kubedr::cmd {

enum class Colour { plain, red, yellow, green };

// A line typed on stdin, without its newline; nullopt where that is no terminal. `hidden`: what is
// typed is not shown.
//
// errors   interrupted and the like, from the call
std::optional<Secret> ask(const std::string& question, bool hidden, const Call& call);

// A stderr that was closed meanwhile makes it fail, which is nobody's concern: for what is not
// worth an error.
void write_to_stderr(const std::string& text);

// The two output streams and what can be done with them.
class Terminal {
 public:
  // Colour only on a terminal, and not with --no-color, NO_COLOR or TERM=dumb.
  Terminal(bool quiet, bool no_color, bool dumb);

  // A terminal that can take a line back.
  bool stderr_is_terminal() const { return stderr_is_terminal_; }

  // A terminal that can be written over.
  bool stdout_is_terminal() const { return stdout_is_terminal_; }

  bool quiet() const { return quiet_; }

  // The text, coloured if stdout can show it.
  std::string paint(Colour colour, std::string_view text) const;

 private:
  bool quiet_;
  bool stdout_colour_;
  bool stdout_is_terminal_;
  bool stderr_is_terminal_;
};

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_TERMINAL_H
