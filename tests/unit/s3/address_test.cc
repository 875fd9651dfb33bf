#include "s3/address.h"

#include <doctest/doctest.h>

#include <string>

#include "base/error.h"

namespace kubedr::s3 {
namespace {

std::string failure(std::string_view text) {
  try {
    parse_address(text);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    return error.what();
  }
  return "no failure";
}

std::string url_of(const Address& address, std::string_view key,
                   BucketLookup lookup = BucketLookup::automatic) {
  const Address::Target target = address.target(key, lookup);
  CHECK(target.base.substr(target.base.find("://") + 3) == target.host);
  return target.base + target.path;
}

TEST_CASE("address: restic's forms are read") {
  struct Form {
    const char *text, *base, *bucket, *prefix;
  };

  for (const Form& form : {
           Form{"s3:http://host:9000/bucket/prefix", "http://host:9000", "bucket", "prefix"},
           Form{"s3:https://host:8/bucket/a/b/", "https://host:8", "bucket", "a/b"},
           Form{"s3:https://host/bucket", "https://host", "bucket", ""},
           Form{"s3:host/bucket/prefix", "https://host", "bucket", "prefix"},
           Form{"s3://host/bucket", "https://host", "bucket", ""},
           Form{"s3:minio:9000/bucket", "https://minio:9000", "bucket", ""},
           Form{"s3:host/bucket//a/.//b/../c//", "https://host", "bucket", "a/c"},
           Form{"s3:http://[::1]:9000/bucket", "http://[::1]:9000", "bucket", ""},
           Form{"s3:http://host/bucket/a%20b", "http://host", "bucket", "a b"},
           Form{"s3:host/bucket/a%20b", "https://host", "bucket", "a%20b"},
       }) {
    CAPTURE(form.text);
    const Address address = parse_address(form.text);
    CHECK(address.target("", BucketLookup::path).base == form.base);
    CHECK(address.bucket == form.bucket);
    CHECK(address.prefix == form.prefix);
    CHECK(address.location == form.text);
  }
}

TEST_CASE("address: what is none is refused in restic's words") {
  CHECK(failure("/local/path") == "s3: invalid format");
  CHECK(failure("s3:") == "s3: invalid format, host/region or bucket name not found");
  CHECK(failure("s3:http:///bucket") == "s3: invalid format, host/region or bucket name not found");
  CHECK(failure("s3:http://host") == "s3: bucket name not found");
  CHECK(failure("s3:http://host/") == "s3: bucket name not found");
  CHECK(failure("s3:host") == "s3: bucket name not found");
  CHECK(failure("s3:host/ab") == "s3: Bucket name cannot be shorter than 3 characters");
  CHECK(failure("s3:host/" + std::string(64, 'b')) ==
        "s3: Bucket name cannot be longer than 63 characters");
}

TEST_CASE("address: nothing gets out of the bucket or into the request") {
  for (const char* text : {"s3:host/bucket/../other", "s3:host/bucket/a/../../b", "s3:host/.../x",
                           "s3:host/buc ket", "s3:http://host/buck%2", "s3:http://host/bucket/%zz",
                           "s3:http://host/bucket/%0a", "s3:host/bucket\nX-Evil: 1",
                           "s3:http://host/bucket?x=y", "s3:http://host/bucket%2F..%2Fother"}) {
    CAPTURE(text);
    CHECK(failure(text) != "no failure");
  }
}

TEST_CASE("address: access keys in the URL are refused and not repeated") {
  const std::string text = failure("s3:https://AKIA:hunter2@host/bucket");
  CHECK(text != "no failure");
  CHECK(text.find("hunter2") == std::string::npos);
}

TEST_CASE("address: a BackupLocation's fields make what the operator makes of them") {
  const Address address = make_address("http://10.106.189.174:9000//", "testbucket62/some/prefix");
  CHECK(address.location == "s3:http://10.106.189.174:9000/testbucket62/some/prefix");
  CHECK(address.bucket == "testbucket62");
  CHECK(address.prefix == "some/prefix");
  CHECK(make_address("https://host/bucket", "prefix").prefix == "prefix");
  CHECK_THROWS_AS(make_address("", "bucket"), Error);
}

TEST_CASE("address: path style is for hosts, host style for Amazon's") {
  const Address minio = parse_address("s3:http://127.0.0.1:9000/bucket");
  CHECK(url_of(minio, "data/a b") == "http://127.0.0.1:9000/bucket/data/a%20b");
  CHECK(url_of(minio, "") == "http://127.0.0.1:9000/bucket/");
  const Address amazon = parse_address("s3:s3.eu-central-1.amazonaws.com/bucket");
  CHECK(url_of(amazon, "config") == "https://bucket.s3.eu-central-1.amazonaws.com/config");
  CHECK(url_of(amazon, "") == "https://bucket.s3.eu-central-1.amazonaws.com/");
  CHECK(url_of(amazon, "config", BucketLookup::path) ==
        "https://s3.eu-central-1.amazonaws.com/bucket/config");
  const Address dotted = parse_address("s3:s3.amazonaws.com/my.bucket");
  CHECK(url_of(dotted, "config") == "https://s3.amazonaws.com/my.bucket/config");
  CHECK(url_of(parse_address("s3:http://host:9000/bucket"), "k", BucketLookup::dns) ==
        "http://bucket.host:9000/k");
  CHECK(url_of(parse_address("s3:evil-amazonaws.com/bucket"), "k") ==
        "https://evil-amazonaws.com/bucket/k");
}

TEST_CASE("address: the scheme's own port stays out of the Host header, which is signed") {
  CHECK(parse_address("s3:https://host:443/bucket").target("", BucketLookup::path).host == "host");
  CHECK(parse_address("s3:http://host:80/bucket").target("", BucketLookup::path).host == "host");
  CHECK(parse_address("s3:http://host:443/bucket").target("", BucketLookup::path).host ==
        "host:443");
}

}  // namespace
}  // namespace kubedr::s3
