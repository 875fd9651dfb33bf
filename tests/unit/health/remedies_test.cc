#include "health/remedies.h"

#include <doctest/doctest.h>

using namespace kubedr;
using namespace kubedr::health;

namespace {

Fleet fleet_of_one() {
  Fleet fleet;
  SeenLocation& seen = fleet.locations.emplace_back();
  seen.location.ref = {crd::Kind::location, "minio", "kubedr-system", "uid", "1"};
  seen.location.credentials = "keys";
  crd::Policy& policy = fleet.policies.emplace_back();
  policy.ref = {crd::Kind::policy, "nightly", "kubedr-system", "uid", "1"};
  policy.destination = "minio";
  policy.schedule = "0 * * * *";
  return fleet;
}

}  // namespace

TEST_CASE("remedies: that of a store that refuses is about what it refuses") {
  Fleet fleet = fleet_of_one();
  SeenRepository seen;
  seen.problem_kind = ErrorKind::denied;
  seen.remedy = "a word of S3";
  seen.secret_keys = {"access_key", "secret_key", "restic_repo_password"};
  const auto remedy = [&](const std::string& problem) {
    seen.problem = problem;
    return Remedies(fleet).repository(fleet.locations[0].location, seen);
  };
  const std::string head = "kubectl -n kubedr-system create secret generic keys --from-file=";
  const std::string tail =
      " --dry-run=client -o yaml | "
      "kubectl -n kubedr-system patch secret keys --patch-file /dev/stdin";
  const std::string pair = "access_key --from-file=secret_key";
  CHECK(remedy("s3: get config: 403 InvalidAccessKeyId") == head + pair + tail);
  CHECK(remedy("s3: get config: 400 AuthorizationHeaderMalformed") == head + "region" + tail);
  CHECK(remedy("s3: the server's certificate is not trusted") == head + "ca.crt" + tail);
  CHECK(remedy("s3: get config: 403 AccessDenied") == "kubectl kubedr doctor nightly --print iam");
  seen.secret_keys.emplace_back("session_token");
  CHECK(remedy("s3: get config: 403 SignatureDoesNotMatch") ==
        head + pair + " --from-file=session_token" + tail);
  fleet.policies.clear();
  CHECK(remedy("s3: get config: 403 AccessDenied") == "kubectl kubedr check --location minio");
  fleet.without_cluster = true;  // there is no Secret
  CHECK(remedy("s3: get config: 403 InvalidAccessKeyId") == "a word of S3");
}

TEST_CASE("remedies: a command of ours names the namespace where the object is not found without") {
  Fleet fleet = fleet_of_one();
  crd::Policy& policy = fleet.policies[0];
  const std::string bare = "kubectl kubedr backup nightly --adopt";
  const auto backup = [&] { return Remedies(fleet).backup(policy, " --adopt"); };
  CHECK(backup() == bare);
  fleet.all_namespaces = true;
  CHECK(backup() == bare + " -n kubedr-system");
  fleet.all_namespaces = false;
  policy.ref.name_space = "other";
  CHECK(backup() == bare + " -n other");
  CHECK(Remedies(fleet).in_namespace("kubectl get mbr", policy.ref) == "kubectl get mbr");
  fleet.without_cluster = true;
  CHECK(backup() == bare);
}

TEST_CASE("remedies: the CronJob that somebody else made is patched, ours is made anew") {
  const Fleet fleet = fleet_of_one();
  SeenSchedule seen{"kubedr-system", "nightly", {"schedule"}, "cron"};
  CHECK(Remedies(fleet).schedule(fleet.policies[0], seen) == "kubectl kubedr schedule nightly");
  seen.foreign = true;
  CHECK(Remedies(fleet).schedule(fleet.policies[0], seen) ==
        "kubectl -n kubedr-system patch cronjob cron --type merge -p "
        "'{\"spec\":{\"schedule\":\"0 * * * *\",\"suspend\":false}}'");
}

TEST_CASE("remedies: what an object names is one word for the shell, whatever it is") {
  Fleet fleet = fleet_of_one();
  crd::Policy& policy = fleet.policies[0];
  policy.etcd_creds = "x; touch /tmp/here";
  CHECK(Remedies::etcd_secret(policy).find(" generic 'x; touch /tmp/here' --from-file") !=
        std::string::npos);
  crd::Location& location = fleet.locations[0].location;
  location.credentials = "$(id)";
  SeenRepository seen;
  seen.problem_kind = ErrorKind::denied;
  seen.problem = "s3: get config: 403 InvalidAccessKeyId";
  seen.secret_keys = {"access_key", "secret_key", "restic_repo_password"};
  const std::string remedy = Remedies(fleet).repository(location, seen);
  CHECK(remedy.find(" generic '$(id)' ") != std::string::npos);
  CHECK(remedy.find(" patch secret '$(id)' ") != std::string::npos);
}
