#include <doctest/doctest.h>

#include <thread>

#include "base/sha256.h"
#include "storage/memory_store.h"
#include "support/certificates.h"
#include "support/fake_clock.h"
#include "support/faulty_store.h"
#include "support/process.h"
#include "support/temp_dir.h"

namespace kubedr::test {
namespace {

using namespace std::chrono_literals;
using storage::FileKind;
using storage::FileName;

const FileName kLock{FileKind::lock, std::string(64, 'a')};
const FileName kPack{FileKind::pack, std::string(64, 'b')};

struct World {
  FakeClock clock{FakeClock::Mode::jumping};
  Call call{clock};
  storage::MemoryStore memory;
  FaultyStore store{memory};

  void save(const FileName& name) {
    const ByteView bytes = as_bytes("content");
    store.save(name, bytes, sha256(bytes), storage::SaveMode::replace, call);
  }

  int listed(FileKind kind) {
    int count = 0;
    store.list(
        kind, [&](const storage::FileInfo&) { ++count; }, call);
    return count;
  }
};

TEST_CASE("faulty store: the chosen call fails, before or after it is done") {
  World world;
  world.store.create(world.call);
  Fault fault;
  fault.operation = Operation::save;
  fault.kind = FileKind::lock;
  fault.call = 2;
  SUBCASE("before") {
    world.store.add(fault);
    world.save(kPack);  // of another kind: not counted
    world.save(kLock);
    world.store.remove(kLock, world.call);
    CHECK_THROWS_AS(world.save(kLock), Error);
    CHECK(world.listed(FileKind::lock) == 0);
    CHECK_NOTHROW(world.save(kLock));
  }
  SUBCASE("after") {
    fault.when = Fault::When::after;
    fault.call = 1;
    fault.times = Fault::kForever;
    world.store.add(fault);
    CHECK_THROWS_AS(world.save(kLock), Error);
    CHECK(world.listed(FileKind::lock) == 1);
    CHECK_THROWS_AS(world.save(kLock), Error);
  }
}

TEST_CASE("faulty store: a late file is missing from as many lists as asked for") {
  World world;
  world.store.create(world.call);
  world.store.list_late(2);
  world.save(kLock);
  CHECK(world.listed(FileKind::lock) == 0);
  CHECK(world.listed(FileKind::lock) == 0);
  CHECK(world.listed(FileKind::lock) == 1);
}

TEST_CASE("faulty store: it is slow by the call's clock and writes down what it was asked") {
  World world;
  world.store.create(world.call);
  world.store.set_delay(5s);
  const SteadyTime before = world.clock.steady();
  world.save(kLock);
  CHECK(world.clock.steady() - before == 5s);
  CHECK(world.store.history() == std::vector<std::string>{"create", "save " + kLock.path()});
  CHECK(world.store.calls(Operation::save) == 1);
}

TEST_CASE("fake clock: a sleeper wakes when the time has come, not earlier") {
  FakeClock clock;
  const WallTime start = clock.now();
  bool awake = false;
  std::jthread sleeper([&](const std::stop_token& stop) {
    clock.wait_until(clock.steady() + 10s, stop);
    awake = true;
  });
  REQUIRE(clock.wait_for_sleepers(1));
  clock.advance(9s);
  CHECK(clock.wait_for_sleepers(1));
  clock.advance(1s);
  sleeper.join();
  CHECK(awake);
  CHECK(clock.now() - start == 10s);
}

TEST_CASE("fake clock: a stop ends a sleep") {
  FakeClock clock;
  std::jthread sleeper(
      [&](const std::stop_token& stop) { clock.wait_until(clock.steady() + 1h, stop); });
  REQUIRE(clock.wait_for_sleepers(1));
  sleeper.request_stop();
  sleeper.join();
  CHECK(clock.steady() == FakeClock().steady());
}

TEST_CASE("certificates: openssl accepts its own, refuses a stranger's and an expired one") {
  const TempDir dir;
  const Certificates ours;
  const Certificates strangers;
  CertificateRequest request;
  request.common_name = "anna";
  request.organizations = {"system:masters"};
  const auto verify = [&](const Certificates& authority, const Certificate& certificate) {
    const std::string ca = dir.write("ca.crt", authority.ca_pem());
    const std::string file = dir.write("a.crt", certificate.certificate_pem);
    return run(
        {"openssl", "verify", "-x509_strict", "-verify_ip", "127.0.0.1", "-CAfile", ca, file});
  };
  const Certificate good = ours.issue(request);
  CHECK(verify(ours, good).ok());
  CHECK_FALSE(verify(strangers, good).ok());
  CHECK(verify(ours, ours.issue_expired(request)).err.find("expired") != std::string::npos);
  const std::string file = dir.write("b.crt", good.certificate_pem);
  const RunResult shown = run({"openssl", "x509", "-noout", "-subject", "-in", file});
  CHECK(shown.out == "subject=CN = anna, O = system:masters\n");
}

}  // namespace
}  // namespace kubedr::test
