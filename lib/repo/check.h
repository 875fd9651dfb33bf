#ifndef KUBEDR_REPO_CHECK_H
#define KUBEDR_REPO_CHECK_H

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/call.h"
#include "base/secret.h"
#include "repo/repository.h"

namespace kubedr::repo {

// Which packs to read in full: all, part n of t by the first byte of their id, a share of them, or
// about so many bytes.
//
// errors   usage: restic's words for a subset that is none
struct ReadData {
  enum class Kind { none, all, bucket, percent, bytes };
  Kind kind = Kind::none;
  std::uint64_t bucket = 0;
  std::uint64_t buckets = 0;
  double percent = 0;
  std::uint64_t bytes = 0;
};

ReadData parse_read_data_subset(const std::string& text);

// One thing that is not as it should be.
struct Problem {
  enum class Severity { hint, error };
  Severity severity = Severity::error;
  std::string code;     // stable: "pack-missing", "pack-unreferenced", "tree-damaged", ...
  std::string object;   // "data/ab/ab12..", "snapshots/3f2a.."
  std::string message;  // restic's words where it has some
  std::string remedy;
};

struct CheckReport {
  std::uint64_t snapshots = 0;  // files, those among them that cannot be read
  std::uint64_t unreadable_snapshots = 0;
  std::uint64_t packs = 0;
  std::uint64_t packs_read = 0;
  std::uint64_t bytes_read = 0;
  std::vector<Problem> problems;  // errors first
  // Those that cannot be restored in full, as far as was looked: of a damaged pack whose bytes were
  // not read, all blobs count as lost. A snapshot file that cannot be read is a problem and not
  // among them.
  std::vector<SnapshotId> broken_snapshots;
  bool suggest_repair_index = false;
  bool suggest_prune = false;

  std::uint64_t errors() const;
  std::uint64_t whole_snapshots() const;
};

// Told of packs' bytes as they are read, and of how many will be: first of none, by the caller's
// thread, then by any that reads.
using CheckProgress = std::function<void(std::uint64_t bytes, std::uint64_t total)>;

// Looks at everything: index files, packs and their sizes, snapshots, trees, keys, locks, and with
// `read_data` every byte. Damage is a problem in the report, never an error. `password` is the one
// that opened the repository: no other repository's key may open with it.
//
// units    about 64 bytes a blob, 64 more with `read_data`; three packs
// errors   what the store throws: unavailable, denied
// source   restic internal/checker
CheckReport check(const Repository& repository, const Secret& password, const ReadData& read_data,
                  const CheckProgress& progress, Random& random, const Call& call);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_CHECK_H
