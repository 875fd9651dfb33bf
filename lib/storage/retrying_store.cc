#include "storage/retrying_store.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"

namespace kubedr::storage {
namespace {

using std::chrono::milliseconds;

// A server that asks for more is not waited for as long as it likes.
constexpr milliseconds kLongestRetryAfter = std::chrono::minutes(2);

// The pauses between the tries of one request.
class Pauses {
 public:
  Pauses(const RetryPolicy& policy, Random& random)
      : policy_(policy), random_(random), base_(policy.first_pause) {}

  // Half of the pause is fixed and half is left to chance, so that clients which failed together do
  // not come back together. What the server asks for is never undercut.
  milliseconds next(const Error& error) {
    const milliseconds base = std::min(base_, policy_.longest_pause);
    base_ = base * 2;
    const std::uint64_t half = static_cast<std::uint64_t>(base.count()) / 2;
    const milliseconds pause(base.count() - static_cast<long>(random_.next() % (half + 1)));
    if (!error.transport().retry_after) return pause;
    const milliseconds asked = *error.transport().retry_after;
    return std::max(pause, std::min(asked, kLongestRetryAfter));
  }

 private:
  const RetryPolicy& policy_;
  Random& random_;
  milliseconds base_;
};

[[noreturn]] void give_up(const Error& error, int tries) {
  const std::string text = std::string(error.what()) + ", gave up after " + std::to_string(tries) +
                           (tries == 1 ? " try" : " tries");
  throw Error(error.kind(), text, error.hint()).with(error.transport());
}

// Every request of a store may be sent twice: files keep their content, and a create_only save is
// looked at again by RetryingStore::save.
template <class Request>
auto with_retries(const RetryPolicy& policy, Random& random, const Call& call,
                  const Request& request) {
  Pauses pauses(policy, random);
  for (int tried = 1;; ++tried) {
    milliseconds pause{};
    try {
      return request();
    } catch (const Error& error) {
      if (!may_retry(error, true)) throw;
      pause = pauses.next(error);
      if (tried >= policy.tries || call.remaining() <= pause) give_up(error, tried);
      log::info("{}; trying again in {} ms", error.what(), pause.count());
    }
    call.sleep(pause);
  }
}

}  // namespace

RetryingStore::RetryingStore(std::unique_ptr<Store> inner, Random& random, RetryPolicy policy)
    : inner_(std::move(inner)), random_(random), policy_(policy) {}

Bytes RetryingStore::load(const FileName& name, std::size_t limit, const Call& call) const {
  return with_retries(policy_, random_, call, [&] { return inner_->load(name, limit, call); });
}

Bytes RetryingStore::load_range(const FileName& name, const Range& range, const Call& call) const {
  return with_retries(policy_, random_, call,
                      [&] { return inner_->load_range(name, range, call); });
}

std::optional<std::uint64_t> RetryingStore::size_of(const FileName& name, const Call& call) const {
  return with_retries(policy_, random_, call, [&] { return inner_->size_of(name, call); });
}

// Names are handed on when the whole list is in: a list that breaks off would name files twice.
void RetryingStore::list(FileKind kind, const std::function<void(const FileInfo&)>& each,
                         const Call& call) const {
  std::vector<FileInfo> files;
  with_retries(policy_, random_, call, [&] {
    files.clear();
    inner_->list(
        kind, [&](const FileInfo& info) { files.push_back(info); }, call);
  });
  for (const FileInfo& info : files) each(info);
}

bool RetryingStore::create(const Call& call) {
  return with_retries(policy_, random_, call, [&] { return inner_->create(call); });
}

void RetryingStore::save(const FileName& name, ByteView bytes, const Digest& digest, SaveMode mode,
                         const Call& call) {
  bool may_be_there = false;
  const auto is_ours = [&] {
    const std::optional<std::uint64_t> size = inner_->size_of(name, call);
    if (size != bytes.size()) return false;
    const Bytes there = inner_->load(name, bytes.size(), call);
    return std::equal(there.begin(), there.end(), bytes.begin(), bytes.end());
  };
  with_retries(policy_, random_, call, [&] {
    try {
      inner_->save(name, bytes, digest, mode, call);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::exists && may_be_there && is_ours()) return;
      may_be_there = may_be_there || error.transport().may_have_arrived;
      throw;
    }
  });
}

void RetryingStore::remove_leftovers(WallTime before, const Call& call) {
  with_retries(policy_, random_, call, [&] { inner_->remove_leftovers(before, call); });
}

void RetryingStore::remove(const FileName& name, const Call& call) {
  with_retries(policy_, random_, call, [&] { inner_->remove(name, call); });
}

}  // namespace kubedr::storage
