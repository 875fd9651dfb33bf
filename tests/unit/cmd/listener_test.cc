#include "cmd/listener.h"

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <atomic>

#include "support/prometheus.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

TEST_CASE("listener: /healthz says whether it is well, each time anew") {
  std::atomic<bool> healthy = true;
  const std::string address = fmt::format("127.0.0.1:{}", free_port());
  const cmd::Listener listener(
      {address, "", ""},
      {[](health::Exposition) { return std::string("# none\n"); }, [&] { return healthy.load(); }});
  const auto asked = [&] { return http_get("http://" + address + "/healthz"); };
  CHECK(asked().status == 200);
  CHECK(asked().text() == "ok\n");
  healthy = false;
  const http::Response stuck = asked();
  CHECK(stuck.status == 503);
  CHECK(stuck.text() == "no survey has ended for too long\n");
  CHECK(http_get(listener.url()).status == 200);  // what is known is told all the same
  healthy = true;
  CHECK(asked().status == 200);
}
