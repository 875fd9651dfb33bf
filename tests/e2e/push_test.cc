// What a Pushgateway, or a proxy before it, may answer to `metrics --push`; a real one is in
// e2e/metrics_test.cc.

#include <doctest/doctest.h>

#include <atomic>
#include <memory>

#include "e2e/faults.h"
#include "support/scripted_server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

// A folder of manifests: no API server has a part in this.
struct Story {
  explicit Story(ScriptedServer::Script script) : gateway({}, std::move(script)) {
    folder.write("location.yaml",
                 "apiVersion: kubedr.catalogicsoftware.com/v1alpha1\n"
                 "kind: BackupLocation\n"
                 "metadata: {name: disk}\n"
                 "spec: {url: 'file://" +
                     (folder / "repositories").string() +
                     "', bucketName: etcd, credentials: creds}\n");
  }

  RunResult push() const {
    return test::kubedr({"metrics", "-f", folder.path().string(), "--push",
                   "http://127.0.0.1:" + std::to_string(gateway.port())});
  }

  TempDir folder;
  ScriptedServer gateway;
};

// The first `times` answers are `answer`, all others are good ones.
ScriptedServer::Script first(int times, const std::string& answer) {
  const auto asked = std::make_shared<std::atomic<int>>(0);
  return [=](const SeenRequest&) { return (*asked)++ < times ? answer : http_answer(200, ""); };
}

}  // namespace

TEST_CASE("push: a gateway that is away for a moment is told again, when it asks for it") {
  const Story silent(first(1, ""));
  CHECK(silent.push().ok());
  CHECK(silent.gateway.requests().size() == 2);

  const Story busy(first(2, http_answer(503, "later", "Retry-After: 2\r\n")));
  const auto begun = std::chrono::steady_clock::now();
  const RunResult told = busy.push();
  CHECK_MESSAGE(told.ok(), told.err);
  CHECK(std::chrono::steady_clock::now() - begun >= std::chrono::seconds(4));
  const std::vector<SeenRequest> requests = busy.gateway.requests();
  REQUIRE(requests.size() == 3);
  CHECK(requests.back().line == "PUT /metrics/job/kubedr");
  CHECK(requests.back().body == requests.front().body);
}

TEST_CASE("push: a gateway that stays away is given up") {
  const Story away(first(100, http_answer(500, "no room in the log\nand more")));
  check_failed_plainly(away.push(), 20, "/metrics/job/kubedr: 500 no room in the log");
  CHECK(away.gateway.requests().size() == 3);

  // Nobody waits so long.
  const Story later(first(100, http_answer(429, "slow down", "Retry-After: 3600\r\n")));
  check_failed_plainly(later.push(), 20, "429 slow down");
  CHECK(later.gateway.requests().size() == 1);
}

TEST_CASE("push: what would be refused again is not sent again") {
  for (const auto& [status, exit_code] :
       {std::pair(501, 1), std::pair(400, 1), std::pair(403, 21)}) {
    CAPTURE(status);
    const Story refusing(first(100, http_answer(status, "no")));
    check_failed_plainly(refusing.push(), exit_code, std::to_string(status) + " no");
    CHECK(refusing.gateway.requests().size() == 1);
  }
}
