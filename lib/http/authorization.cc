#include "http/authorization.h"

#include "base/hex.h"

namespace kubedr::http {

Secret basic_authorization(std::string_view name, const Secret& password) {
  const Secret pair = concat({name, ":", password.reveal()});
  const Secret encoded(to_base64(as_bytes(pair.reveal())));
  return concat({"Basic ", encoded.reveal()});
}

}  // namespace kubedr::http
