#include "cmd/signals.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <exception>

#include "base/error.h"

namespace kubedr::cmd {
namespace {

constexpr int kLaterStepFailed = 3;

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

FileDescriptor open_signals() {
  const sigset_t signals = taken_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return FileDescriptor(signalfd(-1, &signals, SFD_CLOEXEC));
}

}  // namespace

Signals::Signals(CallScope& scope)
    : scope_(scope), signals_(open_signals()), over_(eventfd(0, EFD_CLOEXEC)) {
  thread_ = std::thread([this] { serve(); });
}

Signals::~Signals() {
  const std::uint64_t one = 1;
  const ssize_t written = write(over_.get(), &one, sizeof one);
  static_cast<void>(written);  // an event counter of 0 takes a 1
  thread_.join();
}

void Signals::serve() {
  pollfd sources[] = {{signals_.get(), POLLIN, 0}, {over_.get(), POLLIN, 0}};
  for (bool told = false;;) {
    if (poll(sources, 2, -1) < 0) continue;
    if (sources[1].revents != 0) return;
    signalfd_siginfo info{};
    if (read(signals_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) continue;
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGHUP) continue;
    const Error reason = reason_for(signal);
    // Told twice, somebody means it. What is committed stays so.
    if (told) _exit(committed_ ? kLaterStepFailed : exit_code(reason.kind()));
    told = true;
    scope_.fail(std::make_exception_ptr(reason));
  }
}

}  // namespace kubedr::cmd
