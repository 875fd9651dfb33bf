#ifndef KUBEDR_STORAGE_RETRYING_STORE_H
#define KUBEDR_STORAGE_RETRYING_STORE_H

#include <memory>

#include "base/clock.h"
#include "base/random.h"
#include "storage/store.h"

namespace kubedr::storage {

struct RetryPolicy {
  int tries = 6;                               // the first one included
  std::chrono::milliseconds first_pause{500};  // doubled each time, with jitter
  std::chrono::milliseconds longest_pause{15'000};
};

// A store that tries again what may_retry allows. A create_only save that failed without an answer
// and then finds the file there with equal content succeeded the first time.
class RetryingStore final : public Store {
 public:
  // `random` must outlive the store.
  RetryingStore(std::unique_ptr<Store> inner, Random& random, RetryPolicy policy = {});

  const std::string& location() const override { return inner_->location(); }

  Bytes load(const FileName& name, std::size_t limit, const Call& call) const override;
  Bytes load_range(const FileName& name, const Range& range, const Call& call) const override;
  std::optional<std::uint64_t> size_of(const FileName& name, const Call& call) const override;
  void list(FileKind kind, const std::function<void(const FileInfo&)>& each,
            const Call& call) const override;
  bool create(const Call& call) override;
  void save(const FileName& name, ByteView bytes, const Digest& digest, SaveMode mode,
            const Call& call) override;
  void remove(const FileName& name, const Call& call) override;
  void remove_leftovers(WallTime before, const Call& call) override;

  int connections() const override { return inner_->connections(); }

  std::optional<std::chrono::seconds> clock_offset() const override {
    return inner_->clock_offset();
  }

 private:
  const std::unique_ptr<Store> inner_;
  Random& random_;
  const RetryPolicy policy_;
};

}  // namespace kubedr::storage

#endif  // KUBEDR_STORAGE_RETRYING_STORE_H
