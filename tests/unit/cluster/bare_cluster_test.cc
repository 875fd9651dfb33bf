#include "cluster/bare_cluster.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace kubedr::cluster {
namespace {

const SystemClock system_clock;
const Call call(system_clock);

BareCluster make() {
  BareCluster::Settings settings;
  settings.location.ref = {crd::Kind::location, "bare", "kubedr-system", "", ""};
  settings.policy.ref = {crd::Kind::policy, "bare", "kubedr-system", "", ""};
  settings.secrets["bare"]["restic_repo_password"] = Secret("pw");
  return BareCluster(std::move(settings));
}

template <class Function>
ErrorKind kind_of(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.kind();
  }
  FAIL("no failure");
  return ErrorKind::internal;
}

}  // namespace

TEST_CASE("a bare cluster has the one location, policy and Secret it was given") {
  BareCluster cluster = make();
  CHECK(cluster.location("bare", call).ref.name == "bare");
  CHECK(cluster.policies(call).items.size() == 1);
  CHECK(cluster.secret("bare", cluster.name_space(), call).at("restic_repo_password").reveal() ==
        "pw");
  CHECK(cluster.name_space() == "kubedr-system");
  CHECK_FALSE(cluster.has_resources());
}

TEST_CASE("a bare cluster takes what is published and keeps nothing of it") {
  BareCluster cluster = make();
  const crd::ObjectRef ref = cluster.location("bare", call).ref;
  cluster.patch_status(ref, Json::object(), call);
  cluster.create_record("bare", "bare", "83a71b2c", call);
  cluster.post_event(ref, crd::backup_failed("x"), "host", call);
  CHECK(cluster.records(call).items.empty());
  CHECK(cluster.collected().empty());
  CHECK(cluster.location("bare", call).status.init_status.empty());
}

TEST_CASE("other names are not found, and there is nothing to apply to") {
  BareCluster cluster = make();
  CHECK(kind_of([&] { cluster.location("l", call); }) == ErrorKind::not_found);
  CHECK(kind_of([&] { cluster.policy("p", call); }) == ErrorKind::not_found);
  CHECK(kind_of([&] { cluster.secret("s", cluster.name_space(), call); }) == ErrorKind::not_found);
  CHECK(kind_of([&] { cluster.apply(Json::object(), call); }) == ErrorKind::usage);
  CHECK(kind_of([&] { cluster.create_object(Json::object(), call); }) == ErrorKind::usage);
  CHECK(kind_of([&] { cluster.delete_object({"Secret", "s"}, call); }) == ErrorKind::usage);
  CHECK_FALSE(cluster.find_object({"Secret", "bare"}, call));
}

}  // namespace kubedr::cluster
