#include "kube/watch.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/limits.h"
#include "support/responder.h"

namespace kubedr::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Peer;
using test::Responder;

const std::string kPath = "/apis/example.com/v1/namespaces/ns/things";

// Goes as it does, but sleeping takes no time.
class SleeplessClock final : public Clock {
 public:
  WallTime now() const override { return WallTime{}; }

  SteadyTime steady() const override {
    return std::chrono::steady_clock::now() + milliseconds(slept_.load());
  }

  void wait_until(SteadyTime until, const std::stop_token&) const override {
    const auto left = std::chrono::ceil<milliseconds>(until - steady());
    if (left.count() > 0) slept_ += left.count();
  }

 private:
  mutable std::atomic<std::int64_t> slept_ = 0;
};

std::string event(const std::string& type, int version) {
  const Json metadata = {{"name", "x"}, {"resourceVersion", std::to_string(version)}};
  return Json({{"type", type}, {"object", {{"metadata", metadata}}}}).dump() + "\n";
}

const std::string kTooOld =
    R"({"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}})"
    "\n";

std::string refusal(const std::string& status) {
  return "HTTP/1.1 " + status + "\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
}

// What a watch is answered: the pieces of its body, then the end, unless it is held open.
struct Answer {
  std::vector<std::string> pieces;
  bool held = true;
  std::string head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
};

// Lists, each ten versions after the one before, and watches as they are told.
class Server {
 public:
  explicit Server(std::vector<Answer> answers) : answers_(std::move(answers)) {}

  std::string url() const { return responder_.url(""); }

  // The versions from which a watch was asked for.
  std::vector<std::string> watched() {
    const std::lock_guard guard(mutex_);
    return watched_;
  }

  std::string last_request() {
    const std::lock_guard guard(mutex_);
    return last_request_;
  }

 private:
  void play(Peer& peer) {
    const std::string request = peer.receive();
    if (request.find("watch=true") == std::string::npos) {
      const std::string version = std::to_string(lists_++ * 10);
      const std::string body = R"({"items":[],"metadata":{"resourceVersion":")" + version + "\"}}";
      peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
      return;
    }
    std::size_t turn = 0;
    {
      const std::lock_guard guard(mutex_);
      turn = watched_.size();
      const std::size_t at = request.find("resourceVersion=") + 16;
      watched_.push_back(request.substr(at, request.find('&', at) - at));
      last_request_ = request;
    }
    const Answer answer = turn < answers_.size() ? answers_[turn] : Answer();
    peer.send(answer.head);
    for (const std::string& piece : answer.pieces) {
      std::this_thread::sleep_for(milliseconds(20));
      peer.send(piece);
    }
    if (answer.held) peer.wait_for_close();
  }

  const std::vector<Answer> answers_;
  int lists_ = 1;
  std::mutex mutex_;
  std::vector<std::string> watched_;  // guarded by mutex_
  std::string last_request_;          // guarded by mutex_
  Responder responder_{[this](Peer& peer) { play(peer); }};
};

Config config_of(const Server& server) {
  Config config;
  config.server = server.url();
  return config;
}

struct Fixture {
  explicit Fixture(std::vector<Answer> answers, const std::string& labels = "")
      : server(std::move(answers)),
        client(config_of(server), "kubectl-kubedr/1.2", {}, clock),
        watch(client, kPath, labels) {}

  void list() {
    client.list(
        kPath, {}, [](const Json&) {}, Call(clock));
  }

  std::optional<bool> wait(milliseconds time = seconds(5)) { return watch.wait(time, Call(clock)); }

  using Versions = std::vector<std::string>;

  SleeplessClock clock;
  Server server;
  Client client;
  Watch watch;
};

}  // namespace

TEST_CASE("lines come whole, however they were cut") {
  Lines lines;
  lines.add("one\ntw");
  CHECK(lines.next() == "one");
  CHECK(lines.next() == std::nullopt);
  lines.add("");
  CHECK(lines.next() == std::nullopt);
  lines.add("o\n\nthree\n");
  CHECK(lines.next() == "two");
  CHECK(lines.next() == "");
  CHECK(lines.next() == "three");
  CHECK(lines.next() == std::nullopt);
}

TEST_CASE("a line above the limit is refused, ended or not") {
  const std::string longest(limits::kWatchLine, 'x');
  Lines lines;
  lines.add(longest);
  CHECK(lines.next() == std::nullopt);
  lines.add("\n");
  CHECK(lines.next() == longest);
  for (const char* end : {"x", "x\n"}) {
    Lines longer;
    longer.add(longest + end);
    CHECK_THROWS_AS(longer.next(), Error);
  }
}

