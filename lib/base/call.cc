#include "base/call.h"

#include <algorithm>

#include "base/error.h"

namespace kubedr {

struct Call::Cause {
  std::exception_ptr reason() const {
    {
      const std::lock_guard guard(mutex);
      if (first) return first;
    }
    return parent ? parent->reason() : nullptr;
  }

  std::optional<SteadyTime> when() const {
    {
      const std::lock_guard guard(mutex);
      if (first_when) return first_when;
    }
    return parent ? parent->when() : std::nullopt;
  }

  std::shared_ptr<const Cause> parent;  // shared: see Call::cause_
  mutable std::mutex mutex;
  // Guarded by mutex:
  std::exception_ptr first;
  std::optional<SteadyTime> first_when;
};

Call::Call(const Clock& clock) : clock_(&clock) {}

Call Call::within(std::chrono::milliseconds time) const {
  Call shorter = *this;
  const SteadyTime end = clock_->steady() + time;
  shorter.deadline_ = deadline_ ? std::min(*deadline_, end) : end;
  return shorter;
}

bool Call::stopped() const {
  return stop_.stop_requested() || (deadline_ && clock_->steady() >= *deadline_);
}

std::chrono::milliseconds Call::remaining() const {
  using std::chrono::milliseconds;
  if (!deadline_) return std::chrono::hours(24);
  const auto left = std::chrono::ceil<milliseconds>(*deadline_ - clock_->steady());
  return std::max(left, milliseconds::zero());
}

std::optional<SteadyTime> Call::ended() const {
  if (stop_.stop_requested() && cause_) return cause_->when();
  if (deadline_ && clock_->steady() >= *deadline_) return deadline_;
  return std::nullopt;
}

void Call::require_live() const {
  if (stop_.stop_requested()) {
    if (cause_) {
      if (const std::exception_ptr reason = cause_->reason()) std::rethrow_exception(reason);
    }
    throw Error(ErrorKind::interrupted, "interrupted");
  }
  if (deadline_ && clock_->steady() >= *deadline_) {
    throw Error(ErrorKind::unavailable, "no answer within the time allowed");
  }
}

void Call::sleep(std::chrono::milliseconds time) const {
  const SteadyTime wake = clock_->steady() + time;
  clock_->wait_until(deadline_ ? std::min(*deadline_, wake) : wake, stop_);
  require_live();
}

CallScope::CallScope(const Call& parent)
    : cause_(std::make_shared<Call::Cause>()),
      call_(parent),
      on_parent_stop_(parent.stop_, [this] { source_.request_stop(); }) {
  cause_->parent = parent.cause_;
  call_.stop_ = source_.get_token();
  call_.cause_ = cause_;
}

void CallScope::fail(std::exception_ptr reason) noexcept {
  {
    const std::lock_guard guard(cause_->mutex);
    if (!cause_->first) cause_->first = std::move(reason);
    if (!cause_->first_when) cause_->first_when = call_.clock().steady();
  }
  source_.request_stop();
}

}  // namespace kubedr
