#include "cmd/signals.h"

#include <unistd.h>

#include <csignal>
#include <ctime>
#include <exception>

#include "base/error.h"

namespace kubedr::cmd {
namespace {

sigset_t taken_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGHUP);
  return signals;
}

Error reason_for(int signal) {
  if (signal == SIGTERM) return Error(ErrorKind::terminated, "terminated");
  return Error(ErrorKind::interrupted, "interrupted");
}

void serve(const std::stop_token& stop, CallScope& scope) {
  const sigset_t signals = taken_signals();
  bool told = false;
  while (!stop.stop_requested()) {
    const timespec pause{0, 50'000'000};
    const int signal = sigtimedwait(&signals, nullptr, &pause);
    if (signal != SIGINT && signal != SIGTERM) continue;
    const Error reason = reason_for(signal);
    if (told) _exit(exit_code(reason.kind()));  // somebody means it
    told = true;
    scope.fail(std::make_exception_ptr(reason));
  }
}

}  // namespace

Signals::Signals(CallScope& scope) : scope_(scope) {
  const sigset_t signals = taken_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop, scope_); });
}

Signals::~Signals() = default;

}  // namespace kubedr::cmd
