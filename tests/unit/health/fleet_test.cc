#include "health/fleet.h"

#include <doctest/doctest.h>

using namespace kubedr;
using namespace kubedr::health;

TEST_CASE("belongs: by the tag, else by a record that says all of it") {
  crd::Policy policy;
  policy.ref = {crd::Kind::policy, "nightly", "ns", "", ""};
  policy.destination = "s3";
  SeenSnapshot snapshot;
  snapshot.id = std::string(64, 'a');
  crd::Record record;
  record.ref = {crd::Kind::record, "mbr-aaaaaaaa", "ns", "", ""};
  record.policy = "nightly";
  record.location = "s3";
  record.snapshot_id = "aaaaaaaa";
  const auto is_ours = [&] { return belongs({record}, policy, snapshot); };

  CHECK(is_ours());
  SUBCASE("a tag is believed before any record") {
    snapshot.policy = "nightly";
    snapshot.name_space = "ns";
    CHECK(belongs({}, policy, snapshot));
    snapshot.name_space = "other";
    CHECK_FALSE(is_ours());
    snapshot.name_space = "";
    CHECK_FALSE(is_ours());
    snapshot.name_space = "ns";
    snapshot.policy = "weekly";
    CHECK_FALSE(is_ours());
  }
  SUBCASE("what has tags of somebody else is his") {
    snapshot.other_tags = true;
    CHECK_FALSE(is_ours());
  }
  SUBCASE("the record is one of this policy, here, and names it clearly") {
    const crd::Record good = record;
    for (const auto& [member, value] : {std::pair{&crd::Record::policy, "weekly"},
                                        {&crd::Record::location, "other"},
                                        {&crd::Record::snapshot_id, "bbbbbbbb"},
                                        {&crd::Record::snapshot_id, "aaaaaaa"}}) {
      CAPTURE(value);
      record = good;
      record.*member = value;
      CHECK_FALSE(is_ours());
    }
    record = good;
    record.ref.name_space = "other";
    CHECK_FALSE(is_ours());
  }
}
