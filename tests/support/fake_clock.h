#ifndef KUBEDR_SUPPORT_FAKE_CLOCK_H
#define KUBEDR_SUPPORT_FAKE_CLOCK_H

#include <condition_variable>
#include <mutex>

#include "base/clock.h"

namespace kubedr::test {

// A clock under the test's control; wall and steady time go together.
//
// threads  synchronised
class FakeClock final : public Clock {
 public:
  enum class Mode {
    manual,   // a sleeper waits for advance()
    jumping,  // sleeping moves the clock and returns at once: for code of a single thread
  };

  explicit FakeClock(Mode mode = Mode::manual);  // begins at 2026-01-01T00:00:00Z
  FakeClock(Mode mode, WallTime start);

  WallTime now() const override;
  SteadyTime steady() const override;
  void wait_until(SteadyTime until, const std::stop_token& stop) const override;

  void advance(std::chrono::milliseconds time);

  // Returns once that many threads sleep; advancing earlier would find nobody to wake. False if
  // they do not within ten real seconds.
  bool wait_for_sleepers(int count) const;

 private:
  const Mode mode_;
  const WallTime start_;
  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  // Guarded by mutex_:
  mutable std::chrono::nanoseconds passed_{0};
  mutable int sleepers_ = 0;
};

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_FAKE_CLOCK_H
