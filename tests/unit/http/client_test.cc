#include "http/client.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/time.h"
#include "support/responder.h"

namespace kubedr::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using test::Peer;
using test::Responder;

const SystemClock system_clock;

Call ten_seconds() {
  return Call(system_clock).within(std::chrono::seconds(10));
}

Options short_options() {
  Options options;
  options.idle_timeout = milliseconds(200);
  return options;
}

Request get(const std::string& url) {
  Request request;
  request.url = url;
  return request;
}

// Answers each request of a connection with the same text and keeps what was asked.
struct Echo {
  explicit Echo(std::string answer)
      : responder([this, answer = std::move(answer)](Peer& peer) {
          for (std::string text = peer.receive(); !text.empty(); text = peer.receive()) {
            {
              const std::lock_guard guard(mutex);
              requests.push_back(text);
            }
            if (!peer.send(answer)) return;
          }
        }) {}

  std::string last() {
    const std::lock_guard guard(mutex);
    return requests.empty() ? "" : requests.back();
  }

  std::mutex mutex;
  std::vector<std::string> requests;  // guarded by mutex
  Responder responder;
};

template <class Function>
Error error_of(Function function) {
  try {
    function();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorKind::internal, "nothing was thrown");
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string read_all(Stream& stream, std::size_t piece) {
  std::string all;
  Bytes buffer(piece);
  while (const std::size_t count = stream.read(buffer, ten_seconds())) {
    all += as_text(ByteView(buffer).first(count));
  }
  return all;
}

TEST_CASE("http: an answer comes back with status, headers and body, whatever the status is") {
  Echo echo(
      "HTTP/1.1 404 Not Found\r\nX-Thing:  a b \r\nx-thing: c\r\nContent-Length: 5\r\n\r\nhello");
  Client client(short_options());
  const Response response = client.send(get(echo.responder.url()), ten_seconds());
  CHECK(response.status == 404);
  CHECK(response.text() == "hello");
  REQUIRE(response.header("X-THING") != nullptr);
  CHECK(*response.header("X-THING") == "c");
  CHECK(response.headers.front() == std::pair<std::string, std::string>("x-thing", "a b"));
  CHECK(response.header("absent") == nullptr);
}

TEST_CASE("http: what a status says of another try") {
  const auto is_success = [](int status) { return Response{status, {}, {}}.is_success(); };
  for (const int status : {200, 201, 204, 299}) CHECK(is_success(status));
  for (const int status : {199, 300, 404, 500}) CHECK_FALSE(is_success(status));
  for (const int status : {429, 500, 502, 503, 504, 522, 599}) CHECK(is_away(status));
  for (const int status : {200, 301, 400, 404, 408, 501, 505, 507}) CHECK_FALSE(is_away(status));
}

TEST_CASE("http: Retry-After is a number of seconds or a date, and a day at the most") {
  using std::chrono::seconds;
  const WallTime now = parse_http_date("Sun, 22 Nov 2026 21:16:13 GMT").value();
  const auto after = [&](const std::string& text) {
    return Response{503, {{"retry-after", text}}, {}}.retry_after(now);
  };
  CHECK(after("7") == seconds(7));
  CHECK(after("0") == seconds(0));
  CHECK(after("99999999999") == seconds(86'400));
  CHECK(after("Sun, 22 Nov 2026 21:16:20 GMT") == seconds(7));
  CHECK(after("Sun, 29 Nov 2026 21:16:13 GMT") == seconds(86'400));
  for (const char* text : {"Sun, 22 Nov 2026 21:16:13 GMT", "", "-1", "1.5", "7 s", "soon"}) {
    CAPTURE(text);
    CHECK_FALSE(after(text));
  }
  CHECK_FALSE(Response{}.retry_after(now));
}

TEST_CASE("http: by Date the server's clock is compared with ours") {
  using std::chrono::seconds;
  const WallTime now = parse_http_date("Sun, 22 Nov 2026 21:16:13 GMT").value();
  const auto offset = [&](const std::string& text) {
    return Response{200, {{"date", text}}, {}}.clock_offset(now);
  };
  CHECK(offset("Sun, 22 Nov 2026 21:16:20 GMT") == seconds(7));
  CHECK(offset("Sun, 22 Nov 2026 21:15:13 GMT") == seconds(-60));
  CHECK_FALSE(offset("now"));
  CHECK_FALSE(Response{}.clock_offset(now));
}

TEST_CASE("http: method, path, headers and body are sent to the byte and nothing is added") {
  Echo echo("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  Client client(short_options());
  const std::string body(3 * limits::kMiB, 'x');
  Request request = get(echo.responder.url("/a/../b//%2f%e4+c?list-type=2&p=%20"));
  request.method = "PUT";
  request.headers = {{"X-Empty", ""}, {"Accept", "application/json"}};
  request.authorization = Secret("Bearer token");
  request.body = as_bytes(body);
  client.send(request, ten_seconds());
  const std::string sent = echo.last();
  const std::string host = "127.0.0.1:" + std::to_string(echo.responder.port());
  const std::string head = sent.substr(0, sent.find("\r\n\r\n") + 4);
  CHECK(head == "PUT /a/../b//%2f%e4+c?list-type=2&p=%20 HTTP/1.1\r\nHost: " + host +
                    "\r\nX-Empty:\r\nAccept: application/json\r\nAuthorization: Bearer token\r\n"
                    "Content-Length: 3145728\r\n\r\n");
  CHECK(sent.substr(head.size()) == body);
}

TEST_CASE("http: PUT and POST without a body say so, DELETE and HEAD send none") {
  Client client(short_options());
  Echo echo("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  for (const std::string method : {"PUT", "POST", "DELETE", "GET"}) {
    CAPTURE(method);
    Request request = get(echo.responder.url("/x"));
    request.method = method;
    CHECK(client.send(request, ten_seconds()).status == 200);
    CHECK(echo.last().starts_with(method + " /x HTTP/1.1\r\n"));
    const bool has_length = contains(echo.last(), "Content-Length: 0\r\n");
    CHECK(has_length == (method == "PUT" || method == "POST"));
  }
  Echo head("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
  Request request = get(head.responder.url("/x"));
  request.method = "HEAD";
  for (int i = 0; i < 2; ++i) {
    const Response response = client.send(request, ten_seconds());
    CHECK(*response.header("content-length") == "99");
    CHECK(response.body.empty());
  }
  CHECK(head.responder.connections() == 1);
}

TEST_CASE("http: a DELETE can have a body") {
  Echo echo("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  Client client(short_options());
  Request request = get(echo.responder.url("/x"));
  request.method = "DELETE";
  request.headers = {{"content-type", "application/json"}};
  request.body = as_bytes("{}");
  client.send(request, ten_seconds());
  CHECK(echo.last().starts_with("DELETE /x HTTP/1.1\r\n"));
  CHECK(contains(echo.last(), "content-type: application/json\r\n"));
  CHECK(echo.last().ends_with("\r\n\r\n{}"));
}

TEST_CASE("http: connections are reused, also after a stream that was read to its end") {
  Echo echo("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
  Client client(short_options());
  client.send(get(echo.responder.url()), ten_seconds());
  {
    const auto stream = client.open(get(echo.responder.url()), ten_seconds());
    CHECK(read_all(*stream, 2) == "abc");
  }
  client.send(get(echo.responder.url()), ten_seconds());
  CHECK(echo.responder.connections() == 1);
}

TEST_CASE("http: a chunked answer arrives whole, with its trailers") {
  Echo echo(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
      "5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 42\r\n\r\n");
  Client client(short_options());
  const Response response = client.send(get(echo.responder.url()), ten_seconds());
  CHECK(response.text() == "hello world");
  REQUIRE(response.header("x-sum") != nullptr);
  CHECK(*response.header("x-sum") == "42");
}

TEST_CASE("http: informational answers are not the answer") {
  Echo echo(
      "HTTP/1.1 103 Early Hints\r\nLink: nothing\r\n\r\n"
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  Client client(short_options());
  const Response response = client.send(get(echo.responder.url()), ten_seconds());
  CHECK(response.status == 200);
  CHECK(response.header("link") == nullptr);
  CHECK(response.text() == "ok");
}

TEST_CASE("http: redirects are not followed") {
  Echo echo("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
  Client client(short_options());
  CHECK(client.send(get(echo.responder.url()), ten_seconds()).status == 302);
}

TEST_CASE("http: a body that ends before its length is unavailable and worth another try") {
  Responder responder([](Peer& peer) {
    peer.receive();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
  });
  Client client(short_options());
  const Error error = error_of([&] { client.send(get(responder.url()), ten_seconds()); });
  CHECK(error.kind() == ErrorKind::unavailable);
  CHECK(error.transport().transient);
  CHECK(error.transport().may_have_arrived);

  const auto stream = client.open(get(responder.url()), ten_seconds());
  CHECK(stream->status(ten_seconds()) == 200);
  Bytes buffer(100);
  CHECK(stream->read(buffer, ten_seconds()) == 5);
  for (int i = 0; i < 2; ++i) {
    CHECK(error_of([&] { stream->read(buffer, ten_seconds()); }).kind() == ErrorKind::unavailable);
  }
}

TEST_CASE("http: a chunked body without its last chunk is unavailable") {
  Responder responder([](Peer& peer) {
    peer.receive();
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  });
  Client client(short_options());
  const Error error = error_of([&] { client.send(get(responder.url()), ten_seconds()); });
  CHECK(error.kind() == ErrorKind::unavailable);
}

TEST_CASE("http: a connection closed without an answer is unavailable and may have arrived") {
  Responder responder([](Peer& peer) { peer.receive(); });
  Client client(short_options());
  const Error error = error_of([&] { client.send(get(responder.url()), ten_seconds()); });
  CHECK(error.kind() == ErrorKind::unavailable);
  CHECK(error.transport().transient);
  CHECK(error.transport().may_have_arrived);
}

TEST_CASE("http: a refused port is unavailable and certainly did not arrive") {
  int port = 0;
  {
    const Responder responder([](Peer&) {});
    port = responder.port();
  }
  Client client(short_options());
  const std::string url = "http://127.0.0.1:" + std::to_string(port);
  const Error error = error_of([&] { client.send(get(url), ten_seconds()); });
  CHECK(error.kind() == ErrorKind::unavailable);
  CHECK(error.transport().transient);
  CHECK_FALSE(error.transport().may_have_arrived);
  CHECK(std::string(error.what()).starts_with(url + ": could not connect: "));
}

TEST_CASE("http: silence ends an exchange after the idle timeout, before and within the body") {
  for (const std::string begin : {"", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"}) {
    CAPTURE(begin);
    Responder responder([begin](Peer& peer) {
      peer.receive();
      peer.send(begin);
      peer.wait_for_close();
    });
    Client client(short_options());
    const auto start = steady_clock::now();
    const Error error = error_of([&] { client.send(get(responder.url()), ten_seconds()); });
    const auto took = steady_clock::now() - start;
    CHECK(error.kind() == ErrorKind::unavailable);
    CHECK(contains(error.what(), "no byte for 200 ms"));
    CHECK(took >= milliseconds(200));
    CHECK(took < milliseconds(1500));
  }
}

TEST_CASE("http: a slow but steady answer is not idle") {
  Responder responder([](Peer& peer) {
    peer.receive();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
    for (int i = 0; i < 8; ++i) {
      std::this_thread::sleep_for(milliseconds(60));
      peer.send("x");
    }
  });
  Client client(short_options());
  CHECK(client.send(get(responder.url()), ten_seconds()).text() == "xxxxxxxx");
}

TEST_CASE("http: time in which nobody reads a stream is not the server's silence") {
  Echo echo("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
  Client client(short_options());
  const auto stream = client.open(get(echo.responder.url()), ten_seconds());
  CHECK(stream->status(ten_seconds()) == 200);
  std::this_thread::sleep_for(milliseconds(300));
  CHECK(read_all(*stream, 100) == "abc");
}

TEST_CASE("http: a deadline ends the wait as unavailable") {
  Responder responder([](Peer& peer) { peer.wait_for_close(); });
  Client client({});
  const auto start = steady_clock::now();
  const Call call = Call(system_clock).within(milliseconds(100));
  const Error error = error_of([&] { client.send(get(responder.url()), call); });
  CHECK(error.kind() == ErrorKind::unavailable);
  CHECK(contains(error.what(), "no answer within the time allowed"));
  CHECK(steady_clock::now() - start < milliseconds(900));
}

TEST_CASE("http: a stop from another thread ends the wait at once with its reason") {
  Responder responder([](Peer& peer) { peer.wait_for_close(); });
  Client client({});
  CallScope scope(ten_seconds());
  std::thread stopper([&] {
    std::this_thread::sleep_for(milliseconds(50));
    scope.fail(std::make_exception_ptr(Error(ErrorKind::locked, "lock: lost")));
  });
  const auto start = steady_clock::now();
  const Error error = error_of([&] { client.send(get(responder.url()), scope.call()); });
  stopper.join();
  CHECK(error.kind() == ErrorKind::locked);
  CHECK(steady_clock::now() - start < milliseconds(500));
}

TEST_CASE("http: a stream that failed to wait loses no byte for the next read") {
  Responder responder([](Peer& peer) {
    peer.receive();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
    std::this_thread::sleep_for(milliseconds(150));
    peer.send("def");
  });
  Client client({});
  const auto stream = client.open(get(responder.url()), ten_seconds());
  std::string all;
  Bytes buffer(2);
  while (all.size() < 6) {
    try {
      const std::size_t count = stream->read(buffer, Call(system_clock).within(milliseconds(20)));
      all += as_text(ByteView(buffer).first(count));
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::unavailable);
    }
  }
  CHECK(all == "abcdef");
}

TEST_CASE("http: a header block above the limit is corrupt") {
  const std::string line = "X-Big: " + std::string(60 * limits::kKiB, 'a') + "\r\n";
  std::string answer = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 5; ++i) answer += line;
  Echo echo(answer + "Content-Length: 0\r\n\r\n");
  Client client(short_options());
  const Error error = error_of([&] { client.send(get(echo.responder.url()), ten_seconds()); });
  CHECK(error.kind() == ErrorKind::corrupt);
}

TEST_CASE("http: a body above the request's limit is corrupt, one at the limit is not") {
  Echo echo("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  Client client(short_options());
  Request request = get(echo.responder.url());
  request.max_body = 5;
  CHECK(client.send(request, ten_seconds()).text() == "hello");
  request.max_body = 4;
  CHECK(error_of([&] { client.send(request, ten_seconds()); }).kind() == ErrorKind::corrupt);
}

TEST_CASE("http: of a refusal above the limit the beginning is kept") {
  Echo echo("HTTP/1.1 403 Forbidden\r\nContent-Length: 12\r\n\r\nnot for you!");
  Client client(short_options());
  Request request = get(echo.responder.url());
  request.max_body = 7;
  const Response refusal = client.send(request, ten_seconds());
  CHECK(refusal.status == 403);
  CHECK(refusal.text() == "not for");
  CHECK(client.send(request, ten_seconds()).text() == "not for");  // and the connection goes on
}

TEST_CASE("http: a stream has no body limit and arrives in order through any buffer") {
  std::string body;
  for (int i = 0; body.size() < 9 * limits::kMiB; ++i) body += std::to_string(i) + ",";
  Echo echo("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
            body);
  Client client(short_options());
  Request request = get(echo.responder.url());
  request.max_body = 1;
  for (const std::size_t piece : {std::size_t{1000}, limits::kMiB, 32 * limits::kMiB}) {
    const auto stream = client.open(request, ten_seconds());
    CHECK(read_all(*stream, piece) == body);
  }
}

TEST_CASE("http: what nobody reads is not taken from the connection") {
  std::atomic<std::size_t> sent = 0;
  Responder responder([&](Peer& peer) {
    peer.receive();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    const std::string piece(64 * limits::kKiB, 'x');
    while (sent < 1000000000 && peer.send(piece)) sent += piece.size();
  });
  Client client({});
  auto stream = client.open(get(responder.url()), ten_seconds());
  Bytes buffer(10);
  CHECK(stream->read(buffer, ten_seconds()) == 10);
  std::this_thread::sleep_for(milliseconds(200));
  CHECK(sent < 32 * limits::kMiB);  // sockets' buffers, and our own
  stream.reset();                   // resets the connection, or the responder would never end
}

TEST_CASE("http: two streams and a request go side by side on one client") {
  Echo one("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
  Echo two("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo");
  Echo three("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthree");
  Client client(short_options());
  const auto first = client.open(get(one.responder.url()), ten_seconds());
  const auto second = client.open(get(two.responder.url()), ten_seconds());
  CHECK(client.send(get(three.responder.url()), ten_seconds()).text() == "three");
  CHECK(read_all(*second, 2) == "two");
  CHECK(read_all(*first, 2) == "one");
}

TEST_CASE("http: HTTP/2 is demanded, not hoped for") {
  Echo echo("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  Options options = short_options();
  options.version = Version::http2_prior;
  Client client(options);
  const Error error = error_of([&] { client.send(get(echo.responder.url()), ten_seconds()); });
  CHECK(error.kind() == ErrorKind::unavailable);
}

TEST_CASE("http: TLS to a plain port is said so") {
  Responder responder([](Peer& peer) { peer.send("HTTP/1.1 400 Bad Request\r\n\r\n"); });
  Client client(short_options());
  const std::string url = "https://127.0.0.1:" + std::to_string(responder.port());
  const Error error = error_of([&] { client.send(get(url), ten_seconds()); });
  CHECK(error.kind() == ErrorKind::unavailable);
  CHECK(contains(error.what(), "the server does not speak TLS"));
  CHECK(contains(error.hint(), "http://"));
}

TEST_CASE("http: URLs and headers that cannot be sent are usage errors") {
  Client client(short_options());
  for (const char* url : {"ftp://127.0.0.1/", "127.0.0.1:80", "http://user:pw@127.0.0.1:1/"}) {
    CAPTURE(url);
    const Error error = error_of([&] { client.send(get(url), ten_seconds()); });
    CHECK(error.kind() == ErrorKind::usage);
    CHECK_FALSE(contains(error.what(), "pw"));
  }
  Request request = get("http://127.0.0.1:1/");
  request.headers = {{"X", "a\r\nY: b"}};
  CHECK(error_of([&] { client.send(request, ten_seconds()); }).kind() == ErrorKind::usage);
  request.headers.clear();
  request.authorization = Secret("Bearer hunter2\nY: b");
  const Error error = error_of([&] { client.send(request, ten_seconds()); });
  CHECK(error.kind() == ErrorKind::usage);
  CHECK_FALSE(contains(error.what(), "hunter2"));
}

TEST_CASE("http: an answer that is no HTTP is unavailable") {
  Echo echo("SSH-2.0-OpenSSH_9.2\r\n");
  Client client(short_options());
  const Error error = error_of([&] { client.send(get(echo.responder.url()), ten_seconds()); });
  CHECK(error.kind() == ErrorKind::unavailable);
  CHECK_FALSE(error.transport().transient);
}

TEST_CASE("http: a proxy of the environment is never used for this machine, a named one is") {
  Echo echo("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  Echo proxy("HTTP/1.1 204 No Content\r\n\r\n");
  Options options = short_options();
  options.proxies.http = proxy.responder.url("");
  CHECK(Client(options).send(get(echo.responder.url()), ten_seconds()).status == 200);
  options.proxy_url = proxy.responder.url("");
  CHECK(Client(options).send(get(echo.responder.url()), ten_seconds()).status == 204);
}

TEST_CASE("http: the environment's own variables reach no request") {
  Echo echo("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
  Client client(short_options());
  CHECK(client.send(get(echo.responder.url()), ten_seconds()).status == 200);
  unsetenv("http_proxy");
  unsetenv("ALL_PROXY");
}

TEST_CASE("http: a proxy gets the requests for other machines, but for those that are exempt") {
  Echo proxy("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  Options options = short_options();
  options.proxies.http = proxy.responder.url("");
  options.proxies.no_proxy = ".exempt.invalid";
  Client client(options);
  CHECK(client.send(get("http://example.invalid/x"), ten_seconds()).status == 200);
  CHECK(proxy.last().starts_with("GET http://example.invalid/x HTTP/1.1\r\n"));
  CHECK(error_of([&] { client.send(get("http://is.exempt.invalid/x"), ten_seconds()); }).kind() ==
        ErrorKind::unavailable);
  CHECK(proxy.responder.connections() == 1);
}

TEST_CASE("http: a proxy that refuses the way through is named as the one who does") {
  struct Case {
    const char* answer;
    ErrorKind kind;
    const char* text;
  };

  for (const Case& one :
       {Case{"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
             ErrorKind::denied, "the proxy wants a user and a password"},
        Case{"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", ErrorKind::unavailable,
             "the proxy does not let us through"}}) {
    CAPTURE(one.answer);
    Echo proxy(one.answer);
    Options options = short_options();
    options.proxies.https = "http://me:hunter2@" + proxy.responder.url("").substr(7);
    Client client(options);
    const Error error =
        error_of([&] { client.send(get("https://example.invalid/x"), ten_seconds()); });
    CHECK(proxy.last().starts_with("CONNECT example.invalid:443 HTTP/1.1\r\n"));
    CHECK(contains(proxy.last(), "Proxy-Authorization: Basic bWU6aHVudGVyMg==\r\n"));
    CHECK(error.kind() == one.kind);
    CHECK_MESSAGE(contains(error.what(), one.text), error.what());
    CHECK_FALSE(contains(error.what(), "hunter2"));
  }
}

TEST_CASE("http: a body in gzip is asked for only where it is wanted, and limits count it open") {
  // A thousand times "a", by gzip.
  const std::string packed(
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\x4c\x1c\x05\xa3\x60\x14\x0c\x77\x00\x00\x03"
      "\xda\x38\x9a\xe8\x03\x00\x00",
      29);
  Echo echo("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 29\r\n\r\n" + packed);
  CHECK(Client(short_options()).send(get(echo.responder.url()), ten_seconds()).text() == packed);
  CHECK_FALSE(contains(echo.last(), "Accept-Encoding"));

  Options options = short_options();
  options.compression = true;
  Client client(options);
  CHECK(client.send(get(echo.responder.url()), ten_seconds()).text() == std::string(1000, 'a'));
  CHECK(contains(echo.last(), "Accept-Encoding: gzip\r\n"));
  Request request = get(echo.responder.url());
  request.max_body = 999;
  CHECK(error_of([&] { client.send(request, ten_seconds()); }).kind() == ErrorKind::corrupt);
}

}  // namespace
}  // namespace kubedr::http
