#include "s3/s3_store.h"

#include <doctest/doctest.h>

#include <functional>

#include "base/error.h"
#include "base/sha256.h"
#include "unit/s3/responder.h"

namespace kubedr::s3 {
namespace {

using std::chrono::seconds;
using storage::FileInfo;
using storage::FileKind;
using storage::FileName;
using storage::SaveMode;

const FileName kConfig{FileKind::config, ""};
const FileName kPack{FileKind::pack, "3fa2c1d0" + std::string(56, '7')};

struct World {
  S3Options options(const std::string& url, const std::string& region = "us-east-1") const {
    S3Options options;
    options.address = make_address(url, "bucket/prefix");
    options.credentials = {"AKIAEXAMPLE", Secret("hunter2"), Secret()};
    options.region = region;
    return options;
  }

  SystemClock clock;
  Call call = Call(clock).within(seconds(30));
};

Error error_of(const std::function<void()>& function) {
  try {
    function();
  } catch (const Error& error) {
    return error;
  }
  FAIL("nothing was thrown");
  throw;
}

// The error of loading a pack that is answered so.
Error error_for(const std::string& answer) {
  const World world;
  const Responder server({answer});
  const S3Store store(world.options(server.url()), world.clock);
  return error_of([&] { store.load(kPack, 1000, world.call); });
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("S3 store: a busy server is unavailable for now, with its own words and pause") {
  const Error error = error_for(Responder::error(
      "503 Slow Down", "SlowDown", "Please reduce your request rate", "Retry-After: 7\r\n"));
  CHECK(std::string(error.what()) ==
        "s3: get data/3f/3fa2c1d0..: 503 SlowDown: Please reduce your request rate");
  CHECK(error.kind() == ErrorKind::unavailable);
  CHECK(may_retry(error, false));
  CHECK(error.transport().retry_after == seconds(7));
}

TEST_CASE("S3 store: each refusal has the kind that callers go by") {
  struct Row {
    const char *status, *code;
    ErrorKind kind;
    bool transient;
    bool has_hint = false;
  };

  for (const Row& row : {
           Row{"500 Oops", "InternalError", ErrorKind::unavailable, true},
           Row{"429 Many", "TooManyRequests", ErrorKind::unavailable, true},
           Row{"400 Bad", "RequestTimeout", ErrorKind::unavailable, true},
           Row{"404 Gone", "NoSuchKey", ErrorKind::not_found, false},
           Row{"404 Gone", "NoSuchBucket", ErrorKind::no_repository, false},
           Row{"403 No", "AccessDenied", ErrorKind::denied, false},
           Row{"403 No", "RequestTimeTooSkewed", ErrorKind::denied, false, true},
           Row{"400 Bad", "ExpiredToken", ErrorKind::denied, false, true},
           Row{"416 Range", "InvalidRange", ErrorKind::corrupt, false},
           Row{"507 Full", "XMinioStorageFull", ErrorKind::failed, false},
           Row{"418 Teapot", "Teapot", ErrorKind::failed, false},
       }) {
    CAPTURE(row.code);
    const Error error = error_for(Responder::error(row.status, row.code, "Because."));
    CHECK(error.kind() == row.kind);
    CHECK(error.transport().transient == row.transient);
    CHECK(has(error.what(), ": Because."));
    CHECK(error.hint().empty() == !row.has_hint);
  }
}

TEST_CASE(
    "S3 store: an answer that is no document is told by its status, and nothing steers a "
    "terminal") {
  CHECK(has(error_for(Responder::answer("403 Forbidden", "<html>no")).what(), "403 Forbidden"));
  const std::string text =
      error_for(Responder::error("403 No", "A\x1b[2J", std::string(5000, 'x'))).what();
  CHECK_FALSE(has(text, "\x1b"));
  CHECK(text.size() < 1000);
}

TEST_CASE("S3 store: a range that is not what was asked for is corrupt") {
  const World world;
  const Responder server({Responder::answer("206 Part", "abc"), Responder::answer("200 OK", "abcd"),
                          Responder::answer("206 Part", "abcd", "Content-Range: bytes 0-3/9\r\n"),
                          Responder::answer("206 Part", "abcd", "Content-Range: bytes 2-5/9\r\n")});
  const S3Store store(world.options(server.url()), world.clock);
  for (int i = 0; i < 3; ++i) {
    CHECK(error_of([&] {
            store.load_range(kPack, {2, 4}, world.call);
          }).kind() == ErrorKind::corrupt);
  }
  CHECK(as_text(store.load_range(kPack, {2, 4}, world.call)) == "abcd");
  CHECK(has(server.requests()[0], "\r\nrange: bytes=2-5\r\n"));
}

TEST_CASE("S3 store: the region is us-east-1, and asked for once where that is refused") {
  const World world;
  const std::string refused = Responder::error("403 No", "SignatureDoesNotMatch", "Wrong.");
  const std::string good = Responder::answer("200 OK", "x");
  SUBCASE("not refused") {
    const Responder server({good, good});
    const S3Store store(world.options(server.url(), ""), world.clock);
    store.load(kConfig, 10, world.call);
    store.load(kConfig, 10, world.call);
    for (const std::string& request : server.requests()) {
      CHECK(has(request, "/us-east-1/s3/aws4_request"));
    }
  }
  SUBCASE("told") {
    const Responder server(
        {refused, Responder::answer("200 OK", "<LocationConstraint>eu-west-3</LocationConstraint>"),
         good, good});
    const S3Store store(world.options(server.url(), ""), world.clock);
    store.load(kConfig, 10, world.call);
    store.load(kConfig, 10, world.call);
    const std::vector<std::string> requests = server.requests();
    REQUIRE(requests.size() == 4);
    CHECK(has(requests[1], "GET /bucket/?location= HTTP"));
    CHECK(has(requests[2], "/eu-west-3/s3/aws4_request"));
    CHECK(has(requests[3], "/eu-west-3/s3/aws4_request"));
  }
  SUBCASE("not told: what was refused stays refused, and nobody asks again") {
    const Responder server({refused, refused, refused});
    const S3Store store(world.options(server.url(), ""), world.clock);
    for (int i = 0; i < 2; ++i) {
      CHECK(error_of([&] { store.load(kConfig, 10, world.call); }).kind() == ErrorKind::denied);
    }
    const std::vector<std::string> requests = server.requests();
    REQUIRE(requests.size() == 3);
    CHECK(has(requests[1], "GET /bucket/?location= HTTP"));
    CHECK_MESSAGE(has(requests[2], "GET /bucket/prefix/config HTTP"), requests[2]);
  }
  SUBCASE("a server that is busy has not said yes") {
    const Responder server(
        {Responder::error("503 Slow Down", "SlowDown", "Later."), refused,
         Responder::answer("200 OK", "<LocationConstraint>eu-west-3</LocationConstraint>"), good});
    const S3Store store(world.options(server.url(), ""), world.clock);
    CHECK(error_of([&] { store.load(kConfig, 10, world.call); }).kind() == ErrorKind::unavailable);
    store.load(kConfig, 10, world.call);
    CHECK(has(server.requests()[3], "/eu-west-3/s3/aws4_request"));
  }
}

TEST_CASE("S3 store: a request signed for the wrong region is signed once more") {
  const World world;
  const std::string wrong = Responder::answer(
      "400 Bad Request",
      "<Error><Code>AuthorizationHeaderMalformed</Code><Message>expecting 'eu-west-3'</Message>"
      "<Region>eu-west-3</Region></Error>");
  SUBCASE("and then it is right") {
    const Responder server({wrong, Responder::answer("200 OK", "x"), Responder::answer("200 OK")});
    const S3Store store(world.options(server.url()), world.clock);
    CHECK(store.load(kConfig, 10, world.call).size() == 1);
    store.load(kConfig, 10, world.call);
    CHECK(has(server.requests()[1], "/eu-west-3/s3/"));
    CHECK(has(server.requests()[2], "/eu-west-3/s3/"));
  }
  SUBCASE("and no more than once") {
    const Responder server({wrong, wrong});
    const S3Store store(world.options(server.url()), world.clock);
    CHECK(error_of([&] { store.load(kConfig, 10, world.call); }).kind() == ErrorKind::denied);
    CHECK(server.requests().size() == 2);
  }
}

TEST_CASE("S3 store: where conditional PUTs are not known a HEAD comes first") {
  const World world;
  const Digest digest = sha256(as_bytes("x"));
  const Responder server({Responder::error("501 No", "NotImplemented", "not implemented"),
                          Responder::answer("404 Not Found"), Responder::answer("200 OK"),
                          Responder::answer("200 OK")});
  S3Store store(world.options(server.url()), world.clock);
  store.save(kConfig, as_bytes("x"), digest, SaveMode::create_only, world.call);
  const Error error = error_of(
      [&] { store.save(kConfig, as_bytes("x"), digest, SaveMode::create_only, world.call); });
  CHECK(error.kind() == ErrorKind::exists);
  const std::vector<std::string> requests = server.requests();
  REQUIRE(requests.size() == 4);
  CHECK(has(requests[0], "if-none-match: *"));
  CHECK(has(requests[1], "HEAD /bucket/prefix/config"));
  CHECK(has(requests[2], "PUT /bucket/prefix/config"));
  CHECK_FALSE(has(requests[2], "if-none-match"));
  CHECK(has(requests[3], "HEAD "));
}

TEST_CASE("S3 store: a bucket with an object lock gets the checksum it asks for") {
  const World world;
  const Digest digest = sha256(as_bytes("x"));
  // AWS's words; where to keep the lock is the bucket's business.
  const Responder server(
      {Responder::error("400 Bad Request", "InvalidRequest",
                        "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object "
                        "requests with Object Lock parameters"),
       Responder::answer("200 OK"), Responder::answer("200 OK")});
  S3Store store(world.options(server.url()), world.clock);
  store.save(kConfig, as_bytes("x"), digest, SaveMode::create_only, world.call);
  store.save(kConfig, as_bytes("x"), digest, SaveMode::replace, world.call);
  const std::vector<std::string> requests = server.requests();
  REQUIRE(requests.size() == 3);
  CHECK_FALSE(has(requests[0], "content-md5"));
  CHECK(has(requests[1], "if-none-match: *"));
  for (const std::string& request : {requests[1], requests[2]}) {
    CHECK(has(request, "content-md5: ndTkYSaMgDT1yFZOFVxnpg=="));
    CHECK(has(request, "content-md5;content-type"));  // among the signed ones
  }
}

TEST_CASE("S3 store: a bucket in another region than the first is made there") {
  const World world;
  const std::string missing = Responder::error("404 Not Found", "NoSuchBucket", "no such bucket");
  const Responder server({missing, Responder::answer("200 OK"), missing,
                          Responder::error("409 Conflict", "BucketAlreadyOwnedByYou", "yours")});
  S3Store store(world.options(server.url(), "eu-west-3"), world.clock);
  CHECK(store.create(world.call));
  CHECK_FALSE(store.create(world.call));
  CHECK(has(server.requests()[1], "PUT /bucket/ HTTP"));
  CHECK(has(server.requests()[1], "<LocationConstraint>eu-west-3</LocationConstraint>"));
}

TEST_CASE("S3 store: a bucket that may not be asked about is taken for there") {
  const World world;
  const Responder server({Responder::error("403 No", "AccessDenied", "Access Denied.")});
  S3Store store(world.options(server.url()), world.clock);
  CHECK_FALSE(store.create(world.call));
}

TEST_CASE("S3 store: a damaged list is corrupt, and strangers in it are skipped") {
  const World world;
  const auto list_of = [](const std::string& inner) {
    return Responder::answer("200 OK", "<ListBucketResult><EncodingType>url</EncodingType>" +
                                           inner + "</ListBucketResult>");
  };
  const std::string good =
      "<Contents><Key>prefix%2Fdata%2F3f%2F" + kPack.id + "</Key><Size>12</Size></Contents>";
  const std::string strangers =
      "<Contents><Key>prefix%2Fdata%2F</Key><Size>0</Size></Contents>"
      "<Contents><Key>prefix%2Fdata%2FREADME</Key><Size>5</Size></Contents>"
      "<Contents><Key>prefix%2Fdata%2F00%2F" +
      kPack.id + "</Key><Size>5</Size></Contents><Contents><Key>%</Key></Contents>";
  const std::string more =
      "<IsTruncated>true</IsTruncated><NextContinuationToken>a+b/=</NextContinuationToken>";
  const auto listed = [&](std::vector<std::string> answers) {
    const Responder server(std::move(answers));
    const S3Store store(world.options(server.url()), world.clock);
    std::vector<std::uint64_t> sizes;
    store.list(
        FileKind::pack, [&](const FileInfo& info) { sizes.push_back(info.size); }, world.call);
    const std::string last = server.requests().back();
    if (sizes.size() == 2) CHECK(has(last, "&continuation-token=a%2Bb%2F%3D "));
    return sizes;
  };
  CHECK(listed({list_of(strangers + good)}) == std::vector<std::uint64_t>{12});
  CHECK(listed({list_of(good + more), list_of(good)}).size() == 2);
  for (const std::vector<std::string>& answers : {
           std::vector<std::string>{Responder::answer("200 OK", "<ListBucketResult>")},
           {Responder::answer("200 OK", "{}")},
           {Responder::answer("200 OK", "<Other/>")},
           {list_of("<Contents><Key>prefix/data/3f/" + kPack.id + "</Key></Contents>")},
           {list_of("<IsTruncated>true</IsTruncated>")},
           {list_of(more), list_of(more)},
       }) {
    CHECK(error_of([&] { listed(answers); }).kind() == ErrorKind::corrupt);
  }
}

TEST_CASE("S3 store: a failed HEAD is explained by a GET") {
  const World world;
  const Responder server(
      {Responder::answer("403 Forbidden"),
       Responder::error("403 Forbidden", "InvalidAccessKeyId", "no such key in our records.")});
  const S3Store store(world.options(server.url()), world.clock);
  const Error error = error_of([&] { store.size_of(kConfig, world.call); });
  CHECK(std::string(error.what()) ==
        "s3: head config: 403 InvalidAccessKeyId: no such key in our records.");
}

TEST_CASE("S3 store: a session token is sent and signed") {
  const World world;
  const Responder server({Responder::answer("200 OK", "x")});
  S3Options options = world.options(server.url());
  options.credentials.session_token = Secret("token");
  S3Store(options, world.clock).load(kConfig, 10, world.call);
  CHECK(has(server.requests()[0], "x-amz-security-token: token\r\n"));
  CHECK(has(server.requests()[0],
            "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"));
}

TEST_CASE("S3 store: odd credentials are a usage error that does not show them") {
  const World world;
  S3Options options = world.options("http://127.0.0.1:1");
  SUBCASE("access key") {
    options.credentials.access_key = "hunter2\n";
  }
  SUBCASE("secret key") {
    options.credentials.secret_key = Secret("hunter2\r\nX-Evil: 1");
  }
  SUBCASE("session token") {
    options.credentials.session_token = Secret("hunter2\x7f");
  }
  SUBCASE("none at all") {
    options.credentials = {};
  }
  const Error error = error_of([&] { S3Store(options, world.clock); });
  CHECK(error.kind() == ErrorKind::usage);
  CHECK_FALSE(has(error.what(), "hunter2"));
}

}  // namespace
}  // namespace kubedr::s3
