#include "repo/repository.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/sha256.h"
#include "repo/blob.h"
#include "repo/key.h"
#include "repo/parallel.h"

// init, when others do the same
//
// Ours (A, B):      look; PUT config if absent; PUT key; settle; look again
// restic's (R):     look; 1 to 3 s of scrypt; PUT key; PUT config, overwriting
//
//   A and B            one conditional PUT fails, and that is the loser, which wrote nothing else.
//                      In a store that ignores the condition the later config stays; the other
//                      sees that at its second look, removes its key and says `exists`.
//   A, then R looks    R finds the config and refuses.
//   R done, then A     A finds the config and refuses.
//   R has its key      A finds a key without a config and refuses; R goes on.
//   R looked before    R overwrites A's config. A waits out R's scrypt before its second look
//   A's config         (kSettle); a key that is not A's says that R is about to write, and A waits
//                      for that too. A then finds R's config, removes its own key and says
//                      `exists`: R's repository has R's key alone.
//   R dies after its   A stays after kForeign; R's key remains, opens nothing and is passed over
//   key                by `open`; the log says so, since restic stops at such a key.
//   A dies after its   A config and no key. B waits kReclaim for a key to appear. Then it takes the
//   config             config over, by overwriting it, so that there is never none: what sealed it
//                      is lost. Is A only slow, it finds B's config before or after its key, and
//                      steps back. Two that take over at a time: the later config stays, as above.
//
// The key file is made (0.1 s of scrypt) before the config is written, so config and key are one
// round trip apart. The config is the commit point: whoever is told to end from then on finishes,
// since to stop there would leave a repository that nobody has reported.
namespace kubedr::repo {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using storage::FileInfo;
using storage::FileKind;
using storage::FileName;
using storage::SaveMode;

constexpr milliseconds kReclaim{3'000};  // for a key to appear beside a config
constexpr milliseconds kSettle{3'000};   // restic: 1.2 s from its look to its key, 2.6 s when busy
constexpr milliseconds kForeign{10'000};
constexpr milliseconds kPoll{250};
constexpr milliseconds kCleanUp{5'000};

constexpr std::size_t kSnapshotThreads = 16;  // small files: all is latency
constexpr std::size_t kIndexThreads = 4;      // some 4 MiB each

const FileName kConfigName{FileKind::config, {}};

constexpr char kBringBack[] =
    "bring config and keys/ back from a copy, or from the bucket's older versions";

// Nullopt when it is not there.
std::optional<Bytes> load_if_there(const storage::StoreReader& store, const FileName& name,
                                   const Call& call) {
  try {
    return store.load(name, limits::kSmallFile, call);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
    return std::nullopt;
  }
}

Bytes load_config_bytes(const storage::StoreReader& store, const Call& call) {
  try {
    Bytes sealed = store.load(kConfigName, limits::kSmallFile, call);
    if (!sealed.empty()) return sealed;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found && error.kind() != ErrorKind::no_repository) throw;
    throw Error(ErrorKind::no_repository,
                std::string("unable to open config file: ") + error.what() +
                    "\nIs there a repository at the following location?\n" + store.location(),
                "`init` makes one");
  }
  throw Error(ErrorKind::corrupt, "config file has zero size, invalid repository?", kBringBack);
}

// Nullopt when this key does not open the config.
std::optional<Config> open_config(ByteView sealed, const SealKey& key, Random& random) {
  Bytes plain;
  if (!Sealer(key, random).try_open(sealed, plain)) return std::nullopt;
  return parse_config(as_text(plain), kConfigName.path());
}

// A password as given, and as restic or kubectl may have taken it: files and Secrets made from
// files often end in a newline, which restic trims and a Secret keeps.
std::vector<Secret> forms_of(const Secret& password) {
  const std::string_view given = password.reveal();
  std::vector<Secret> forms{password};
  if (given.ends_with('\n')) {
    forms.emplace_back(given.substr(0, given.find_last_not_of("\r\n") + 1));
  } else {
    std::string with_newline(given);
    with_newline += '\n';
    forms.emplace_back(with_newline);
    wipe(with_newline.data(), with_newline.size());
  }
  return forms;
}

struct KeyFile {
  std::string id;
  Bytes json;
};

// The first keys of the store. Damaged ones are left out: another may still open the repository,
// and on the day of need that is what counts.
std::vector<KeyFile> load_keys(const storage::StoreReader& store, std::string& damage,
                               const Call& call) {
  std::vector<std::string> ids = list_ids(store, FileKind::key, call);
  if (ids.size() > limits::kKeys) {
    log::warn("the repository has {} keys, only the first {} are tried", ids.size(), limits::kKeys);
    ids.resize(limits::kKeys);
  }
  std::vector<KeyFile> keys;
  for (const std::string& id : ids) {
    const FileName name{FileKind::key, id};
    std::optional<Bytes> json = load_if_there(store, name, call);
    if (!json) continue;
    if (to_hex(sha256(*json)) != id) {
      damage = name.path() + ": invalid data returned: its name is not its hash";
      log::warn("{}", damage);
      continue;
    }
    keys.push_back({id, std::move(*json)});
  }
  return keys;
}

struct OpenedKey {
  std::string id;
  SealKey master;
  Config config;
};

class KeySearch {
 public:
  // Config and keys at once: what opening costs is waiting for the store. Without a config nothing
  // else is worth a word.
  KeySearch(const storage::StoreReader& store, Random& random, const Call& call) : random_(random) {
    std::exception_ptr no_keys;
    for_each_parallel(2, 2, call, [&](std::size_t i, const Call& inner) {
      if (i == 0) {
        config_ = load_config_bytes(store, inner);
        return;
      }
      try {
        keys_ = load_keys(store, damage_, inner);
      } catch (...) {
        no_keys = std::current_exception();
      }
    });
    if (no_keys) std::rethrow_exception(no_keys);
  }

  std::optional<OpenedKey> find(const Secret& password, const Call& call) {
    for (const KeyFile& key : keys_) {
      call.require_live();
      const std::optional<SealKey> master = open_key(key, password);
      if (!master) continue;
      const std::optional<Config> config = open_config(config_, *master, random_);
      if (config) return OpenedKey{key.id, *master, *config};
      damage_ = "config or key " + key.id + " is damaged: ciphertext verification failed";
      log::warn("{}", damage_);
      opened_other_ = true;
    }
    return std::nullopt;
  }

  [[noreturn]] void fail() const {
    if (opened_other_ || (tried_ == 0 && !damage_.empty())) {
      throw Error(ErrorKind::corrupt, damage_, kBringBack);
    }
    throw Error(ErrorKind::wrong_password, "wrong password or no key found",
                damage_.empty() ? "" : "a key file could not be used: " + damage_);
  }

 private:
  std::optional<SealKey> open_key(const KeyFile& key, const Secret& password) {
    const std::string where = FileName{FileKind::key, key.id}.path();
    try {
      const std::optional<SealKey> master = open_key_file(as_text(key.json), password, where);
      ++tried_;
      return master;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      damage_ = error.what();
      log::warn("{}", damage_);
      return std::nullopt;
    }
  }

  Random& random_;
  Bytes config_;
  std::string damage_;
  std::vector<KeyFile> keys_;
  int tried_ = 0;
  bool opened_other_ = false;
};

OpenedKey open_keys(const storage::StoreReader& store, const Secret& password, Random& random,
                    const Call& call) {
  KeySearch search(store, random, call);
  const std::vector<Secret> forms = forms_of(password);
  if (std::optional<OpenedKey> opened = search.find(forms[0], call)) return *opened;
  if (!forms[1].empty()) {
    if (std::optional<OpenedKey> opened = search.find(forms[1], call)) {
      log::warn("the repository's password is the one given {} a newline at its end",
                password.reveal().ends_with('\n') ? "without" : "with");
      return *opened;
    }
  }
  search.fail();
}

[[noreturn]] void fail_exists(const std::string& why) {
  throw Error(ErrorKind::exists, why);
}

// One attempt to make a repository; see the head of this file.
class Init {
 public:
  Init(storage::Store& store, const InitRequest& request, Random& random, const Call& call)
      : store_(store),
        random_(random),
        call_(call),
        committed_(request.committed),
        master_(make_master_key(random)) {
    const Config config = make_config(request.version, random);
    Sealer(master_, random).seal(as_bytes(to_json(config)), config_);
    key_ = make_key_file(master_, request.password, request.username, request.hostname,
                         call.clock().now(), KeyCost{}, random);
    key_name_ = {FileKind::key, to_hex(sha256(key_))};
  }

  // Returns the call of what comes next.
  Call run() {
    store_.create(call_);
    write_config();
    if (committed_) call_ = committed_();
    store_.save(key_name_, key_, sha256(key_), SaveMode::replace, call_);
    try {
      call_.sleep(kSettle);
      wait_for_foreign_keys();
      require_our_config();
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::exists) step_back();
      throw;
    }
    return call_;
  }

 private:
  void write_config() {
    const bool half_done = require_empty_or_half_done();
    const SaveMode mode = half_done ? SaveMode::replace : SaveMode::create_only;
    if (half_done) log::warn("taking over what an init that was interrupted left behind");
    try {
      store_.save(kConfigName, config_, sha256(config_), mode, call_);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::exists) fail_exists(kInitialised);
      throw;
    }
  }

  // True when there is a config that no key can ever open.
  bool require_empty_or_half_done() {
    const bool config = store_.size_of(kConfigName, call_).has_value();
    const bool keys = !list_ids(store_, FileKind::key, call_).empty();
    if (config && keys) fail_exists(kInitialised);
    if (keys) fail_exists("repository already contains keys");
    if (!list_ids(store_, FileKind::snapshot, call_).empty()) {
      fail_exists("repository already contains snapshots");
    }
    // A repository whose config and keys somebody moved away, or lost, is not ours to take: with
    // them its packs can be read.
    if (!list_ids(store_, FileKind::index, call_).empty()) {
      fail_exists(config ? kInitialised : "repository already contains index files");
    }
    if (!config) return false;
    require_no_key_for_a_while();
    return true;
  }

  void require_no_key_for_a_while() {
    const SteadyTime end = call_.clock().steady() + kReclaim;
    while (call_.clock().steady() < end) {
      call_.sleep(kPoll);
      if (!list_ids(store_, FileKind::key, call_).empty()) fail_exists(kInitialised);
    }
  }

  bool has_foreign_key() const {
    const std::vector<std::string> ids = list_ids(store_, FileKind::key, call_);
    return std::any_of(ids.begin(), ids.end(),
                       [this](const std::string& id) { return id != key_name_.id; });
  }

  void wait_for_foreign_keys() {
    const SteadyTime end = call_.clock().steady() + kForeign;
    while (has_foreign_key()) {
      require_our_config();
      if (call_.clock().steady() >= end) {
        log::warn(
            "the new repository holds a key file of somebody else's init; if restic says that "
            "a key is damaged, remove it from keys/: all but {}",
            key_name_.id);
        return;
      }
      call_.sleep(kPoll);
    }
  }

  void require_our_config() const {
    if (load_if_there(store_, kConfigName, call_) != config_) fail_exists(kInitialised);
  }

  void step_back() {
    try {
      store_.remove(key_name_, Call(call_.clock()).within(kCleanUp));
    } catch (const Error& error) {
      log::warn("{}: not removed: {}; it opens nothing and may confuse restic", key_name_.path(),
                error.what());
    }
  }

  static constexpr const char* kInitialised =
      "repository master key and config already initialized";

  storage::Store& store_;
  Random& random_;
  Call call_;  // the work's, then the rest's
  const std::function<Call()> committed_;
  const SealKey master_;
  Bytes config_;
  Bytes key_;
  FileName key_name_;
};

// What another copy may make good.
bool is_damage(const Error& error) {
  return error.kind() == ErrorKind::corrupt || error.kind() == ErrorKind::not_found;
}

}  // namespace

struct Repository::Impl {
  Impl(storage::Store& store, OpenedKey key, Random& random)
      : config(std::move(key.config)),
        key_id(KeyId::parse(key.id).value_or(KeyId())),
        master(key.master),
        files(store, key.master, config.version, random) {}

