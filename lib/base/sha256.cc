#include "base/sha256.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/error.h"

namespace kubedr {
namespace {

// Fetching an algorithm by name takes a lock and a search; once a process is enough. OpenSSL's
// fetched methods are immutable and shared between threads.
const EVP_MD* sha256_method() {
  static const EVP_MD* const method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return method;
}

void require(int result, const char* what) {
  if (result != 1) throw Error(ErrorKind::internal, std::string("sha256: ") + what + " failed");
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const noexcept {
  EVP_MD_CTX_free(context);
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  require(context_ ? EVP_DigestInit_ex2(context_.get(), sha256_method(), nullptr) : 0, "init");
}

Sha256::Sha256(const Sha256& other) : context_(EVP_MD_CTX_new()) {
  require(context_ ? EVP_MD_CTX_copy_ex(context_.get(), other.context_.get()) : 0, "copy");
}

Sha256& Sha256::operator=(const Sha256& other) {
  if (this != &other) *this = Sha256(other);
  return *this;
}

void Sha256::update(ByteView bytes) {
  require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()), "update");
}

Digest Sha256::finish() {
  Digest digest;
  require(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr), "final");
  require(EVP_DigestInit_ex2(context_.get(), sha256_method(), nullptr), "init");
  return digest;
}

Digest sha256(ByteView bytes) {
  Digest digest;
  require(EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, sha256_method(), nullptr),
          "digest");
  return digest;
}

Digest hmac_sha256(ByteView key, ByteView message) {
  Digest digest;
  unsigned size = 0;
  const auto* result = HMAC(sha256_method(), key.data(), static_cast<int>(key.size()),
                            message.data(), message.size(), digest.data(), &size);
  require(result != nullptr && size == digest.size(), "hmac");
  return digest;
}

}  // namespace kubedr
