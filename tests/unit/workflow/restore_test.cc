#include "workflow/restore.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>

#include "bare_repository.h"
#include "repo/writer.h"
#include "support/temp_dir.h"

using namespace kubedr;
using namespace kubedr::workflow;
using kubedr::repo::test::back_up;
using kubedr::repo::test::day;
using kubedr::repo::test::names;
using kubedr::repo::test::noise;
using kubedr::repo::test::overwrite;
using kubedr::repo::test::pages;
using kubedr::repo::test::text_of;
using kubedr::test::read_text;
using kubedr::test::TempDir;
using kubedr::workflow::test::BareRepository;
using storage::FileKind;

namespace {

// One snapshot, of a file "db".
struct Restorable : BareRepository {
  Restorable() {
    back_up(*this, store, pages(0, 3), day(1));
    request.choice.snapshot = "latest";
    request.target = folder / "target";
  }

  std::string run() {
    return text_of([&] { restore(services(), request, call); });
  }

  TempDir folder;
  RestoreRequest request;
};

// A snapshot whose data/etcd-snapshot.db is no database, from a time that few file systems can keep
// exactly: most begin in 1901.
void back_up_noise_of_1850(BareRepository& world) {
  using namespace kubedr::repo;
  Repository repository = world.open(world.store);
  Lock lock = repository.lock_shared(repo::test::kOwner, repo::test::kNoRetry, world.call);
  Index index = repository.load_index(lock, world.call);
  Writer writer(repository, lock, index, repo::test::small_packs());
  const Bytes bytes = noise(std::size_t{64} * 1024 + 32, 1);
  repo::test::BytesSource source(bytes);
  Node file = repo::test::file_node("etcd-snapshot.db",
                                    writer.save_file(source, Cut::fixed(16384), lock.scope()));
  file.mtime = WallTime(std::chrono::sys_days(std::chrono::year(1850) / 1 / 1).time_since_epoch());
  Node data;
  data.name = "data";
  data.type = NodeType::dir;
  data.mode = go_mode(S_IFDIR | 0700);
  data.subtree = writer.save_tree(tree_json({file}), lock.scope());
  Snapshot snapshot;
  snapshot.tree = writer.save_tree(tree_json({data}), lock.scope());
  snapshot.time = day(2);
  snapshot.paths = {"/data"};
  snapshot.hostname = "node-1";
  repository.save_snapshot(snapshot, writer.finish(lock.scope()), lock, lock.scope());
  lock.release(world.call);
}

}  // namespace

TEST_CASE("restore: a database is proven on a file system that does not keep its time") {
  Restorable repository;
  back_up_noise_of_1850(repository);
  const std::string text = repository.run();
  CHECK(text.starts_with("corrupt: "));
  CHECK(text.find("sha-256 digest does not match") != std::string::npos);
  CHECK(std::filesystem::exists(repository.request.target / "data/etcd-snapshot.db"));
}

TEST_CASE("restore: what was there already and stays is not taken for the snapshot's") {
  Restorable repository;
  back_up_noise_of_1850(repository);
  const std::string same_size(std::size_t{64} * 1024 + 32, 'x');
  repository.folder.write("target/data/etcd-snapshot.db", same_size);
  repository.request.options.overwrite = repo::Overwrite::never;
  CHECK(repository.run() == "nothing thrown");
  CHECK(read_text(repository.request.target / "data/etcd-snapshot.db") == same_size);
}

TEST_CASE("restore: a damaged index file does not stop it while another knows what is needed") {
  Restorable repository;
  overwrite(repository.store, {FileKind::index, std::string(64, 'b')}, as_bytes("junk"),
            repository.call);
  CHECK(repository.run() == "nothing thrown");
  CHECK(std::filesystem::file_size(repository.request.target / "db") == 3 * 16 * 1024);
}

TEST_CASE("restore: what is damaged is told at the end, of a rehearsal too") {
  Restorable repository;
  for (const std::string& id : names(repository.store, FileKind::pack, repository.call)) {
    const storage::FileName name{FileKind::pack, id};
    Bytes bytes = repository.store.load(name, 1 << 20, repository.call);
    if (bytes.size() > 3 * 16 * 1024) bytes[100] ^= 1U;
    overwrite(repository.store, name, bytes, repository.call);
  }
  const std::string text = repository.run();
  CHECK(text.starts_with("corrupt: restore: a file or folder is damaged in snapshot "));
  CHECK(text.find(": /db: blob ") != std::string::npos);
  CHECK(std::filesystem::is_empty(repository.request.target));
  CHECK(names(repository.store, FileKind::lock, repository.call).empty());

  for (const std::string& id : names(repository.store, FileKind::index, repository.call)) {
    overwrite(repository.store, {FileKind::index, id}, as_bytes("junk"), repository.call);
  }
  repository.request.target = repository.folder / "other";
  repository.request.dry_run = true;
  CHECK(repository.run().starts_with("corrupt: restore: a file or folder is damaged"));
  CHECK_FALSE(std::filesystem::exists(repository.request.target));
}

TEST_CASE("restore: a rehearsal refuses the targets that a restore refuses") {
  Restorable repository;
  repository.request.target = repository.folder.write("full/file", "x").parent_path();
  repository.request.dry_run = true;
  CHECK(repository.run().starts_with("usage: " + repository.request.target.string() +
                                     ": is not an empty folder"));
  repository.request.options.overwrite = repo::Overwrite::always;
  CHECK(repository.run() == "nothing thrown");
  repository.request.target = repository.folder / "full/file";
  CHECK(repository.run().starts_with("usage: "));
}

TEST_CASE("restore: the commands are of the etcd that the database is of") {
  const auto commands = [](const std::string& version) {
    etcd::DatabaseInfo info;
    info.cluster_version = version;
    return restore_commands("/r/db", info).at(0);
  };
  const auto remark = [](const std::string& version) {
    etcd::DatabaseInfo info;
    info.cluster_version = version;
    return restore_remark(info);
  };
  const std::string lift = " --bump-revision 1000000000 --mark-compacted";
  CHECK(commands("3.4.0") == "etcdctl snapshot restore /r/db --data-dir /var/lib/etcd");
  CHECK(commands("3.6.0") == "etcdutl snapshot restore /r/db --data-dir /var/lib/etcd" + lift);
  CHECK(commands("") == commands("3.6.0"));
  CHECK(remark("3.4.0").find("3.4.27") != std::string::npos);
  CHECK(remark("3.5.0").find("3.5.10") != std::string::npos);
  CHECK(remark("3.6.0").empty());
}
