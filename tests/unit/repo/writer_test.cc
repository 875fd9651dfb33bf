#include "repo/writer.h"

#include <doctest/doctest.h>
#include <malloc.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <latch>
#include <thread>

#include "repo/tree.h"
#include "repositories.h"
#include "storage/directory_store.h"
#include "support/faulty_store.h"
#include "support/temp_dir.h"

using namespace kubedr;
using namespace kubedr::repo;
using namespace kubedr::repo::test;
using kubedr::test::Fault;
using kubedr::test::FaultyStore;
using kubedr::test::Operation;
using kubedr::test::TempDir;
using std::chrono::milliseconds;

namespace {

constexpr std::size_t kPage = 16 * 1024;

// One run of a writer in a world of its own.
struct Run {
  Run(World& of, storage::Store& store, const WriterOptions& options = small_packs())
      : world(of),
        repository(of.open(store)),
        lock(repository.lock_shared(kOwner, kNoRetry, of.call)),
        index(repository.load_index(lock, of.call)),
        writer(repository, lock, index, options) {}

  SavedFile save(const Bytes& bytes, const Cut& cut = Cut::fixed(kPage)) {
    BytesSource source(bytes);
    return writer.save_file(source, cut, lock.scope());
  }

  World& world;
  Repository repository;
  Lock lock;
  Index index;
  Writer writer;
};

Bytes content_of(const Repository& repository, const Index& index, const SavedFile& file,
                 const Call& call) {
  Bytes all;
  for (const BlobId& id : file.content) {
    append(all, repository.load_blob(index, {BlobType::data, id}, call));
  }
  return all;
}

// All blobs of a file, read through an index loaded anew.
Bytes read_back(World& world, const SavedFile& file) {
  Repository repository = world.open(world.store);
  const Lock lock = repository.lock_shared(kOwner, kNoRetry, world.call);
  return content_of(repository, repository.load_index(lock, world.call), file, world.call);
}

std::uint64_t total_size(const storage::StoreReader& store, FileKind kind, const Call& call) {
  std::uint64_t total = 0;
  store.list(
      kind, [&](const storage::FileInfo& info) { total += info.size; }, call);
  return total;
}

// Quicker than any worker, and no two pages alike. Odd bytes: no compression makes much of them,
// and see kNoBorders.
class OddNoise final : public Source {
 public:
  explicit OddNoise(std::size_t size) : left_(size), noise_(noise(1 << 20, 15)) {
    for (std::uint8_t& byte : noise_) byte |= 1U;
  }

  std::size_t read(std::span<std::uint8_t> buffer, const Call& call) override {
    call.require_live();
    const std::size_t left = left_;
    const std::size_t n = std::min({buffer.size(), left, kPage});
    std::copy_n(noise_.begin() + static_cast<std::ptrdiff_t>(left % (noise_.size() - kPage - 1)), n,
                buffer.begin());
    left_ = left - n;
    return n;
  }

  std::size_t left() const { return left_; }

 private:
  std::atomic<std::size_t> left_;
  Bytes noise_;
};

// A multiple of x^20: the low 20 bits of a hash are those of the bytes themselves, and none that
// ends in an odd byte is a border. Every chunk has the 8 MiB that one may have.
constexpr std::uint64_t kNoBorders = std::uint64_t{1} << 53U | std::uint64_t{1} << 30U;

std::size_t memory_of_process(const std::string& what) {
  std::ifstream status("/proc/self/status");
  std::string word;
  std::size_t kibibytes = 0;
  while (status >> word) {
    if (word == what + ":") status >> kibibytes;
  }
  REQUIRE(kibibytes > 0);
  return kibibytes * 1024;
}

// From here on VmHWM is the peak.
void forget_peak() {
  mallopt(M_MMAP_THRESHOLD, 1 << 20);  // as the program does
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";
}

}  // namespace

