#include "workflow/steps.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"

namespace kubedr::workflow {
namespace {

constexpr std::chrono::seconds kGrace{10};
constexpr std::chrono::seconds kLeast{3};  // to publish what took all of it
constexpr std::chrono::minutes kLongest{2};

}  // namespace

void Steps::attempt(const std::string& step, const std::string& remedy,
                    const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    failed_.push_back({step, error.what(), error.hint().empty() ? remedy : error.hint()});
  } catch (const std::exception& error) {
    failed_.push_back({step, error.what(), remedy});
  }
}

void Steps::warn() const {
  for (const FailedStep& step : failed_) {
    log::warn("the failure could not be published ({}): {}", step.step, step.error);
  }
}

Afterwards::Afterwards(const Call& work) : scope_(Call(work.clock()).within(kLongest)) {
  watch_ = std::jthread([this, work](const std::stop_token& done) {
    // Two tokens to wait for: when we are no longer needed, `done` ends the wait for the other.
    CallScope waiting(work);
    const std::stop_callback leave(done, [&] { waiting.fail(nullptr); });
    const Clock& clock = work.clock();
    while (!work.stopped() && !done.stop_requested()) {
      clock.wait_until(clock.steady() + work.remaining(), waiting.call().stop_token());
      if (waiting.call().stop_token().stop_requested()) break;
    }
    if (done.stop_requested()) return;
    const SteadyTime now = clock.steady();
    clock.wait_until(std::max(work.ended().value_or(now) + kGrace, now + kLeast), done);
    if (done.stop_requested()) return;
    scope_.fail(std::make_exception_ptr(
        Error(ErrorKind::unavailable, "not finished within 10 s of being told to stop")));
  });
}

}  // namespace kubedr::workflow
