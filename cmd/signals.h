#ifndef KUBEDR_CMD_SIGNALS_H
#define KUBEDR_CMD_SIGNALS_H

#include <thread>

#include "base/call.h"

namespace kubedr::cmd {

// Takes the process's signals: SIGINT and SIGTERM end the scope's calls, a second one the process;
// SIGHUP is survived, since restic's `unlock` probes lock holders with it and a closed terminal
// must not cost a backup; SIGPIPE is ignored. Works as process 1 of a container too, where a
// signal without a handler would be dropped.
//
// requires construction before the first other thread: they inherit the blocked signals
class Signals {
 public:
  explicit Signals(CallScope& scope);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

 private:
  CallScope& scope_;
  std::jthread thread_;
};

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_SIGNALS_H
