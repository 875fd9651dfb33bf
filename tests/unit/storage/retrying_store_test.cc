#include "storage/retrying_store.h"

#include <doctest/doctest.h>

#include <deque>
#include <vector>

#include "base/error.h"
#include "storage/memory_store.h"
#include "unit/storage/stores.h"

namespace kubedr::storage {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Error failure(bool transient, bool may_have_arrived,
              std::optional<seconds> retry_after = std::nullopt) {
  Error error(ErrorKind::unavailable, "fake: put: 503 SlowDown", "wait");
  error.with({transient, may_have_arrived, retry_after});
  return error;
}

// A memory store whose requests fail as the script says, before or after they were carried out.
class ScriptedStore final : public Store {
 public:
  struct Fault {
    Error error;
    bool carried_out = false;
  };

  MemoryStore memory;
  mutable std::deque<Fault> script;
  mutable int requests = 0;

  template <class Request>
  auto run(const Request& request) const {
    ++requests;
    if (script.empty()) return request();
    const Fault fault = script.front();
    script.pop_front();
    if (fault.carried_out) static_cast<void>(request());
    throw fault.error;
  }

  const std::string& location() const override { return memory.location(); }

  Bytes load(const FileName& name, std::size_t limit, const Call& call) const override {
    return run([&] { return memory.load(name, limit, call); });
  }

  Bytes load_range(const FileName& name, const Range& range, const Call& call) const override {
    return run([&] { return memory.load_range(name, range, call); });
  }

  std::optional<std::uint64_t> size_of(const FileName& name, const Call& call) const override {
    return run([&] { return memory.size_of(name, call); });
  }

  void list(FileKind kind, const std::function<void(const FileInfo&)>& each,
            const Call& call) const override {
    run([&] { memory.list(kind, each, call); });
  }

  bool create(const Call& call) override {
    return run([&] { return memory.create(call); });
  }

  void save(const FileName& name, ByteView bytes, const Digest& digest, SaveMode mode,
            const Call& call) override {
    run([&] { memory.save(name, bytes, digest, mode, call); });
  }

  void remove(const FileName& name, const Call& call) override {
    run([&] { memory.remove(name, call); });
  }

  int connections() const override { return memory.connections(); }
};

struct World {
  explicit World(RetryPolicy policy = {}) {
    auto owned = std::make_unique<ScriptedStore>();
    inner = owned.get();
    inner->memory.create(call);
    store = std::make_unique<RetryingStore>(std::move(owned), random, policy);
  }

