#include "repo/repair_index.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/limits.h"
#include "repo/parallel.h"

namespace kubedr::repo {

namespace {

using storage::FileInfo;
using storage::FileKind;
using storage::FileName;

constexpr std::size_t kHeaderThreads = 8;
constexpr std::uint64_t kFirstGuess = 64 * limits::kKiB;  // holds the header of most packs

class Repair {
 public:
  Repair(const Repository& repository, Lock& lock, const Call& call)
      : repository_(repository), lock_(lock), call_(call) {}

  RepairedIndex run(bool read_all_packs) {
    list_packs();
    list_indexes(read_all_packs);
    read_headers();
    if (rewrite_.empty() && found_.empty()) return std::move(result_);
    write();
    return std::move(result_);
  }

 private:
  void list_packs() {
    repository_.store().list(
        FileKind::pack,
        [&](const FileInfo& info) {
          there_.emplace(PackId::parse(info.id).value_or(PackId()), info.size);
        },
        call_);
  }

  // A file of which every pack is as it says stays. Of the others, what is right is taken over.
  void list_indexes(bool read_all_packs) {
    for (const std::string& id : list_ids(repository_.store(), FileKind::index, call_)) {
      const FileName name{FileKind::index, id};
      if (read_all_packs) {
        rewrite_.push_back(name);
        continue;
      }
      try {
        look_at(name);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::corrupt) throw;
        result_.problems.emplace_back(error.what());
        rewrite_.push_back(name);
      }
    }
  }

  void look_at(const FileName& name) {
    const Bytes json = repository_.files().load(name, call_);
    std::vector<IndexedPack> good;
    std::unordered_set<PackId> met;
    std::uint64_t dropped = 0;
    bool whole = true;
    parse_index(as_text(json), repository_.config().version, name.path(), [&](IndexedPack&& pack) {
      const auto there = there_.find(pack.id);
      if (there == there_.end()) {
        ++dropped;
        whole = false;
      } else if (there->second != pack_size(pack.entries)) {
        whole = false;
      } else if (named_.count(pack.id) == 0 && met.insert(pack.id).second) {
        good.push_back(std::move(pack));
      } else {
        whole = false;  // another file has it already
      }
    });
    // Only now, since a file that breaks off in the middle names nothing.
    named_.merge(met);
    result_.packs_dropped += dropped;
    if (whole && !good.empty()) return;
    rewrite_.push_back(name);
    for (IndexedPack& pack : good) found_.push_back(std::move(pack));
  }

  void read_headers() {
    std::vector<std::pair<PackId, std::uint64_t>> unknown;
    for (const auto& pack : there_) {
      if (named_.count(pack.first) == 0) unknown.push_back(pack);
    }
    std::mutex mutex;
    for_each_parallel(unknown.size(), kHeaderThreads, call_, [&](std::size_t i, const Call& call) {
      const auto& [id, size] = unknown[i];
      try {
        IndexedPack pack{id, read_header(id, size, call)};
        const std::lock_guard guard(mutex);
        ++result_.packs_read;
        found_.push_back(std::move(pack));
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::corrupt && error.kind() != ErrorKind::not_found) throw;
        const std::lock_guard guard(mutex);
        ++result_.packs_unreadable;
        result_.problems.emplace_back(error.what());
      }
    });
  }

  // The header's length stands at the end; a second request brings what the first one missed.
  std::vector<PackEntry> read_header(const PackId& id, std::uint64_t size, const Call& call) const {
    const FileName name{FileKind::pack, id.hex()};
    if (size == 0) throw Error(ErrorKind::corrupt, name.path() + ": not a pack: empty");
    const std::uint64_t guess = std::min(size, kFirstGuess);
    Bytes bytes = repository_.store().load_range(name, {size - guess, guess}, call);
    const std::uint64_t tail = pack_tail_size(bytes, size, name.path());
    if (tail > guess) {
      bytes = repository_.store().load_range(name, {size - tail, tail}, call);
    }
    Sealer sealer = repository_.make_sealer();
    return parse_pack_header(bytes, size, sealer, name.path());
  }

  // New files first: killed in between, packs are named twice.
  void write() {
    std::vector<IndexedPack> open;
    std::size_t blobs = 0;
    const auto save = [&] {
      if (open.empty()) return;
      save_index_file(open, repository_.files(), lock_, call_);
      ++result_.index_files_written;
      open.clear();
      blobs = 0;
    };
    for (IndexedPack& pack : found_) {
      blobs += pack.entries.size();
      open.push_back(std::move(pack));
      if (blobs >= kFullIndex) save();
    }
    save();
    lock_.require_held(call_);
    for (const FileName& name : rewrite_) {
      repository_.store().remove(name, call_);
      ++result_.index_files_removed;
    }
  }

  const Repository& repository_;
  Lock& lock_;
  const Call& call_;
  std::unordered_map<PackId, std::uint64_t> there_;  // with their sizes
  std::unordered_set<PackId> named_;                 // by an index file, rightly
  std::vector<FileName> rewrite_;                    // index files that go
  std::vector<IndexedPack> found_;                   // what new index files have to name
  RepairedIndex result_;
};

}  // namespace

RepairedIndex repair_index(const Repository& repository, Lock& lock, bool read_all_packs,
                           const Call& call) {
  lock.scope().require_live();
  return Repair(repository, lock, call).run(read_all_packs);
}

}  // namespace kubedr::repo
