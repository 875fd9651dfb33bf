#include "http/authorities.h"

#include <algorithm>
#include <iterator>

namespace kubedr::http {
namespace {

constexpr const char* kFiles[] = {
    "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",                   // Fedora
    "/etc/ssl/ca-bundle.pem",                             // SUSE
    "/etc/pki/tls/cacert.pem",                            // OpenELEC
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // RHEL 7 and later
    "/etc/ssl/cert.pem",                                  // Alpine
};

constexpr const char* kFolders[] = {"/etc/ssl/certs", "/etc/pki/tls/certs"};

}  // namespace

Authorities system_authorities(const Authorities& named,
                               const std::function<bool(const std::string&)>& exists) {
  const auto choose = [&exists](const std::string& name, const auto& places) -> std::string {
    if (!name.empty()) return name;
    const auto found = std::find_if(std::begin(places), std::end(places), exists);
    return found == std::end(places) ? "" : *found;
  };
  return {choose(named.file, kFiles), choose(named.folders, kFolders)};
}

}  // namespace kubedr::http
