#include "base/sha256.h"

#include <doctest/doctest.h>

#include <string>

#include "base/hex.h"

namespace kubedr {
namespace {

std::string hex_of(std::string_view text) {
  return to_hex(sha256(as_bytes(text)));
}

// FIPS 180-4, examples of NIST.
TEST_CASE("sha256: the published vectors hold") {
  CHECK(hex_of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hex_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hex_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(hex_of(std::string(1'000'000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("sha256: in pieces it is the same, and finish starts over") {
  Sha256 running;
  running.update(as_bytes("a"));
  running.update(as_bytes("bc"));
  CHECK(running.finish() == sha256(as_bytes("abc")));
  CHECK(running.finish() == sha256({}));
}

TEST_CASE("sha256: a copy goes on by itself") {
  Sha256 first;
  first.update(as_bytes("ab"));
  Sha256 second(first);
  second.update(as_bytes("c"));
  CHECK(second.finish() == sha256(as_bytes("abc")));
  CHECK(first.finish() == sha256(as_bytes("ab")));
  first = second;
  CHECK(first.finish() == sha256({}));
}

// RFC 4231, test cases 1, 2 and 6 (a key longer than a block).
TEST_CASE("hmac-sha256: the vectors of RFC 4231 hold") {
  CHECK(to_hex(hmac_sha256(Bytes(20, 0x0b), as_bytes("Hi There"))) ==
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(to_hex(hmac_sha256(as_bytes("Jefe"), as_bytes("what do ya want for nothing?"))) ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(to_hex(hmac_sha256(Bytes(131, 0xaa),
                           as_bytes("Test Using Larger Than Block-Size Key - Hash Key First"))) ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

}  // namespace
}  // namespace kubedr