TEST_CASE("an event tells its type and where to go on") {
  CHECK(parse_watch_event(event("ADDED", 17)).version == "17");
  CHECK(parse_watch_event(event("BOOKMARK", 18)).type == "BOOKMARK");
  CHECK(parse_watch_event(kTooOld).message == "410 too old");
  CHECK(parse_watch_event(R"({"type":"ERROR"})").message == "0 ");
  for (const char* garbage : {"", "[]", "{}", "<html>", R"({"type":"ADDED","object":{}})",
                              R"({"type":"SEEN","object":{"metadata":{"resourceVersion":"1"}}})",
                              R"({"type":"ADDED","object":{"metadata":{"resourceVersion":1}}})"}) {
    CAPTURE(garbage);
    CHECK_THROWS_AS(parse_watch_event(garbage), Error);
  }
}

TEST_CASE("watch: a change ends the wait, and asks for metadata only") {
  const std::string line = event("MODIFIED", 17);
  Fixture fixture({{{line.substr(0, 30), line.substr(30)}}}, "a=b");
  fixture.list();
  CHECK(fixture.wait() == true);
  CHECK(fixture.wait(milliseconds(50)) == false);
  const std::string request = fixture.server.last_request();
  CHECK(request.find("GET " + kPath +
                     "?watch=true&allowWatchBookmarks=true&resourceVersion=10&"
                     "timeoutSeconds=300&labelSelector=a%3Db HTTP") == 0);
  CHECK(request.find("as=PartialObjectMetadata") != std::string::npos);
}

TEST_CASE("watch: without a list nothing is asked for") {
  Fixture fixture({});
  CHECK(fixture.wait() == std::nullopt);
  CHECK(fixture.server.watched().empty());
}

TEST_CASE("watch: silence proves nothing until something was heard") {
  Fixture fixture({{{}, true}});
  fixture.list();
  CHECK(fixture.wait(milliseconds(50)) == std::nullopt);
  Fixture heard({{{event("BOOKMARK", 11)}, true}});
  heard.list();
  CHECK(heard.wait(milliseconds(300)) == false);
  CHECK(heard.wait(milliseconds(50)) == false);
  CHECK(heard.server.watched() == Fixture::Versions{"10"});
}

TEST_CASE("watch: goes on from the last event or bookmark where the server ended it") {
  Fixture fixture({{{event("BOOKMARK", 15)}, false}, {{event("DELETED", 17)}, false}, {}});
  fixture.list();
  CHECK(fixture.wait() == true);
  CHECK(fixture.wait(milliseconds(1200)) == false);
  CHECK(fixture.server.watched() == Fixture::Versions{"10", "15", "17"});
}

TEST_CASE("watch: a line that was cut off is read again") {
  Fixture fixture({{{event("ADDED", 15).substr(0, 30)}, false}, {{event("ADDED", 15)}}});
  fixture.list();
  CHECK(fixture.wait() == true);
  CHECK(fixture.server.watched() == Fixture::Versions{"10", "10"});
}

TEST_CASE("watch: a version that is gone, or garbage, asks for a new list") {
  const std::vector<Answer> answers = {
      {{kTooOld}},
      {{}, false, refusal("410 Gone")},
      {{"<html>\n"}},
      {{std::string(limits::kWatchLine + 1, ' ')}},
  };
  for (const Answer& answer : answers) {
    Fixture fixture({answer, {{event("ADDED", 25)}}});
    fixture.list();
    CHECK(fixture.wait() == true);
    fixture.list();
    CHECK(fixture.wait() == true);
    CHECK(fixture.server.watched() == Fixture::Versions{"10", "20"});
  }
}

TEST_CASE("watch: whoever may not is not asked twice") {
  for (const char* status : {"403 Forbidden", "405 Method Not Allowed", "400 Bad Request"}) {
    Fixture fixture({{{}, false, refusal(status)}});
    fixture.list();
    CHECK(fixture.wait() == std::nullopt);
    CHECK(fixture.wait(std::chrono::hours(1)) == std::nullopt);
    CHECK(fixture.server.watched().size() == 1);
  }
}

TEST_CASE("watch: what passes by is tried again, at longer and longer intervals") {
  Fixture fixture({{{}, false, refusal("503 Service Unavailable")},
                   {{}, false, refusal("401 Unauthorized")},
                   {{}, false, ""},
                   {{}, false},
                   {{event("ADDED", 12)}}});
  fixture.list();
  CHECK(fixture.wait(seconds(14)) == std::nullopt);  // 1 + 2 + 4 + 8
  CHECK(fixture.wait() == true);
  CHECK(fixture.server.watched() == Fixture::Versions(5, "10"));
}

TEST_CASE("watch: ends with the call") {
  Fixture fixture({{{}, true}});
  fixture.list();
  CallScope scope{Call(fixture.clock)};
  const std::jthread other([&] {
    std::this_thread::sleep_for(milliseconds(50));
    scope.fail(std::make_exception_ptr(Error(ErrorKind::terminated, "SIGTERM")));
  });
  CHECK_THROWS_WITH_AS(fixture.watch.wait(seconds(60), scope.call()), "SIGTERM", Error);
  CHECK_THROWS_AS(fixture.watch.wait(seconds(60), Call(fixture.clock).within(milliseconds(50))),
                  Error);
}

}  // namespace kubedr::kube
