// The store goes away at one request, for every request there is and on every kind of store: what
// was carried out until then stays, and nothing happens after it, as when the process is killed.
// Nothing that was reported may be lost, and the next run works.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cluster/bare_cluster.h"
#include "s3/s3_store.h"
#include "storage/cached_store.h"
#include "storage/directory_store.h"
#include "storage/retrying_store.h"
#include "support/byte_proxy.h"
#include "support/faulty_store.h"
#include "support/s3_server.h"
#include "support/temp_dir.h"
#include "unit/etcd/bolt_file.h"
#include "unit/repo/backups.h"
#include "workflow/backup.h"
#include "workflow/forget.h"
#include "workflow/init.h"
#include "workflow/maintain.h"

using namespace kubedr;
using namespace kubedr::workflow;
using kubedr::test::Fault;
using kubedr::test::FaultyStore;
using kubedr::test::TempDir;
using repo::test::copy_store;
using repo::test::day;
using repo::test::error_of;
using repo::test::names;
using repo::test::pages;
using storage::FileKind;
using storage::MemoryStore;
using storage::Store;

namespace {

constexpr char kBare[] = "bare";

class Silent final : public Progress {
 public:
  void begin(std::string_view, std::uint64_t) override {}

  void advance(std::uint64_t) override {}

  void end(bool /*done*/) override {}
};

cluster::BareCluster::Settings settings_of(std::int64_t keep) {
  cluster::BareCluster::Settings settings;
  settings.location.ref = {crd::Kind::location, kBare, "ns", "", ""};
  settings.location.url = "memory:";
  settings.location.credentials = kBare;
  settings.policy.ref = {crd::Kind::policy, kBare, "ns", "", ""};
  settings.policy.destination = kBare;
  settings.policy.retain_num_backups = keep;
  settings.secrets[kBare].emplace("restic_repo_password", Secret("pw"));
  return settings;
}

// What the program puts around a store, as it does when it opens one.
using Wrap = std::function<std::unique_ptr<Store>(std::unique_ptr<Store>)>;

// A repository in memory to begin with, and the recipes on any store.
struct World : repo::test::World {
  explicit World(std::int64_t keep = 100) : cluster(settings_of(keep)) {}

  Services on(Store& of) {
    Services services{cluster,
                      [this, &of](const crd::Location&, const cluster::SecretData&,
                                  Caching) -> std::unique_ptr<Store> {
                        auto opened = std::make_unique<FaultyStore>(of);
                        if (!wrap) return opened;
                        return wrap(std::move(opened));
                      },
                      [](const crd::Location& location) { return location.url; },
                      clock,
                      random,
                      silent,
                      repo::test::kOwner,
                      "node-1",
                      "",
                      "kubectl-kubedr",
                      repo::test::small_packs(),
                      repo::test::kNoRetry};
    return services;
  }

  // How many snapshots there are; every byte of them is read. Locks go.
  std::size_t readable(Store& of) { return repo::test::read_everything(*this, of); }

  cluster::BareCluster cluster;
  Silent silent;
  Wrap wrap;
};

// Databases that have a part in common; what they differ in lies where bbolt has nothing.
class Databases {
 public:
  std::string file(int number) const {
    constexpr std::size_t kPage = 64 * 1024;
    constexpr std::size_t kChunk = 16 * 1024;
    Bytes db = test::small_db(kPage);
    for (std::size_t chunk = 1; chunk < 4; ++chunk) {
      for (std::size_t page = 2; page < 4; ++page) {
        const std::uint64_t seed =
            page == 2 ? chunk : chunk + 10 * static_cast<std::uint64_t>(number);
        const Bytes bytes = repo::test::noise(kChunk, seed);
        std::copy(bytes.begin(), bytes.end(),
                  db.begin() + static_cast<std::ptrdiff_t>(page * kPage + chunk * kChunk));
      }
    }
    const Bytes snapshot = test::snapshot_of(db);
    return folder_.write(fmt::format("{}.db", number), as_text(snapshot)).string();
  }

