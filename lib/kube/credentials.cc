#include "kube/credentials.h"

#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "http/authorization.h"

namespace kubedr::kube {
namespace {

// A service account's token is replaced well before it expires; client-go looks as often.
constexpr std::chrono::seconds kTokenAge{50};

Secret bearer(const Secret& token) {
  if (token.empty()) return {};
  return concat({"Bearer ", token.reveal()});
}

}  // namespace

Credentials::Credentials(const Config& config, const Clock& clock)
    : config_(config), clock_(clock) {
  if (config.exec) plugin_.emplace(*config.exec, clock);
  if (config.oidc) oidc_.emplace(*config.oidc, clock);
}

// What the file holds now; a file that cannot be read any more leaves the token there was.
void Credentials::read_token_file() {
  try {
    const WipedBytes file(read_file(config_.token_file, limits::kSecretBytes));
    Secret token(trim(as_text(file.bytes)));
    if (token.empty()) throw Error(ErrorKind::denied, config_.token_file.string() + ": is empty");
    file_token_ = std::move(token);
  } catch (const Error& error) {
    if (file_token_.empty()) {
      throw Error(ErrorKind::denied, std::string("read token: ") + error.what(),
                  "log in anew, or correct the user's tokenFile in the kubeconfig");
    }
    log::warn("kubernetes: read token again: {}", error.what());
  }
  file_token_read_ = clock_.steady();
}

Secret Credentials::authorization(const Call& call) {
  if (plugin_) return bearer(plugin_->credentials(call).token);
  if (oidc_) return bearer(oidc_->token(call));
  if (!config_.token_file.empty()) {
    if (!file_token_read_ || clock_.steady() - *file_token_read_ > kTokenAge) read_token_file();
    return bearer(file_token_);
  }
  if (!config_.token.empty()) return bearer(config_.token);
  if (config_.username.empty()) return {};
  return http::basic_authorization(config_.username, config_.password);
}

bool Credentials::take_certificate(http::Tls& tls, const Call& call) {
  if (!plugin_) return false;
  const ExecPlugin::Credentials& given = plugin_->credentials(call);
  if (given.certificate_pem == tls.client_certificate_pem) return false;
  tls.client_certificate_pem = given.certificate_pem;
  tls.client_key_pem = given.key_pem;
  return true;
}

bool Credentials::renew(const Call& call) {
  if (plugin_) return plugin_->renew(call);
  if (config_.token_file.empty()) return false;
  const Secret before = file_token_;
  read_token_file();
  return !(before == file_token_);
}

}  // namespace kubedr::kube