TEST_CASE("what is written is read back, in both versions and both ways of cutting") {
  for (const int version : {1, 2}) {
    for (const bool fixed : {true, false}) {
      CAPTURE(version);
      CAPTURE(fixed);
      World world(version);
      Run run(world, world.store);
      Bytes bytes = noise(3'000'001, 1);
      bytes.resize(bytes.size() + 700'000, 'x');
      const Cut cut = fixed ? Cut::fixed(kPage) : Cut::rabin(run.repository.config().polynomial);
      const SavedFile file = run.save(bytes, cut);
      CHECK(file.size == bytes.size());
      const Written written = run.writer.finish(run.lock.scope());
      CHECK(read_back(world, file) == bytes);
      CHECK(written.stats().packs == names(world.store, FileKind::pack, world.call).size());
      CHECK(written.stats().bytes_stored ==
            total_size(world.store, FileKind::pack, world.call) +
                total_size(world.store, FileKind::index, world.call));
    }
  }
}

TEST_CASE("files smaller than a chunk, empty ones, and borders of batches are kept") {
  World world;
  Run run(world, world.store);
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, kPage - 1, kPage, kPage + 1, std::size_t{1} << 20,
        (std::size_t{1} << 20) + 1, (std::size_t{1} << 20) - 1}) {
    CAPTURE(size);
    const Bytes bytes = noise(size, size + 7);
    const SavedFile file = run.save(bytes);
    CHECK(file.size == size);
    CHECK(file.content.size() == (size + kPage - 1) / kPage);
    std::size_t at = 0;
    for (const BlobId& id : file.content) {
      const std::size_t n = std::min(kPage, size - at);
      CHECK(id == BlobId(sha256(ByteView(bytes).subspan(at, n))));
      at += n;
    }
  }
  CHECK_NOTHROW(run.writer.finish(run.lock.scope()));
}

TEST_CASE("a chunk larger than a batch stays one chunk") {
  World world;
  Run run(world, world.store);
  const Bytes bytes(9 << 20, 1);  // the rolling hash never cuts a constant run: 8 MiB and the rest
  const SavedFile file = run.save(bytes, Cut::rabin(run.repository.config().polynomial));
  CHECK(file.content.size() == 2);
  run.writer.finish(run.lock.scope());
  CHECK(read_back(world, file) == bytes);
}