 private:
  TempDir folder_;
};

BackupReport back_up(const Services& services, const std::string& file, const Call& call) {
  BackupRequest request;
  request.database.snapshot_file = file;
  request.certs_dir = "";
  return backup(services, request, call);
}

enum class Moment {
  before,       // the request is not carried out, and nothing happens after it
  after,        // it is, nobody learns of it, and nothing happens after it
  answer_lost,  // it is, nobody learns of it, and whoever tries again goes on
};

// What a store makes a difference for: of config and keys no cache keeps a copy, and nobody but
// init writes on a condition.
enum class Stories { all, init, of_data };

// Where the stores of a sweep are; each `make` gives an empty one.
struct Kind {
  std::string name;
  std::function<std::unique_ptr<Store>()> make;
  // For the store, after one request is before the next; whoever uses it sees a difference.
  std::vector<Moment> moments = {Moment::before};
  Wrap wrap = nullptr;
  bool retries = false;
  Stories stories = Stories::all;
};

class Kinds {
 public:
  explicit Kinds(World& world) : world_(world) {
    const auto in_memory = [] { return std::make_unique<MemoryStore>(); };
    kinds_.push_back({"memory", in_memory, {Moment::before, Moment::after}});
    kinds_.push_back({"memory, with retries",
                      in_memory,
                      {Moment::answer_lost},
                      [this](std::unique_ptr<Store> store) { return retrying(std::move(store)); },
                      true});
    kinds_.push_back({"memory, with a cache",
                      [this] {
                        copies_ = std::make_unique<MemoryStore>();
                        return std::make_unique<MemoryStore>();
                      },
                      {Moment::before, Moment::after},
                      [this](std::unique_ptr<Store> store) { return cached(std::move(store)); },
                      false,
                      Stories::of_data});
    kinds_.push_back({"directory", [this] {
                        const auto root = folder_ / std::to_string(++number_);
                        return std::make_unique<storage::DirectoryStore>(root, world_.random);
                      }});
    if (test::have_server("minio")) {
      kinds_.push_back({"S3", [this] { return s3(minio(), minio().port()); }});
      kinds_.push_back({"S3 without conditional PUTs",
                        [this] { return s3(minio(), unconditional().port()); },
                        {Moment::before},
                        nullptr,
                        false,
                        Stories::init});
    }
    if (test::have_server("versitygw")) {
      kinds_.push_back({"another S3", [this] { return s3(versitygw(), versitygw().port()); }});
    }
  }

  auto begin() const { return kinds_.begin(); }

  auto end() const { return kinds_.end(); }

 private:
  static const test::S3Server& minio() {
    static const test::S3Server server;
    return server;
  }

  static const test::S3Server& versitygw() {
    static const test::S3Server server(test::S3Server::Program::versitygw);
    return server;
  }

  static const test::ByteProxy& unconditional() {
    static test::ByteProxy proxy(minio().port());
    test::ProxyRules rules;
    rules.unknown_header = "if-none-match";
    proxy.set(rules);
    return proxy;
  }

  static std::unique_ptr<Store> s3(const test::S3Server& server, int port) {
    static int bucket = 0;
    s3::S3Options options;
    options.address = s3::make_address(fmt::format("http://127.0.0.1:{}", port),
                                       fmt::format("bucket-{}", ++bucket));
    options.credentials = {server.access_key(), Secret(server.secret_key()), Secret()};
    options.region = "us-east-1";
    options.user_agent = "kubedr-test";
    static const SystemClock real_time;  // S3 refuses requests of another time
    return std::make_unique<s3::S3Store>(std::move(options), real_time);
  }

  std::unique_ptr<Store> retrying(std::unique_ptr<Store> store) const {
    constexpr storage::RetryPolicy kOnceMore{2, std::chrono::milliseconds(1),
                                             std::chrono::milliseconds(1)};
    return std::make_unique<storage::RetryingStore>(std::move(store), world_.random, kOnceMore);
  }

  // The copies outlive who was killed.
  std::unique_ptr<Store> cached(std::unique_ptr<Store> store) const {
    return std::make_unique<storage::CachedStore>(std::move(store),
                                                  std::make_unique<FaultyStore>(*copies_));
  }

