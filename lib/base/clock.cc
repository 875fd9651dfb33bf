#include "base/clock.h"

#include <condition_variable>
#include <mutex>

namespace kubedr {

WallTime SystemClock::now() const {
  return std::chrono::system_clock::now();
}

SteadyTime SystemClock::steady() const {
  return std::chrono::steady_clock::now();
}

void SystemClock::wait_until(SteadyTime until, const std::stop_token& stop) const {
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  stopped.wait_until(lock, stop, until, [] { return false; });
}

}  // namespace kubedr
