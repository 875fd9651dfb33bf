#include "repo/repository.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "backups.h"
#include "base/limits.h"
#include "storage/directory_store.h"
#include "support/fake_clock.h"
#include "support/faulty_store.h"
#include "support/temp_dir.h"

using namespace kubedr;
using namespace kubedr::repo;
using namespace kubedr::repo::test;
using kubedr::test::FakeClock;
using kubedr::test::Fault;
using kubedr::test::FaultyStore;
using kubedr::test::Operation;
using kubedr::test::TempDir;
using std::chrono::milliseconds;

namespace {

InitRequest request(const std::string& password = "pw", int version = 2) {
  return {Secret(password), version, "root", "node-1"};
}

// Time that passes only while somebody sleeps, and what others do meanwhile. One thread.
class Script final : public Clock {
 public:
  WallTime now() const override { return WallTime(std::chrono::seconds(1'700'000'000)) + passed_; }

  SteadyTime steady() const override { return SteadyTime() + passed_; }

  void wait_until(SteadyTime until, const std::stop_token& /*stop*/) const override {
    const auto target = std::chrono::duration_cast<milliseconds>(until - SteadyTime());
    while (!events_.empty() && events_.begin()->first <= target) {
      const auto event = events_.extract(events_.begin());
      passed_ = std::max(passed_, event.key());
      event.mapped()();
    }
    passed_ = std::max(passed_, target);
  }

  void at(milliseconds time, std::function<void()> act) { events_.emplace(time, std::move(act)); }

  void after(milliseconds time, std::function<void()> act) { at(passed_ + time, std::move(act)); }

 private:
  mutable milliseconds passed_{0};
  mutable std::multimap<milliseconds, std::function<void()>> events_;
};

// Does something just before or after the n-th call of a kind.
class HookedStore final : public storage::Store {
 public:
  explicit HookedStore(storage::Store& inner) : inner_(inner) {}

  std::function<void(const FileName&)> before_save = [](const FileName&) {};
  std::function<void(const FileName&)> after_save = [](const FileName&) {};
  bool ignores_create_only = false;

  const std::string& location() const override { return inner_.location(); }

  Bytes load(const FileName& name, std::size_t limit, const Call& call) const override {
    return inner_.load(name, limit, call);
  }

  Bytes load_range(const FileName& name, const storage::Range& range,
                   const Call& call) const override {
    return inner_.load_range(name, range, call);
  }

  std::optional<std::uint64_t> size_of(const FileName& name, const Call& call) const override {
    return inner_.size_of(name, call);
  }

  void list(FileKind kind, const std::function<void(const storage::FileInfo&)>& each,
            const Call& call) const override {
    inner_.list(kind, each, call);
  }

  bool create(const Call& call) override { return inner_.create(call); }

  void save(const FileName& name, ByteView bytes, const Digest& digest, SaveMode mode,
            const Call& call) override {
    before_save(name);
    inner_.save(name, bytes, digest, ignores_create_only ? SaveMode::replace : mode, call);
    after_save(name);
  }

  void remove(const FileName& name, const Call& call) override { inner_.remove(name, call); }

  int connections() const override { return inner_.connections(); }

 private:
  storage::Store& inner_;
};

// restic's init, in three moments.
struct ResticInit {
  ResticInit(storage::Store& to, Random& source) : store(to), random(source) {}

  void look(const Call& call) {
    saw_something = store.size_of({FileKind::config, {}}, call).has_value() ||
                    !names(store, FileKind::key, call).empty();
  }

  void write_key(const Call& call) {
    if (!saw_something) put_key(store, master, "pw", random, call);
  }

  void write_config(const Call& call) {
    if (saw_something) return;
    put_config(store, master, make_config(2, random), random, call);
    succeeded = true;
  }

  storage::Store& store;
  Random& random;
  const SealKey master = make_master_key(random);
  bool saw_something = false;
  bool succeeded = false;
};

// Every key file that opens with the password opens the config: restic stops at one that does not.
bool every_client_can_open(const storage::StoreReader& store, Random& random, const Call& call) {
  const Bytes config = store.load({FileKind::config, {}}, 1000, call);
  int keys = 0;
  for (const std::string& id : names(store, FileKind::key, call)) {
    const Bytes key = store.load({FileKind::key, id}, 10'000, call);
    const auto master = open_key_file(as_text(key), Secret("pw"), id);
    Bytes plain;
    if (!master || !Sealer(*master, random).try_open(config, plain)) return false;
    ++keys;
  }
  return keys > 0;
}

// All packs are stored, and only the snapshot is not.
struct Packed {
  SnapshotId save() { return repository.save_snapshot({}, written, lock, world.call); }

  World world;
  FaultyStore store{world.store};
  Repository repository = world.open(store);
  Lock lock = repository.lock_shared(kOwner, kNoRetry, world.call);
  Index index = repository.load_index(lock, world.call);
  Writer writer{repository, lock, index, small_packs()};
  const Written written = writer.finish(lock.scope());
};

}  // namespace

TEST_CASE("init makes a repository that opens with its password only") {
  const FakeClock clock(FakeClock::Mode::jumping);
  SystemRandom random;
  MemoryStore store;
  const Call call(clock);
  const Repository made = Repository::init(store, request(), random, call);
  CHECK(made.config().version == 2);
  CHECK(names(store, FileKind::key, call) == std::vector{made.key_id().hex()});

  const Repository opened = Repository::open(store, Secret("pw"), random, call);
  CHECK(opened.config().id == made.config().id);
  CHECK(text_of([&] { Repository::open(store, Secret("other"), random, call); }) ==
        "wrong_password: wrong password or no key found");
}

TEST_CASE("init writes version 1 when asked and refuses others") {
  const FakeClock clock(FakeClock::Mode::jumping);
  SystemRandom random;
  MemoryStore store;
  const Call call(clock);
  CHECK(error_of([&] { Repository::init(store, request("pw", 3), random, call); })->kind() ==
        ErrorKind::usage);
  CHECK(Repository::init(store, request("pw", 1), random, call).config().version == 1);
}

TEST_CASE("init refuses a password that restic could not use again") {
  const FakeClock clock(FakeClock::Mode::jumping);
  SystemRandom random;
  MemoryStore store;
  const Call call(clock);
  for (const char* password : {"", "pw\n", "pw\r\n", "\n"}) {
    CAPTURE(password);
    const auto error = error_of([&] { Repository::init(store, request(password), random, call); });
    REQUIRE(error);
    CHECK(error->kind() == ErrorKind::usage);
    CHECK(!store.size_of({FileKind::config, {}}, call));
  }
}

TEST_CASE("init leaves an existing repository as it is") {
  const FakeClock clock(FakeClock::Mode::jumping);
  SystemRandom random;
  MemoryStore store;
  const Call call(clock);
  make_repository(store, 2, random, call);
  const Bytes config = store.load({FileKind::config, {}}, 1000, call);
  CHECK(text_of([&] { Repository::init(store, request(), random, call); }) ==
        "exists: repository master key and config already initialized");
  CHECK(store.load({FileKind::config, {}}, 1000, call) == config);
  CHECK(names(store, FileKind::key, call).size() == 1);
}

TEST_CASE("init refuses keys, snapshots or index files without a config") {
  const FakeClock clock(FakeClock::Mode::jumping);
  SystemRandom random;
  const Call call(clock);
  MemoryStore with_key;
  with_key.create(call);
  put_key(with_key, make_master_key(random), "pw", random, call);
  CHECK(text_of([&] { Repository::init(with_key, request(), random, call); }) ==
        "exists: repository already contains keys");
  MemoryStore with_snapshot;
  with_snapshot.create(call);
  put(with_snapshot, FileKind::snapshot, as_bytes("x"), call);
  CHECK(text_of([&] { Repository::init(with_snapshot, request(), random, call); }) ==
        "exists: repository already contains snapshots");
  MemoryStore with_index;
  with_index.create(call);
  put(with_index, FileKind::index, as_bytes("x"), call);
  CHECK(text_of([&] { Repository::init(with_index, request(), random, call); }) ==
        "exists: repository already contains index files");
}

TEST_CASE("init that is told to end once its config is written goes on, by the call it is given") {
  SystemRandom random;
  for (const FileKind kind : {FileKind::config, FileKind::key}) {
    const FakeClock clock(FakeClock::Mode::jumping);
    MemoryStore memory;
    HookedStore store(memory);
    CallScope scope{Call(clock)};
    store.after_save = [&](const FileName& name) {
      if (name.kind != kind) return;
      scope.fail(std::make_exception_ptr(Error(ErrorKind::interrupted, "interrupted")));
    };
    InitRequest asked = request();
    int committed = 0;
    asked.committed = [&] {
      CHECK(memory.size_of({FileKind::config, {}}, Call(clock)));
      ++committed;
      return Call(clock).within(std::chrono::minutes(1));
    };
    CHECK(text_of([&] { Repository::init(store, asked, random, scope.call()); }) ==
          "nothing thrown");
    CHECK(committed == 1);
    CHECK(every_client_can_open(memory, random, Call(clock)));
  }
}

TEST_CASE("init takes over a config whose init was killed before it wrote the key") {
  Script clock;
  SystemRandom random;
  MemoryStore memory;
  FaultyStore store(memory);
  const Call call(clock);
  store.add({.operation = Operation::save, .kind = FileKind::key});
  CHECK(error_of([&] { Repository::init(store, request(), random, call); })->kind() ==
        ErrorKind::unavailable);
  REQUIRE(memory.size_of({FileKind::config, {}}, call));
  REQUIRE(names(memory, FileKind::key, call).empty());

  const SteadyTime begin = clock.steady();
  Repository::init(memory, request(), random, call);
  CHECK(clock.steady() - begin >= std::chrono::seconds(3));
  CHECK(every_client_can_open(memory, random, call));
}

TEST_CASE("init does not take over while the other init is only slow with its key") {
  Script clock;
  SystemRandom random;
  MemoryStore store;
  const Call call(clock);
  store.create(call);
  const SealKey master = make_master_key(random);
  put_config(store, master, make_config(2, random), random, call);
  clock.after(milliseconds(2'500), [&] { put_key(store, master, "pw", random, call); });
  CHECK(error_of([&] { Repository::init(store, request(), random, call); })->kind() ==
        ErrorKind::exists);
  CHECK(every_client_can_open(store, random, call));
}

TEST_CASE("init that was taken over steps back") {
  Script clock;
  SystemRandom random;
  MemoryStore memory;
  HookedStore store(memory);
  const Call call(clock);
  const SealKey other = make_master_key(random);
  bool taken = false;
  store.before_save = [&](const FileName& name) {
    if (name.kind != FileKind::key || std::exchange(taken, true)) return;
    put_config(memory, other, make_config(2, random), random, call);
    put_key(memory, other, "pw", random, call);
  };
  CHECK(error_of([&] { Repository::init(store, request(), random, call); })->kind() ==
        ErrorKind::exists);
  CHECK(every_client_can_open(memory, random, call));
}

TEST_CASE("init against restic's init, whenever that begins: one repository, one failure") {
  SystemRandom random;
  int ours = 0;
  int theirs = 0;
  // restic looks at `look`, has its key 1.2 s later, its config 0.1 s after that; we begin at 1.5
  // s.
  for (int look = 0; look <= 4'000; look += 250) {
    CAPTURE(look);
    Script clock;
    MemoryStore memory;
    HookedStore store(memory);
    const Call call(clock);
    store.create(call);
    ResticInit restic(memory, random);
    clock.at(milliseconds(look), [&] { restic.look(call); });
    clock.at(milliseconds(look + 1'200), [&] { restic.write_key(call); });
    clock.at(milliseconds(look + 1'300), [&] { restic.write_config(call); });
    clock.wait_until(SteadyTime() + milliseconds(1'500), {});
    const auto error = error_of([&] { Repository::init(store, request(), random, call); });
    clock.wait_until(SteadyTime() + milliseconds(20'000), {});
    if (error) CHECK(error->kind() == ErrorKind::exists);
    CHECK(error.has_value() == restic.succeeded);
    CHECK(every_client_can_open(memory, random, call));
    ++(error ? theirs : ours);
  }
  CHECK(ours > 0);
  CHECK(theirs > 0);
}

TEST_CASE("init against restic's init that looked just before our config was written") {
  SystemRandom random;
  for (const int key_after : {0, 100, 600, 1'200, 1'900}) {
    CAPTURE(key_after);
    Script clock;
    MemoryStore memory;
    HookedStore store(memory);
    const Call call(clock);
    ResticInit restic(memory, random);
    store.before_save = [&](const FileName& name) {
      if (name.kind != FileKind::config) return;
      restic.look(call);
      clock.after(milliseconds(key_after), [&] { restic.write_key(call); });
      clock.after(milliseconds(key_after + 2'000), [&] { restic.write_config(call); });
    };
    const auto error = error_of([&] { Repository::init(store, request(), random, call); });
    REQUIRE(error);
    CHECK(error->kind() == ErrorKind::exists);
    CHECK(restic.succeeded);
    CHECK(every_client_can_open(memory, random, call));
  }
}

TEST_CASE("two inits at a time: one repository, one failure") {
  SystemRandom random;
  for (int round = 0; round < 4; ++round) {
    const FakeClock clock(FakeClock::Mode::jumping);
    MemoryStore store;
    const Call call(clock);
    store.create(call);
    std::atomic<int> made = 0;
    std::atomic<int> refused = 0;
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&] {
          const auto error = error_of([&] { Repository::init(store, request(), random, call); });
          if (!error) ++made;
          if (error && error->kind() == ErrorKind::exists) ++refused;
        });
      }
    }
    CHECK(made == 1);
    CHECK(refused == 1);
    CHECK(every_client_can_open(store, random, call));
  }
}

TEST_CASE("init in a store that cannot write conditionally: the later config stays") {
  Script clock;
  SystemRandom random;
  MemoryStore memory;
  HookedStore store(memory);
  store.ignores_create_only = true;
  const Call call(clock);
  const SealKey other = make_master_key(random);
  bool once = false;
  store.after_save = [&](const FileName& name) {
    if (name.kind != FileKind::config || std::exchange(once, true)) return;
    put_config(memory, other, make_config(2, random), random, call);
    clock.after(milliseconds(300), [&] { put_key(memory, other, "pw", random, call); });
  };
  CHECK(error_of([&] { Repository::init(store, request(), random, call); })->kind() ==
        ErrorKind::exists);
  clock.wait_until(clock.steady() + milliseconds(1'000), {});
  CHECK(every_client_can_open(memory, random, call));
}

TEST_CASE("open says in restic's words that there is no repository") {
  const FakeClock clock(FakeClock::Mode::jumping);
  SystemRandom random;
  const Call call(clock);
  for (const bool created : {false, true}) {
    MemoryStore store;
    if (created) store.create(call);
    const auto error = error_of([&] { Repository::open(store, Secret("pw"), random, call); });
    REQUIRE(error);
    CHECK(error->kind() == ErrorKind::no_repository);
    const std::string text = error->what();
    CHECK(text.starts_with("unable to open config file: "));
    CHECK(text.ends_with("\nIs there a repository at the following location?\nmemory:"));
  }
}

TEST_CASE("open finds the right one of several keys and passes over damaged ones") {
  World world;
  put_key(world.store, world.master, "second", world.random, world.call);
  put_key(world.store, make_master_key(world.random), "stray", world.random, world.call);
  put(world.store, FileKind::key, as_bytes("no key at all"), world.call);
  CHECK_NOTHROW(world.open(world.store));
  CHECK_NOTHROW(Repository::open(world.store, Secret("second"), world.random, world.call));
  CHECK(error_of([&] {
          Repository::open(world.store, Secret("third"), world.random, world.call);
        })->kind() == ErrorKind::wrong_password);
  CHECK(error_of([&] {
          Repository::open(world.store, Secret("stray"), world.random, world.call);
        })->kind() == ErrorKind::corrupt);
}

TEST_CASE("a config or key that is larger than any is corrupt") {
  for (const FileKind kind : {FileKind::config, FileKind::key}) {
    World world;
    const std::string id =
        kind == FileKind::key ? names(world.store, kind, world.call).front() : std::string();
    overwrite(world.store, {kind, id}, Bytes(limits::kSmallFile + 1), world.call);
    const std::string text = text_of([&] { world.open(world.store); });
    CHECK(text.starts_with("corrupt: "));
    CHECK(text.ends_with("larger than it may be"));
  }
}

TEST_CASE("open tries no more keys than restic does") {
  World world;
  for (int i = 0; i < 30; ++i) {
    put_key(world.store, world.master, "pw" + std::to_string(i), world.random, world.call);
  }
  int opened = 0;
  for (int i = 0; i < 30; ++i) {
    const Secret password("pw" + std::to_string(i));
    if (!error_of([&] { Repository::open(world.store, password, world.random, world.call); })) {
      ++opened;
    }
  }
  CHECK(opened >= 19);
  CHECK(opened <= 20);
}

TEST_CASE("open takes a password with and without a newline at its end") {
  World world;
  put_key(world.store, world.master, "from-file\n", world.random, world.call);
  const auto open = [&](const std::string& password) {
    return error_of(
        [&] { Repository::open(world.store, Secret(password), world.random, world.call); });
  };
  CHECK(!open("pw\n"));
  CHECK(!open("pw\r\n"));
  CHECK(!open("from-file"));
  CHECK(!open("from-file\n"));
  CHECK(open("pw\n\nx"));
}

TEST_CASE("open reports an empty config as damage") {
  World world;
  overwrite(world.store, {FileKind::config, {}}, {}, world.call);
  CHECK(text_of([&] { world.open(world.store); }) ==
        "corrupt: config file has zero size, invalid repository?");
}

TEST_CASE("snapshots come by time; damaged ones are named, not thrown") {
  World world;
  Repository repository = world.open(world.store);
  for (const int hour : {3, 1, 2}) {
    Snapshot snapshot;
    snapshot.time = WallTime(std::chrono::hours(hour));
    snapshot.paths = {"/etcd"};
    repository.files().save(repository.files().seal(FileKind::snapshot, to_json(snapshot)),
                            world.call);
  }
  put(world.store, FileKind::snapshot, as_bytes("damaged, but named by its hash"), world.call);
  overwrite(world.store, {FileKind::snapshot, std::string(64, 'a')}, as_bytes("x"), world.call);
  std::vector<std::string> damaged;
  const auto snapshots = repository.snapshots(world.call, &damaged);
  REQUIRE(snapshots.size() == 3);
  for (int i = 0; i < 3; ++i) {
    CHECK(snapshots[static_cast<std::size_t>(i)].snapshot.time ==
          WallTime(std::chrono::hours(i + 1)));
  }
  CHECK(damaged.size() == 2);
  CHECK(repository.snapshots(world.call).size() == 3);

  const std::string first = snapshots[0].id.hex();
  CHECK(find_snapshot(snapshots, first).id == snapshots[0].id);
  CHECK(text_of([&] { find_snapshot(snapshots, "xyz"); }) ==
        "not_found: no matching ID found for prefix \"xyz\"");
  CHECK(error_of([&] { find_snapshot(snapshots, ""); })->kind() == ErrorKind::not_found);
  std::vector<SavedSnapshot> twins{snapshots[0], snapshots[0]};
  CHECK(text_of([&] { find_snapshot(twins, first.substr(0, 4)); }) ==
        "usage: multiple IDs with prefix \"" + first.substr(0, 4) + "\" found");
}

TEST_CASE("an unpacked file whose name is not its hash is corrupt, whatever it holds") {
  World world;
  Repository repository = world.open(world.store);
  const auto file = repository.files().seal(FileKind::index, R"({"packs":[]})");
  const FileName wrong{FileKind::index, std::string(64, 'b')};
  overwrite(world.store, wrong, file.bytes, world.call);
  CHECK(error_of([&] { repository.files().load(wrong, world.call); })->kind() ==
        ErrorKind::corrupt);
  repository.files().save(file, world.call);
  CHECK(as_text(repository.files().load(file.name, world.call)) == R"({"packs":[]})");
}

TEST_CASE("a damaged index file stops who writes, and is named to who only reads") {
  World world;
  back_up(world, world.store, pages(0, 3), day(1));
  overwrite(world.store, {FileKind::index, std::string(64, 'b')}, as_bytes("junk"), world.call);
  Repository repository = world.open(world.store);
  Lock lock = repository.lock_shared(kOwner, kNoRetry, world.call);
  CHECK(text_of([&] { repository.load_index(lock, world.call); }).starts_with("corrupt: index/bb"));
  std::vector<std::string> damaged;
  const Index index = repository.load_index(lock, world.call, &damaged);
  REQUIRE(damaged.size() == 1);
  CHECK(damaged[0].starts_with("index/bb"));
  CHECK(index.blobs() == 4);
}

TEST_CASE("version 2 reads bare JSON too, and no other encoding") {
  World world;
  Repository repository = world.open(world.store);
  const auto store_plain = [&](std::string_view plain) {
    Bytes sealed;
    Sealer(world.master, world.random).seal(as_bytes(plain), sealed);
    put(world.store, FileKind::index, sealed, world.call);
    return FileName{FileKind::index, to_hex(sha256(sealed))};
  };
  CHECK(as_text(repository.files().load(store_plain("{}"), world.call)) == "{}");
  CHECK(text_of([&] {
          repository.files().load(store_plain("\3abc"), world.call);
        }).find("not supported encoding format") != std::string::npos);
}

TEST_CASE("a snapshot whose answer got lost is stored, not failed") {
  Packed packed;
  Fault fault{.operation = Operation::save, .kind = FileKind::snapshot};
  packed.store.add(fault);
  CHECK(error_of([&] { packed.save(); })->kind() == ErrorKind::unavailable);
  fault.when = Fault::When::after;
  packed.store.add(fault);
  const SnapshotId id = packed.save();
  CHECK(names(packed.world.store, FileKind::snapshot, packed.world.call) == std::vector{id.hex()});
}

TEST_CASE("a snapshot that a failing disk shows and may not keep is not stored") {
  Packed packed;
  packed.store.add({.when = Fault::When::after,
                    .operation = Operation::save,
                    .kind = FileKind::snapshot,
                    .error = ErrorKind::failed,
                    .transient = false});
  CHECK(error_of([&] { packed.save(); })->kind() == ErrorKind::failed);
}

TEST_CASE("no snapshot without a lock that is still ours") {
  Packed packed;
  for (const std::string& id : names(packed.world.store, FileKind::lock, packed.world.call)) {
    packed.world.store.remove({FileKind::lock, id}, packed.world.call);
  }
  CHECK(error_of([&] { packed.save(); })->kind() == ErrorKind::locked);
  CHECK(names(packed.world.store, FileKind::snapshot, packed.world.call).empty());
}

TEST_CASE("a repository in a folder works as one in memory") {
  const FakeClock clock(FakeClock::Mode::jumping);
  SystemRandom random;
  const TempDir folder;
  storage::DirectoryStore store(folder / "repo", random);
  const Call call(clock);
  const Repository made = Repository::init(store, request(), random, call);
  CHECK(Repository::open(store, Secret("pw"), random, call).config().id == made.config().id);
  CHECK(error_of([&] { Repository::init(store, request(), random, call); })->kind() ==
        ErrorKind::exists);
}
