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

std::optional<WallTime> end_of(const X509* certificate) {
  std::tm time{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time) != 1) return std::nullopt;
  return std::chrono::system_clock::from_time_t(timegm(&time));
}

}  // namespace

std::optional<WallTime> first_expiry(std::string_view pem) {
  const std::unique_ptr<BIO, FreeBio> bio(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
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

}  // namespace kubedr::workflow
