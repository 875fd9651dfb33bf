#include "http/authorities.h"

#include <doctest/doctest.h>

#include <set>

namespace kubedr::http {
namespace {

Authorities found(const std::set<std::string>& files, const Authorities& named = {}) {
  return system_authorities(named, [&](const std::string& path) { return files.contains(path); });
}

}  // namespace

TEST_CASE("authorities: each distribution's place is found, Debian's first") {
  const std::string debian = "/etc/ssl/certs/ca-certificates.crt";
  const std::string fedora = "/etc/pki/tls/certs/ca-bundle.crt";
  const std::string rhel = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";
  const std::string alpine = "/etc/ssl/cert.pem";
  for (const std::string& file : {debian, fedora, rhel, alpine}) {
    CAPTURE(file);
    CHECK(found({file}) == Authorities{file, ""});
  }
  CHECK(found({alpine, rhel, fedora, debian}).file == debian);
  CHECK(found({alpine, rhel}).file == rhel);
  CHECK(found({alpine, "/etc/ssl/certs"}) == Authorities{alpine, "/etc/ssl/certs"});
  CHECK(found({"/etc/pki/tls/certs"}) == Authorities{"", "/etc/pki/tls/certs"});
  CHECK(found({}) == Authorities{});
}

// As with Go: each variable replaces only its own half.
TEST_CASE("authorities: what the environment names is taken, whether it is there or not") {
  const std::set<std::string> system = {"/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs"};
  CHECK(found(system, {"/mine.pem", ""}) == Authorities{"/mine.pem", "/etc/ssl/certs"});
  CHECK(found(system, {"", "/mine:/yours"}) ==
        Authorities{"/etc/ssl/certs/ca-certificates.crt", "/mine:/yours"});
  CHECK(found({}, {"/mine.pem", "/mine"}) == Authorities{"/mine.pem", "/mine"});
}

}  // namespace kubedr::http
