#include "workflow/survey.h"

#include <doctest/doctest.h>

#include "bare_repository.h"

using namespace kubedr;
using namespace kubedr::workflow;
using kubedr::workflow::test::BareRepository;

namespace {

using Names = std::vector<std::string>;

// Two namespaces with the same names in both: policy "nightly" to location "offsite".
struct Twins final : cluster::BareCluster {
  Twins() : BareCluster(BareRepository::settings()) {}

  cluster::Listed<crd::Location> locations(const Call&) override {
    cluster::Listed<crd::Location> listed;
    for (const char* name_space : {"one", "two"}) {
      crd::Location& location = listed.items.emplace_back();
      location.ref = {crd::Kind::location, "offsite", name_space, "", ""};
    }
    return listed;
  }

  cluster::Listed<crd::Policy> policies(const Call&) override {
    cluster::Listed<crd::Policy> listed;
    for (const char* name_space : {"one", "two"}) {
      for (const std::string& name : Names{"nightly", std::string("only-in-") + name_space}) {
        crd::Policy& policy = listed.items.emplace_back();
        policy.ref = {crd::Kind::policy, name, name_space, "", ""};
        policy.destination = "offsite";
      }
    }
    return listed;
  }
};

struct Selection : BareRepository {
  // What is judged when that is asked for: policies, then locations.
  Names of(const Names& only) {
    SurveyRequest request;
    request.only = only;
    const health::Fleet fleet = survey_cluster(services(twins), request, call);
    Names names;
    for (const crd::Policy& policy : fleet.policies) {
      names.push_back(policy.ref.name_space + "/" + policy.ref.name);
    }
    for (const health::SeenLocation& seen : fleet.locations) {
      names.push_back(seen.location.ref.name_space + "/" + seen.location.ref.name);
    }
    return names;
  }

  Twins twins;
};

}  // namespace

TEST_CASE("survey: a policy brings the location of its own namespace, and no namesake of it") {
  Selection selection;
  CHECK(selection.of({"only-in-two"}) == Names{"two/only-in-two", "two/offsite"});
  CHECK(selection.of({"policy/nightly"}) ==
        Names{"one/nightly", "two/nightly", "one/offsite", "two/offsite"});
  CHECK(selection.of({"location/offsite"}) == Names{"one/offsite", "two/offsite"});
}

TEST_CASE("survey: what is asked for twice is judged once") {
  Selection selection;
  CHECK(selection.of({"only-in-two", "policy/only-in-two", "location/offsite"}) ==
        Names{"two/only-in-two", "two/offsite", "one/offsite"});
}
