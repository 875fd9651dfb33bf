#ifndef KUBEDR_KUBE_CREDENTIALS_H
#define KUBEDR_KUBE_CREDENTIALS_H

#include <optional>

#include "base/call.h"
#include "base/secret.h"
#include "http/client.h"
#include "kube/exec_plugin.h"
#include "kube/kubeconfig.h"
#include "kube/oidc.h"

namespace kubedr::kube {

// Who we are to an API server, kept fresh: a token's file is read again as it ages, a plugin run
// again when what it gave has expired, an OpenID Connect token renewed.
//
// errors   denied: a token's file that never could be read; what a plugin or an issuer throws
// threads  one thread
class Credentials {
 public:
  // Both must outlive it.
  Credentials(const Config& config, const Clock& clock);

  // The Authorization header of the next request; empty: it has none. A plugin may take its time
  // and ask on the terminal.
  Secret authorization(const Call& call);

  // Puts the plugin's certificate and key there. True when that changed them: connections made
  // with the ones before belong to somebody else.
  bool take_certificate(http::Tls& tls, const Call& call);

  // After a 401, "Unauthorized": whether we have others by now. A request may then be worth
  // another try, where kubectl leaves that to the next command.
  bool renew(const Call& call);

 private:
  void read_token_file();

  const Config& config_;
  const Clock& clock_;
  std::optional<ExecPlugin> plugin_;
  std::optional<OidcLogin> oidc_;
  Secret file_token_;
  std::optional<SteadyTime> file_token_read_;
};

}  // namespace kubedr::kube

#endif  // KUBEDR_KUBE_CREDENTIALS_H
