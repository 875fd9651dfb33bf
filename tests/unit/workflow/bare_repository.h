#ifndef KUBEDR_UNIT_WORKFLOW_BARE_REPOSITORY_H
#define KUBEDR_UNIT_WORKFLOW_BARE_REPOSITORY_H

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "cluster/bare_cluster.h"
#include "support/faulty_store.h"
#include "unit/repo/backups.h"
#include "workflow/services.h"

// What a recipe works with when only a repository is left, here one in memory.
namespace kubedr::workflow::test {

class Silent final : public Progress {
 public:
  void begin(std::string_view /*step*/, std::uint64_t /*total_bytes*/) override {}

  void advance(std::uint64_t /*bytes*/) override {}

  void end(bool /*done*/) override {}
};

struct BareRepository : repo::test::World {
  BareRepository() : cluster(settings()) {}

  Services services() { return services(cluster); }

  Services services(cluster::Cluster& of) {
    return {of,
            [this](const crd::Location&, const cluster::SecretData&, Caching) {
              return std::make_unique<kubedr::test::FaultyStore>(store);
            },
            [](const crd::Location&) { return std::string("memory"); },
            clock,
            random,
            progress,
            repo::test::kOwner,
            "node-1",
            "",
            "test",
            {},
            repo::test::kNoRetry};
  }

  static cluster::BareCluster::Settings settings() {
    cluster::BareCluster::Settings settings;
    settings.location.ref = {crd::Kind::location, "bare", "kubedr-system", "", ""};
    settings.location.credentials = "creds";
    settings.policy.ref = {crd::Kind::policy, "bare", "kubedr-system", "", ""};
    settings.policy.destination = "bare";
    settings.secrets["creds"].emplace("restic_repo_password", Secret("pw"));
    return settings;
  }

  cluster::BareCluster cluster;
  Silent progress;
};

}  // namespace kubedr::workflow::test

#endif  // KUBEDR_UNIT_WORKFLOW_BARE_REPOSITORY_H
