#include "kube/client.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "support/responder.h"
#include "support/temp_dir.h"

namespace kubedr::kube {
namespace {

using test::Peer;
using test::Responder;
using test::TempDir;

// Sleeping moves it and returns at once.
class JumpingClock final : public Clock {
 public:
  WallTime now() const override { return WallTime{}; }

  SteadyTime steady() const override { return now_; }

  void wait_until(SteadyTime until, const std::stop_token&) const override {
    now_ = std::max(now_, until);
  }

 private:
  mutable SteadyTime now_ = std::chrono::steady_clock::now();
};

std::string answer(const std::string& status, const std::string& body,
                   const std::string& headers = "") {
  return "HTTP/1.1 " + status + "\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string status_body(const std::string& reason, const std::string& message) {
  return Json({{"kind", "Status"}, {"reason", reason}, {"message", message}}).dump();
}

// Plays its answers in order, one for each request; an empty one closes the connection instead.
struct Server {
  explicit Server(std::vector<std::string> with) : answers(std::move(with)) {}

  ~Server() { CHECK(requests.size() <= answers.size()); }

  void play(Peer& peer) {
    for (std::string text = peer.receive(); !text.empty(); text = peer.receive()) {
      const std::lock_guard guard(mutex);
      requests.push_back(text);
      if (requests.size() > answers.size()) return;
      const std::string& next = answers[requests.size() - 1];
      if (next.empty() || !peer.send(next)) return;
    }
  }

  std::string request(std::size_t i) {
    const std::lock_guard guard(mutex);
    return i < requests.size() ? requests[i] : "";
  }

  std::size_t count() {
    const std::lock_guard guard(mutex);
    return requests.size();
  }

  std::mutex mutex;
  std::vector<std::string> answers;
  std::vector<std::string> requests;  // guarded by mutex
  Responder responder{[this](Peer& peer) { play(peer); }};
};

struct Fixture {
  explicit Fixture(std::vector<std::string> answers) : server(std::move(answers)) {}

  Client client() {
    Config config;
    config.server = server.responder.url("/prefix");
    config.token = Secret("t0ken");
    return Client(config, "kubectl-kubedr/1.2", {}, clock);
  }

  Call call() const { return Call(clock).within(std::chrono::minutes(5)); }

  JumpingClock clock;
  Server server;
};

template <class Function>
Error failure(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    return error;
  }
  FAIL("no failure");
  return Error(ErrorKind::internal, "");
}

const std::string kLocation = path({"apis", "kubedr.catalogicsoftware.com", "v1alpha1",
                                    "namespaces", "ns", "backuplocations", "x"});

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a path's segments are escaped") {
  CHECK(path({"api", "v1", "namespaces", "a/b c"}) == "/api/v1/namespaces/a%2Fb%20c");
}

TEST_CASE("a get sends the prefix, the token and who asks") {
  Fixture fixture({answer("200 OK", R"({"kind":"Secret"})")});
  CHECK(fixture.client().get("/api/v1/x", {{"a", "b c"}}, fixture.call())["kind"] == "Secret");
  const std::string request = fixture.server.request(0);
  CHECK(request.starts_with("GET /prefix/api/v1/x?a=b%20c HTTP/1.1\r\n"));
  CHECK(has(request, "Authorization: Bearer t0ken\r\n"));
  CHECK(has(request, "User-Agent: kubectl-kubedr/1.2\r\n"));
  CHECK(has(request, "Accept: application/json\r\n"));
}

TEST_CASE("impersonation is sent with every group") {
  Fixture fixture({answer("200 OK", "{}")});
  Config config;
  config.server = fixture.server.responder.url("");
  config.username = "me";
  config.password = Secret("pw");
  config.impersonation = {"jane", "7", {"a", "b"}, {{"Scope/x", {"1", "2"}}}};
  Client client(config, "kubectl-kubedr/1.2", {}, fixture.clock);
  client.get("/api/v1/x", {}, fixture.call());
  const std::string request = fixture.server.request(0);
  CHECK(has(request, "Authorization: Basic bWU6cHc=\r\n"));
  CHECK(has(request, "Impersonate-User: jane\r\n"));
  CHECK(has(request, "Impersonate-Group: a\r\n"));
  CHECK(has(request, "Impersonate-Group: b\r\n"));
  CHECK(has(request, "Impersonate-Uid: 7\r\n"));
  CHECK(has(request, "Impersonate-Extra-Scope%2Fx: 1\r\nImpersonate-Extra-Scope%2Fx: 2\r\n"));
}

