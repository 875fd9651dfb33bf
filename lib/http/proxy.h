#ifndef KUBEDR_HTTP_PROXY_H
#define KUBEDR_HTTP_PROXY_H

#include <string>

#include "http/url.h"

namespace kubedr::http {

// What an environment says about proxies: its variables as they stand, none by default.
struct ProxyVariables {
  std::string https;     // $HTTPS_PROXY, else $https_proxy
  std::string http;      // $HTTP_PROXY, else $http_proxy
  std::string no_proxy;  // $NO_PROXY, else $no_proxy

  bool operator==(const ProxyVariables&) const = default;
};

// The proxy that a request to `url` goes through; empty: none. This machine is never asked for by
// one. libcurl's own reading differs in what a leading dot, a port and an upper-case name mean.
//
// source   Go's golang.org/x/net/http/httpproxy: what kubectl and restic go by
std::string choose_proxy(const ProxyVariables& variables, const Url& url);

// A proxy's address for libcurl, with the scheme that was left out and the port that Go would
// take. Names are resolved by the proxy, SOCKS too.
struct ProxyAddress {
  std::string url;
  int default_port = 0;
  bool tls = false;
};

// errors   usage: neither http, https nor socks5; the message repeats no user information
ProxyAddress parse_proxy(const std::string& text);

}  // namespace kubedr::http

#endif  // KUBEDR_HTTP_PROXY_H
