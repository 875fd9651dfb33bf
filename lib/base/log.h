#ifndef KUBEDR_BASE_LOG_H
#define KUBEDR_BASE_LOG_H

#include <fmt/core.h>

#include <string>
#include <utility>

// The log: what an operator may want to read when something is odd, never a result. Goes to stderr.
// The sink is the one global of this program. Secrets never get here: a Secret cannot be formatted.
namespace kubedr::log {

enum class Level { debug, info, warn };

// Once, before the first thread; `quiet` drops warnings too. `terminal`: a line of progress may
// stand where the next log line begins, and gives way to it.
void start(int verbosity, bool quiet, bool terminal);

bool enabled(Level level);
void write(Level level, const std::string& text);

// Always shown unless -q: something an operator should act upon, though the work goes on.
template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::warn)) write(Level::warn, fmt::format(format, std::forward<Args>(args)...));
}

// With -v: the steps.
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::info)) write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}

// With -v=2 and above: each request, without credentials.
template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::debug)) write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace kubedr::log

#endif  // KUBEDR_BASE_LOG_H