TEST_CASE("a token file is read again as it ages, and at once when its token is refused") {
  const TempDir folder;
  const auto write = [&](const std::string& token) { folder.write("token", token + "\n"); };
  const std::string ok = answer("200 OK", "{}");
  Fixture fixture({ok, ok, ok, answer("401 Unauthorized", "{}"), ok});
  Config config;
  config.server = fixture.server.responder.url("");
  config.token_file = folder / "token";
  Client client(config, "kubectl-kubedr/1.2", {}, fixture.clock);
  const auto get = [&] { client.get("/api/v1/x", {}, fixture.call()); };
  const auto sent = [&](std::size_t i, const char* token) {
    return has(fixture.server.request(i), std::string("Bearer ") + token + "\r\n");
  };
  write("one");
  get();
  write("two");
  get();
  fixture.call().sleep(std::chrono::minutes(1));
  get();
  write("three");
  get();
  CHECK(sent(0, "one"));
  CHECK(sent(1, "one"));
  CHECK(sent(2, "two"));
  CHECK(sent(3, "two"));
  CHECK(sent(4, "three"));
}

TEST_CASE("a refusal that other credentials would not change comes after one request") {
  Fixture fixture({answer("401 Unauthorized", "{}")});
  const Error error = failure([&] { fixture.client().get("/api/v1/x", {}, fixture.call()); });
  CHECK(error.kind() == ErrorKind::denied);
  CHECK(has(error.what(), "you must be logged in to the server"));
}

TEST_CASE("a server that refuses the connection is named in kubectl's words") {
  Fixture fixture({});
  Config config;
  config.server = "http://127.0.0.1:1";
  Client client(config, "kubectl-kubedr/1.2", {}, fixture.clock);
  const Error error = failure([&] { client.get("/api/v1/x", {}, fixture.call()); });
  CHECK(error.kind() == ErrorKind::unavailable);
  CHECK_MESSAGE(has(error.what(),
                    "kubernetes: list x: unable to connect to the server: "
                    "http://127.0.0.1:1: could not connect: Connection refused"),
                error.what());
  CHECK(has(error.hint(), "did you specify the right host or port?"));
}

TEST_CASE("a token file that cannot be read is an error that names it") {
  Fixture fixture({});
  Config config;
  config.server = fixture.server.responder.url("");
  config.token_file = "/no/such/token";
  Client client(config, "kubectl-kubedr/1.2", {}, fixture.clock);
  const Error error = failure([&] { client.get("/api/v1/x", {}, fixture.call()); });
  CHECK(error.kind() == ErrorKind::denied);
  CHECK(has(error.what(), "/no/such/token"));
}

TEST_CASE("writes name the field manager and their kind of patch") {
  Fixture fixture({answer("201 Created", "{}"), answer("200 OK", "{}"), answer("200 OK", "{}")});
  Client client = fixture.client();
  client.create("/api/v1/x", {{"a", 1}}, fixture.call());
  client.patch("/api/v1/x/y", PatchType::merge, {{"a", 2}}, {}, fixture.call());
  client.patch("/api/v1/x/y", PatchType::apply, {{"a", 3}}, {{"force", "true"}}, fixture.call());
  CHECK(has(fixture.server.request(0), "POST /prefix/api/v1/x?fieldManager=kubectl-kubedr "));
  CHECK(has(fixture.server.request(0), "Content-Type: application/json\r\n"));
  CHECK(has(fixture.server.request(0), "\r\n\r\n{\"a\":1}"));
  CHECK(has(fixture.server.request(1), "Content-Type: application/merge-patch+json\r\n"));
  CHECK(has(fixture.server.request(2), "fieldManager=kubectl-kubedr&force=true "));
  CHECK(has(fixture.server.request(2), "Content-Type: application/apply-patch+yaml\r\n"));
}

TEST_CASE("the server's message is shown with what was asked") {
  Fixture fixture(
      {answer("404 Not Found", status_body("NotFound", "backuplocations.kubedr \"x\" not found"))});
  const Error error = failure([&] { fixture.client().get(kLocation, {}, fixture.call()); });
  CHECK(error.kind() == ErrorKind::not_found);
  CHECK(std::string(error.what()) ==
        "kubernetes: get backuplocations/x: backuplocations.kubedr \"x\" not found");
}

