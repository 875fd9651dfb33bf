#ifndef KUBEDR_HTTP_FAILURE_H
#define KUBEDR_HTTP_FAILURE_H

#include <curl/curl.h>

#include <string>
#include <string_view>

#include "base/error.h"

namespace kubedr::http {

// The error that a transfer's end by libcurl means: `where: what failed: libcurl's detail`.
// `where` is the server, as in https://host:port.
Error failure_of(CURLcode code, std::string_view where, std::string_view detail);

// The server took the TLS handshake and hung up before the first byte of the request was out.
Error hung_up_after_handshake(std::string_view where);

}  // namespace kubedr::http

#endif  // KUBEDR_HTTP_FAILURE_H
