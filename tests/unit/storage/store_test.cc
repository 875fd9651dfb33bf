#include "storage/store.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "base/error.h"
#include "storage/memory_store.h"
#include "unit/storage/stores.h"

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

TEST_CASE("list_ids: those of one kind, sorted") {
  StillClock clock;
  const Call call(clock);
  MemoryStore store;
  store.create(call);
  std::vector<std::string> ids;
  for (const char* text : {"a", "b", "c", "d"}) {
    const FileName name = name_of(FileKind::snapshot, text);
    save_text(store, name, text, SaveMode::replace, call);
    ids.push_back(name.id);
  }
  save_text(store, name_of(FileKind::index, "e"), "e", SaveMode::replace, call);
  std::sort(ids.begin(), ids.end());
  CHECK(list_ids(store, FileKind::snapshot, call) == ids);
  CHECK(list_ids(store, FileKind::lock, call).empty());
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
