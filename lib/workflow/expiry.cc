#include "workflow/expiry.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <memory>

namespace kubedr::workflow {
namespace {

struct FreeBio {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};

struct FreeCertificate {
  void operator()(X509* certificate) const noexcept { X509_free(certificate); }
};

using Certificate = std::unique_ptr<X509, FreeCertificate>;

struct FreeKey {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};

using Bio = std::unique_ptr<BIO, FreeBio>;

Bio read_only(std::string_view pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

std::optional<WallTime> end_of(const X509* certificate) {
  std::tm time{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time) != 1) return std::nullopt;
  return std::chrono::system_clock::from_time_t(timegm(&time));
}

}  // namespace

std::optional<WallTime> first_expiry(std::string_view pem) {
  const Bio bio = read_only(pem);
  std::optional<WallTime> first;
  while (true) {
    const Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!certificate) break;
    const std::optional<WallTime> end = end_of(certificate.get());
    if (end && (!first || *end < *first)) first = end;
  }
  ERR_clear_error();  // the end of the text counts as one
  return first;
}

bool belong_together(std::string_view certificate_pem, std::string_view key_pem) {
  const Certificate certificate(
      PEM_read_bio_X509(read_only(certificate_pem).get(), nullptr, nullptr, nullptr));
  const std::unique_ptr<EVP_PKEY, FreeKey> key(
      PEM_read_bio_PrivateKey(read_only(key_pem).get(), nullptr, nullptr, nullptr));
  const bool match =
      certificate && key && X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  return match;
}

}  // namespace kubedr::workflow
