#ifndef KUBEDR_BASE_SHA256_H
#define KUBEDR_BASE_SHA256_H

#include <memory>

#include "base/bytes.h"
#include "base/id.h"

struct evp_md_ctx_st;

namespace kubedr {

// A running SHA-256.
//
// threads  one thread; copies are independent
class Sha256 {
 public:
  Sha256();
  Sha256(const Sha256& other);
  Sha256& operator=(const Sha256& other);
  Sha256(Sha256&&) noexcept = default;
  Sha256& operator=(Sha256&&) noexcept = default;
  ~Sha256() = default;

  void update(ByteView bytes);

  // The digest of everything so far; starts over.
  Digest finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const noexcept;
  };

  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

Digest sha256(ByteView bytes);

// HMAC-SHA-256.
Digest hmac_sha256(ByteView key, ByteView message);

}  // namespace kubedr

#endif  // KUBEDR_BASE_SHA256_H
