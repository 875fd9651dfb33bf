#include "http/url.h"

#include <doctest/doctest.h>

#include "base/error.h"

namespace kubedr::http {
namespace {

ErrorKind kind_of(std::string_view text) {
  try {
    parse_url(text);
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::internal;
}

TEST_CASE("url: every part is taken as it stands") {
  const Url url = parse_url("HTTPS://Example.com:9000/a/%2f/../b?x=%20&y#fragment");
  CHECK(url.scheme == "https");
  CHECK(url.host == "Example.com");
  CHECK(url.port == 9000);
  CHECK(url.path == "/a/%2f/../b");
  CHECK(url.query == "x=%20&y");
  CHECK(url.authority() == "Example.com:9000");
}

TEST_CASE("url: path, query and port may be missing") {
  const Url bare = parse_url("http://host");
  CHECK(bare.port == 0);
  CHECK(bare.path.empty());
  CHECK(bare.query.empty());
  CHECK(bare.authority() == "host");
  const Url query = parse_url("http://host?a/b:c@d");
  CHECK(query.host == "host");
  CHECK(query.query == "a/b:c@d");
}

TEST_CASE("url: an IPv6 host loses its brackets and gets them back in the authority") {
  const Url url = parse_url("https://[2001:db8::1]:6443/api");
  CHECK(url.host == "2001:db8::1");
  CHECK(url.port == 6443);
  CHECK(url.authority() == "[2001:db8::1]:6443");
  CHECK(parse_url("http://[fe80::1%25eth0]/").host == "fe80::1%25eth0");
}

TEST_CASE("url: user information is dropped") {
  const Url url = parse_url("http://user:p@ss@proxy:3128");
  CHECK(url.host == "proxy");
  CHECK(url.port == 3128);
}

TEST_CASE("url: what is none is a usage error") {
  for (const char* text : {"",
                           "host:2379",
                           "://host",
                           "http://",
                           "http:///path",
                           "http://:80",
                           "http://host:",
                           "http://host:0",
                           "http://host:65536",
                           "http://host:-1",
                           "http://host:+1",
                           "http://host:80x",
                           "http://ho st/",
                           "http://host/a b",
                           "http://host/a\r\nb",
                           "http://host/\x7f",
                           "http://[::1",
                           "http://[::g]/",
                           "http://[::1]80",
                           "http://ho\"st/",
                           "ht tp://host",
                           "http://us@"}) {
    CAPTURE(text);
    CHECK(kind_of(text) == ErrorKind::usage);
  }
  CHECK(kind_of(std::string_view("http://host/\0", 13)) == ErrorKind::usage);
}

TEST_CASE("url: a message never repeats a password") {
  try {
    parse_url("http://user:hunter2@host:notaport/");
    FAIL("not refused");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("hunter2") == std::string::npos);
  }
}

TEST_CASE("url: loopback is an address of this machine, not a name that looks like one") {
  for (const char* text : {"http://127.0.0.1", "http://127.9.9.9:1", "http://[::1]:2379",
                           "http://localhost", "http://LOCALHOST", "http://[::ffff:127.0.0.1]"}) {
    CAPTURE(text);
    CHECK(parse_url(text).is_loopback());
  }
  for (const char* text : {"http://127.example.com", "http://128.0.0.1", "http://[::2]",
                           "http://localhost.example.com", "http://[::ffff:10.0.0.1]"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_url(text).is_loopback());
  }
}

TEST_CASE("escape: only unreserved characters stay") {
  CHECK(escape("aZ09-._~") == "aZ09-._~");
  CHECK(escape("a b/c+d=\xc3\xa4") == "a%20b%2Fc%2Bd%3D%C3%A4");
  CHECK(escape("a b/c", true) == "a%20b/c");
  CHECK(escape(std::string_view("\0", 1)) == "%00");
}

TEST_CASE("unescape: %XX is a byte, and anything else stays") {
  CHECK(unescape("a%20b%2fc%2Bd%c3%A4") == "a b/c+d\xc3\xa4");
  CHECK(unescape("100% %2 %zz %%41 +%") == "100% %2 %zz %A +%");
  CHECK(unescape("%00") == std::string(1, '\0'));
  CHECK(unescape("") == "");
  CHECK(escaped_byte("%41%42") == 'A');
  for (const char* text : {"", "%", "%4", "%4g", "A%41"}) {
    CAPTURE(text);
    CHECK_FALSE(escaped_byte(text));
  }
}

}  // namespace
}  // namespace kubedr::http
