#include "workflow/steps.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "support/fake_clock.h"

using namespace kubedr;
using namespace kubedr::workflow;
using kubedr::test::FakeClock;
using std::chrono::seconds;

namespace {

const std::exception_ptr kTerminated =
    std::make_exception_ptr(Error(ErrorKind::terminated, "terminated"));

// Returns whether a thread that was woken has ended the call.
bool ends(const Call& call) {
  const SystemClock clock;
  const SteadyTime limit = clock.steady() + seconds(10);
  while (!call.stopped() && clock.steady() < limit) std::this_thread::yield();
  return call.stopped();
}

}  // namespace

TEST_CASE("afterwards: what comes after one signal has ten seconds together, three at least") {
  FakeClock clock;
  CallScope work{Call(clock)};
  work.fail(kTerminated);
  {
    const Afterwards first(work.call());
    REQUIRE(clock.wait_for_sleepers(1));
    clock.advance(seconds(6));
    CHECK_FALSE(first.call().stopped());
  }
  const Afterwards second(work.call());
  REQUIRE(clock.wait_for_sleepers(1));
  clock.advance(seconds(4));
  CHECK(ends(second.call()));

  const Afterwards late(work.call());
  REQUIRE(clock.wait_for_sleepers(1));
  clock.advance(seconds(2));
  CHECK_FALSE(late.call().stopped());
  clock.advance(seconds(1));
  CHECK(ends(late.call()));
}
