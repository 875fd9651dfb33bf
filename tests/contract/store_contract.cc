#include "contract/store_contract.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/sha256.h"

namespace kubedr::storage {
namespace {

constexpr std::size_t kLimit = 1 << 20;

const FileName kConfig{FileKind::config, ""};

FileName name_of(FileKind kind, std::string_view content) {
  return {kind, to_hex(sha256(as_bytes(content)))};
}

// One new store and a call that is long enough.
struct Subject {
  explicit Subject(const MakeStore& make) : store(make()) {}

  void save(const FileName& name, std::string_view text, SaveMode mode = SaveMode::replace) {
    store->save(name, as_bytes(text), sha256(as_bytes(text)), mode, call);
  }

  std::string load(const FileName& name) {
    return std::string(as_text(store->load(name, kLimit, call)));
  }

  std::string load_range(const FileName& name, const Range& range) {
    return std::string(as_text(store->load_range(name, range, call)));
  }

  std::map<std::string, std::uint64_t> list(FileKind kind) {
    std::map<std::string, std::uint64_t> files;
    store->list(
        kind,
        [&](const FileInfo& info) {
          CHECK(files.emplace(info.id, info.size).second);
          if (!info.modified) return;  // memory does not know
          CHECK(clock.now() - *info.modified < std::chrono::minutes(5));
          CHECK(*info.modified - clock.now() < std::chrono::minutes(5));
        },
        call);
    return files;
  }

  const SystemClock clock;
  const Call call = Call(clock).within(std::chrono::minutes(2));
  const std::unique_ptr<Store> store;
};

ErrorKind kind_of(const std::function<void()>& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::internal;  // none at all
}

void check_missing_repository(const MakeStore& make) {
  INFO("before creation there is no repository");
  Subject subject(make);
  const FileName pack = name_of(FileKind::pack, "pack");
  CHECK(kind_of([&] { subject.load(kConfig); }) == ErrorKind::no_repository);
  CHECK(kind_of([&] { subject.load_range(pack, {0, 4}); }) == ErrorKind::no_repository);
  CHECK(kind_of([&] { subject.list(FileKind::snapshot); }) == ErrorKind::no_repository);
  CHECK(kind_of([&] { subject.save(pack, "pack"); }) == ErrorKind::no_repository);
  CHECK_FALSE(subject.store->size_of(kConfig, subject.call));
  CHECK_NOTHROW(subject.store->remove(pack, subject.call));
}

void check_creation(const MakeStore& make) {
  INFO("creation happens once and leaves an empty repository");
  Subject subject(make);
  CHECK(subject.store->create(subject.call));
  CHECK_FALSE(subject.store->create(subject.call));
  CHECK_FALSE(subject.store->size_of(kConfig, subject.call));
  for (const FileKind kind : {FileKind::key, FileKind::pack, FileKind::index, FileKind::snapshot,
                              FileKind::lock, FileKind::config}) {
    CHECK(subject.list(kind).empty());
  }
  CHECK_FALSE(subject.store->location().empty());
  CHECK(subject.store->connections() >= 1);
}

void check_round_trip(const MakeStore& make) {
  INFO("what is saved is there, under its name and kind only");
  Subject subject(make);
  subject.store->create(subject.call);
  const std::string all_bytes = [] {
    std::string text(100'000, '\0');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7);
    return text;
  }();
  for (const FileKind kind : {FileKind::config, FileKind::key, FileKind::pack, FileKind::index,
                              FileKind::snapshot, FileKind::lock}) {
    const FileName name = kind == FileKind::config ? kConfig : name_of(kind, all_bytes);
    CAPTURE(name.path());
    CHECK_FALSE(subject.store->size_of(name, subject.call));
    CHECK(kind_of([&] { subject.load(name); }) == ErrorKind::not_found);
    CHECK(kind_of([&] { subject.load_range(name, {0, 1}); }) == ErrorKind::not_found);
    subject.save(name, all_bytes);
    CHECK(subject.store->size_of(name, subject.call) == all_bytes.size());
    CHECK(subject.load(name) == all_bytes);
  }
  const FileName empty = name_of(FileKind::index, "");
  subject.save(empty, "");
  CHECK(subject.store->size_of(empty, subject.call) == 0);
  CHECK(subject.load(empty).empty());
}

void check_limits_and_ranges(const MakeStore& make) {
  INFO("limits hold to the byte, and a range is all there or corrupt");
  Subject subject(make);
  subject.store->create(subject.call);
  const FileName name = name_of(FileKind::pack, "0123456789");
  subject.save(name, "0123456789");
  CHECK(subject.store->load(name, 10, subject.call).size() == 10);
  CHECK(kind_of([&] { subject.store->load(name, 9, subject.call); }) == ErrorKind::corrupt);
  CHECK(kind_of([&] { subject.store->load(name, 0, subject.call); }) == ErrorKind::corrupt);
  CHECK(subject.load_range(name, {0, 10}) == "0123456789");
  CHECK(subject.load_range(name, {3, 4}) == "3456");
  CHECK(subject.load_range(name, {9, 1}) == "9");
  CHECK(subject.load_range(name, {4, 0}).empty());
  for (const Range range : {Range{0, 11}, Range{9, 2}, Range{10, 1}, Range{100, 1},
                            Range{5, UINT64_MAX}, Range{UINT64_MAX, 2}}) {
    CAPTURE(range.offset);
    CAPTURE(range.length);
    CHECK(kind_of([&] { subject.load_range(name, range); }) == ErrorKind::corrupt);
  }
}

void check_save_modes(const MakeStore& make) {
  INFO("replace replaces, create_only does not");
  Subject subject(make);
  subject.store->create(subject.call);
  subject.save(kConfig, "first", SaveMode::create_only);
  CHECK(kind_of([&] { subject.save(kConfig, "second", SaveMode::create_only); }) ==
        ErrorKind::exists);
  CHECK(subject.load(kConfig) == "first");
  subject.save(kConfig, "third", SaveMode::replace);
  CHECK(subject.load(kConfig) == "third");
  subject.save(kConfig, "third", SaveMode::replace);
  subject.store->remove(kConfig, subject.call);
  subject.save(kConfig, "fourth", SaveMode::create_only);
  CHECK(subject.load(kConfig) == "fourth");
}

void check_one_creator(const MakeStore& make) {
  INFO("of many who create the same file at the same time, one succeeds");
  Subject subject(make);
  subject.store->create(subject.call);
  constexpr std::size_t kThreads = 8;
  std::vector<ErrorKind> outcomes(kThreads);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        outcomes[i] =
            kind_of([&] { subject.save(kConfig, std::to_string(i), SaveMode::create_only); });
      });
    }
  }
  std::size_t winner = kThreads;
  for (std::size_t i = 0; i < kThreads; ++i) {
    if (outcomes[i] == ErrorKind::exists) continue;
    CHECK(outcomes[i] == ErrorKind::internal);
    CHECK(winner == kThreads);
    winner = i;
  }
  REQUIRE(winner < kThreads);
  CHECK(subject.load(kConfig) == std::to_string(winner));
}

