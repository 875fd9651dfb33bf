#ifndef KUBEDR_UNIT_REPO_REPOSITORIES_H
#define KUBEDR_UNIT_REPO_REPOSITORIES_H

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/call.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "base/sha256.h"
#include "repo/key.h"
#include "repo/repository.h"
#include "repo/writer.h"
#include "storage/memory_store.h"

namespace kubedr::repo::test {

using storage::FileKind;
using storage::FileName;
using storage::MemoryStore;
using storage::SaveMode;

inline const LockOwner kOwner{"node-1", "root", 4242, 0, 0};
inline constexpr std::chrono::milliseconds kNoRetry{0};

template <class Work>
std::optional<Error> error_of(Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

template <class Work>
std::string text_of(Work&& work) {
  const std::optional<Error> error = error_of(work);
  return error ? std::string(to_string(error->kind())) + ": " + error->what() : "nothing thrown";
}

inline std::vector<std::string> names(const storage::StoreReader& store, FileKind kind,
                                      const Call& call) {
  std::vector<std::string> ids;
  store.list(
      kind, [&](const storage::FileInfo& info) { ids.push_back(info.id); }, call);
  return ids;
}

inline void put(storage::Store& store, FileKind kind, ByteView bytes, const Call& call) {
  const Digest digest = sha256(bytes);
  store.save({kind, kind == FileKind::config ? std::string() : to_hex(digest)}, bytes, digest,
             SaveMode::replace, call);
}

// Whatever its name says.
inline void overwrite(storage::Store& store, const FileName& name, ByteView bytes,
                      const Call& call) {
  store.save(name, bytes, sha256(bytes), SaveMode::replace, call);
}

// Time that runs twenty times as fast: every lock waits 200 ms of it.
class FastClock final : public Clock {
 public:
  WallTime now() const override { return begin_wall_ + passed(); }

  SteadyTime steady() const override { return begin_ + passed(); }

  void wait_until(SteadyTime until, const std::stop_token& stop) const override {
    real_.wait_until(begin_ + (until - begin_) / kSpeed, stop);
  }

 private:
  static constexpr int kSpeed = 20;

  SteadyTime::duration passed() const { return (real_.steady() - begin_) * kSpeed; }

  SystemClock real_;
  SteadyTime begin_ = real_.steady();
  WallTime begin_wall_ = real_.now();
};

// Cheap keys: what a test opens often must not cost a real scrypt.
inline void put_key(storage::Store& store, const SealKey& master, const std::string& password,
                    Random& random, const Call& call) {
  put(store, FileKind::key,
      make_key_file(master, Secret(password), "u", "h", WallTime{}, KeyCost{2, 8, 1}, random),
      call);
}

inline void put_config(storage::Store& store, const SealKey& master, const Config& config,
                       Random& random, const Call& call) {
  Bytes sealed;
  Sealer(master, random).seal(as_bytes(to_json(config)), sealed);
  put(store, FileKind::config, sealed, call);
}

// A repository with the password "pw".
inline SealKey make_repository(storage::Store& store, int version, Random& random,
                               const Call& call) {
  const SealKey master = make_master_key(random);
  store.create(call);
  put_config(store, master, make_config(version, random), random, call);
  put_key(store, master, "pw", random, call);
  return master;
}

// A store and a repository in it.
struct World {
  explicit World(int version = 2)
      : call(clock), master(make_repository(store, version, random, call)) {}

  Repository open(storage::Store& of) { return Repository::open(of, Secret("pw"), random, call); }

  FastClock clock;
  SystemRandom random;
  MemoryStore store;
  Call call;
  SealKey master;
};

class BytesSource final : public Source {
 public:
  explicit BytesSource(Bytes bytes, std::size_t piece = 100'000)
      : bytes_(std::move(bytes)), piece_(piece) {}

  std::size_t read(std::span<std::uint8_t> buffer, const Call& call) override {
    call.require_live();
    const std::size_t n = std::min({buffer.size(), bytes_.size() - at_, piece_});
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at_), n, buffer.begin());
    at_ += n;
    return n;
  }

 private:
  Bytes bytes_;
  std::size_t piece_;
  std::size_t at_ = 0;
};

// Bytes that do not compress and do not repeat.
inline Bytes noise(std::size_t size, std::uint64_t seed) {
  Bytes bytes(size);
  std::uint64_t x = seed * 0x9e3779b97f4a7c15U + 1;
  for (std::uint8_t& byte : bytes) {
    x ^= x << 13U;
    x ^= x >> 7U;
    x ^= x << 17U;
    byte = static_cast<std::uint8_t>(x >> 32U);
  }
  return bytes;
}

inline WriterOptions small_packs() {
  WriterOptions options;
  options.workers = 3;
  options.pack_bytes = 256 * 1024;
  options.memory_bytes = 512 * 1024;
  options.spool_bytes = 0;
  return options;
}

}  // namespace kubedr::repo::test

#endif  // KUBEDR_UNIT_REPO_REPOSITORIES_H