TEST_CASE("equal pages are stored once, within a run and across runs") {
  World world;
  Bytes bytes = noise(2'000'000, 2);
  append(bytes, Bytes(bytes));
  bytes.resize(bytes.size() + 50 * kPage, 0);
  SavedFile first;
  {
    Run run(world, world.store);
    first = run.save(bytes, Cut::fixed(1000));
    const WriterStats stats = run.writer.finish(run.lock.scope()).stats();
    const std::size_t zeros = 50 * kPage % 1000 == 0 ? 1 : 2;
    CHECK(stats.data_blobs == 2'000 + zeros);
    CHECK(stats.data_added <= 2'000'000 + 2'000);
    CHECK(stats.data_added_packed <= stats.bytes_stored);
  }
  const auto packs = names(world.store, FileKind::pack, world.call);
  const auto indexes = names(world.store, FileKind::index, world.call);
  Run run(world, world.store);
  const SavedFile second = run.save(bytes, Cut::fixed(1000));
  CHECK(second.content == first.content);
  const WriterStats stats = run.writer.finish(run.lock.scope()).stats();
  CHECK(stats.data_blobs == 0);
  CHECK(stats.bytes_stored == 0);
  CHECK(names(world.store, FileKind::pack, world.call) == packs);
  CHECK(names(world.store, FileKind::index, world.call) == indexes);
}

TEST_CASE("trees and data go to packs of their own; trees are compressed, hopeless data is not") {
  World world;
  Run run(world, world.store);
  const SavedFile file = run.save(noise(kPage, 3));
  const BlobId tree = run.writer.save_tree("{\"nodes\":[]}\n", run.lock.scope());
  CHECK(run.writer.save_tree("{\"nodes\":[]}\n", run.lock.scope()) == tree);
  CHECK(tree.hex() == "ac08ce34ba4f8123618661bef2425f7028ffb9ac740578a3ee88684d2523fee8");
  const WriterStats stats = run.writer.finish(run.lock.scope()).stats();
  CHECK(stats.tree_blobs == 1);
  CHECK(stats.packs == 2);
  const auto data_place = run.index.find({BlobType::data, file.content.at(0)});
  const auto tree_place = run.index.find({BlobType::tree, tree});
  REQUIRE(data_place);
  REQUIRE(tree_place);
  CHECK(!(data_place->pack == tree_place->pack));
  CHECK(!data_place->entry.compressed());
  CHECK(tree_place->entry.compressed());
}

TEST_CASE("an index is stored after the packs it names, and after 50,000 blobs already") {
  World world;
  FaultyStore store(world.store);
  Run run(world, store);
  run.save(noise(60'000 * 32, 4), Cut::fixed(32));
  run.writer.finish(run.lock.scope());
  CHECK(names(world.store, FileKind::index, world.call).size() == 2);
  int packs = 0;
  int packs_at_last_index = 0;
  for (const std::string& call : store.history()) {
    if (call.starts_with("save data/")) ++packs;
    if (call.starts_with("save index/")) packs_at_last_index = packs;
  }
  CHECK(packs > 2);
  CHECK(packs_at_last_index == packs);
}

TEST_CASE("the store's failure is what every later call throws, and no index is written") {
  World world;
  FaultyStore store(world.store);
  Run run(world, store);
  store.add({.call = 3,
             .times = Fault::kForever,
             .operation = Operation::save,
             .kind = FileKind::pack,
             .error = ErrorKind::denied});
  std::optional<Error> error;
  for (int i = 0; i < 50 && !error; ++i) {
    error = error_of([&] { run.save(noise(500'000, 100 + static_cast<std::uint64_t>(i))); });
  }
  REQUIRE(error);
  CHECK(error->kind() == ErrorKind::denied);
  CHECK(text_of([&] { run.save(noise(10, 1)); }).starts_with("denied: "));
  CHECK(text_of([&] { run.writer.save_tree("{}", run.lock.scope()); }).starts_with("denied: "));
  CHECK(text_of([&] { run.writer.finish(run.lock.scope()); }).starts_with("denied: "));
  CHECK(names(world.store, FileKind::index, world.call).empty());
}

TEST_CASE("a source's failure is thrown, and another attempt finds what was stored") {
  class Failing final : public Source {
   public:
    explicit Failing(Bytes bytes) : inner_(std::move(bytes)) {}

    std::size_t read(std::span<std::uint8_t> buffer, const Call& call) override {
      if (++calls_ > 25) throw Error(ErrorKind::unavailable, "etcd: stream broke");
      return inner_.read(buffer, call);
    }

   private:
    BytesSource inner_;
    int calls_ = 0;
  };

  World world;
  Run run(world, world.store);
  const Bytes bytes = noise(4'000'000, 5);
  Failing failing(bytes);
  CHECK(text_of([&] { run.writer.save_file(failing, Cut::fixed(kPage), run.lock.scope()); }) ==
        "unavailable: etcd: stream broke");
  const SavedFile file = run.save(bytes);
  CHECK(run.writer.finish(run.lock.scope()).stats().data_blobs == file.content.size());
  CHECK(read_back(world, file) == bytes);
}

TEST_CASE("a slow store fills memory, then the spool, and the reader goes on") {
  World world;
  FaultyStore store(world.store);
  const TempDir folder;
  WriterOptions options = small_packs();
  options.memory_bytes = 0;
  options.spool_bytes = 64 << 20;
  options.spool_folder = folder.path();
  Run run(world, store, options);
  store.set_delay(std::chrono::seconds(3));
  const Bytes bytes = noise(4 << 20, 6);  // 16 packs, two at a time: more than a second
  const auto begin = std::chrono::steady_clock::now();
  const SavedFile file = run.save(bytes);
  const auto drained = std::chrono::steady_clock::now();
  CHECK(std::filesystem::is_empty(folder.path()));
  const Written written = run.writer.finish(run.lock.scope());
  const auto finished = std::chrono::steady_clock::now();
  CHECK(drained - begin < (finished - begin) / 2);
  CHECK(written.stats().packs >= 16);
  CHECK(read_back(world, file) == bytes);
}

TEST_CASE("eight workers keep to 64 MiB when the store takes nothing, with chunks of any size") {
  struct Case {
    const char* what;
    Cut cut;
    std::uint64_t spool_bytes;
    std::size_t size;
  };

  constexpr std::uint64_t kSpool = std::uint64_t{4} << 30U;
  for (const Case& one :
       {Case{"pages", Cut::fixed(kPage), kSpool, 64U << 20U},
        Case{"pages, no spool file", Cut::fixed(kPage), 0, 64U << 20U},
        Case{"chunks of 8 MiB", Cut::rabin(kNoBorders), kSpool, 64U << 20U},
        Case{"the same, no spool file", Cut::rabin(kNoBorders), 0, 160U << 20U}}) {
    World world;
    const TempDir folder;
    storage::DirectoryStore directory(folder.path() / "repository", world.random);
    make_repository(directory, 2, world.random, world.call);
    FaultyStore store(directory);
    std::latch gate(1);
    for (int i = 0; i < store.connections(); ++i) {
      store.before(Operation::save, FileKind::pack, [&] { gate.wait(); });
    }
    WriterOptions options;
    options.workers = 8;
    options.spool_folder = folder.path();
    options.spool_bytes = one.spool_bytes;
    options.stall_limit = std::chrono::hours(10);
    Run run(world, store, options);
    OddNoise source(one.size);
    forget_peak();
    const std::size_t before = memory_of_process("VmRSS");
    // Once nothing is read any more, whoever waits for room does, with all that he holds.
    std::jthread opener([&] {
      std::size_t left = one.size + 1;
      while (source.left() < left) {
        left = source.left();
        std::this_thread::sleep_for(milliseconds(500));
      }
      gate.count_down();
    });
    run.writer.save_file(source, one.cut, run.lock.scope());
    run.writer.finish(run.lock.scope());
    const std::size_t peak = memory_of_process("VmHWM") - before;
    MESSAGE(std::string(one.what) << ": " << peak / 1024 << " KiB");
    // A sanitizer keeps memory of its own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    CHECK(peak <= std::size_t{64} << 20);
#endif
  }
}

TEST_CASE("whoever is told of the uploads may wait for a terminal: they go on") {
  World world;
  FaultyStore store(world.store);
  std::latch gate(1);
  for (int i = 0; i < store.connections(); ++i) {
    store.before(Operation::save, FileKind::pack, [&] { gate.wait(); });
  }
  WriterOptions options = small_packs();
  options.memory_bytes = 64 << 20;
  Run run(world, store, options);
  run.save(noise(8 << 20, 14));  // 32 packs, none of them stored
  const auto packs = [&] { return names(world.store, FileKind::pack, world.call).size(); };
  bool went_on = false;
  std::atomic<std::uint64_t> told = 0;
  std::uint64_t expected = 0;
  run.writer.finish(run.lock.scope(), [&](std::uint64_t bytes, std::uint64_t total) {
    told += bytes;
    if (bytes != 0) return;
    expected = total;
    gate.count_down();
    for (int i = 0; i < 6000 && packs() < 30; ++i) std::this_thread::sleep_for(milliseconds(10));
    went_on = packs() >= 30;
  });
  CHECK(went_on);
  CHECK(expected > 8 << 20);
  CHECK(told == expected);
}

TEST_CASE("a spool folder that is not there only costs the spool") {
  World world;
  WriterOptions options = small_packs();
  options.spool_bytes = 1 << 20;
  options.spool_folder = "/nowhere/at/all";
  Run run(world, world.store, options);
  const Bytes bytes = noise(2 << 20, 7);
  const SavedFile file = run.save(bytes);
  run.writer.finish(run.lock.scope());
  CHECK(read_back(world, file) == bytes);
}

TEST_CASE("a store that takes nothing fails the run once memory and spool are full") {
  World world;
  FaultyStore store(world.store);
  const TempDir folder;
  WriterOptions options = small_packs();
  options.stall_limit = std::chrono::seconds(5);
  options.spool_bytes = 1 << 20;
  options.spool_folder = folder.path();
  Run run(world, store, options);
  store.set_delay(std::chrono::hours(1));
  const auto error = error_of([&] { run.save(noise(16 << 20, 8)); });
  REQUIRE(error);
  CHECK(error->kind() == ErrorKind::unavailable);
  CHECK(std::string(error->what()).find("finished nothing for") != std::string::npos);
  CHECK(!error->hint().empty());
  store.set_delay(milliseconds(0));
}

TEST_CASE("a lock that is lost stops the writer with that cause, before any index") {
  World world;
  Run run(world, world.store);
  run.save(noise(2 << 20, 9));
  for (const std::string& id : names(world.store, FileKind::lock, world.call)) {
    world.store.remove({FileKind::lock, id}, world.call);
  }
  CHECK(error_of([&] { run.writer.finish(run.lock.scope()); })->kind() == ErrorKind::locked);
  CHECK(names(world.store, FileKind::index, world.call).empty());
  CHECK(error_of([&] { run.save(noise(1, 1)); })->kind() == ErrorKind::locked);
}

TEST_CASE("an interrupted call ends the run at once") {
  World world;
  FaultyStore store(world.store);
  Run run(world, store);
  store.set_delay(std::chrono::hours(1));
  CallScope signal(run.lock.scope());
  std::jthread killer([&] {
    std::this_thread::sleep_for(milliseconds(100));
    signal.fail(std::make_exception_ptr(Error(ErrorKind::terminated, "terminated")));
  });
  BytesSource source(noise(16 << 20, 10));
  CHECK(text_of([&] { run.writer.save_file(source, Cut::fixed(kPage), signal.call()); }) ==
        "terminated: terminated");
  store.set_delay(milliseconds(0));
}

TEST_CASE("a writer given up in the middle ends at once and leaves only unreferenced packs") {
  World world;
  FaultyStore store(world.store);
  const auto begin = std::chrono::steady_clock::now();
  {
    Run run(world, store);
    run.save(noise(1 << 20, 11));
  }
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
  CHECK(names(world.store, FileKind::index, world.call).empty());
  CHECK(names(world.store, FileKind::lock, world.call).empty());
}

TEST_CASE("a blob claimed by a writer that failed is never taken for stored") {
  World world;
  Run run(world, world.store);
  const Bytes bytes = noise(kPage, 12);
  REQUIRE(run.index.claim({BlobType::data, BlobId(sha256(bytes))}) == Index::Claim::mine);
  run.save(bytes);
  CHECK(error_of([&] { run.writer.finish(run.lock.scope()); })->kind() == ErrorKind::internal);
}

TEST_CASE("a damaged copy of a blob is made good by another, a lone one is corrupt") {
  World world;
  Run run(world, world.store);
  const Bytes bytes = noise(kPage, 13);
  const SavedFile file = run.save(bytes);
  run.writer.finish(run.lock.scope());
  const BlobHandle blob{BlobType::data, file.content.at(0)};
  const auto place = run.index.find(blob);
  REQUIRE(place);
  const FileName pack{FileKind::pack, place->pack.hex()};
  Bytes damaged = world.store.load(pack, 1 << 20, world.call);
  const Bytes good = damaged;
  damaged[100] ^= 1U;
  overwrite(world.store, pack, damaged, world.call);
  CHECK(error_of([&] { run.repository.load_blob(run.index, blob, world.call); })->kind() ==
        ErrorKind::corrupt);

  const PackId copy(sha256(as_bytes("another name")));
  overwrite(world.store, {FileKind::pack, copy.hex()}, good, world.call);
  run.index.add({copy, {place->entry}});
  CHECK(run.repository.load_blob(run.index, blob, world.call) == bytes);
  CHECK(text_of([&] {
          run.repository.load_blob(run.index, {BlobType::tree, blob.id}, world.call);
        }).find("not found in index") != std::string::npos);
}
