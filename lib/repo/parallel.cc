#include "repo/parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace kubedr::repo {

void for_each_parallel(std::size_t count, std::size_t threads, const Call& call,
                       const std::function<void(std::size_t, const Call&)>& work) {
  CallScope scope(call);
  std::atomic<std::size_t> next = 0;
  std::atomic<bool> failed = false;
  const auto run = [&] {
    try {
      while (!failed) {
        const std::size_t item = next++;
        if (item >= count) return;
        scope.call().require_live();
        work(item, scope.call());
      }
    } catch (...) {
      failed = true;
      scope.fail(std::current_exception());
    }
  };
  {
    std::vector<std::jthread> others;
    const std::size_t wanted = std::min(count, threads);
    for (std::size_t i = 1; i < wanted; ++i) others.emplace_back(run);
    run();
  }
  if (failed) scope.call().require_live();
}

}  // namespace kubedr::repo