void check_listing(const MakeStore& make) {
  INFO("a list has every file of its kind with its size, and nothing else");
  Subject subject(make);
  subject.store->create(subject.call);
  std::map<std::string, std::uint64_t> packs;
  std::map<std::string, std::uint64_t> locks;
  for (std::size_t i = 0; i < 40; ++i) {
    const std::string text(i, 'x');
    const FileName pack = name_of(FileKind::pack, text);
    subject.save(pack, text);
    packs.emplace(pack.id, i);
    if (i % 4 != 0) continue;
    subject.save({FileKind::lock, pack.id}, text);
    locks.emplace(pack.id, i);
  }
  subject.save(kConfig, "config");
  CHECK(subject.list(FileKind::pack) == packs);
  CHECK(subject.list(FileKind::lock) == locks);
  CHECK(subject.list(FileKind::index).empty());
}

void check_removal(const MakeStore& make) {
  INFO("what is removed is gone, and removing it again is a success");
  Subject subject(make);
  subject.store->create(subject.call);
  const FileName gone = name_of(FileKind::lock, "gone");
  const FileName stays = name_of(FileKind::lock, "stays");
  subject.save(gone, "gone");
  subject.save(stays, "stays");
  subject.store->remove(gone, subject.call);
  CHECK_FALSE(subject.store->size_of(gone, subject.call));
  CHECK(subject.list(FileKind::lock).size() == 1);
  CHECK_NOTHROW(subject.store->remove(gone, subject.call));
  CHECK(subject.load(stays) == "stays");
}

void check_threads(const MakeStore& make) {
  INFO("many threads may use one store");
  Subject subject(make);
  subject.store->create(subject.call);
  std::vector<std::string> loaded(6);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < loaded.size(); ++i) {
      threads.emplace_back([&, i] {
        const std::string text(10'000 + i, static_cast<char>('a' + i));
        const FileName name = name_of(FileKind::pack, text);
        subject.save(name, text);
        if (subject.store->size_of(name, subject.call) == text.size())
          loaded[i] = subject.load(name);
      });
    }
  }
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    CHECK(loaded[i] == std::string(10'000 + i, static_cast<char>('a' + i)));
  }
  CHECK(subject.list(FileKind::pack).size() == loaded.size());
}

void check_ended_call(const MakeStore& make) {
  INFO("a call that has ended changes nothing");
  Subject subject(make);
  subject.store->create(subject.call);
  subject.save(kConfig, "config");
  CallScope scope(subject.call);
  scope.fail(std::make_exception_ptr(Error(ErrorKind::interrupted, "SIGINT")));
  const Call& ended = scope.call();
  const auto nothing = [](const FileInfo&) {};
  CHECK(kind_of([&] { subject.store->load(kConfig, kLimit, ended); }) == ErrorKind::interrupted);
  CHECK(kind_of([&] { subject.store->remove(kConfig, ended); }) == ErrorKind::interrupted);
  CHECK(kind_of([&] { subject.store->list(FileKind::pack, nothing, ended); }) ==
        ErrorKind::interrupted);
  CHECK(kind_of([&] {
          const Digest digest = sha256(as_bytes("x"));
          subject.store->save(kConfig, as_bytes("x"), digest, SaveMode::replace, ended);
        }) == ErrorKind::interrupted);
  CHECK(subject.load(kConfig) == "config");
}

}  // namespace

void check_store(const MakeStore& make, Creation creation) {
  check_missing_repository(make);
  check_creation(make);
  check_round_trip(make);
  check_limits_and_ranges(make);
  check_save_modes(make);
  if (creation == Creation::atomic) check_one_creator(make);
  check_listing(make);
  check_removal(make);
  check_threads(make);
  check_ended_call(make);
}

}  // namespace kubedr::storage
