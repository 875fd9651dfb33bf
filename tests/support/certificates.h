#ifndef KUBEDR_SUPPORT_CERTIFICATES_H
#define KUBEDR_SUPPORT_CERTIFICATES_H

#include <chrono>
#include <memory>
#include <string>
#include <vector>

struct evp_pkey_st;
struct x509_st;

namespace kubedr::test {

// A certificate (for server and client use) and its key, in PEM.
struct Certificate {
  std::string certificate_pem;
  std::string key_pem;
};

struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> names = {"localhost", "127.0.0.1"};     // DNS names and IP addresses
  std::vector<std::string> organizations = {};                     // groups, to Kubernetes
  std::chrono::seconds valid_from = std::chrono::hours(-1);        // relative to now
  std::chrono::seconds valid_until = std::chrono::hours(24 * 90);  // no finding
};

// A certificate authority of its own; two of them do not trust each other. P-256, so that making
// one costs nothing.
class Certificates {
 public:
  explicit Certificates(const std::string& common_name = "kubedr test CA");

  const std::string& ca_pem() const { return ca_pem_; }

  Certificate issue(const CertificateRequest& request) const;
  Certificate issue_expired(CertificateRequest request) const;

 private:
  std::shared_ptr<evp_pkey_st> key_;  // shared: the only smart pointer that takes OpenSSL's free
  std::shared_ptr<x509_st> ca_;
  std::string ca_pem_;
};

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_CERTIFICATES_H
