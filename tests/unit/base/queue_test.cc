#include "base/queue.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

namespace kubedr {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kMoment(30);  // long enough for a thread that is not held to go on

TEST_CASE("queue: what goes in comes out in order, and close lets the rest be drained") {
  Queue<int> queue(100);
  const std::stop_token never;
  CHECK(queue.push(1, 10, never));
  CHECK(queue.push(2, 10, never));
  queue.close();
  CHECK_FALSE(queue.push(3, 10, never));
  CHECK(queue.pop(never) == 1);
  CHECK(queue.pop(never) == 2);
  CHECK(queue.pop(never) == std::nullopt);
}

TEST_CASE("queue: a push above the bound waits until there is room") {
  Queue<int> queue(100);
  const std::stop_token never;
  REQUIRE(queue.push(1, 60, never));
  std::atomic<bool> pushed = false;
  std::jthread pusher([&] { pushed = queue.push(2, 60, never); });
  std::this_thread::sleep_for(kMoment);
  CHECK_FALSE(pushed);
  CHECK(queue.pop(never) == 1);
  pusher.join();
  CHECK(pushed);
  CHECK(queue.pop(never) == 2);
}

TEST_CASE("queue: an item heavier than the whole bound passes an empty queue") {
  Queue<int> queue(10);
  const std::stop_token never;
  CHECK(queue.push(1, 1000, never));
  CHECK(queue.pop(never) == 1);
  CHECK(queue.push(2, 10, never));
}

TEST_CASE("queue: a stop wakes those who wait to push and to pop") {
  Queue<int> full(1);
  Queue<int> empty(1);
  const std::stop_token never;
  REQUIRE(full.push(1, 1, never));
  std::atomic<bool> pushed = true;
  std::atomic<bool> popped = true;
  std::stop_source source;
  std::jthread pusher([&] { pushed = full.push(2, 1, source.get_token()); });
  std::jthread popper([&] { popped = empty.pop(source.get_token()).has_value(); });
  std::this_thread::sleep_for(kMoment);
  source.request_stop();
  pusher.join();
  popper.join();
  CHECK_FALSE(pushed);
  CHECK_FALSE(popped);
}

TEST_CASE("queue: close wakes those who wait") {
  Queue<int> full(1);
  Queue<int> empty(1);
  const std::stop_token never;
  REQUIRE(full.push(1, 1, never));
  std::atomic<bool> pushed = true;
  std::atomic<bool> popped = true;
  std::jthread pusher([&] { pushed = full.push(2, 1, never); });
  std::jthread popper([&] { popped = empty.pop(never).has_value(); });
  std::this_thread::sleep_for(kMoment);
  full.close();
  empty.close();
  pusher.join();
  popper.join();
  CHECK_FALSE(pushed);
  CHECK_FALSE(popped);
}

}  // namespace
}  // namespace kubedr
