#include "workflow/identity.h"

#include <doctest/doctest.h>

#include "base/sha256.h"
#include "unit/repo/repositories.h"
#include "workflow/snapshots.h"

using namespace kubedr;
using namespace kubedr::workflow;
using kubedr::repo::test::text_of;

TEST_CASE("identity: a record names a snapshot by 8 digits or more") {
  const repo::SavedSnapshot saved{repo::SnapshotId(sha256(as_bytes("snapshot"))), {}};
  const std::string id = saved.id.hex();
  crd::Record record;
  record.ref.name = "mbr";
  for (const std::size_t digits : {0U, 1U, 7U}) {
    record.snapshot_id = id.substr(0, digits);
    CHECK_FALSE(names(record, saved));
  }
  CHECK(text_of([&] {
          choose_snapshot({saved}, {}, {record}, "", {"mbr", {}, {}});
        }) ==
        "usage: record mbr: its snapshotId \"" + id.substr(0, 7) + "\" has less than 8 digits");
  for (const std::size_t digits : {8U, 64U}) {
    record.snapshot_id = id.substr(0, digits);
    CHECK(names(record, saved));
    CHECK(choose_snapshot({saved}, {}, {record}, "", {"mbr", {}, {}}).record == "mbr");
  }
  record.snapshot_id = "00000000";
  CHECK_FALSE(names(record, saved));
}
