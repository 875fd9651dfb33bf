// The fixtures themselves, with the real servers.
#include <doctest/doctest.h>

#include <csignal>
#include <utility>

#include "base/error.h"
#include "support/byte_proxy.h"
#include "support/etcd_server.h"
#include "support/kube_api.h"
#include "support/restic.h"
#include "support/s3_server.h"

namespace kubedr::test {
namespace {

using namespace std::chrono_literals;

TEST_CASE("etcd: each version keeps what is put, also over a restart, also with TLS") {
  for (const std::string program : {"etcd", "etcd-3.5", "etcd-3.4"}) {
    KUBEDR_NEEDS(program);
    CAPTURE(program);
    EtcdOptions options;
    options.program = program;
    options.tls = true;
    EtcdServer etcd(options);
    etcd.put("key", "value");
    etcd.fill("many/", 300, 100);
    etcd.restart();
    CHECK(etcd.get("key") == "value");
    REQUIRE(etcd.get("many/000299").has_value());
    CHECK(etcd.get("many/000299")->size() == 100);
    CHECK_FALSE(etcd.get("many/000300").has_value());
  }
}

TEST_CASE("etcd: values larger than a request go in several") {
  KUBEDR_NEEDS("etcd");
  EtcdServer etcd;
  etcd.fill("large/", 5, 900'000);
  CHECK(etcd.get("large/000004")->size() == 900'000);
}

TEST_CASE("etcd: a server that cannot start says why") {
  KUBEDR_NEEDS("etcd");
  EtcdOptions options;
  options.flags = {"--no-such-flag"};
  CHECK_THROWS_WITH(EtcdServer{options}, doctest::Contains("no-such-flag"));
}

std::map<std::string, std::string> restic_env(const S3Server& s3, const std::string& url) {
  return {{"RESTIC_REPOSITORY", "s3:" + url + "/bucket"},
          {"RESTIC_PASSWORD", "pass"},
          {"AWS_ACCESS_KEY_ID", s3.access_key()},
          {"AWS_SECRET_ACCESS_KEY", s3.secret_key()}};
}

TEST_CASE("restic: each version makes and reads a repository on the S3 server") {
  KUBEDR_NEEDS("minio");
  S3Server s3;
  for (const std::string version : {"0.11", "0.14", "0.18"}) {
    KUBEDR_NEEDS("restic-" + version);
    CAPTURE(version);
    auto env = restic_env(s3, s3.url());
    env["RESTIC_REPOSITORY"] += version;
    const RunResult made = restic(version, {"init"}, env);
    CHECK_MESSAGE(made.ok(), made.err);
    CHECK(restic(version, {"backup", "--stdin"}, env, "some text").ok());
    s3.restart();
    CHECK(restic(version, {"dump", "latest", "stdin"}, env).out == "some text");
  }
}

TEST_CASE("S3 server: with TLS, its own CA is needed") {
  KUBEDR_NEEDS("minio");
  KUBEDR_NEEDS("restic-0.18");
  const S3Server s3(S3Server::Scheme::https);
  CHECK(restic("0.18", {"--cacert", s3.ca_file(), "init"}, restic_env(s3, s3.url())).ok());
  http::Tls other;
  other.ca_pem = Certificates().ca_pem();
  http::Client client = local_client(other);
  CHECK_FALSE(answers(client, s3.url() + "/minio/health/ready"));
}

TEST_CASE("API server: users have the rights of their groups, kubectl is admin") {
  KUBEDR_NEEDS("etcd");
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("kubectl");
  EtcdOptions options;
  options.tls = true;
  EtcdServer etcd(options);
  const KubeApi api(etcd, {{"viewer", {}}});
  CHECK(api.kubectl({"get", "namespace", "kube-system"}).ok());
  CHECK(etcd.get("/registry/namespaces/kube-system").has_value());
  const RunResult applied = api.kubectl({"apply", "-f", "-"}, R"({"apiVersion": "v1",
    "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}})");
  CHECK_MESSAGE(applied.ok(), applied.err);
  const std::string kubeconfig = "--kubeconfig=" + api.kubeconfig("viewer").string();
  const RunResult whoami = api.kubectl({kubeconfig, "auth", "whoami"});
  CHECK(whoami.out.find("viewer") != std::string::npos);
  CHECK(api.kubectl({kubeconfig, "get", "secrets"}).err.find("Forbidden") != std::string::npos);
}

// A proxy in front of an etcd's JSON gateway, and a request through it: one whose answer stays as
// it is, as that to /version does not while etcd moves its storage on to another version.
struct Proxied {
  EtcdServer etcd;
  ByteProxy proxy{etcd.port()};
  http::Client client = local_client();

  http::Response health() {
    http::Request request;
    request.url = "http://127.0.0.1:" + std::to_string(proxy.port()) + "/health";
    return client.send(request, call_for(5s));
  }
};

TEST_CASE("byte proxy: without rules everything passes and is counted") {
  KUBEDR_NEEDS("etcd");
  Proxied world;
  CHECK(world.health().status == 200);
  CHECK(world.health().status == 200);
  CHECK(world.proxy.requests() == std::vector<std::string>{"GET /health", "GET /health"});
  CHECK(world.proxy.counts().connections == 1);
  CHECK(world.proxy.counts().bytes_to_client > 100);
}

TEST_CASE("byte proxy: it flips, cuts, stalls and refuses when told to, and not again") {
  KUBEDR_NEEDS("etcd");
  Proxied world;
  const std::string sound(world.health().text());
  ProxyRules rules;
  SUBCASE("flip") {
    // The body's second byte, whatever the length of the header block.
    const std::uint64_t before = world.proxy.counts().bytes_to_client;
    rules.flip_at = before - sound.size() + 1;
    world.proxy.set(rules);
    const std::string flipped(world.health().text());
    CHECK(flipped.size() == sound.size());
    CHECK(flipped[1] == (sound[1] ^ 1));
  }
  SUBCASE("cut") {
    SUBCASE("in the header block") {
      rules.cut_at = 50;
    }
    SUBCASE("in the body") {
      rules.cut_at = world.proxy.counts().bytes_to_client - 1;
    }
    world.proxy.set(rules);
    CHECK_THROWS_AS(world.health(), Error);
  }
  SUBCASE("stall") {
    rules.stall_at = 50;
    world.proxy.set(rules);
    http::Request request;
    request.url = "http://127.0.0.1:" + std::to_string(world.proxy.port()) + "/health";
    CHECK_THROWS_AS(world.client.send(request, call_for(200ms)), Error);
  }
  SUBCASE("refuse") {
    rules.refuse = true;
    world.proxy.set(rules);
    world.proxy.cut_all();
    CHECK_THROWS_AS(world.health(), Error);
    world.proxy.set({});
  }
  CHECK(world.health().text() == sound);
}

TEST_CASE("byte proxy: a kill before a request keeps it from the server, one after does not") {
  KUBEDR_NEEDS("minio");
  KUBEDR_NEEDS("restic-0.18");
  const S3Server s3;
  ByteProxy proxy(s3.port());
  const std::string url = "http://127.0.0.1:" + std::to_string(proxy.port());
  auto env = restic_env(s3, url);
  REQUIRE(restic("0.18", {"init"}, env).ok());  // makes the bucket too, the later ones do not
  const std::size_t before = proxy.requests().size();
  env["RESTIC_REPOSITORY"] += "/full";
  REQUIRE(restic("0.18", {"init"}, env).ok());
  std::vector<std::string> requests = proxy.requests();
  requests.erase(requests.begin(), requests.begin() + static_cast<std::ptrdiff_t>(before));
  const auto config_saved = [&](ProxyRules rules, const std::string& name) {
    env["RESTIC_REPOSITORY"] = "s3:" + url + "/bucket/" + name;
    proxy.set(rules);
    Process process({find_server("restic-0.18"), "init"}, {env, false, {}, "", Terminal::none, {}});
    proxy.set_victim(process.pid());
    const std::optional<Exit> exit = process.wait(30s);
    CHECK(exit.value().signal == SIGKILL);
    proxy.set({});
    return restic("0.18", {"cat", "config"}, env).ok();
  };
  ProxyRules rules;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (requests[i] == "PUT /bucket/full/config")
      rules.kill_before_request = static_cast<int>(i) + 1;
  }
  REQUIRE(rules.kill_before_request > 0);
  CHECK_FALSE(config_saved(rules, "before"));
  rules.kill_after_request = std::exchange(rules.kill_before_request, 0);
  CHECK(config_saved(rules, "after"));
}

TEST_CASE("byte proxy: a kill at a byte lets pass what comes before it, and no more") {
  KUBEDR_NEEDS("etcd");
  EtcdServer etcd;
  ByteProxy proxy(etcd.port());
  // A connection of its own for each request, and on stdout every byte of the answer.
  const auto ask = [&] {
    return run({"curl", "-sSi", "--noproxy", "*",
                "http://127.0.0.1:" + std::to_string(proxy.port()) + "/health"});
  };
  REQUIRE(ask().ok());
  const ByteProxy::Counts one = proxy.counts();
  Process victim({"sleep", "600"});
  proxy.set_victim(victim.pid());
  ProxyRules rules;
  SUBCASE("to the server") {
    rules.kill_at_to_server = 2 * one.bytes_to_server - 1;
    proxy.set(rules);
    CHECK(ask().ok());
    CHECK_FALSE(victim.wait(0ms));
    CHECK(ask().out == "");  // its request lacked the last byte
  }
  SUBCASE("to the client") {
    rules.kill_at_to_client = 2 * one.bytes_to_client - 1;
    proxy.set(rules);
    CHECK(ask().ok());
    CHECK_FALSE(victim.wait(0ms));
    CHECK(ask().out.size() == one.bytes_to_client - 1);
  }
  const std::optional<Exit> exit = victim.wait(30s);
  REQUIRE(exit);
  CHECK(exit->signal == SIGKILL);
  CHECK(ask().ok());  // it fires once
}

}  // namespace
}  // namespace kubedr::test
