#ifndef KUBEDR_BASE_CLOCK_H
#define KUBEDR_BASE_CLOCK_H

#include <chrono>
#include <stop_token>

namespace kubedr {

using WallTime = std::chrono::system_clock::time_point;
using SteadyTime = std::chrono::steady_clock::time_point;

// Wall time for what people read, steady time for what is measured and waited for.
// Implementations are synchronised.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime now() const = 0;
  virtual SteadyTime steady() const = 0;

  // Returns at `until`, or as soon as a stop is requested.
  virtual void wait_until(SteadyTime until, const std::stop_token& stop) const = 0;
};

class SystemClock final : public Clock {
 public:
  WallTime now() const override;
  SteadyTime steady() const override;
  void wait_until(SteadyTime until, const std::stop_token& stop) const override;
};

}  // namespace kubedr

#endif  // KUBEDR_BASE_CLOCK_H
