#include "repo/check.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "backups.h"

using namespace kubedr;
using namespace kubedr::repo;
using namespace kubedr::repo::test;

namespace {

CheckReport check(World& world, bool read_data = true) {
  const Repository repository = world.open(world.store);
  ReadData read;
  if (read_data) read.kind = ReadData::Kind::all;
  return repo::check(
      repository, Secret("pw"), read, [](std::uint64_t, std::uint64_t) {}, world.random,
      world.call);
}

std::vector<std::string> codes(const CheckReport& report, Problem::Severity severity) {
  std::vector<std::string> found;
  for (const Problem& problem : report.problems) {
    if (problem.severity != severity) continue;
    CHECK_FALSE(problem.remedy.empty());
    CHECK_FALSE(problem.message.empty());
    found.push_back(problem.code);
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

using Codes = std::vector<std::string>;

Codes errors(const CheckReport& report) {
  return codes(report, Problem::Severity::error);
}

Codes hints(const CheckReport& report) {
  return codes(report, Problem::Severity::hint);
}

// Two snapshots that share half of their pages. Each defect is of one file, named by its kind.
struct Damaged : World {
  Damaged() {
    back_up(*this, store, pages(0, 12), day(0));
    back_up(*this, store, pages(6, 18), day(1));
  }

  // Packs of trees are small, those of data are not.
  FileName pack(bool of_trees) {
    for (const std::string& id : names(store, FileKind::pack, call)) {
      const bool small = *store.size_of({FileKind::pack, id}, call) < 10'000;
      if (small == of_trees) return {FileKind::pack, id};
    }
    FAIL("no such pack");
    return {};
  }

  FileName first(FileKind kind) { return {kind, names(store, kind, call).front()}; }

  void flip(const FileName& name, std::int64_t at) {
    Bytes bytes = store.load(name, 1 << 28, call);
    const auto index = at < 0 ? static_cast<std::int64_t>(bytes.size()) + at : at;
    bytes[static_cast<std::size_t>(index)] ^= 0x10;
    overwrite(store, name, bytes, call);
  }
};

}  // namespace

TEST_CASE("check: a whole repository has no problems, and every byte was read") {
  Damaged world;
  const CheckReport report = check(world);
  CHECK(report.problems.empty());
  CHECK(report.snapshots == 2);
  CHECK(report.packs == 4);
  CHECK(report.packs_read == 4);
  CHECK(report.broken_snapshots.empty());
  CHECK(check(world, false).packs_read == 0);
}

TEST_CASE("check: each defect is named, and the snapshots that it breaks") {
  Damaged world;
  SUBCASE("a pack of data is gone") {
    world.store.remove(world.pack(false), world.call);
    const CheckReport report = check(world, false);
    CHECK(errors(report) == Codes{"pack-missing"});
    CHECK(report.broken_snapshots.size() >= 1);
  }
  SUBCASE("a pack of trees is gone") {
    world.store.remove(world.pack(true), world.call);
    const CheckReport report = check(world, false);
    CHECK(errors(report) == Codes{"pack-missing", "tree-damaged"});
    CHECK(report.broken_snapshots.size() == 1);
  }
  SUBCASE("a pack was cut") {
    const FileName name = world.pack(false);
    Bytes bytes = world.store.load(name, 1 << 28, world.call);
    bytes.resize(bytes.size() - 100);
    overwrite(world.store, name, bytes, world.call);
    const CheckReport report = check(world, false);
    CHECK(errors(report) == Codes{"pack-size"});
    CHECK(report.problems.front().message.find("unexpected file size: got ") != std::string::npos);
  }
  SUBCASE("a pack is empty") {
    overwrite(world.store, world.pack(false), {}, world.call);
    CHECK(errors(check(world, false)) == Codes{"pack-size"});
  }
  SUBCASE("a bit of a blob is wrong: only who reads it sees it") {
    world.flip(world.pack(false), 5'000);
    CHECK(errors(check(world, false)).empty());
    const CheckReport report = check(world);
    CHECK(errors(report) == Codes{"pack-damaged"});
    CHECK(report.broken_snapshots.size() >= 1);
  }
  SUBCASE("a bit of a pack's header is wrong") {
    world.flip(world.pack(false), -20);
    CHECK(errors(check(world, false)).empty());
    const CheckReport report = check(world);
    CHECK(errors(report) == Codes{"pack-damaged"});
    CHECK(report.broken_snapshots.empty());
  }
  SUBCASE("a bit of a tree is wrong") {
    world.flip(world.pack(true), 40);
    const CheckReport report = check(world, false);
    CHECK(errors(report) == Codes{"tree-damaged"});
    CHECK(report.broken_snapshots.size() == 1);
  }
  SUBCASE("a bit of an index is wrong") {
    world.flip(world.first(FileKind::index), 50);
    const CheckReport report = check(world, false);
    CHECK(errors(report) == Codes{"index-damaged", "tree-damaged"});
    CHECK(report.suggest_repair_index);
  }
  SUBCASE("an index is gone") {
    world.store.remove(world.first(FileKind::index), world.call);
    const CheckReport report = check(world, false);
    CHECK(hints(report) == Codes{"pack-unreferenced"});
    CHECK(errors(report) == Codes{"tree-damaged"});
  }
  SUBCASE("an index is empty") {
    overwrite(world.store, world.first(FileKind::index), {}, world.call);
    CHECK(errors(check(world, false)) == Codes{"index-damaged", "tree-damaged"});
  }
  SUBCASE("a snapshot is damaged") {
    world.flip(world.first(FileKind::snapshot), 50);
    const CheckReport report = check(world, false);
    CHECK(errors(report) == Codes{"snapshot-damaged"});
    CHECK(report.snapshots == 2);
    CHECK(report.unreadable_snapshots == 1);
    CHECK(report.whole_snapshots() == 1);
    CHECK(report.broken_snapshots.empty());
  }
  SUBCASE("a foreign file lies among the keys") {
    overwrite(world.store, {FileKind::key, std::string(64, 'a')}, as_bytes("junk"), world.call);
    CHECK(errors(check(world, false)) == Codes{"key-damaged"});
  }
  SUBCASE("another repository's key has the same password") {
    put_key(world.store, make_master_key(world.random), "pw", world.random, world.call);
    put_key(world.store, make_master_key(world.random), "other", world.random, world.call);
    put_key(world.store, world.master, "escrow", world.random, world.call);
    const CheckReport report = check(world, false);
    CHECK(errors(report) == Codes{"key-foreign"});
    CHECK(report.problems.size() == 1);
  }
  SUBCASE("a foreign file lies among the packs") {
    put(world.store, FileKind::pack, as_bytes("junk"), world.call);
    const CheckReport report = check(world);
    CHECK(report.errors() == 0);
    CHECK(hints(report) == Codes{"pack-unreferenced"});
    CHECK(report.suggest_prune);
  }
  SUBCASE("a lock cannot be read") {
    put(world.store, FileKind::lock, as_bytes("junk"), world.call);
    CHECK(hints(check(world, false)) == Codes{"lock-damaged"});
  }
  SUBCASE("a pack is named twice") {
    Repository repository = world.open(world.store);
    const Bytes json = repository.files().load(world.first(FileKind::index), world.call);
    repository.files().save(repository.files().seal(FileKind::index, as_text(json)), world.call);
    const CheckReport report = check(world);
    CHECK(report.errors() == 0);
    CHECK(hints(report) == Codes{"pack-in-several-indexes"});
  }
}

TEST_CASE("check: a blob with a second copy breaks no snapshot") {
  World world;
  MemoryStore other;
  copy_store(world.store, other, world.call);
  back_up(world, world.store, pages(0, 4), day(0));
  back_up(world, other, pages(0, 4), day(0));
  for (const FileKind kind : {FileKind::pack, FileKind::index}) {
    for (const std::string& id : names(other, kind, world.call)) {
      put(world.store, kind, other.load({kind, id}, 1 << 28, world.call), world.call);
    }
  }
  for (const std::string& id : names(other, FileKind::pack, world.call)) {
    world.store.remove({FileKind::pack, id}, world.call);
  }
  const CheckReport report = check(world);
  CHECK(errors(report) == Codes{"pack-missing"});
  CHECK(report.broken_snapshots.empty());
}

TEST_CASE("check: a subset of the data is what was asked for") {
  Damaged world;
  const Repository repository = world.open(world.store);
  const auto read = [&](const std::string& subset) {
    return repo::check(
               repository, Secret("pw"), parse_read_data_subset(subset),
               [](std::uint64_t, std::uint64_t) {}, world.random, world.call)
        .packs_read;
  };
  CHECK(read("1/1") == 4);
  CHECK(read("1/2") + read("2/2") == 4);
  CHECK(read("100%") == 4);
  CHECK(read("25%") == 1);
  CHECK(read("0.1%") == 1);
  CHECK(read("1") == 1);
  CHECK(read("1G") == 4);
  for (const char* wrong : {"", "0/2", "3/2", "1/257", "0%", "101%", "x%", "-5", "0", "5X", "/"}) {
    CAPTURE(wrong);
    CHECK(text_of([&] { parse_read_data_subset(wrong); }).starts_with("usage"));
  }
}