  StillClock clock;
  Call call{clock};
  FixedRandom random{0};
  ScriptedStore* inner = nullptr;
  std::unique_ptr<RetryingStore> store;
};

const FileName kConfig{FileKind::config, ""};

Error error_of(const std::function<void()>& function) {
  try {
    function();
  } catch (const Error& error) {
    return error;
  }
  FAIL("nothing was thrown");
  throw;
}

TEST_CASE("retrying store: what is transient is tried again after pauses that double") {
  World world;
  save_text(world.inner->memory, kConfig, "x", SaveMode::replace, world.call);
  for (int i = 0; i < 3; ++i) world.inner->script.push_back({failure(true, true)});
  CHECK(load_text(*world.store, kConfig, world.call) == "x");
  CHECK(world.inner->requests == 4);
  CHECK(world.clock.waited() == milliseconds(500 + 1000 + 2000));
}

TEST_CASE("retrying store: jitter takes up to half of a pause away, and a pause has a ceiling") {
  StillClock clock;
  const Call call(clock);
  SystemRandom random;
  auto owned = std::make_unique<ScriptedStore>();
  ScriptedStore& inner = *owned;
  inner.memory.create(call);
  RetryingStore store(std::move(owned), random,
                      {.tries = 5, .first_pause = seconds(4), .longest_pause = seconds(10)});
  for (int i = 0; i < 4; ++i) inner.script.push_back({failure(true, true)});
  CHECK_FALSE(store.size_of(kConfig, call));
  CHECK(clock.waited() >= seconds(2 + 4 + 5 + 5));
  CHECK(clock.waited() <= seconds(4 + 8 + 10 + 10));
}

TEST_CASE("retrying store: what is not transient is thrown as it came") {
  World world;
  world.inner->script.push_back({failure(false, false)});
  const Error error = error_of([&] { world.store->create(world.call); });
  CHECK(std::string(error.what()) == "fake: put: 503 SlowDown");
  CHECK(world.inner->requests == 1);
  CHECK(world.clock.waited() == milliseconds(0));
}

TEST_CASE("retrying store: after the last try the error says how many there were") {
  World world({.tries = 3});
  for (int i = 0; i < 9; ++i) world.inner->script.push_back({failure(true, true)});
  const Error error = error_of([&] { world.store->remove(kConfig, world.call); });
  CHECK(std::string(error.what()) == "fake: put: 503 SlowDown, gave up after 3 tries");
  CHECK(error.kind() == ErrorKind::unavailable);
  CHECK(error.hint() == "wait");
  CHECK(world.inner->requests == 3);
}

TEST_CASE("retrying store: Retry-After is honoured, but not without end") {
  World world;
  world.inner->script.push_back({failure(true, false, seconds(40))});
  CHECK_FALSE(world.store->size_of(kConfig, world.call));
  CHECK(world.clock.waited() == seconds(40));
  world.inner->script.push_back({failure(true, false, seconds(86'400))});
  CHECK_FALSE(world.store->size_of(kConfig, world.call));
  CHECK(world.clock.waited() == seconds(40 + 120));
}

TEST_CASE("retrying store: with no time left for the pause the error itself is thrown at once") {
  World world;
  world.inner->script.push_back({failure(true, false, seconds(40))});
  const Call call = world.call.within(seconds(10));
  const Error error = error_of([&] { world.store->size_of(kConfig, call); });
  CHECK(std::string(error.what()) == "fake: put: 503 SlowDown, gave up after 1 try");
  CHECK(world.clock.waited() == milliseconds(0));
}

TEST_CASE("retrying store: a stop ends the pause with its reason") {
  World world;
  world.inner->script.push_back({failure(true, true)});
  CallScope scope(world.call);
  scope.fail(std::make_exception_ptr(Error(ErrorKind::interrupted, "SIGINT")));
  const Error error = error_of([&] { world.store->size_of(kConfig, scope.call()); });
  CHECK(error.kind() == ErrorKind::interrupted);
}

TEST_CASE("retrying store: a create_only save whose answer was lost did succeed") {
  World world;
  world.inner->script.push_back({failure(true, true), true});
  CHECK_NOTHROW(save_text(*world.store, kConfig, "mine", SaveMode::create_only, world.call));
  CHECK(load_text(world.inner->memory, kConfig, world.call) == "mine");
}

TEST_CASE("retrying store: a create_only save that meets another's file is told so") {
  World world;
  save_text(world.inner->memory, kConfig, "them", SaveMode::create_only, world.call);
  SUBCASE("at the first try") {}
  SUBCASE("after an answer was lost, with a file of the same size") {
    world.inner->script.push_back({failure(true, true), false});
  }
  SUBCASE("after a failure that never arrived") {
    world.inner->script.push_back({failure(true, false), false});
  }
  const Error error = error_of(
      [&] { save_text(*world.store, kConfig, "mine", SaveMode::create_only, world.call); });
  CHECK(error.kind() == ErrorKind::exists);
  CHECK(load_text(world.inner->memory, kConfig, world.call) == "them");
}

TEST_CASE("retrying store: the same content by somebody else is no success of ours") {
  World world;
  save_text(world.inner->memory, kConfig, "same", SaveMode::create_only, world.call);
  world.inner->script.push_back({failure(true, false), false});
  const Error error = error_of(
      [&] { save_text(*world.store, kConfig, "same", SaveMode::create_only, world.call); });
  CHECK(error.kind() == ErrorKind::exists);
}

TEST_CASE("retrying store: a list that breaks off names no file twice") {
  World world;
  for (const char* text : {"a", "b", "c"}) {
    save_text(world.inner->memory, name_of(FileKind::index, text), text, SaveMode::replace,
              world.call);
  }
  world.inner->script.push_back({failure(true, true), true});
  std::vector<std::string> ids;
  world.store->list(
      FileKind::index, [&](const FileInfo& info) { ids.push_back(info.id); }, world.call);
  CHECK(ids.size() == 3);
}

}  // namespace
}  // namespace kubedr::storage
