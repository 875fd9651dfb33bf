#include "http/authorization.h"

#include <string>

#include "base/hex.h"

namespace kubedr::http {

Secret basic_authorization(std::string_view name, const Secret& password) {
  std::string pair(name);
  pair += ':';
  pair += password.reveal();
  std::string value = "Basic " + to_base64(as_bytes(pair));
  Secret authorization(value);
  wipe(pair.data(), pair.size());
  wipe(value.data(), value.size());
  return authorization;
}

}  // namespace kubedr::http
