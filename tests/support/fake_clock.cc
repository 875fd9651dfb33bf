#include "support/fake_clock.h"

#include <algorithm>

namespace kubedr::test {
namespace {

constexpr WallTime kNewYear2026 = std::chrono::sys_days(std::chrono::year(2026) / 1 / 1);

// Not zero: code that mistakes "no time yet" for a time shall be found out.
constexpr SteadyTime kSteadyStart{std::chrono::hours(1)};

}  // namespace

FakeClock::FakeClock(Mode mode) : FakeClock(mode, kNewYear2026) {}

FakeClock::FakeClock(Mode mode, WallTime start) : mode_(mode), start_(start) {}

WallTime FakeClock::now() const {
  const std::lock_guard lock(mutex_);
  return start_ + std::chrono::duration_cast<WallTime::duration>(passed_);
}

SteadyTime FakeClock::steady() const {
  const std::lock_guard lock(mutex_);
  return kSteadyStart + passed_;
}

void FakeClock::wait_until(SteadyTime until, const std::stop_token& stop) const {
  std::unique_lock lock(mutex_);
  const std::chrono::nanoseconds target = until - kSteadyStart;
  if (mode_ == Mode::jumping && !stop.stop_requested()) passed_ = std::max(passed_, target);
  ++sleepers_;
  changed_.notify_all();
  changed_.wait(lock, stop, [&] { return passed_ >= target; });
  --sleepers_;
}

void FakeClock::advance(std::chrono::milliseconds time) {
  const std::lock_guard lock(mutex_);
  passed_ += time;
  changed_.notify_all();
}

bool FakeClock::wait_for_sleepers(int count) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return sleepers_ >= count; });
}

}  // namespace kubedr::test
