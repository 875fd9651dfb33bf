#ifndef KUBEDR_ETCD_VERDICT_H
#define KUBEDR_ETCD_VERDICT_H

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/sha256.h"

namespace kubedr::etcd {

inline constexpr std::size_t kDigestSize = 32;  // of the SHA-256 behind a snapshot's database

// What a database must be to be called a backup; only a Verdict can make one.
class Verified {
 public:
  std::uint64_t db_size() const { return db_size_; }  // bytes without the digest

  const Digest& digest() const { return digest_; }

  std::uint32_t page_size() const { return page_size_; }

 private:
  friend class Verdict;
  Verified() = default;
  std::uint64_t db_size_ = 0;
  Digest digest_{};
  std::uint32_t page_size_ = 0;
};

// Judges the bytes of a snapshot while they pass: keeps the last 32 back as the digest etcd sent,
// hashes all before them, and looks at both bbolt meta pages.
//
// errors   corrupt: the digest differs, the length is not 32 more than a multiple of 512, a meta
//          page is damaged, or the file is not as long as its meta pages say; `etcd-snapshot.db:
//          sha-256 digest does not match: etcd sent X, the bytes give Y`
// threads  one thread
// source   etcd server/etcdserver/api/v3rpc/maintenance.go; bbolt internal/common/{page,meta}.go
class Verdict {
 public:
  explicit Verdict(std::string name = "etcd-snapshot.db");

  void update(ByteView bytes);

  // All bytes were seen; the last 32 are the digest.
  Verified finish();

 private:
  std::string name_;
  Sha256 hash_;
  Bytes tail_;  // at most the last 32 bytes
  Bytes head_;  // the first pages, for the meta pages
  std::uint64_t size_ = 0;
};

}  // namespace kubedr::etcd

#endif  // KUBEDR_ETCD_VERDICT_H
