#include "repo/keyring.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/time.h"
#include "repo/key.h"

namespace kubedr::repo {

namespace {

using storage::FileKind;
using storage::FileName;

constexpr std::chrono::seconds kCleanUp{5};

SavedKey load_key(const Repository& repository, const std::string& id, const Call& call) {
  const FileName name{FileKind::key, id};
  const Bytes bytes = repository.store().load(name, limits::kSmallFile, call);
  if (to_hex(sha256(bytes)) != id) {
    throw Error(ErrorKind::corrupt, name.path() + ": its name is not its hash");
  }
  const Json json = parse_json(as_text(bytes), name.path());
  SavedKey key;
  key.id = KeyId::parse(id).value_or(KeyId());
  key.current = key.id == repository.key_id();
  key.username = find_string(json, {"username"}).value_or("");
  key.hostname = find_string(json, {"hostname"}).value_or("");
  key.created = parse_time(find_string(json, {"created"}).value_or("")).value_or(WallTime{});
  return key;
}

}  // namespace

std::vector<SavedKey> list_keys(const Repository& repository, const Call& call,
                                std::vector<std::string>* damaged) {
  std::vector<SavedKey> keys;
  for (const std::string& id : list_ids(repository.store(), FileKind::key, call)) {
    try {
      keys.push_back(load_key(repository, id, call));
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::not_found) continue;  // removed since it was listed
      if (error.kind() != ErrorKind::corrupt) throw;
      if (damaged != nullptr) damaged->emplace_back(error.what());
    }
  }
  return keys;
}

std::vector<KeyId> foreign_keys(const Repository& repository, const Secret& password,
                                Random& random, const Call& call,
                                std::vector<std::string>* damaged) {
  std::vector<KeyId> foreign;
  for (const SavedKey& key : list_keys(repository, call, damaged)) {
    if (key.current) continue;
    const FileName name{FileKind::key, key.id.hex()};
    try {
      const Bytes json = repository.store().load(name, limits::kSmallFile, call);
      const std::optional<SealKey> master = open_key_file(as_text(json), password, name.path());
      if (!master) continue;
      const Bytes config =
          repository.store().load({FileKind::config, {}}, limits::kSmallFile, call);
      Bytes plain;
      if (!Sealer(*master, random).try_open(config, plain)) foreign.push_back(key.id);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::not_found) continue;  // removed since it was listed
      if (error.kind() != ErrorKind::corrupt) throw;
      damaged->emplace_back(error.what());
    }
  }
  return foreign;
}

KeyId add_key(const Repository& repository, const Secret& password, const std::string& username,
              const std::string& hostname, Random& random, const Call& call) {
  require_good_password(password);
  if (list_ids(repository.store(), FileKind::key, call).size() >= limits::kKeys) {
    throw Error(ErrorKind::failed, "there are 20 keys already, and restic tries no more",
                "remove one with `key remove`");
  }
  const Bytes file = make_key_file(repository.master_key(), password, username, hostname,
                                   call.clock().now(), KeyCost{}, random);
  const Digest digest = sha256(file);
  const FileName name{FileKind::key, to_hex(digest)};
  repository.store().save(name, file, digest, storage::SaveMode::replace, call);
  try {
    Repository::open(repository.store(), password, random, call);
  } catch (const Error&) {
    try {
      repository.store().remove(name, Call(call.clock()).within(kCleanUp));
    } catch (const Error& error) {
      log::warn("{}: not removed: {}", name.path(), error.what());
    }
    throw;
  }
  return KeyId(digest);
}

KeyId remove_key(const Repository& repository, Lock& lock, const std::string& prefix,
                 const Call& call) {
  const std::vector<std::string> ids = list_ids(repository.store(), FileKind::key, call);
  // Two that remove each other's key would leave none: whoever waited for the lock looks again.
  if (!std::binary_search(ids.begin(), ids.end(), repository.key_id().hex())) {
    throw Error(ErrorKind::conflict,
                "the key that opened this repository was removed meanwhile; nothing was changed",
                "open the repository with the password of a key that is there");
  }
  std::vector<std::string> found;
  for (const std::string& id : ids) {
    if (!prefix.empty() && id.starts_with(prefix)) found.push_back(id);
  }
  if (found.empty()) {
    throw Error(ErrorKind::not_found, "no matching ID found for prefix \"" + prefix + "\"",
                "`key list` shows the keys there are");
  }
  if (found.size() > 1) {
    throw Error(ErrorKind::usage, "multiple IDs with prefix \"" + prefix + "\" found",
                "give more digits of the id");
  }
  const KeyId id = KeyId::parse(found.front()).value_or(KeyId());
  if (id == repository.key_id()) {
    throw Error(ErrorKind::usage, "refusing to remove key currently used to access repository",
                "open the repository with the password of another key");
  }
  lock.require_held(call);
  repository.store().remove({FileKind::key, id.hex()}, call);
  return id;
}

}  // namespace kubedr::repo
