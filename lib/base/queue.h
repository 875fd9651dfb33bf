#ifndef KUBEDR_BASE_QUEUE_H
#define KUBEDR_BASE_QUEUE_H

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

namespace kubedr {

// A bounded queue between threads; the bound counts whatever unit `weight` has, mostly bytes.
//
// units    an item heavier than the whole bound passes when the queue is empty
// threads  synchronised
template <class T>
class Queue {
 public:
  explicit Queue(std::size_t bound) : bound_(bound) {}

  // False when the queue was closed or a stop requested: the item was not taken.
  bool push(T item, std::size_t weight, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    const auto has_room = [&] { return closed_ || items_.empty() || weight_ + weight <= bound_; };
    if (!changed_.wait(lock, stop, has_room) || closed_) return false;
    items_.emplace_back(std::move(item), weight);
    weight_ += weight;
    changed_.notify_all();
    return true;
  }

  // Nullopt when closed and drained, or when a stop is requested.
  std::optional<T> pop(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait(lock, stop, [&] { return closed_ || !items_.empty(); })) return std::nullopt;
    if (items_.empty()) return std::nullopt;
    T item = std::move(items_.front().first);
    weight_ -= items_.front().second;
    items_.pop_front();
    changed_.notify_all();
    return item;
  }

  // No more pushes; what is queued can still be popped.
  void close() {
    const std::lock_guard guard(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  const std::size_t bound_;
  std::mutex mutex_;
  // Guarded by mutex_:
  std::condition_variable_any changed_;
  std::deque<std::pair<T, std::size_t>> items_;
  std::size_t weight_ = 0;
  bool closed_ = false;
};

}  // namespace kubedr

#endif  // KUBEDR_BASE_QUEUE_H
