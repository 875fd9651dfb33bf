#ifndef KUBEDR_KUBE_OIDC_H
#define KUBEDR_KUBE_OIDC_H

#include <filesystem>
#include <string>

#include "base/call.h"
#include "base/secret.h"
#include "http/authorities.h"
#include "http/proxy.h"

namespace kubedr::kube {

// What a kubeconfig's user has under `auth-provider` for OpenID Connect.
struct OidcConfig {
  struct Tokens {
    Secret id;       // who we are, for some minutes or hours
    Secret refresh;  // what the issuer gives a new one for; many issuers take it only once
  };

  std::string issuer;
  std::string client_id;
  Secret client_secret;  // may be empty
  std::string ca_pem;    // the issuer's; empty: the system's authorities
  Tokens tokens;

  // Where the tokens stand, and where new ones are written to.
  std::filesystem::path file;
  std::string user;

  // Set by load_config:
  http::ProxyVariables proxies;
  http::Authorities authorities;
};

// The token of an OpenID Connect user. One that has expired is renewed at its issuer, and the
// kubeconfig written anew with it, as kubectl does: its next command needs what we got. Unlike
// kubectl it sends no refresh token over plain http.
//
// errors   denied: the issuer refuses, or there is no token to renew with; usage: a token that is
//          none; unavailable: the issuer, or too little time for it; what require_live throws.
//          A kubeconfig that cannot be written is a warning: who we are is known all the same
// threads  one thread; processes take turns by a lock on the kubeconfig
// source   client-go's oidc auth provider; OpenID Connect Discovery 1.0; RFC 6749, 6
class OidcLogin {
 public:
  OidcLogin(OidcConfig config, const Clock& clock);

  const Secret& token(const Call& call);

 private:
  bool is_fresh() const;
  void look_into_file();
  void renew(const Call& call);
  OidcConfig::Tokens ask_issuer(const Call& call) const;
  void keep_tokens() const;

  OidcConfig config_;
  const Clock& clock_;
};

}  // namespace kubedr::kube

#endif  // KUBEDR_KUBE_OIDC_H