  const Config config;
  const KeyId key_id;
  const SealKey master;
  const UnpackedFiles files;
};

Repository::Repository(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Repository::Repository(Repository&&) noexcept = default;
Repository::~Repository() = default;

Repository Repository::init(storage::Store& store, const InitRequest& request, Random& random,
                            const Call& call) {
  require_good_password(request.password);
  if (request.version != 1 && request.version != 2) {
    throw Error(ErrorKind::usage,
                "unsupported repository version " + std::to_string(request.version),
                "restic knows 1 and 2");
  }
  const Call rest = Init(store, request, random, call).run();
  return open(store, request.password, random, rest);
}

Repository Repository::open(storage::Store& store, const Secret& password, Random& random,
                            const Call& call) {
  OpenedKey key = open_keys(store, password, random, call);
  return Repository(std::make_unique<Impl>(store, std::move(key), random));
}

const Config& Repository::config() const {
  return impl_->config;
}

const KeyId& Repository::key_id() const {
  return impl_->key_id;
}

const SealKey& Repository::master_key() const {
  return impl_->master;
}

storage::Store& Repository::store() const {
  return impl_->files.store();
}

const UnpackedFiles& Repository::files() const {
  return impl_->files;
}

namespace {

LockInfo lock_of(const LockOwner& owner, bool exclusive) {
  LockInfo info;
  info.exclusive = exclusive;
  info.hostname = owner.hostname;
  info.username = owner.username;
  info.pid = owner.pid;
  info.uid = owner.uid;
  info.gid = owner.gid;
  return info;
}

}  // namespace

Lock Repository::unlocked(const Call& call) const {
  return Lock::none(files(), call);
}

Lock Repository::lock_shared(const LockOwner& owner, milliseconds retry, const Call& call) {
  return Lock::take(files(), lock_of(owner, false), retry, call);
}

Lock Repository::lock_exclusive(const LockOwner& owner, milliseconds retry, const Call& call) {
  return Lock::take(files(), lock_of(owner, true), retry, call);
}

namespace {

// The JSON of these index files, one at a time: decompressed is what takes memory.
void each_index_json(const UnpackedFiles& files, const std::vector<std::string>& ids,
                     std::vector<std::string>* damaged, const Call& call,
                     const std::function<void(const FileName&, std::string_view)>& each) {
  std::mutex mutex;
  for_each_parallel(ids.size(), kIndexThreads, call, [&](std::size_t i, const Call& inner) {
    const FileName name{FileKind::index, ids[i]};
    try {
      const Bytes sealed = files.load_sealed(name, inner);
      const std::lock_guard guard(mutex);
      const Bytes json = files.open(name, sealed);
      each(name, as_text(json));
    } catch (const Error& error) {
      if (!is_damage(error)) throw;
      if (damaged == nullptr) {
        throw Error(error.kind(), error.what(), "`repair index` makes it anew");
      }
      const std::lock_guard guard(mutex);
      damaged->emplace_back(error.what());
    }
  });
}

}  // namespace

Index Repository::load_index(const Lock& lock, const Call& call,
                             std::vector<std::string>* damaged) const {
  lock.scope().require_live();
  Index index;
  const std::vector<std::string> ids = list_ids(store(), FileKind::index, call);
  each_index_json(files(), ids, damaged, call, [&](const FileName& name, std::string_view json) {
    parse_index(json, config().version, name.path(), [&](IndexedPack&& pack) { index.add(pack); });
  });
  return index;
}

Index Repository::load_index_for_writing(const Lock& lock, const Call& call) const {
  lock.scope().require_live();
  // Before the packs: those of an index that is stored meanwhile would seem to be lost.
  const std::vector<std::string> ids = list_ids(store(), FileKind::index, call);
  std::unordered_map<PackId, std::uint64_t> stored;
  store().list(
      FileKind::pack,
      [&](const FileInfo& info) {
        stored.emplace(PackId::parse(info.id).value_or(PackId()), info.size);
      },
      call);
  Index index;
  std::size_t lost = 0;
  each_index_json(files(), ids, nullptr, call, [&](const FileName& name, std::string_view json) {
    parse_index(json, config().version, name.path(), [&](IndexedPack&& pack) {
      const auto found = stored.find(pack.id);
      if (found != stored.end() && found->second == pack_size(pack.entries)) {
        index.add(pack);
      } else {
        ++lost;
      }
    });
  });
  if (lost != 0) {
    log::warn(
        "{} packs that an index names are gone or damaged: what is needed of them is stored "
        "again; `check` tells which snapshots they break",
        lost);
  }
  return index;
}

void Repository::each_index_file(
    const Call& call, const std::function<void(const IndexId&, std::vector<IndexedPack>&&)>& each,
    std::vector<std::string>* damaged) const {
  const std::vector<std::string> ids = list_ids(store(), FileKind::index, call);
  each_index_json(files(), ids, damaged, call, [&](const FileName& name, std::string_view json) {
    std::vector<IndexedPack> packs;
    parse_index(json, config().version, name.path(),
                [&](IndexedPack&& pack) { packs.push_back(std::move(pack)); });
    each(IndexId::parse(name.id).value_or(IndexId()), std::move(packs));
  });
}

std::vector<SavedSnapshot> Repository::snapshots(const Call& call,
                                                 std::vector<std::string>* damaged) const {
  const std::vector<std::string> ids = list_ids(store(), FileKind::snapshot, call);
  std::mutex mutex;
  std::vector<SavedSnapshot> saved;  // these three are guarded by mutex
  std::vector<std::string> problems;
  std::vector<std::string> absent;
  for_each_parallel(ids.size(), kSnapshotThreads, call, [&](std::size_t i, const Call& inner) {
    const FileName name{FileKind::snapshot, ids[i]};
    try {
      Snapshot snapshot = parse_snapshot(as_text(files().load(name, inner)), name.path());
      const std::lock_guard guard(mutex);
      saved.push_back({SnapshotId::parse(ids[i]).value_or(SnapshotId()), std::move(snapshot)});
    } catch (const Error& error) {
      if (!is_damage(error)) throw;
      const std::lock_guard guard(mutex);
      if (error.kind() == ErrorKind::not_found) {
        absent.push_back(ids[i]);
      } else {
        problems.emplace_back(error.what());
      }
    }
  });
  // One forgotten since is not listed any more. One that goes on being listed has data that a prune
  // must not take for waste.
  if (!absent.empty()) {
    const std::vector<std::string> again = list_ids(store(), FileKind::snapshot, call);
    for (const std::string& id : absent) {
      if (std::find(again.begin(), again.end(), id) == again.end()) continue;
      problems.push_back(FileName{FileKind::snapshot, id}.path() + ": listed, but not there");
    }
  }
  for (const std::string& problem : problems) {
    if (damaged == nullptr) log::warn("{}", problem);
  }
  if (damaged != nullptr) damaged->insert(damaged->end(), problems.begin(), problems.end());
  std::sort(saved.begin(), saved.end(), [](const SavedSnapshot& a, const SavedSnapshot& b) {
    return std::tie(a.snapshot.time, a.id) < std::tie(b.snapshot.time, b.id);
  });
  return saved;
}

Bytes Repository::load_blob(const Index& index, const BlobHandle& blob, const Call& call) const {
  const std::string where = "blob " + blob.id.hex();
  std::string why = "not found in index";
  for (const Index::Place& place : index.find_all(blob)) {
    const FileName pack{FileKind::pack, place.pack.hex()};
    try {
      BlobOpener::require_sane(place.entry);
      const bool of_trees = blob.type == BlobType::tree;
      const Bytes sealed =
          store().load_range(pack, {place.entry.offset, place.entry.length, of_trees}, call);
      BlobOpener opener(make_sealer());
      const ByteView plain = opener.open(sealed, place.entry);
      return {plain.begin(), plain.end()};
    } catch (const Error& error) {
      if (!is_damage(error)) throw;
      why = pack.path() + ": " + error.what();
      log::info("{}: {}", where, why);
    }
  }
  throw Error(ErrorKind::corrupt, where + ": " + why,
              "`check --read-data` tells what else is damaged");
}

SnapshotId Repository::save_snapshot(const Snapshot& snapshot, const Written& /*written*/,
                                     Lock& lock, const Call& call) {
  lock.require_held(call);
  const UnpackedFiles::Sealed file = files().seal(FileKind::snapshot, to_json(snapshot));
  const SnapshotId id(file.digest);
  try {
    files().save(file, call);
  } catch (const Error& failure) {
    // A disk that failed may still show a file that it does not keep.
    if (failure.kind() == ErrorKind::failed) throw;
    // The answer may be what was lost. Whether the snapshot is there decides, whatever ended the
    // call: a backup must not be called failed that can be restored.
    const Call unlinked = Call(call.clock()).within(kCleanUp);
    try {
      if (store().size_of(file.name, unlinked) == file.bytes.size()) return id;
    } catch (const Error& error) {
      log::warn("{}: could not look whether it was stored: {}", file.name.path(), error.what());
    }
    throw;
  }
  return id;
}

void Repository::remove_snapshot(const SnapshotId& id, Lock& lock, const Call& call) {
  lock.require_held(call);
  store().remove({FileKind::snapshot, id.hex()}, call);
}

std::vector<SavedLock> Repository::locks(const Call& call,
                                         std::vector<std::string>* damaged) const {
  std::vector<FileInfo> files_there;
  store().list(
      FileKind::lock, [&](const FileInfo& info) { files_there.push_back(info); }, call);
  std::vector<SavedLock> found;
  for (const FileInfo& info : files_there) {
    const FileName name{FileKind::lock, info.id};
    try {
      found.push_back({LockId::parse(info.id).value_or(LockId()),
                       parse_lock(as_text(files().load(name, call)), name.path()), info.modified});
    } catch (const Error& error) {
      if (!is_damage(error)) throw;
      if (error.kind() == ErrorKind::not_found) continue;  // given back since it was listed
      if (damaged != nullptr) damaged->push_back(info.id);
    }
  }
  return found;
}

void Repository::remove_lock(const LockId& id, const Call& call) {
  store().remove({FileKind::lock, id.hex()}, call);
}

const SavedSnapshot& find_snapshot(const std::vector<SavedSnapshot>& snapshots,
                                   const std::string& prefix) {
  const SavedSnapshot* found = nullptr;
  for (const SavedSnapshot& saved : snapshots) {
    if (prefix.empty() || !saved.id.hex().starts_with(prefix)) continue;
    if (found != nullptr) {
      throw Error(ErrorKind::usage, "multiple IDs with prefix \"" + prefix + "\" found",
                  "give more digits of the id");
    }
    found = &saved;
  }
  if (found == nullptr) {
    throw Error(ErrorKind::not_found, "no matching ID found for prefix \"" + prefix + "\"",
                "`snapshots` lists what there is");
  }
  return *found;
}

}  // namespace kubedr::repo