  World& world_;
  TempDir folder_;
  int number_ = 0;
  std::unique_ptr<MemoryStore> copies_;
  std::vector<Kind> kinds_;
};

Fault gone_from(int request, bool transient) {
  Fault fault;
  fault.call = request;
  fault.times = Fault::kForever;
  fault.transient = transient;
  return fault;
}

Fault answer_lost(int request, bool transient) {
  Fault fault;
  fault.call = request;
  fault.when = Fault::When::after;
  fault.transient = transient;
  return fault;
}

void add_faults(FaultyStore& store, Moment moment, int request, bool transient) {
  if (moment == Moment::before) return store.add(gone_from(request, transient));
  store.add(answer_lost(request, transient));
  if (moment == Moment::after) store.add(gone_from(request + 1, transient));
}

// What a recipe is to be killed in, and what is looked at then. `run` returns normally when the
// recipe reported a success.
struct Story {
  std::string name;
  const Store* model = nullptr;  // nullptr: an empty store
  std::function<void(const Services&)> run;
  std::function<void(Store&, bool reported)> verify;
  bool of_data = true;  // not of config or keys
};

void sweep(World& world, const Story& story) {
  CAPTURE(story.name);
  for (const Kind& kind : Kinds(world)) {
    CAPTURE(kind.name);
    const auto begin = std::chrono::steady_clock::now();
    if (kind.stories == Stories::init && story.model != nullptr) continue;
    if (kind.stories == Stories::of_data && !story.of_data) continue;
    world.wrap = kind.wrap;
    int points = 0;
    for (const Moment moment : kind.moments) {
      CAPTURE(static_cast<int>(moment));
      for (int request = 1;; ++request) {
        CAPTURE(request);
        const std::unique_ptr<Store> store = kind.make();
        if (story.model != nullptr) copy_store(*story.model, *store, world.call);
        FaultyStore dying(*store);
        add_faults(dying, moment, request, kind.retries);
        const std::optional<Error> error = error_of([&] { story.run(world.on(dying)); });
        const bool whole = dying.calls() < request;
        story.verify(*store, !error);
        if (whole || moment == Moment::answer_lost) CHECK_MESSAGE(!error, error->what());
        if (whole) break;
        ++points;
      }
    }
    world.wrap = nullptr;
    const auto took = std::chrono::steady_clock::now() - begin;
    MESSAGE(story.name << " on " << kind.name << ": " << points << " points, "
                       << std::chrono::duration_cast<std::chrono::seconds>(took).count() << " s");
    CHECK(points > 5);
  }
}

// Of all snapshots that are there.
std::vector<std::string> ids_in(const Store& store, const Call& call) {
  return names(store, FileKind::snapshot, call);
}

bool has(const std::vector<std::string>& ids, const std::string& id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

TEST_CASE("killed at any request: init leaves nothing that the next one cannot make good") {
  World world;
  const Databases databases;
  const std::string file = databases.file(1);
  sweep(world, {"init", nullptr, [&](const Services& services) { init(services, {}, world.call); },
                [&](Store& store, bool) {
                  InitRequest request;
                  request.if_needed = true;
                  CHECK(init(world.on(store), request, world.call).version == 2);
                  back_up(world.on(store), file, world.call);
                  CHECK(world.readable(store) == 1);
                },
                false});
}

TEST_CASE("killed at any request: a backup that was reported is whole, and the next one works") {
  World world;
  const Databases databases;
  const std::string second = databases.file(2);
  back_up(world.on(world.store), databases.file(1), world.call);
  std::string reported_id;
  sweep(world, {"backup", &world.store,
                [&](const Services& services) {
                  reported_id = back_up(services, second, world.call).snapshot_id;
                },
                [&](Store& store, bool reported) {
                  const std::size_t there = world.readable(store);
                  CHECK(there >= 1);
                  if (reported) CHECK(has(ids_in(store, world.call), reported_id));
                  back_up(world.on(store), second, world.call);
                  CHECK(world.readable(store) == there + 1);
                }});
}

TEST_CASE("killed at any request: a backup that retains only itself never loses what it reported") {
  World world(1);
  const Databases databases;
  const std::string second = databases.file(2);
  back_up(world.on(world.store), databases.file(1), world.call);
  std::string reported_id;
  sweep(world, {"backup with retention", &world.store,
                [&](const Services& services) {
                  reported_id = back_up(services, second, world.call).snapshot_id;
                },
                [&](Store& store, bool reported) {
                  CHECK(world.readable(store) >= 1);
                  if (reported) CHECK(has(ids_in(store, world.call), reported_id));
                  back_up(world.on(store), second, world.call);
                  CHECK(world.readable(store) == 1);
                }});
}

TEST_CASE("killed at any request: forget removes what was meant and nothing else") {
  World world;
  const Databases databases;
  for (int i = 1; i <= 3; ++i) back_up(world.on(world.store), databases.file(i), world.call);
  const repo::Repository model = world.open(world.store);
  const std::string newest = model.snapshots(world.call).back().id.hex();
  ForgetRequest request;
  request.rules.last = 1;
  const auto agree = [](const ForgetPlan&) { return true; };
  sweep(world, {"forget", &world.store,
                [&](const Services& services) {
                  const ForgetReport report = forget(services, request, agree, world.call);
                  if (!report.failed_steps.empty()) {
                    throw Error(ErrorKind::failed, report.failed_steps.front().error);
                  }
                },
                [&](Store& store, bool reported) {
                  CHECK(has(ids_in(store, world.call), newest));
                  const std::size_t there = world.readable(store);
                  if (reported) CHECK(there == 1);
                  forget(world.on(store), request, agree, world.call);
                  CHECK(world.readable(store) == 1);
                }});
}

TEST_CASE("killed at any request: prune loses nothing that is needed, and the next one ends it") {
  World world;
  const Databases databases;
  for (int i = 1; i <= 3; ++i) back_up(world.on(world.store), databases.file(i), world.call);
  ForgetRequest forgotten;
  forgotten.rules.last = 1;
  forget(
      world.on(world.store), forgotten, [](const ForgetPlan&) { return true; }, world.call);
  repo::PruneOptions options;
  options.max_unused.percent = 0;
  const auto run = [&](const Services& services) {
    return prune(
        services, {}, options, [](const repo::PruneFigures&) { return true; }, world.call);
  };
  sweep(world, {"prune", &world.store, [&](const Services& services) { run(services); },
                [&](Store& store, bool) {
                  CHECK(world.readable(store) == 1);
                  CHECK(run(world.on(store)).figures.unused_after == 0);
                  CHECK(world.readable(store) == 1);
                  CHECK_FALSE(run(world.on(store)).done);
                }});
}

TEST_CASE("killed at any request: repair index makes nothing worse, and the next one ends it") {
  World world;
  const Databases databases;
  for (int i = 1; i <= 2; ++i) back_up(world.on(world.store), databases.file(i), world.call);
  MemoryStore lost;
  copy_store(world.store, lost, world.call);
  lost.remove({FileKind::index, names(lost, FileKind::index, world.call).front()}, world.call);
  sweep(world, {"repair index", &lost,
                [&](const Services& services) { repair_index(services, {}, true, world.call); },
                [&](Store& store, bool reported) {
                  repo::test::remove_locks(world, store);
                  if (reported) CHECK(world.readable(store) == 2);
                  repair_index(world.on(store), {}, false, world.call);
                  CHECK(world.readable(store) == 2);
                }});
}

TEST_CASE("killed at any request: a key is there or not, and the others open as before") {
  World world;
  const Databases databases;
  back_up(world.on(world.store), databases.file(1), world.call);
  const auto opens = [&](Store& store, const char* password) {
    return !error_of(
        [&] { repo::Repository::open(store, Secret(password), world.random, world.call); });
  };
  sweep(world, {"key add", &world.store,
                [&](const Services& services) {
                  add_key(services, {}, Secret("second"), "", "", world.call);
                },
                [&](Store& store, bool reported) {
                  CHECK(world.readable(store) == 1);
                  if (reported) CHECK(opens(store, "second"));
                  CHECK(list_keys(world.on(store), {}, world.call).damaged.empty());
                },
                false});

  repo::test::put_key(world.store, world.master, "second", world.random, world.call);
  const std::string second =
      repo::Repository::open(world.store, Secret("second"), world.random, world.call)
          .key_id()
          .hex();
  sweep(world, {"key remove", &world.store,
                [&](const Services& services) { remove_key(services, {}, second, world.call); },
                [&](Store& store, bool reported) {
                  CHECK(world.readable(store) == 1);
                  if (reported) CHECK_FALSE(opens(store, "second"));
                  const auto next =
                      error_of([&] { remove_key(world.on(store), {}, second, world.call); });
                  if (next) CHECK(next->kind() == ErrorKind::not_found);
                  CHECK_FALSE(opens(store, "second"));
                },
                false});
}
