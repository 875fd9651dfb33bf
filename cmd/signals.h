#ifndef KUBEDR_CMD_SIGNALS_H
#define KUBEDR_CMD_SIGNALS_H

#include <atomic>
#include <thread>

#include "base/call.h"
#include "base/file.h"

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

  // From now on what is asked for is safe: a process that is ended by a second signal says with its
  // exit code that only later steps are missing.
  void commit() { committed_ = true; }

 private:
  void serve();

  CallScope& scope_;
  const FileDescriptor signals_;
  const FileDescriptor over_;
  std::atomic<bool> committed_{false};
  std::thread thread_;  // last: it uses everything above
};

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_SIGNALS_H
