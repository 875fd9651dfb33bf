#ifndef KUBEDR_BASE_CALL_H
#define KUBEDR_BASE_CALL_H

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>

#include "base/clock.h"

namespace kubedr {

class CallScope;

// What every blocking function is given: how long it may take and who may end it early.
//
// threads  an immutable value; refers to a Clock that must outlive it
class Call {
 public:
  // Ends with the scope, or at the deadline.
  explicit Call(const Clock& clock);

  // The same call with an earlier end; a later one changes nothing.
  Call within(std::chrono::milliseconds time) const;

  bool stopped() const;

  // What is left until the deadline, never negative; a day when there is none.
  std::chrono::milliseconds remaining() const;

  // When it ended; nullopt while it lives.
  std::optional<SteadyTime> ended() const;

  // Throws why this call ended: the scope's root cause, or unavailable when time is up.
  void require_live() const;

  // Sleeps, but not past the end; throws like require_live when that came first.
  void sleep(std::chrono::milliseconds time) const;

  const std::stop_token& stop_token() const { return stop_; }

  const Clock& clock() const { return *clock_; }

 private:
  friend class CallScope;
  struct Cause;

  const Clock* clock_;
  std::stop_token stop_;
  std::optional<SteadyTime> deadline_;
  std::shared_ptr<const Cause> cause_;  // shared: a call may outlive the scope that made it
};

// Joins a parent call with one more reason to stop: a signal, a lost lock, a failed sibling.
//
// threads  synchronised
class CallScope {
 public:
  explicit CallScope(const Call& parent);
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

  // Ends every call of this scope; the first reason is the one that require_live throws.
  void fail(std::exception_ptr reason) noexcept;

  const Call& call() const { return call_; }

 private:
  std::shared_ptr<Call::Cause> cause_;
  std::stop_source source_;
  Call call_;
  std::stop_callback<std::function<void()>> on_parent_stop_;
};

}  // namespace kubedr

#endif  // KUBEDR_BASE_CALL_H
