#include "cluster/api_cluster.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "support/responder.h"

namespace kubedr::cluster {
namespace {

using test::Peer;
using test::Responder;

// Sleeping moves it and returns at once.
class JumpingClock final : public Clock {
 public:
  WallTime now() const override { return parse_time("2026-11-22T21:54:32Z").value(); }

  SteadyTime steady() const override { return now_; }

  void wait_until(SteadyTime until, const std::stop_token&) const override {
    now_ = std::max(now_, until);
  }

 private:
  mutable SteadyTime now_ = std::chrono::steady_clock::now();
};

// What is asked (the beginning of the request line) and what is answered; no status closes the
// connection instead.
struct Exchange {
  std::string request;
  int status = 200;
  Json body = Json::object();
};

// An API server that expects these requests in this order.
struct Fixture {
  explicit Fixture(std::vector<Exchange> with) : exchanges(std::move(with)) {}

  ~Fixture() {
    const std::lock_guard guard(mutex);
    CHECK(bodies.size() == exchanges.size());
  }

  ApiCluster cluster(const std::string& name_space = "ns") {
    kube::Config config;
    config.server = responder.url("");
    return ApiCluster(kube::Client(config, "kubectl-kubedr/1", {}, clock), name_space, clock);
  }

  Call call() const { return Call(clock).within(std::chrono::minutes(5)); }

