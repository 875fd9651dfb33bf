#ifndef KUBEDR_STORAGE_STORE_H
#define KUBEDR_STORAGE_STORE_H

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/call.h"
#include "base/clock.h"
#include "base/id.h"

namespace kubedr::storage {

// The six kinds of file in a restic repository.
enum class FileKind { config, key, pack, index, snapshot, lock };

// A file of a repository. `config` has no id.
//
// shape    config | keys/ID | data/XX/ID | index/ID | snapshots/ID | locks/ID
struct FileName {
  FileKind kind = FileKind::config;
  std::string id;  // 64 hex digits; empty for config

  // errors   internal: an id that is none, so that no name can lead out of the repository
  std::string path() const;
  friend auto operator<=>(const FileName&, const FileName&) = default;
};

// Whether the text can name a file: 64 lower-case hex digits.
bool is_id(std::string_view text);

// The folder that files of this kind are listed under, with a slash: "data/", "keys/"; empty for
// config, which is never listed.
std::string folder_of(FileKind kind);

struct FileInfo {
  std::string id;
  std::uint64_t size = 0;
  std::optional<WallTime> modified{};  // when it was written, where the store knows
};

struct Range {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool keep_file = false;  // of a pack of trees: a cache does well to keep all of it
};

// The half of a store that cannot change it.
//
// errors   not_found: that file is not there; no_repository: the bucket or folder itself is not;
//          denied; unavailable; corrupt: fewer bytes than asked for
// threads  synchronised
class StoreReader {
 public:
  virtual ~StoreReader() = default;

  // As restic names it: "s3:http://host:9000/bucket/prefix", or the folder's path.
  virtual const std::string& location() const = 0;

  // A whole file, at most `limit` bytes (corrupt beyond).
  virtual Bytes load(const FileName& name, std::size_t limit, const Call& call) const = 0;

  // Exactly that part of a file.
  virtual Bytes load_range(const FileName& name, const Range& range, const Call& call) const = 0;

  // Nullopt if the file is not there.
  virtual std::optional<std::uint64_t> size_of(const FileName& name, const Call& call) const = 0;

  // Every file of a kind, in no promised order; names that are no id are skipped. A folder that is
  // not there is empty. The callback must not call the store.
  virtual void list(FileKind kind, const std::function<void(const FileInfo&)>& each,
                    const Call& call) const = 0;

  // By how much the store's clock is ahead of ours, as of its last answer; nullopt where it has
  // none of its own, or has not answered yet.
  virtual std::optional<std::chrono::seconds> clock_offset() const { return std::nullopt; }
};

// The ids of a kind, sorted.
std::vector<std::string> list_ids(const StoreReader& store, FileKind kind, const Call& call);

enum class SaveMode {
  replace,      // same name, same content: a repeat is harmless
  create_only,  // errors with `exists` if the file is there; atomic where the store can do that
};

class Store : public StoreReader {
 public:
  // Makes the bucket, or the folders, if they are missing. True if something was made.
  virtual bool create(const Call& call) = 0;

  // The file appears whole or not at all, and is on stable storage when this returns. `digest`, the
  // SHA-256 of the bytes, spares a store that needs it a second pass.
  virtual void save(const FileName& name, ByteView bytes, const Digest& digest, SaveMode mode,
                    const Call& call) = 0;

  // A file that is not there is a success.
  virtual void remove(const FileName& name, const Call& call) = 0;

  // Deletes what saves that were killed left beside their files, if nobody has written to it since
  // `before`. Where a store leaves nothing, it does nothing.
  virtual void remove_leftovers(WallTime /*before*/, const Call& /*call*/) {}

  // How many saves at a time are worth while.
  virtual int connections() const = 0;
};

}  // namespace kubedr::storage

#endif  // KUBEDR_STORAGE_STORE_H
