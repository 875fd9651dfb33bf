#include "base/call.h"

#include <doctest/doctest.h>

#include <string>
#include <thread>

#include "base/error.h"

namespace kubedr {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Time that passes only by being waited for.
class StillClock final : public Clock {
 public:
  WallTime now() const override { return WallTime(steady_.time_since_epoch()); }

  SteadyTime steady() const override { return steady_; }

  void wait_until(SteadyTime until, const std::stop_token& stop) const override {
    if (!stop.stop_requested() && until > steady_) steady_ = until;
  }

 private:
  mutable SteadyTime steady_{seconds(1000)};
};

Error error_of(const Call& call) {
  try {
    call.require_live();
  } catch (const Error& error) {
    return error;
  }
  FAIL("the call lives");
  throw;
}

std::exception_ptr reason(ErrorKind kind, const char* text) {
  return std::make_exception_ptr(Error(kind, text));
}

TEST_CASE("call: without a deadline a day is left, and an earlier end wins") {
  const StillClock clock;
  const Call call(clock);
  CHECK(call.remaining() == std::chrono::hours(24));
  const Call shorter = call.within(seconds(10)).within(seconds(5)).within(seconds(20));
  CHECK(shorter.remaining() == seconds(5));
  CHECK(call.remaining() == std::chrono::hours(24));
}

TEST_CASE("call: at its deadline it is over, and that is unavailable") {
  const StillClock clock;
  const Call call = Call(clock).within(seconds(5));
  CHECK_FALSE(call.stopped());
  CHECK_NOTHROW(call.sleep(seconds(4)));
  CHECK(call.remaining() == seconds(1));
  CHECK_THROWS_AS(call.sleep(seconds(4)), Error);
  CHECK(call.stopped());
  CHECK(call.remaining() == milliseconds::zero());
  CHECK(error_of(call).kind() == ErrorKind::unavailable);
  CHECK(clock.steady() == SteadyTime(seconds(1005)));
}

TEST_CASE("scope: the first reason is the one that is thrown") {
  const StillClock clock;
  CallScope scope{Call(clock)};
  CHECK_NOTHROW(scope.call().require_live());
  scope.fail(reason(ErrorKind::locked, "lock lost"));
  scope.fail(reason(ErrorKind::failed, "second"));
  CHECK(scope.call().stopped());
  CHECK(error_of(scope.call()).kind() == ErrorKind::locked);
  CHECK(std::string(error_of(scope.call().within(seconds(1))).what()) == "lock lost");
}

TEST_CASE("scope: the parent's reason reaches the children, but not the other way") {
  const StillClock clock;
  CallScope parent{Call(clock)};
  CallScope child(parent.call());
  CallScope sibling(parent.call());
  child.fail(reason(ErrorKind::failed, "child"));
  CHECK_FALSE(parent.call().stopped());
  CHECK_FALSE(sibling.call().stopped());
  parent.fail(reason(ErrorKind::interrupted, "SIGINT"));
  CHECK(error_of(sibling.call()).kind() == ErrorKind::interrupted);
  CHECK(std::string(error_of(sibling.call()).what()) == "SIGINT");
  CHECK(std::string(error_of(child.call()).what()) == "child");
}

TEST_CASE("scope: its calls keep the reason when the scope is gone") {
  const StillClock clock;
  std::optional<CallScope> scope(std::in_place, Call(clock));
  const Call call = scope->call();
  scope->fail(reason(ErrorKind::terminated, "SIGTERM"));
  scope.reset();
  CHECK(error_of(call).kind() == ErrorKind::terminated);
}

TEST_CASE("scope: the parent's deadline holds for the child") {
  const StillClock clock;
  CallScope scope(Call(clock).within(seconds(3)));
  CHECK(scope.call().remaining() == seconds(3));
}

TEST_CASE("call: when it ended is that of its deadline or of its scope's first reason") {
  const StillClock clock;
  const auto at = [](int second) { return SteadyTime(seconds(second)); };
  CallScope parent{Call(clock)};
  CallScope child(parent.call().within(seconds(5)));
  CHECK_FALSE(child.call().ended());
  child.call().sleep(seconds(4));
  CHECK_FALSE(child.call().ended());
  CHECK_THROWS_AS(child.call().sleep(seconds(4)), Error);
  CHECK(child.call().ended() == at(1005));
  parent.call().sleep(seconds(2));
  parent.fail(reason(ErrorKind::interrupted, "SIGINT"));
  clock.wait_until(at(1020), {});
  parent.fail(reason(ErrorKind::terminated, "SIGTERM"));
  CHECK(parent.call().ended() == at(1007));
  CHECK(parent.call().within(seconds(60)).ended() == at(1007));
}

TEST_CASE("call: a stop ends a sleep at once") {
  const SystemClock clock;
  CallScope scope{Call(clock)};
  const SteadyTime begin = clock.steady();
  std::jthread stopper([&] { scope.fail(reason(ErrorKind::interrupted, "SIGINT")); });
  CHECK_THROWS_AS(scope.call().sleep(seconds(60)), Error);
  CHECK(clock.steady() - begin < seconds(30));
}

TEST_CASE("error: only a transient failure is sent again, and twice only what may be") {
  Error refused(ErrorKind::unavailable, "refused");
  CHECK_FALSE(may_retry(refused, true));
  refused.with({.transient = true, .may_have_arrived = false, .retry_after = {}});
  CHECK(may_retry(refused, false));
  Error reset(ErrorKind::unavailable, "reset");
  reset.with({.transient = true, .may_have_arrived = true, .retry_after = {}});
  CHECK(may_retry(reset, true));
  CHECK_FALSE(may_retry(reset, false));
}

}  // namespace
}  // namespace kubedr
