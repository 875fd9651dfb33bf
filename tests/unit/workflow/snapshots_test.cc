#include "workflow/snapshots.h"

#include <doctest/doctest.h>

using namespace kubedr;
using namespace kubedr::workflow;

TEST_CASE("snapshots: filters mean what restic's mean") {
  repo::Snapshot snapshot;
  snapshot.hostname = "node-1";
  snapshot.tags = {"a", "b"};
  snapshot.paths = {"/data", "/etc"};
  const repo::Snapshot untagged;
  CHECK(SnapshotFilter{}.matches(snapshot));

  CHECK(SnapshotFilter{{"node-2", "node-1"}, {}, {}}.matches(snapshot));
  CHECK_FALSE(SnapshotFilter{{"node-2"}, {}, {}}.matches(snapshot));

  CHECK(SnapshotFilter{{}, {{"a", "b"}}, {}}.matches(snapshot));
  CHECK(SnapshotFilter{{}, {{"c"}, {"b"}}, {}}.matches(snapshot));
  CHECK_FALSE(SnapshotFilter{{}, {{"a", "c"}}, {}}.matches(snapshot));
  CHECK(SnapshotFilter{{}, {{""}}, {}}.matches(untagged));
  CHECK_FALSE(SnapshotFilter{{}, {{""}}, {}}.matches(snapshot));

  CHECK(SnapshotFilter{{}, {}, {"/etc", "/data"}}.matches(snapshot));
  CHECK_FALSE(SnapshotFilter{{}, {}, {"/data", "/var"}}.matches(snapshot));
  CHECK_FALSE(SnapshotFilter{{"node-1"}, {{"a"}}, {"/var"}}.matches(snapshot));
}
