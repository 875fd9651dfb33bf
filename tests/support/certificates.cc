#include "support/certificates.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <stdexcept>
#include <utility>

#include "base/text.h"

namespace kubedr::test {
namespace {

using Key = std::shared_ptr<EVP_PKEY>;
using X509Ptr = std::shared_ptr<X509>;

void require(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string("certificates: ") + what + " failed");
}

Key make_key() {
  Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  require(key != nullptr, "EVP_EC_gen");
  return key;
}

template <class Write>
std::string pem(const Write& write) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  require(bio != nullptr && write(bio.get()) == 1, "writing PEM");
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

std::string certificate_pem(X509* certificate) {
  return pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

std::string key_pem(EVP_PKEY* key) {
  return pem([&](BIO* bio) {
    return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  });
}

void add_name(X509_NAME* subject, const char* field, const std::string& value) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(value.data());
  require(X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8, bytes,
                                     static_cast<int>(value.size()), -1, 0) == 1,
          "a subject field");
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()), X509_EXTENSION_free);
  require(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1,
          "an extension");
}

// "IP:127.0.0.1,DNS:localhost"
std::string alternative_names(const std::vector<std::string>& names) {
  std::vector<std::string> parts;
  for (const std::string& name : names) {
    const bool address = name.find(':') != std::string::npos ||
                         name.find_first_not_of("0123456789.") == std::string::npos;
    parts.push_back((address ? "IP:" : "DNS:") + name);
  }
  return join(parts, ",");
}

void set_serial(X509* certificate) {
  std::uint64_t serial = 0;
  require(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1, "RAND_bytes");
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1);
}

// Everything but extensions and signature.
X509Ptr make_body(const CertificateRequest& request, EVP_PKEY* key) {
  X509Ptr certificate(X509_new(), X509_free);
  require(certificate != nullptr, "X509_new");
  X509_set_version(certificate.get(), X509_VERSION_3);
  set_serial(certificate.get());
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), request.valid_from.count());
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), request.valid_until.count());
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  add_name(subject, "CN", request.common_name);
  for (const std::string& organization : request.organizations) {
    add_name(subject, "O", organization);
  }
  require(X509_set_pubkey(certificate.get(), key) == 1, "X509_set_pubkey");
  return certificate;
}

void sign(X509* certificate, X509* issuer, EVP_PKEY* issuer_key) {
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
  add_extension(certificate, issuer, NID_subject_key_identifier, "hash");
  add_extension(certificate, issuer, NID_authority_key_identifier, "keyid:always");
  require(X509_sign(certificate, issuer_key, EVP_sha256()) > 0, "X509_sign");
}

}  // namespace

Certificates::Certificates(const std::string& common_name) : key_(make_key()) {
  CertificateRequest request;
  request.common_name = common_name;
  ca_ = make_body(request, key_.get());
  add_extension(ca_.get(), ca_.get(), NID_basic_constraints, "critical,CA:TRUE");
  add_extension(ca_.get(), ca_.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  sign(ca_.get(), ca_.get(), key_.get());
  ca_pem_ = certificate_pem(ca_.get());
}

Certificate Certificates::issue(const CertificateRequest& request) const {
  const Key key = make_key();
  const X509Ptr certificate = make_body(request, key.get());
  X509* issuer = ca_.get();
  add_extension(certificate.get(), issuer, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(certificate.get(), issuer, NID_key_usage, "critical,digitalSignature");
  add_extension(certificate.get(), issuer, NID_ext_key_usage, "serverAuth,clientAuth");
  if (!request.names.empty()) {
    add_extension(certificate.get(), issuer, NID_subject_alt_name,
                  alternative_names(request.names));
  }
  sign(certificate.get(), issuer, key_.get());
  return {certificate_pem(certificate.get()), key_pem(key.get())};
}

Certificate Certificates::issue_expired(CertificateRequest request) const {
  request.valid_from = std::chrono::hours(-2);
  request.valid_until = std::chrono::hours(-1);
  return issue(request);
}

}  // namespace kubedr::test
