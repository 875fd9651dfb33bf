#ifndef KUBEDR_HTTP_AUTHORITIES_H
#define KUBEDR_HTTP_AUTHORITIES_H

#include <functional>
#include <string>

namespace kubedr::http {

// Where certificates of authorities are; empty: not there, or not said.
struct Authorities {
  std::string file;     // PEM, all of them; $SSL_CERT_FILE
  std::string folders;  // by their hashes, with colons between several; $SSL_CERT_DIR

  bool operator==(const Authorities&) const = default;
};

// What is trusted where nobody gave a CA: what the environment names, be it there or not, else the
// system's, wherever its distribution has put them. libcurl knows one place at the most, that of
// the machine it was built on.
//
// source   Go's crypto/x509 root_linux.go: what kubectl and restic go by
Authorities system_authorities(const Authorities& named,
                               const std::function<bool(const std::string&)>& exists);

}  // namespace kubedr::http

#endif  // KUBEDR_HTTP_AUTHORITIES_H
