#include "storage/store.h"

#include <doctest/doctest.h>

#include "base/error.h"

namespace kubedr::storage {
namespace {

const std::string kId = "3fa2" + std::string(60, '0');

TEST_CASE("file name: each kind lies where restic puts it") {
  CHECK(FileName{FileKind::config, ""}.path() == "config");
  CHECK(FileName{FileKind::key, kId}.path() == "keys/" + kId);
  CHECK(FileName{FileKind::pack, kId}.path() == "data/3f/" + kId);
  CHECK(FileName{FileKind::index, kId}.path() == "index/" + kId);
  CHECK(FileName{FileKind::snapshot, kId}.path() == "snapshots/" + kId);
  CHECK(FileName{FileKind::lock, kId}.path() == "locks/" + kId);
}

TEST_CASE("file name: one that is no id leads nowhere") {
  for (const std::string& id :
       {std::string(), std::string("latest"), std::string("../../etc/passwd"), kId.substr(1),
        kId + "0", "3FA2" + std::string(60, '0')}) {
    CAPTURE(id);
    CHECK_FALSE(is_id(id));
    CHECK_THROWS_AS((FileName{FileKind::snapshot, id}.path()), Error);
  }
  CHECK(is_id(kId));
}

}  // namespace
}  // namespace kubedr::storage