TEST_CASE("each status has its kind of error") {
  struct Case {
    const char* status;
    const char* reason;
    ErrorKind kind;
  };

  const Case cases[] = {
      {"400 Bad Request", "BadRequest", ErrorKind::usage},
      {"401 Unauthorized", "Unauthorized", ErrorKind::denied},
      {"403 Forbidden", "Forbidden", ErrorKind::denied},
      {"404 Not Found", "", ErrorKind::not_found},
      {"409 Conflict", "AlreadyExists", ErrorKind::exists},
      {"409 Conflict", "Conflict", ErrorKind::conflict},
      {"415 Unsupported", "UnsupportedMediaType", ErrorKind::failed},
      {"422 Invalid", "Invalid", ErrorKind::usage},
      {"500 Internal", "InternalError", ErrorKind::unavailable},
      {"501 Not Implemented", "", ErrorKind::failed},
  };
  for (const Case& one : cases) {
    INFO(one.status);
    Fixture fixture({answer(one.status, status_body(one.reason, "why"))});
    const Error error = failure([&] { fixture.client().create("/api/v1/x", {}, fixture.call()); });
    CHECK(error.kind() == one.kind);
  }
}

TEST_CASE("a refused right comes with the commands that would grant it") {
  Fixture fixture({answer(
      "403 Forbidden",
      status_body("Forbidden",
                  "backuplocations.kubedr.catalogicsoftware.com \"x\" is forbidden: User \"jane\" "
                  "cannot patch resource \"backuplocations/status\" in API group "
                  "\"kubedr.catalogicsoftware.com\" in the namespace \"ns\""))});
  const Error error = failure([&] {
    fixture.client().patch(kLocation + "/status", PatchType::merge, {}, {}, fixture.call());
  });
  CHECK(error.kind() == ErrorKind::denied);
  CHECK(has(error.what(), "kubernetes: patch backuplocations/x/status: "));
  CHECK(has(error.hint(),
            "kubectl -n ns create role kubedr-patch-backuplocations-status --verb=patch "
            "--resource=backuplocations.kubedr.catalogicsoftware.com/status"));
  CHECK(has(error.hint(), "create rolebinding"));
  CHECK(has(error.hint(), "--user=jane"));
}

TEST_CASE("a refusal that no role would change has no such hint") {
  Fixture fixture({answer("403 Forbidden", status_body("Forbidden", "exceeded quota: q"))});
  CHECK(failure([&] { fixture.client().create("/api/v1/x", {}, fixture.call()); }).hint().empty());
}

TEST_CASE("answers that are no Status are worded from their code") {
  Fixture fixture({answer("404 Not Found", "404 page not found\n"),
                   answer("418 Teapot", "<html>\x1b[2Jhi</html>")});
  Client client = fixture.client();
  CHECK(has(failure([&] { client.get(kLocation, {}, fixture.call()); }).what(),
            "the server could not find the requested resource"));
  const Error odd = failure([&] { client.get(kLocation, {}, fixture.call()); });
  CHECK(has(odd.what(), "the status code 418 (\"<html>\\x1b[2Jhi</html>\")"));
}

TEST_CASE("a proxy's page in the server's place is quoted in client-go's words") {
  Fixture fixture({answer("500 Internal Server Error", "<html>hi</html>"),
                   answer("500 Internal Server Error", "")});
  Client client = fixture.client();
  CHECK(has(failure([&] { client.get(kLocation, {}, fixture.call()); }).what(),
            "an error on the server (\"<html>hi</html>\") has prevented the request from "
            "succeeding"));
  CHECK(has(failure([&] { client.get(kLocation, {}, fixture.call()); }).what(),
            "an error on the server (\"unknown\")"));
}

TEST_CASE("a limited request is sent again after the time the server asks for") {
  Fixture fixture({answer("429 Too Many Requests", "slow down", "Retry-After: 7\r\n"),
                   answer("201 Created", "{}")});
  const SteadyTime before = fixture.clock.steady();
  fixture.client().create("/api/v1/x", {}, fixture.call());
  CHECK(fixture.clock.steady() - before >= std::chrono::seconds(7));
  CHECK(fixture.server.count() == 2);
}

TEST_CASE("a server that says when to come again is asked more often than one that does not") {
  const std::string busy = answer("429 Too Many Requests", "slow down", "Retry-After: 1\r\n");
  Fixture fixture(std::vector<std::string>(12, busy));
  const Error error = failure([&] { fixture.client().create("/api/v1/x", {}, fixture.call()); });
  CHECK(error.kind() == ErrorKind::unavailable);
  CHECK(fixture.server.count() == 10);
}

