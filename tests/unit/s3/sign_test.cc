#include "s3/sign.h"

#include <doctest/doctest.h>

#include "base/hex.h"
#include "base/sha256.h"

namespace kubedr::s3 {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

const WallTime k2013 = WallTime(std::chrono::seconds(1369353600));  // 2013-05-24T00:00:00Z
const WallTime k2015 = WallTime(std::chrono::seconds(1440938160));  // 2015-08-30T12:36:00Z

std::string hash_of(std::string_view body) {
  return to_hex(sha256(as_bytes(body)));
}

std::string signature_of(const Secret& authorization) {
  const std::string text(authorization.reveal());
  return text.substr(text.find("Signature=") + 10);
}

// Amazon S3 API Reference, "Signature Calculations for the Authorization Header", whose keys these
// are.
Credentials s3_example() {
  return {"AKIAIOSFODNN7EXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), Secret()};
}

SignRequest s3_request(const std::string& method, const std::string& path, const Pairs& query,
                       Pairs headers, std::string_view body = {}) {
  headers.emplace_back("Host", "examplebucket.s3.amazonaws.com");
  headers.emplace_back("x-amz-content-sha256", hash_of(body));
  headers.emplace_back("x-amz-date", "20130524T000000Z");
  return {method, path, query, headers, hash_of(body)};
}

std::string s3_signature(const SignRequest& request) {
  return signature_of(authorization(request, s3_example(), "us-east-1", k2013));
}

TEST_CASE("sign: S3's example of a GET with a range") {
  const SignRequest request = s3_request("GET", "/test.txt", {}, {{"Range", "bytes=0-9"}});
  CHECK(canonical_request(request) ==
        "GET\n"
        "/test.txt\n"
        "\n"
        "host:examplebucket.s3.amazonaws.com\n"
        "range:bytes=0-9\n"
        "x-amz-content-sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
        "x-amz-date:20130524T000000Z\n"
        "\n"
        "host;range;x-amz-content-sha256;x-amz-date\n"
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(authorization(request, s3_example(), "us-east-1", k2013).reveal() ==
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST_CASE("sign: S3's example of a PUT with an escaped key") {
  const SignRequest request = s3_request(
      "PUT", "/test%24file.text", {},
      {{"Date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
      "Welcome to Amazon S3.");
  CHECK(s3_signature(request) ==
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST_CASE("sign: S3's examples of queries, with and without a value") {
  CHECK(s3_signature(s3_request("GET", "/", {{"lifecycle", ""}}, {})) ==
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  CHECK(s3_signature(s3_request("GET", "/", {{"prefix", "J"}, {"max-keys", "2"}}, {})) ==
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

// AWS Signature Version 4 test suite; the names are those of its folders.
std::string suite_signature(const std::string& method, const std::string& path, const Pairs& query,
                            const Pairs& more_headers) {
  Pairs headers = {{"Host", "example.amazonaws.com"}};
  headers.insert(headers.end(), more_headers.begin(), more_headers.end());
  headers.emplace_back("X-Amz-Date", "20150830T123600Z");
  const Credentials credentials = {"AKIDEXAMPLE",
                                   Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), Secret()};
  return signature_of(authorization({method, path, query, headers, hash_of("")}, credentials,
                                    "us-east-1", k2015, "service"));
}

TEST_CASE("sign: get-vanilla and post-vanilla") {
  CHECK(suite_signature("GET", "/", {}, {}) ==
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  CHECK(suite_signature("POST", "/", {}, {}) ==
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
}

TEST_CASE("sign: get-vanilla-query-order-key-case") {
  CHECK(suite_signature("GET", "/", {{"Param2", "value2"}, {"Param1", "value1"}}, {}) ==
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

TEST_CASE("sign: get-unreserved") {
  CHECK(suite_signature("GET",
                        "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", {},
                        {}) == "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f");
}

TEST_CASE("sign: get-header-value-trim") {
  CHECK(suite_signature("GET", "/", {},
                        {{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}}) ==
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
}

TEST_CASE("sign: get-header-key-duplicate") {
  CHECK(suite_signature(
            "GET", "/", {},
            {{"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}}) ==
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea");
}

TEST_CASE("sign: queries are sorted after they are escaped") {
  const SignRequest request = {
      "GET", "/", {{"b", "x y"}, {"a", "/"}, {"a", "+"}}, {{"host", "h"}}, "UNSIGNED-PAYLOAD"};
  CHECK(canonical_request(request) ==
        "GET\n/\na=%2B&a=%2F&b=x%20y\nhost:h\n\nhost\nUNSIGNED-PAYLOAD");
}

}  // namespace
}  // namespace kubedr::s3
