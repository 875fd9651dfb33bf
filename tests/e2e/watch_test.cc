// `status --watch` is told of changes: it shows them long before its interval is over, whatever
// happens to the connection, and asks at the interval where it may not watch.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <thread>

#include "e2e/faults.h"
#include "support/byte_proxy.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

constexpr std::chrono::seconds kSoon{40};  // the interval is 15 minutes

constexpr char kFrame[] = " UTC\n\n";  // each begins with the time

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) {
    ++found;
  }
  return found;
}

// `status --watch -v`, through a proxy if there is a port.
class Watching {
 public:
  Watching(ControlPlane& plane, const std::string& interval = "15m",
           const std::string& user = "admin", int proxy_port = 0)
      : plane_(plane),
        process_(start_kubedr({"status", "--watch", "--interval", interval, "-v",
                               "--kubeconfig=" + kubeconfig(user, proxy_port).string()})) {
    REQUIRE(process_.wait_for(kFrame, kSoon));
  }

  // A policy of a new name is shown.
  void check_shows(const std::string& name) {
    plane_.add_policy(name);
    CHECK_MESSAGE(process_.wait_for(name, kSoon), process_.err());
  }

  Process& process() { return process_; }

  std::size_t frames() const { return count(process_.out(), kFrame); }

 private:
  std::filesystem::path kubeconfig(const std::string& user, int proxy_port) const {
    const std::filesystem::path direct = plane_.api().kubeconfig(user);
    if (proxy_port == 0) return direct;
    std::string text = read_text(direct);
    const std::string port = fmt::format(":{}", plane_.api().port());
    const std::size_t at = text.find(port);
    REQUIRE(at != std::string::npos);
    return folder_.write("kubeconfig",
                         text.replace(at, port.size(), fmt::format(":{}", proxy_port)));
  }

  TempDir folder_;
  ControlPlane& plane_;
  Process process_;
};

}  // namespace

TEST_CASE("status --watch: a change is shown at once, and what belongs together but once") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  BackedUpPolicy policy(plane, "prompt");
  Watching watching(plane);
  CHECK(policy.backup({"--etcd-endpoint", "https://127.0.0.1:1"}).exit.code == 20);
  CHECK(watching.process().wait_for("last backup failed", kSoon));
  const std::size_t before = watching.frames();
  CHECK(before <= 2);
  CHECK(policy.backup().ok());
  REQUIRE(eventually([&] { return watching.frames() > before; }, kSoon));
  std::this_thread::sleep_for(std::chrono::seconds(2));
  CHECK(watching.frames() <= before + 3);
}

TEST_CASE("status --watch: what changed while the connection was cut is shown") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  ByteProxy proxy(plane.api().port());
  Watching watching(plane, "15m", "admin", proxy.port());
  watching.check_shows("before");
  ProxyRules rules;
  rules.refuse = true;
  proxy.set(rules);
  proxy.cut_all();
  plane.add_policy("meanwhile");
  CHECK(watching.process().wait_for("watch /apis/", kSoon));
  CHECK_FALSE(has(watching.process().out(), "meanwhile"));
  proxy.set({});
  CHECK(watching.process().wait_for("meanwhile", kSoon));
  watching.check_shows("afterwards");
}

TEST_CASE("status --watch: a version that the API server has forgotten is survived") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  Watching watching(plane);
  watching.check_shows("before");
  // The server that comes back knows only of what happens from now on.
  for (const char* name : {"a", "b", "c"}) plane.add_location(name);
  plane.api().stop();
  plane.api().restart();
  CHECK_MESSAGE(watching.process().wait_for("410 too old resource version", kSoon),
                watching.process().err());
  watching.check_shows("afterwards");
}

TEST_CASE("status --watch: whoever may only list sees it at the interval") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  const auto create = [&](std::vector<std::string> args) {
    args.insert(args.begin(), "create");
    const RunResult result = plane.api().kubectl(args);
    REQUIRE_MESSAGE(result.ok(), result.err);
  };
  const std::string group = ".kubedr.catalogicsoftware.com";
  create({"clusterrole", "list-only", "--verb=list",
          fmt::format("--resource=backuplocations{0},metadatabackuppolicies{0},"
                      "metadatabackuprecords{0},cronjobs.batch",
                      group)});
  create({"clusterrolebinding", "list-only", "--clusterrole=list-only", "--user=reader"});
  Watching watching(plane, "300ms", "reader");
  watching.check_shows("new-one");
  const std::string once = "asking for a list instead";
  CHECK(eventually([&] { return has(watching.process().err(), once); }));
  const std::size_t before = count(watching.process().out(), "new-one");
  CHECK(eventually([&] { return count(watching.process().out(), "new-one") > before + 2; }));
  CHECK(count(watching.process().err(), once) == 1);
}

TEST_CASE("status --watch: a change in any of several clusters is shown at once") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  Process process =
      start_kubedr({"status", "--watch", "--interval", "15m", "--contexts", "test,test",
                    "--kubeconfig=" + plane.api().kubeconfig().string()});
  REQUIRE(process.wait_for(kFrame, kSoon));
  plane.add_policy("of-one");
  CHECK(process.wait_for("of-one", kSoon));
}