TEST_CASE("a create that may have been carried out is not sent twice") {
  Fixture fixture(
      {answer("503 Service Unavailable", "", "Retry-After: 1\r\n"), answer("201 Created", "{}")});
  const Error error = failure([&] { fixture.client().create("/api/v1/x", {}, fixture.call()); });
  CHECK(error.kind() == ErrorKind::unavailable);
  CHECK(error.transport().transient);
  CHECK(fixture.server.count() == 1);
}

TEST_CASE("a get survives a broken connection and an unavailable server") {
  Fixture fixture({"", answer("503 Service Unavailable", ""), answer("200 OK", R"({"a":1})")});
  CHECK(fixture.client().get("/api/v1/x", {}, fixture.call())["a"] == 1);
}

TEST_CASE("a server's own failure is repeated only where it says when") {
  Fixture once(
      {answer("500 Internal", status_body("InternalError", "webhook")), answer("200 OK", "{}")});
  CHECK(failure([&] { once.client().get("/api/v1/x", {}, once.call()); }).kind() ==
        ErrorKind::unavailable);
  CHECK(once.server.count() == 1);
  const std::string when = "Retry-After: Thu, 01 Jan 1970 00:00:07 GMT\r\n";
  Fixture twice({answer("500 Internal", "", when), answer("200 OK", R"({"a":1})")});
  const SteadyTime before = twice.clock.steady();
  CHECK(twice.client().get("/api/v1/x", {}, twice.call())["a"] == 1);
  CHECK(twice.clock.steady() - before >= std::chrono::seconds(7));
}

TEST_CASE("a get gives up after a few tries") {
  const std::string busy = answer("503 Service Unavailable", "");
  Fixture fixture({busy, busy, busy, busy, busy, busy});
  CHECK(failure([&] { fixture.client().get("/api/v1/x", {}, fixture.call()); }).kind() ==
        ErrorKind::unavailable);
  CHECK(fixture.server.count() == 4);
}

TEST_CASE("a change that somebody else came before is made anew, but not for ever") {
  const std::string object = answer("200 OK", R"({"metadata":{"resourceVersion":"5"}})");
  const std::string conflict = answer("409 Conflict", status_body("Conflict", "modified"));
  std::vector<std::string> answers;
  for (int i = 0; i < 5; ++i) answers.insert(answers.end(), {object, conflict});
  Fixture fixture(answers);
  const Error error = failure([&] {
    fixture.client().modify(
        kLocation,
        [](const Json&) {
          return Json{{"a", 1}};
        },
        fixture.call());
  });
  CHECK(error.kind() == ErrorKind::conflict);
  CHECK(fixture.server.count() == 10);
  CHECK(has(fixture.server.request(1), R"({"a":1,"metadata":{"resourceVersion":"5"}})"));
}

TEST_CASE("a delete whose first answer was lost succeeds when the thing is gone") {
  Fixture fixture({"", answer("404 Not Found", status_body("NotFound", "gone"))});
  fixture.client().remove(kLocation, {}, fixture.call());
  CHECK(fixture.server.count() == 2);
}

TEST_CASE("a list is read page by page") {
  Fixture fixture({answer("200 OK", R"({"metadata":{"continue":"c/1"},"items":[{"n":1},{"n":2}]})"),
                   answer("200 OK", R"({"metadata":{},"items":[{"n":3}]})")});
  std::vector<int> seen;
  fixture.client().list(
      "/api/v1/x", {{"labelSelector", "a=b"}}, [&](const Json& item) { seen.push_back(item["n"]); },
      fixture.call());
  CHECK(seen == std::vector<int>{1, 2, 3});
  CHECK(has(fixture.server.request(0), "?labelSelector=a%3Db&limit=500 "));
  CHECK(has(fixture.server.request(1), "&limit=500&continue=c%2F1 "));
}

TEST_CASE("a list whose page token expired is read in one piece and shows each item once") {
  Fixture fixture({answer("200 OK", R"({"metadata":{"continue":"c"},"items":[{"n":1}]})"),
                   answer("410 Gone", status_body("Expired", "too old")),
                   answer("200 OK", R"({"metadata":{},"items":[{"n":1},{"n":2}]})")});
  std::vector<int> seen;
  fixture.client().list(
      "/api/v1/x", {{"a", "b"}}, [&](const Json& item) { seen.push_back(item["n"]); },
      fixture.call());
  CHECK(seen == std::vector<int>{1, 2});
  CHECK(has(fixture.server.request(2), "GET /prefix/api/v1/x?a=b HTTP/1.1"));
}

