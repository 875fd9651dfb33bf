#include "http/proxy.h"

#include <doctest/doctest.h>

#include <string>

#include "base/error.h"

namespace kubedr::http {
namespace {

// Whether a request to that URL goes through the proxy, with that NO_PROXY.
bool proxied(const std::string& url, const std::string& no_proxy) {
  ProxyVariables variables;
  variables.https = "http://proxy:3128";
  variables.no_proxy = no_proxy;
  return !choose_proxy(variables, parse_url(url)).empty();
}

}  // namespace

TEST_CASE("proxy: each scheme has a variable of its own") {
  ProxyVariables variables;
  CHECK(choose_proxy(variables, parse_url("https://h")).empty());
  variables.http = "http://plain:1";
  CHECK(choose_proxy(variables, parse_url("https://h")).empty());
  variables.https = "http://secure:1";
  CHECK(choose_proxy(variables, parse_url("http://h")) == "http://plain:1");
  CHECK(choose_proxy(variables, parse_url("https://h")) == "http://secure:1");
}

TEST_CASE("proxy: this machine is never reached through one") {
  for (const char* url : {"https://localhost:1", "https://127.0.0.1", "https://127.8.8.8",
                          "https://[::1]:6443", "https://LOCALHOST"}) {
    CAPTURE(url);
    CHECK_FALSE(proxied(url, ""));
  }
  CHECK(proxied("https://127.example.com", ""));
}

// The table of golang.org/x/net/http/httpproxy's own test of NO_PROXY, and what is beside it.
TEST_CASE("proxy: NO_PROXY is read as Go reads it") {
  constexpr char kNoProxy[] =
      "foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, "
      "10.0.0.0/30, 2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, "
      "2002:db8:a::45/64";

  struct Case {
    const char* host;
    bool proxied;
  };

  const Case cases[] = {
      {"192.168.1.1", false},
      {"192.168.1.2", true},  // another port
      {"192.168.1.2:81", false},
      {"192.168.1.3", true},
      {"192.168.1.3:80", false},
      {"192.168.1.4", true},
      {"10.0.0.2", false},
      {"10.0.0.3:8443", false},
      {"10.0.0.4", true},
      {"[2001:db8::52:0:1]", false},
      {"[2001:db8::52:0:2]", false},
      {"[2001:db8::52:0:3]", true},
      {"[2001:db8::52:0:3]:80", false},
      {"[2002:db8:a::123]", false},
      {"[2002:db8:b::123]", true},
      {"[fe80::424b:c8be:1643:a1b6]", true},
      {"[::ffff:10.0.0.2]", false},
      {"barbaz.net", true},  // a dot in front: only what is below
      {"www.barbaz.net", false},
      {"wildcard.io", true},
      {"a.wildcard.io", false},
      {"foobar.com", false},
      {"FOObar.com:8080", false},
      {"www.foobar.com", false},
      {"foofoobar.com", true},
      {"baz.com", true},
      {"localhost.net", true},
      {"local.localhost.net", true},
  };
  for (const Case& one : cases) {
    CAPTURE(one.host);
    CHECK(proxied(std::string("https://") + one.host, kNoProxy) == one.proxied);
  }
}

TEST_CASE("proxy: entries of NO_PROXY that are none are passed over") {
  CHECK(proxied("https://h.example", " , ,:80,10.0.0.0/33,10.0.0.0/x,[::1,999.0.0.0/8"));
  CHECK_FALSE(proxied("https://h.example", "nonsense,*"));
  CHECK_FALSE(proxied("https://h.example:444", "example:444"));
  CHECK(proxied("https://h.example:444", "example:443"));
  // A host that is an address is in no domain.
  CHECK(proxied("https://10.0.0.1", "0.1"));
  CHECK(proxied("https://10.0.0.1", "::/0"));
  CHECK_FALSE(proxied("https://10.0.0.1", "0.0.0.0/0"));
}

TEST_CASE("proxy: an address without a scheme is http, and each scheme has its port") {
  CHECK(parse_proxy("proxy:3128").url == "http://proxy:3128");
  CHECK(parse_proxy("proxy").default_port == 80);
  CHECK(parse_proxy("https://proxy").default_port == 443);
  CHECK(parse_proxy("https://proxy").tls);
  CHECK_FALSE(parse_proxy("http://proxy").tls);
  CHECK(parse_proxy("socks5://u:p@proxy").url == "socks5h://u:p@proxy");
  CHECK(parse_proxy("socks5://proxy").default_port == 1080);
}

TEST_CASE("proxy: one that cannot be used is refused without its password") {
  for (const char* text : {"ftp://u:hush@proxy", "http://u:hush@", "http://u:hush@proxy:x", ""}) {
    CAPTURE(text);
    try {
      parse_proxy(text);
      FAIL("taken");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
      CHECK(std::string(error.what()).find("hush") == std::string::npos);
    }
  }
}

}  // namespace kubedr::http