  void play(Peer& peer) {
    for (std::string text = peer.receive(); !text.empty(); text = peer.receive()) {
      const std::lock_guard guard(mutex);
      if (bodies.size() == exchanges.size()) {
        FAIL_CHECK("unexpected request: " << text);
        return;
      }
      const Exchange& exchange = exchanges[bodies.size()];
      CHECK(text.substr(0, exchange.request.size()) == exchange.request);
      bodies.push_back(text.substr(text.find("\r\n\r\n") + 4));
      if (exchange.status == 0) return;
      const std::string body = exchange.body.dump();
      if (!peer.send("HTTP/1.1 " + std::to_string(exchange.status) +
                     " X\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body)) {
        return;
      }
    }
  }

  Json body(std::size_t i) {
    const std::lock_guard guard(mutex);
    return Json::parse(bodies.at(i));
  }

  JumpingClock clock;
  std::mutex mutex;
  const std::vector<Exchange> exchanges;
  std::vector<std::string> bodies;  // guarded by mutex
  Responder responder{[this](Peer& peer) { play(peer); }};
};

Json status(const std::string& reason) {
  return {{"kind", "Status"}, {"reason", reason}, {"message", "why"}};
}

Json named(const std::string& name) {
  return {{"metadata", {{"name", name}}}};
}

Json list(std::vector<Json> items) {
  return {{"metadata", {{"resourceVersion", "77"}}}, {"items", std::move(items)}};
}

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

const std::string kBase = "/apis/kubedr.catalogicsoftware.com/v1alpha1/namespaces/ns/";
const std::string kLocations = kBase + "backuplocations";
const std::string kRecords = kBase + "metadatabackuprecords";
const std::string kEvents = "/api/v1/namespaces/ns/events";
const std::string kEventName = "kubedr.catalogicsoftware.com-v1alpha1-BackupLocation-x-5";
const crd::ObjectRef kRef{crd::Kind::location, "x", "ns", "uid", "5"};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a missing location is named with those that are there") {
  Fixture fixture({{"GET " + kLocations + "/locl ", 404, status("NotFound")},
                   {"GET " + kLocations + "?limit=500 ", 200, list({named("local")})}});
  const Error error = failure([&] { fixture.cluster().location("locl", fixture.call()); });
  CHECK(error.kind() == ErrorKind::not_found);
  CHECK(std::string(error.what()) ==
        "backuplocation \"locl\" not found in namespace \"ns\"; there are: local");
  CHECK(error.hint() == "did you mean \"local\"?");
}

TEST_CASE("missing resource definitions are told from a missing object") {
  Fixture fixture({{"GET " + kLocations + "/x ", 404, status("NotFound")},
                   {"GET " + kLocations + "?limit=500 ", 404, status("NotFound")}});
  const Error error = failure([&] { fixture.cluster().location("x", fixture.call()); });
  CHECK(error.kind() == ErrorKind::not_found);
  CHECK(error.hint() == "kubectl kubedr install");
}

TEST_CASE("a list names malformed objects instead of failing") {
  Fixture fixture({{"GET /apis/kubedr.catalogicsoftware.com/v1alpha1/backuplocations?", 200,
                    list({named("bad")})}});
  const auto listed = fixture.cluster("").locations(fixture.call());
  CHECK(listed.items.empty());
  REQUIRE(listed.malformed.size() == 1);
  CHECK(listed.malformed[0].object == "backuplocation/bad");
  CHECK(listed.malformed[0].text == "backuplocation/bad: spec.url: required");
}

TEST_CASE("a single object of all namespaces cannot be asked for") {
  Fixture fixture({});
  CHECK(failure([&] { fixture.cluster("").location("x", fixture.call()); }).kind() ==
        ErrorKind::usage);
}

TEST_CASE("a status goes to the subresource, or to the object where there is none") {
  Fixture fixture({{"PATCH " + kLocations + "/x/status?", 404, status("NotFound")},
                   {"GET " + kLocations + "/x ", 200, named("x")},
                   {"PATCH " + kLocations + "/x?", 200, named("x")}});
  fixture.cluster().patch_status(kRef, {{"initStatus", "Completed"}}, fixture.call());
  const Json expected = Json::parse(R"({"status": {"initStatus": "Completed"}})");
  CHECK(fixture.body(0) == expected);
  CHECK(fixture.body(2) == expected);
}

TEST_CASE("a status of an object that is gone is not found, and nothing is written") {
  Fixture fixture({{"PATCH " + kLocations + "/x/status?", 404, status("NotFound")},
                   {"GET " + kLocations + "/x ", 404, status("NotFound")},
                   {"GET " + kLocations + "?", 200, list({})}});
  CHECK(failure([&] {
          fixture.cluster().patch_status(kRef, Json::object(), fixture.call());
        }).kind() == ErrorKind::not_found);
}

TEST_CASE("an annotation may depend on the state that was read") {
  Fixture fixture({{"PATCH " + kLocations + "/x?", 200, named("x")},
                   {"PATCH " + kLocations + "/x?", 200, named("x")},
                   {"PATCH " + kLocations + "/x?", 409, status("Conflict")}});
  ApiCluster cluster = fixture.cluster();
  cluster.annotate(kRef, "a/b", "", fixture.call());
  cluster.annotate_unchanged(kRef, "a/b", "c", fixture.call());
  CHECK(fixture.body(0) == Json::parse(R"({"metadata": {"annotations": {"a/b": null}}})"));
  CHECK(fixture.body(1) == Json::parse(R"({"metadata": {"annotations": {"a/b": "c"},
                                           "resourceVersion": "5"}})"));
  CHECK(failure([&] { cluster.annotate_unchanged(kRef, "a/b", "c", fixture.call()); }).kind() ==
        ErrorKind::conflict);
}

TEST_CASE("a record whose create went unanswered but was carried out is a success") {
  const Json there = crd::make_record("ns", "p", "l", "83a71b2c");
  Fixture fixture({{"POST " + kRecords + "?", 0},
                   {"POST " + kRecords + "?", 409, status("AlreadyExists")},
                   {"GET " + kRecords + "/mbr-83a71b2c ", 200, there}});
  fixture.cluster().create_record("p", "l", "83a71b2c", fixture.call());
}

TEST_CASE("a record that is there with another content is a conflict") {
  const Json there = crd::make_record("ns", "other", "l", "83a71b2c");
  Fixture fixture({{"POST " + kRecords + "?", 409, status("AlreadyExists")},
                   {"GET " + kRecords + "/mbr-83a71b2c ", 200, there}});
  CHECK(failure([&] {
          fixture.cluster().create_record("p", "l", "83a71b2c", fixture.call());
        }).kind() == ErrorKind::conflict);
}

TEST_CASE("a record's finalizer comes off without a change of somebody else getting lost") {
  constexpr char kOurs[] = "mbr.finalizers.kubedr.catalogicsoftware.com";
  const auto dying = [&](const char* version, std::vector<std::string> finalizers) -> Json {
    return {{"metadata",
             {{"name", "mbr-1"},
              {"resourceVersion", version},
              {"deletionTimestamp", "2026-11-22T21:54:32Z"},
              {"finalizers", finalizers}}}};
  };
  const std::string record = kRecords + "/mbr-1";
  const std::string deployment = "GET /apis/apps/v1/namespaces/ns/deployments/";
  const std::string pods = "GET /api/v1/namespaces/ns/pods?";
  const std::string elsewhere = "GET /apis/apps/v1/namespaces/kubedr-system/deployments/";
  Fixture fixture({{"DELETE " + record + " ", 200},
                   {"GET " + record + " ", 200, dying("5", {kOurs})},
                   {deployment, 404, status("NotFound")},
                   {elsewhere, 404, status("NotFound")},
                   {pods, 200, list({})},
                   {"PATCH " + record + "?", 409, status("Conflict")},
                   {"GET " + record + " ", 200, dying("6", {kOurs, "of/another"})},
                   {deployment, 404, status("NotFound")},
                   {elsewhere, 404, status("NotFound")},
                   {pods, 200, list({})},
                   {"PATCH " + record + "?", 200}});
  fixture.cluster().delete_record({crd::Kind::record, "mbr-1", "ns", "", ""}, fixture.call());
  CHECK(fixture.body(5) == Json::parse(R"({"metadata":{"finalizers":[],"resourceVersion":"5"}})"));
  CHECK(fixture.body(10) ==
        Json::parse(R"({"metadata":{"finalizers":["of/another"],"resourceVersion":"6"}})"));
}

TEST_CASE("a record that waits for somebody else's finalizer is left to it") {
  const Json left = {{"metadata",
                      {{"name", "mbr-1"},
                       {"resourceVersion", "5"},
                       {"deletionTimestamp", "2026-11-22T21:54:32Z"},
                       {"finalizers", {"of/another"}}}}};
  Fixture fixture(
      {{"DELETE " + kRecords + "/mbr-1 ", 200}, {"GET " + kRecords + "/mbr-1 ", 200, left}});
  fixture.cluster().delete_record({crd::Kind::record, "mbr-1", "ns", "", ""}, fixture.call());
}

TEST_CASE("an event whose name is taken gets in under another one") {
  Fixture fixture(
      {{"POST " + kEvents + "?", 409, status("AlreadyExists")}, {"POST " + kEvents + "?", 201}});
  fixture.cluster().post_event(kRef, crd::init_failed("m"), "host", fixture.call());
  CHECK(fixture.body(0)["metadata"]["name"] == kEventName);
  CHECK(fixture.body(1)["metadata"]["name"] == kEventName + ".18ea7caa38cff000");
  CHECK(fixture.body(1)["message"] == "m");
}

TEST_CASE("an event that got in before its answer was lost is not posted twice") {
  const WallTime now = parse_time("2026-11-22T21:54:32Z").value();
  const Json there = crd::make_event(kRef, crd::init_failed("m"), "host", now);
  Fixture fixture({{"POST " + kEvents + "?", 0},
                   {"POST " + kEvents + "?", 409, status("AlreadyExists")},
                   {"GET " + kEvents + "/" + kEventName + " ", 200, there}});
  fixture.cluster().post_event(kRef, crd::init_failed("m"), "host", fixture.call());
}

TEST_CASE("identity is left open where the server does not tell") {
  Fixture fixture(
      {{"GET /api/v1/namespaces/kube-system ", 403, status("Forbidden")},
       {"GET /api/v1/namespaces/kube-system ", 200, {{"metadata", {{"uid", "9cfaca41"}}}}}});
  ApiCluster cluster = fixture.cluster();
  CHECK_FALSE(cluster.identity(fixture.call()).has_value());
  CHECK(cluster.identity(fixture.call()) == "9cfaca41");
}

TEST_CASE("apply tells from the resourceVersion whether anything changed") {
  const auto version = [](const char* text) {
    return Json({{"metadata", {{"resourceVersion", text}}}});
  };
  const Json object = {{"apiVersion", "batch/v1"},
                       {"kind", "CronJob"},
                       {"metadata", {{"name", "c"}, {"namespace", "ns"}}}};
  const std::string path = "/apis/batch/v1/namespaces/ns/cronjobs/c";
  Fixture fixture(
      {{"GET " + path + " ", 404, status("NotFound")},
       {"PATCH " + path + "?fieldManager=kubectl-kubedr&force=true ", 201, version("1")},
       {"GET " + path + " ", 200, version("1")},
       {"PATCH " + path + "?", 200, version("1")},
       {"GET " + path + " ", 200, version("1")},
       {"PATCH " + path + "?", 200, version("2")}});
  ApiCluster cluster = fixture.cluster();
  CHECK(cluster.apply(object, fixture.call()) == Applied::created);
  CHECK(cluster.apply(object, fixture.call()) == Applied::unchanged);
  CHECK(cluster.apply(object, fixture.call()) == Applied::configured);
}

TEST_CASE("apply waits until a new definition is served") {
  const auto definition = [](const char* established) {
    return Json(
        {{"metadata", {{"resourceVersion", "1"}}},
         {"status",
          {{"conditions", Json::array({{{"type", "Established"}, {"status", established}}})}}}});
  };
  const Json object = {{"apiVersion", "apiextensions.k8s.io/v1"},
                       {"kind", "CustomResourceDefinition"},
                       {"metadata", {{"name", "d"}}}};
  const std::string path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/d";
  Fixture fixture({{"GET " + path + " ", 404, status("NotFound")},
                   {"PATCH " + path + "?", 201, definition("False")},
                   {"GET " + path + " ", 200, definition("True")}});
  CHECK(fixture.cluster().apply(object, fixture.call()) == Applied::created);
}

TEST_CASE("a missing Secret is not found without listing the others") {
  Fixture fixture({{"GET /api/v1/namespaces/ns/secrets/creds ", 404, status("NotFound")}});
  const Error error = failure([&] { fixture.cluster().secret("creds", "ns", fixture.call()); });
  CHECK(error.kind() == ErrorKind::not_found);
  CHECK(has(error.what(), "secret \"creds\" not found in namespace \"ns\""));
}

TEST_CASE("where all namespaces are meant, a Secret is read in that of the object that names it") {
  const Json secret = {{"metadata", {{"name", "creds"}}}, {"data", {{"access_key", "YQ=="}}}};
  Fixture fixture({{"GET /api/v1/namespaces/second/secrets/creds ", 200, secret}});
  const SecretData keys = fixture.cluster("").secret("creds", "second", fixture.call());
  CHECK(keys.at("access_key").reveal() == "a");
}

TEST_CASE("an object is found by kind and name, or it is not there") {
  Fixture fixture({{"GET /apis/batch/v1/namespaces/ns/cronjobs/c ", 200, named("c")},
                   {"GET /api/v1/namespaces/other/pods/p ", 404, status("NotFound")},
                   {"GET /apis/rbac.authorization.k8s.io/v1/clusterroles/r ", 200, named("r")}});
  ApiCluster cluster = fixture.cluster();
  CHECK(cluster.find_object({"CronJob", "c"}, fixture.call()) == named("c"));
  CHECK(cluster.find_object({"Pod", "p", "other"}, fixture.call()) == std::nullopt);
  CHECK(cluster.find_object({"ClusterRole", "r"}, fixture.call()) == named("r"));
}

TEST_CASE("objects are listed by their labels, here or everywhere") {
  Fixture fixture(
      {{"GET /apis/batch/v1/namespaces/ns/cronjobs?labelSelector=a%3Db&limit=500 ", 200,
        list({named("c")})},
       {"GET /api/v1/serviceaccounts?limit=500 ", 200, list({named("d"), named("e")})}});
  ApiCluster cluster = fixture.cluster();
  CHECK(cluster.list_objects("CronJob", "a=b", Reach::here, fixture.call()).size() == 1);
  CHECK(cluster.list_objects("ServiceAccount", "", Reach::everywhere, fixture.call()).size() == 2);
}

TEST_CASE("an object whose create went unanswered but was carried out is a success") {
  const Json object = {{"apiVersion", "v1"},
                       {"kind", "Secret"},
                       {"metadata", {{"name", "s"}}},
                       {"data", {{"key", "YQ=="}}}};
  Json there = object;
  there["metadata"]["uid"] = "u";
  const std::string path = "/api/v1/namespaces/ns/secrets";
  Fixture fixture({{"POST " + path + "?", 0},
                   {"POST " + path + "?", 409, status("AlreadyExists")},
                   {"GET " + path + "/s ", 200, there}});
  fixture.cluster().create_object(object, fixture.call());

  there["data"]["key"] = "Yg==";
  Fixture taken({{"POST " + path + "?", 0},
                 {"POST " + path + "?", 409, status("AlreadyExists")},
                 {"GET " + path + "/s ", 200, there}});
  CHECK(failure([&] { taken.cluster().create_object(object, taken.call()); }).kind() ==
        ErrorKind::exists);
  Fixture first({{"POST " + path + "?", 409, status("AlreadyExists")}});
  CHECK(failure([&] { first.cluster().create_object(object, first.call()); }).kind() ==
        ErrorKind::exists);
}

TEST_CASE("what is deleted loses the finalizers of an operator that is gone, and no others") {
  const std::string location = kLocations + "/x";
  const Json held = {
      {"metadata",
       {{"deletionTimestamp", "2026-11-22T21:54:32Z"},
        {"resourceVersion", "5"},
        {"finalizers", {"backuplocation.finalizers.kubedr.catalogicsoftware.com", "others"}}}}};
  const std::string deployment = "/deployments/kubedr-controller-manager ";
  Fixture fixture(
      {{"DELETE " + location + " ", 200},
       {"GET " + location + " ", 200, held},
       {"GET /apis/apps/v1/namespaces/ns" + deployment, 404, status("NotFound")},
       {"GET /apis/apps/v1/namespaces/kubedr-system" + deployment, 404, status("NotFound")},
       {"GET /api/v1/namespaces/ns/pods?labelSelector=control-plane%3Dcontroller-manager&", 200,
        list({})},
       {"PATCH " + location + "?", 200}});
  CHECK(fixture.cluster().delete_object({"BackupLocation", "x"}, fixture.call()));
  CHECK(fixture.body(5) ==
        Json::parse(R"({"metadata":{"finalizers":["others"],"resourceVersion":"5"}})"));

  // Who may not look must not take it for gone.
  Fixture denied(
      {{"DELETE " + location + " ", 200},
       {"GET " + location + " ", 200, held},
       {"GET /apis/apps/v1/namespaces/ns" + deployment, 404, status("NotFound")},
       {"GET /apis/apps/v1/namespaces/kubedr-system" + deployment, 403, status("Forbidden")},
       {"GET /api/v1/namespaces/ns/pods?labelSelector=control-plane%3Dcontroller-manager&", 200,
        list({})}});
  CHECK(denied.cluster().delete_object({"BackupLocation", "x"}, denied.call()));

  Fixture running(
      {{"DELETE " + location + " ", 200},
       {"GET " + location + " ", 200, held},
       {"GET /apis/apps/v1/namespaces/ns" + deployment, 200, Json{{"spec", {{"replicas", 1}}}}}});
  CHECK(running.cluster().delete_object({"BackupLocation", "x"}, running.call()));

  Fixture gone({{"DELETE " + location + " ", 404, status("NotFound")}});
  CHECK_FALSE(gone.cluster().delete_object({"BackupLocation", "x"}, gone.call()));
}

TEST_CASE("a job is deleted with its pods") {
  Fixture fixture(
      {{"DELETE /apis/batch/v1/namespaces/ns/jobs/x?propagationPolicy=Background ", 200}});
  CHECK(fixture.cluster().delete_object({"Job", "x"}, fixture.call()));
}

TEST_CASE("an operator is there while its Deployment is to run, or a pod of it still does") {
  const std::string here = "GET /apis/apps/v1/namespaces/kubedr-system/deployments/";
  const std::string pods = "GET /api/v1/namespaces/kubedr-system/pods?";
  const auto deployed = [](int replicas) { return Json{{"spec", {{"replicas", replicas}}}}; };
  const auto pod = [](const char* phase, const char* name = "kubedr-controller-manager-5d-x2") {
    return list({Json{{"metadata", {{"name", name}}}, {"status", {{"phase", phase}}}}});
  };
  const auto runs = [&](std::vector<Exchange> exchanges) {
    Fixture fixture(std::move(exchanges));
    return fixture.cluster("kubedr-system").operator_runs(fixture.call());
  };
  CHECK(runs({{here, 200, deployed(1)}}) == true);
  CHECK(runs({{here, 200, Json{{"spec", Json::object()}}}}) == true);
  CHECK(runs({{here, 200, deployed(0)}, {pods, 200, pod("Running")}}) == true);
  CHECK(runs({{here, 200, deployed(0)}, {pods, 200, pod("Succeeded")}}) == false);
  // Another operator's pods bear the same label.
  CHECK(runs({{here, 200, deployed(0)}, {pods, 200, pod("Running", "other-manager-1")}}) == false);
  CHECK(runs({{here, 403, status("Forbidden")}, {pods, 403, status("Forbidden")}}) == std::nullopt);
}

TEST_CASE("the server's version is read whatever a distribution adds to it") {
  Fixture fixture({{"GET /version ", 200, Json{{"major", "1"}, {"minor", "21+"}}}});
  CHECK(fixture.cluster().server_version(fixture.call()) == std::pair(1, 21));
}

}  // namespace kubedr::cluster