TEST_CASE("a list that comes to no end is refused") {
  const std::string page = answer("200 OK", R"({"metadata":{"continue":"c"},"items":[{"n":1}]})");
  Fixture fixture(std::vector<std::string>(5, page));
  int seen = 0;
  const Error error = failure([&] {
    fixture.client().list(
        "/api/v1/x", {}, [&](const Json&) { ++seen; }, fixture.call());
  });
  CHECK(error.kind() == ErrorKind::corrupt);
  CHECK(std::string(error.what()) == "kubernetes: list x: the same page again");
  CHECK(fixture.server.count() == 2);
  CHECK(seen == 0);
}

TEST_CASE("a list that fails on a later page shows nothing") {
  Fixture fixture({answer("200 OK", R"({"metadata":{"continue":"c"},"items":[{"n":1}]})"),
                   answer("403 Forbidden", status_body("Forbidden", "no"))});
  int seen = 0;
  CHECK(failure([&] {
          fixture.client().list(
              "/api/v1/x", {}, [&](const Json&) { ++seen; }, fixture.call());
        }).kind() == ErrorKind::denied);
  CHECK(seen == 0);
}

TEST_CASE("items are shown without who set which of their fields") {
  Fixture fixture({answer(
      "200 OK", R"({"items":[{"metadata":{"name":"x","managedFields":[{"manager":"m"}]}},{}]})")});
  std::vector<Json> seen;
  fixture.client().list(
      "/api/v1/x", {}, [&](const Json& item) { seen.push_back(item); }, fixture.call());
  CHECK(seen == std::vector<Json>{{{"metadata", {{"name", "x"}}}}, Json::object()});
}

TEST_CASE("a text that is no UTF-8 is sent with the bad bytes replaced") {
  Fixture fixture({answer("200 OK", "{}")});
  fixture.client().patch("/api/v1/x/y", PatchType::merge, {{"a", "b\xff\xc3z"}}, {},
                         fixture.call());
  CHECK(has(fixture.server.request(0), "{\"a\":\"b\xef\xbf\xbd\xef\xbf\xbdz\"}"));
}

TEST_CASE("a time limit for requests is told to the server too") {
  Fixture fixture(std::vector<std::string>(4, answer("200 OK", "{}")));
  Config config;
  config.server = fixture.server.responder.url("");
  for (const auto limit : {std::chrono::milliseconds(5000), std::chrono::milliseconds(1500)}) {
    Client client(config, "kubectl-kubedr/1.2", limit, fixture.clock);
    client.get("/api/v1/x", {{"a", "b"}}, fixture.call());
    client.remove("/api/v1/x/y", {{"a", "b"}}, fixture.call());
  }
  CHECK(has(fixture.server.request(0), "GET /api/v1/x?a=b&timeout=5s "));
  CHECK(has(fixture.server.request(1), "DELETE /api/v1/x/y?a=b&timeout=5s "));
  CHECK(has(fixture.server.request(2), "GET /api/v1/x?a=b&timeout=1500ms "));
  CHECK(has(fixture.server.request(3), "DELETE /api/v1/x/y?a=b&timeout=1500ms "));
}

TEST_CASE("answers may come compressed unless the configuration forbids it") {
  Fixture fixture({answer("200 OK", "{}"), answer("200 OK", "{}")});
  Config config;
  config.server = fixture.server.responder.url("");
  for (const bool compression : {true, false}) {
    config.compression = compression;
    Client client(config, "kubectl-kubedr/1.2", {}, fixture.clock);
    client.get("/api/v1/x", {}, fixture.call());
  }
  CHECK(has(fixture.server.request(0), "Accept-Encoding: gzip\r\n"));
  CHECK_FALSE(has(fixture.server.request(1), "Accept-Encoding"));
}

TEST_CASE("an answer that is not JSON is corrupt") {
  Fixture fixture({answer("200 OK", "<html>")});
  CHECK(failure([&] { fixture.client().get("/api/v1/x", {}, fixture.call()); }).kind() ==
        ErrorKind::corrupt);
}

}  // namespace kubedr::kube
