#include "s3/s3_store.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "base/sha256.h"
#include "contract/store_contract.h"
#include "storage/retrying_store.h"
#include "support/byte_proxy.h"
#include "support/s3_server.h"

namespace kubedr::s3 {
namespace {

using storage::FileKind;
using storage::FileName;
using storage::SaveMode;

S3Options options_for(const test::S3Server& server, const std::string& bucket_and_prefix,
                      int port = 0) {
  S3Options options;
  const std::string url = port == 0 ? server.url() : "http://127.0.0.1:" + std::to_string(port);
  options.address = make_address(url, bucket_and_prefix);
  options.credentials = {server.access_key(), Secret(server.secret_key()), Secret()};
  options.user_agent = "kubedr-test";
  return options;
}

Error error_of(const std::function<void()>& function) {
  try {
    function();
  } catch (const Error& error) {
    return error;
  }
  FAIL("nothing was thrown");
  throw;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

struct World {
  const SystemClock clock;
  const Call call = Call(clock).within(std::chrono::minutes(2));
  SystemRandom random;
};

const FileName kConfig{FileKind::config, ""};

// On an empty server: without and with a prefix, and under the retry decorator.
void check_on(const test::S3Server& server) {
  World world;
  int number = 0;
  const auto next = [&](const std::string& prefix) {
    return options_for(server, "bucket-" + std::to_string(++number) + prefix);
  };
  storage::check_store([&] { return std::make_unique<S3Store>(next(""), world.clock); });
  storage::check_store(
      [&] { return std::make_unique<S3Store>(next("/a prefix/with+odd&letters=~"), world.clock); });
  storage::check_store([&] {
    return std::make_unique<storage::RetryingStore>(
        std::make_unique<S3Store>(next("/prefix"), world.clock), world.random);
  });
}

TEST_CASE("S3 store: keeps what every store promises, on MinIO") {
  KUBEDR_NEEDS("minio");
  check_on(test::S3Server());
}

TEST_CASE("S3 store: keeps what every store promises, on versitygw") {
  KUBEDR_NEEDS("versitygw");
  check_on(test::S3Server(test::S3Server::Program::versitygw));
}

TEST_CASE("S3 store: keeps what it can where conditional PUTs are not known") {
  KUBEDR_NEEDS("minio");
  const test::S3Server server;
  test::ByteProxy proxy(server.port());
  test::ProxyRules rules;
  rules.unknown_header = "if-none-match";
  proxy.set(rules);
  World world;
  int number = 0;
  storage::check_store(
      [&] {
        const std::string bucket = "bucket-" + std::to_string(++number);
        return std::make_unique<S3Store>(options_for(server, bucket, proxy.port()), world.clock);
      },
      storage::Creation::looks_first);
}

TEST_CASE("S3 store: over TLS with the server's own CA, and not without it") {
  KUBEDR_NEEDS("minio");
  const test::S3Server server(test::S3Server::Scheme::https);
  World world;
  S3Options options = options_for(server, "bucket");
  S3Store untrusting(options, world.clock);
  CHECK(error_of([&] { untrusting.create(world.call); }).kind() == ErrorKind::denied);
  options.ca_pem = server.ca_pem();
  S3Store store(options, world.clock);
  CHECK(store.create(world.call));
  CHECK_FALSE(store.size_of(kConfig, world.call));
}

TEST_CASE("S3 store: wrong keys are denied with S3's own words") {
  KUBEDR_NEEDS("minio");
  const test::S3Server server;
  World world;
  S3Options options = options_for(server, "bucket");
  S3Store(options, world.clock).create(world.call);
  std::string expected;
  SUBCASE("an unknown access key") {
    options.credentials.access_key = "nobody";
    expected = "The Access Key Id you provided does not exist in our records.";
  }
  SUBCASE("a wrong secret key") {
    options.credentials.secret_key = Secret("hunter2");
    expected =
        "The request signature we calculated does not match the signature you provided. Check your "
        "key and signing method.";
  }
  S3Store store(options, world.clock);
  for (const Error& error : {error_of([&] { store.create(world.call); }),
                             error_of([&] { store.load(kConfig, 100, world.call); }),
                             error_of([&] { store.size_of(kConfig, world.call); })}) {
    CHECK(error.kind() == ErrorKind::denied);
    CAPTURE(error.what());
    CHECK(ends_with(error.what(), expected));
    CHECK(std::string(error.what()).find("hunter2") == std::string::npos);
  }
}

TEST_CASE("S3 store: a list of more than one page is complete") {
  KUBEDR_NEEDS("minio");
  const test::S3Server server;
  World world;
  S3Store store(options_for(server, "bucket/prefix"), world.clock);
  store.create(world.call);
  constexpr int kFiles = 1010;  // a page of S3 has a thousand
  for (int i = 0; i < kFiles; ++i) {
    const Digest digest = sha256(as_bytes(std::to_string(i)));
    store.save({FileKind::lock, to_hex(digest)}, as_bytes(std::to_string(i)), digest,
               SaveMode::replace, world.call);
  }
  int listed = 0;
  store.list(
      FileKind::lock, [&](const storage::FileInfo&) { ++listed; }, world.call);
  CHECK(listed == kFiles);
}

TEST_CASE("S3 store: a region that is not the server's is corrected by what the server says") {
  KUBEDR_NEEDS("minio");
  const test::S3Server server;
  World world;
  S3Options options = options_for(server, "bucket");
  S3Store(options, world.clock).create(world.call);
  options.region = "eu-central-1";
  S3Store store(options, world.clock);
  CHECK_FALSE(store.size_of(kConfig, world.call));
  const Digest digest = sha256(as_bytes("x"));
  store.save(kConfig, as_bytes("x"), digest, SaveMode::create_only, world.call);
  CHECK(store.load(kConfig, 100, world.call) == Bytes{'x'});
}

TEST_CASE("S3 store: bytes that are not those of the digest are refused") {
  KUBEDR_NEEDS("minio");
  const test::S3Server server;
  World world;
  S3Store store(options_for(server, "bucket"), world.clock);
  store.create(world.call);
  const Error error = error_of([&] {
    store.save(kConfig, as_bytes("damaged"), sha256(as_bytes("sound")), SaveMode::replace,
               world.call);
  });
  CHECK(error.kind() == ErrorKind::corrupt);
  CHECK_FALSE(store.size_of(kConfig, world.call));
}

}  // namespace
}  // namespace kubedr::s3
