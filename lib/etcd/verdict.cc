#include "etcd/verdict.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/hex.h"
#include "base/limits.h"
#include "etcd/bolt.h"

namespace kubedr::etcd {
namespace {

constexpr std::size_t kMetaBytes = 16 + 64;                             // page header, meta
constexpr std::size_t kHeadBytes = limits::kDatabasePage + kMetaBytes;  // page 0, page 1's meta

[[noreturn]] void fail(const std::string& name, const std::string& why) {
  throw Error(ErrorKind::corrupt, name + ": " + why,
              "this is no usable etcd snapshot; take it again, if need be from another member");
}

// etcd writes both meta pages from one transaction, so that both must be whole.
Meta require_metas(ByteView head, const std::string& name) {
  const std::optional<Meta> first = parse_meta(head);
  if (!first) fail(name, "the first meta page is damaged");
  if (first->page_size < 512 || first->page_size > limits::kDatabasePage ||
      first->page_size > head.size()) {
    fail(name, fmt::format("impossible page size {}", first->page_size));
  }
  const std::optional<Meta> second = parse_meta(head.subspan(first->page_size));
  if (!second || second->page_size != first->page_size) {
    fail(name, "the second meta page is damaged");
  }
  return second->txid > first->txid ? *second : *first;
}

}  // namespace

Verdict::Verdict(std::string name) : name_(std::move(name)) {}

void Verdict::update(ByteView bytes) {
  size_ += bytes.size();
  if (head_.size() < kHeadBytes) {
    append(head_, bytes.first(std::min(bytes.size(), kHeadBytes - head_.size())));
  }
  if (bytes.size() >= kDigestSize) {
    hash_.update(tail_);
    hash_.update(bytes.first(bytes.size() - kDigestSize));
    const ByteView last = bytes.last(kDigestSize);
    tail_.assign(last.begin(), last.end());
    return;
  }
  append(tail_, bytes);
  if (tail_.size() <= kDigestSize) return;
  const std::size_t passed = tail_.size() - kDigestSize;
  hash_.update(ByteView(tail_).first(passed));
  tail_.erase(tail_.begin(), tail_.begin() + static_cast<std::ptrdiff_t>(passed));
}

Verified Verdict::finish() {
  if (size_ % 512 != kDigestSize) {
    fail(name_, fmt::format("{} bytes are not a db and a digest of {}", size_, kDigestSize));
  }
  const Digest digest = hash_.finish();
  if (!std::equal(digest.begin(), digest.end(), tail_.begin(), tail_.end())) {
    fail(name_, fmt::format("sha-256 digest does not match: etcd sent {}, the bytes give {}",
                            to_hex(tail_), to_hex(digest)));
  }
  const std::uint64_t db_size = size_ - kDigestSize;
  const ByteView head = ByteView(head_).first(std::min<std::uint64_t>(head_.size(), db_size));
  const Meta meta = require_metas(head, name_);
  if (db_size % meta.page_size != 0 || db_size / meta.page_size != meta.high_water) {
    fail(name_, fmt::format("the db has {} bytes, its meta pages say {} pages of {}", db_size,
                            meta.high_water, meta.page_size));
  }
  Verified verified;
  verified.db_size_ = db_size;
  verified.digest_ = digest;
  verified.page_size_ = meta.page_size;
  return verified;
}

}  // namespace kubedr::etcd
