#ifndef KUBEDR_REPO_KEY_H
#define KUBEDR_REPO_KEY_H

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/secret.h"
#include "repo/seal.h"

namespace kubedr::repo {

// The master key of a new repository.
SealKey make_master_key(Random& random);

// scrypt's cost. The defaults are what restic settles on at its calibration.
struct KeyCost {
  std::uint64_t n = 32768;
  std::uint32_t r = 8;
  std::uint32_t p = 1;
};

// A key file: the master key sealed under a key derived from the password.
//
// shape    plain JSON {created, username, hostname, kdf, N, r, p, salt, data}; named by its SHA-256
// errors   corrupt: not JSON, another kdf than scrypt, a cost beyond what memory allows (128*N*r of
//          256 MiB), a salt that is not 64 bytes
// source   restic doc/design.rst "Keys"
Bytes make_key_file(const SealKey& master, const Secret& password, const std::string& username,
                    const std::string& hostname, WallTime now, const KeyCost& cost, Random& random);

// errors   usage: a password that is empty, or ends in a newline, which restic would drop
void require_good_password(const Secret& password);

// Nullopt when the password is not this key's.
std::optional<SealKey> open_key_file(std::string_view json, const Secret& password,
                                     const std::string& where);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_KEY_H
