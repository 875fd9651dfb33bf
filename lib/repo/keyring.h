#ifndef KUBEDR_REPO_KEYRING_H
#define KUBEDR_REPO_KEYRING_H

#include <string>
#include <vector>

#include "base/call.h"
#include "base/random.h"
#include "base/secret.h"
#include "repo/lock.h"
#include "repo/repository.h"

// The keys of an opened repository: each opens the same master key with another password.
namespace kubedr::repo {

struct SavedKey {
  KeyId id;
  bool current = false;  // the one this repository was opened with
  std::string username;
  std::string hostname;
  WallTime created{};
};

// In order of their ids. Damaged ones are named in `damaged`.
std::vector<SavedKey> list_keys(const Repository& repository, const Call& call,
                                std::vector<std::string>* damaged = nullptr);

// Keys that the password opens too, and that are not this repository's: two inits at a time may
// leave them, and restic stops at such a key. What is no key at all is named in `damaged`.
//
// units    0.1 s or more for each other key
std::vector<KeyId> foreign_keys(const Repository& repository, const Secret& password,
                                Random& random, const Call& call,
                                std::vector<std::string>* damaged);

// Adds a key and proves it by opening the repository with it; one that does not is removed again.
//
// errors   usage: a password that is empty or ends in a newline; failed: 20 keys are there already,
//          more than restic tries
KeyId add_key(const Repository& repository, const Secret& password, const std::string& username,
              const std::string& hostname, Random& random, const Call& call);

// Removes the key with that id or unique prefix.
//
// errors   usage: it is the one in use, as restic refuses; the prefix is ambiguous; not_found;
//          conflict: the one in use is not there any more
// requires an exclusive lock
KeyId remove_key(const Repository& repository, Lock& lock, const std::string& prefix,
                 const Call& call);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_KEYRING_H
