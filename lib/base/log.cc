#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/text.h"

namespace kubedr::log {
namespace {

spdlog::level::level_enum level_of(Level level) {
  switch (level) {
  case Level::debug:
    return spdlog::level::debug;
  case Level::info:
    return spdlog::level::info;
  case Level::warn:
    return spdlog::level::warn;
  }
  return spdlog::level::warn;
}

}  // namespace

void start(int verbosity, bool quiet, bool terminal) {
  auto logger = std::make_shared<spdlog::logger>(  // shared: spdlog's registry wants it so
      "kubedr", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  // People read warnings between other lines of a terminal; the times matter when tracing.
  logger->set_pattern(std::string(terminal ? "\r\033[K" : "") +
                      (verbosity > 0 ? "%H:%M:%S.%e %l: %v" : "%l: %v"));
  logger->set_level(quiet            ? spdlog::level::err
                    : verbosity >= 2 ? spdlog::level::debug
                    : verbosity == 1 ? spdlog::level::info
                                     : spdlog::level::warn);
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(std::move(logger));
}

bool enabled(Level level) {
  return spdlog::default_logger_raw()->should_log(level_of(level));
}

void write(Level level, const std::string& text) {
  spdlog::default_logger_raw()->log(level_of(level), printable(text));
}

}  // namespace kubedr::log
