#include "repo/prune.h"

#include <algorithm>
#include <mutex>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/sha256.h"
#include "repo/blob.h"
#include "repo/packer.h"
#include "repo/parallel.h"

// Data is added before anything names it, names go before what they name, so that a kill at any
// point leaves waste and never a hole:
//
//   1  packs that no index names are deleted
//   2  used blobs of packs worth it are copied into new packs, then an index names those
//   3  index files that name a pack on its way out are written anew without it
//   4  the old index files are deleted: from here on nobody reads the old packs
//   5  the old packs are deleted
//
// Killed after 2 or 3, blobs are there twice; after 4, packs are there that no index names. The
// next prune sees both.
//
// Which packs are worth it, an example with a limit of 5 %, 1000 MiB used and 90 MiB unused:
// 52.6 MiB may stay. The pack with 7 of 8 MiB unused goes first, then the one with 6; when 52 MiB
// are left the rest stays as it is, since copying 7 used MiB to gain one is a bad bargain.
namespace kubedr::repo {

namespace {

using storage::FileInfo;
using storage::FileKind;
using storage::FileName;

constexpr std::uint64_t kSmallPack = 4 * limits::kMiB / 5 * 4;
constexpr std::uint64_t kSmallPackWanted = kFullPack / 5 * 4;
constexpr std::size_t kFewSmall = 10;         // so many small packs may stay
constexpr std::size_t kSmallIndex = 10'000;   // blobs
constexpr std::size_t kFewSmallIndexes = 16;  // a backup leaves one of them
constexpr std::size_t kRepackThreads = 2;     // each holds a pack
constexpr std::size_t kRemoveThreads = 8;
constexpr std::chrono::hours kLeftoverAge{6};

// What is known of one pack.
struct PackUse {
  std::uint64_t used_bytes = 0;  // its header counts as used
  std::uint64_t unused_bytes = 0;
  std::uint64_t used_blobs = 0;
  std::uint64_t unused_blobs = 0;
  bool has_data = false;
  bool has_tree = false;
  bool plain_tree = false;  // in version 2: restic would pack it anew at every prune
  std::uint32_t named = 0;  // by so many index files

  std::uint64_t size() const { return used_bytes + unused_bytes; }

  bool is_data() const { return has_data && !has_tree; }

  bool is_mixed() const { return has_data && has_tree; }
};

// An index file without its entries.
struct IndexFile {
  IndexId id;
  std::vector<PackId> packs;
  std::size_t blobs = 0;
};

[[noreturn]] void fail(const std::string& why, const std::string& hint) {
  throw Error(ErrorKind::corrupt, "prune: " + why + "; nothing was changed", hint);
}

class Planner {
 public:
  Planner(const Repository& repository, const PruneOptions& options,
          const std::vector<SnapshotId>& forgotten, const Call& call)
      : repository_(repository), options_(options), forgotten_(forgotten), call_(call) {}

  PrunePlan run() {
    load_indexes();
    find_used();
    choose_copies();
    weigh_packs();
    look_at_packs();
    choose_packs();
    choose_indexes();
    return std::move(plan_);
  }

 private:
  void load_indexes() {
    std::vector<std::string> damaged;
    repository_.each_index_file(
        call_,
        [this](const IndexId& id, std::vector<IndexedPack>&& packs) {
          IndexFile file{id, {}, 0};
          for (const IndexedPack& pack : packs) {
            plan_.index.add(pack);
            file.packs.push_back(pack.id);
            file.blobs += pack.entries.size();
            ++packs_[pack.id].named;
          }
          index_files_.push_back(std::move(file));
        },
        &damaged);
    if (!damaged.empty()) {
      fail("an index cannot be read: " + damaged.front(), "`repair index` makes it anew");
    }
  }

  void find_used() {
    std::vector<std::string> damaged;
    const std::vector<SavedSnapshot> snapshots = repository_.snapshots(call_, &damaged);
    if (!damaged.empty()) {
      fail("a snapshot cannot be read: " + damaged.front(), "`check` tells what else is damaged");
    }
    require_believable(snapshots);
    std::vector<BlobId> roots;
    for (const SavedSnapshot& saved : snapshots) {
      const bool is_forgotten =
          std::find(forgotten_.begin(), forgotten_.end(), saved.id) != forgotten_.end();
      if (!is_forgotten) roots.push_back(saved.snapshot.tree);
    }
    std::string problem;
    plan_.used = find_used_blobs(
        repository_, plan_.index, roots,
        [&](const TreeProblem& met) {
          if (problem.empty()) problem = met.text;
        },
        call_);
    if (!problem.empty()) {
      fail("what snapshots need is not all there: " + problem,
           "`check` tells what else is damaged; `repair index` mends a lost index");
    }
  }

  // What a listing leaves out would be deleted as waste.
  void require_believable(const std::vector<SavedSnapshot>& snapshots) const {
    if (snapshots.empty() && !packs_.empty() && !options_.may_be_empty) {
      throw Error(ErrorKind::failed,
                  "prune: the repository lists no snapshot, and holds data: nothing was changed",
                  "`snapshots` and `check` tell what is there; if all of it is to go, say "
                  "--unsafe-allow-remove-all");
    }
    for (const std::string& id : options_.known) {
      const bool listed =
          std::any_of(snapshots.begin(), snapshots.end(),
                      [&](const SavedSnapshot& saved) { return saved.id.hex().starts_with(id); });
      if (listed) continue;
      throw Error(ErrorKind::failed,
                  "prune: snapshot " + id + " is known, and not listed: nothing was changed",
                  "`check` tells whether something is lost; `sync` removes records of nothing");
    }
  }

  // Of a blob's copies one is kept: in the pack that most else is needed of.
  void choose_copies() {
    std::unordered_map<PackId, std::uint64_t> needed;
    std::unordered_set<BlobHandle, BlobHandleHash> several;
    BlobSet met;
    plan_.index.each([&](const Index::Place& place) {
      const BlobHandle& blob = place.entry.blob;
      if (plan_.used.count(blob) == 0) return;
      needed[place.pack] += place.entry.length;
      if (!met.insert(blob).second) several.insert(blob);
    });
    met.clear();
    for (const BlobHandle& blob : several) {
      const std::vector<Index::Place> places = plan_.index.find_all(blob);
      const auto best = std::max_element(
          places.begin(), places.end(), [&](const Index::Place& a, const Index::Place& b) {
            return std::pair(needed[a.pack], a.pack) < std::pair(needed[b.pack], b.pack);
          });
      plan_.keepers.emplace(blob, best->pack);
    }
  }

  void weigh_packs() {
    const bool compresses = repository_.config().version >= 2;
    for (auto& [id, use] : packs_) use.used_bytes = pack_size({});
    plan_.index.each([&](const Index::Place& place) {
      PackUse& use = packs_[place.pack];
      const PackEntry& entry = place.entry;
      const bool is_tree = entry.blob.type == BlobType::tree;
      (is_tree ? use.has_tree : use.has_data) = true;
      use.plain_tree = use.plain_tree || (compresses && is_tree && !entry.compressed());
      use.used_bytes += entry.header_size();
      const bool used = plan_.used.count(entry.blob) != 0;
      const auto keeper = plan_.keepers.find(entry.blob);
      const bool duplicate = keeper != plan_.keepers.end() && keeper->second != place.pack;
      if (used && !duplicate) {
        use.used_bytes += entry.length;
        ++use.used_blobs;
        add(plan_.figures.used_blobs, entry.length);
        return;
      }
      use.unused_bytes += entry.length;
      ++use.unused_blobs;
      add(plan_.figures.unused_blobs, entry.length);
      if (used) add(plan_.figures.duplicate_blobs, entry.length);
    });
  }

  // Compares what indexes say with what the store has.
  void look_at_packs() {
    std::unordered_set<PackId> there;
    repository_.store().list(
        FileKind::pack,
        [&](const FileInfo& info) {
          const PackId id = PackId::parse(info.id).value_or(PackId());
          there.insert(id);
          const auto found = packs_.find(id);
          if (found == packs_.end()) {
            plan_.unreferenced.push_back(id);
            add(plan_.figures.packs_unreferenced, info.size);
            plan_.figures.bytes_freed += info.size;
          } else if (found->second.size() != info.size && found->second.used_blobs != 0) {
            wrong_ = "pack " + id.hex() + ": pack size does not match calculated size from index";
          }
        },
        call_);
    if (!wrong_.empty()) fail(wrong_, "`repair index`, then `check`");
    for (auto at = packs_.begin(); at != packs_.end();) {
      if (there.count(at->first) != 0) {
        ++at;
        continue;
      }
      if (at->second.used_blobs != 0) {
        fail("packs from index missing in repo: " + at->first.hex(),
             "`check` tells which snapshots need it; `repair index` gives it up");
      }
      plan_.missing.push_back(at->first);
      at = packs_.erase(at);
    }
  }

  void choose_packs() {
    std::vector<std::pair<PackId, PackUse>> candidates;
    std::vector<std::pair<PackId, PackUse>> small;
    std::uint64_t used = 0;
    std::uint64_t unused = 0;
    const std::uint64_t small_limit = options_.repack_smaller_than.value_or(
        options_.repack_small ? kSmallPackWanted : kSmallPack);
    for (const auto& pack : packs_) {
      const PackUse& use = pack.second;
      used += use.used_blobs == 0 ? 0 : use.used_bytes;
      if (use.used_blobs == 0) {
        remove(pack.first, use);
      } else if (options_.repack_cacheable_only && use.is_data()) {
        unused += use.unused_bytes;
        add(plan_.figures.packs_kept, use.size());
      } else if (use.unused_bytes != 0 || use.is_mixed() || use.plain_tree) {
        unused += use.unused_bytes;
        candidates.push_back(pack);
      } else if (use.size() < small_limit) {
        small.push_back(pack);
      } else {
        add(plan_.figures.packs_kept, use.size());
      }
    }
    keep_few_small(small);
    candidates.insert(candidates.end(), small.begin(), small.end());
    std::sort(candidates.begin(), candidates.end(), goes_before);
    repack_worst(candidates, limit_of(used), unused);
    plan_.figures.unused_after = unused;
  }

  // Small packs pay only when several become one.
  void keep_few_small(std::vector<std::pair<PackId, PackUse>>& small) {
    for (const bool data : {true, false}) {
      const auto of_kind = [&](const auto& pack) { return pack.second.is_data() == data; };
      const auto count =
          static_cast<std::size_t>(std::count_if(small.begin(), small.end(), of_kind));
      if (count > 1 && (count >= kFewSmall || wants_small())) continue;
      for (const auto& [id, use] : small) {
        if (use.is_data() == data) add(plan_.figures.packs_kept, use.size());
      }
      std::erase_if(small, of_kind);
    }
  }

  bool wants_small() const { return options_.repack_small || options_.repack_smaller_than; }

  // Packs of trees first: they are read in every walk. Then those with the most waste.
  static bool goes_before(const std::pair<PackId, PackUse>& a,
                          const std::pair<PackId, PackUse>& b) {
    if (a.second.is_data() != b.second.is_data()) return !a.second.is_data();
    const bool a_full = a.second.unused_bytes == 0;
    const bool b_full = b.second.unused_bytes == 0;
    if (a_full != b_full) return a_full;
    const double a_share =
        static_cast<double>(a.second.unused_bytes) / static_cast<double>(a.second.used_bytes);
    const double b_share =
        static_cast<double>(b.second.unused_bytes) / static_cast<double>(b.second.used_bytes);
    if (a_share != b_share) return a_share > b_share;
    return a.first < b.first;
  }

  std::uint64_t limit_of(std::uint64_t used) const {
    const UnusedLimit& limit = options_.max_unused;
    if (limit.bytes) return *limit.bytes;
    if (!limit.percent) return UINT64_MAX;
    if (*limit.percent >= 100) return UINT64_MAX;
    return static_cast<std::uint64_t>(*limit.percent / (100 - *limit.percent) *
                                      static_cast<double>(used));
  }

  void repack_worst(const std::vector<std::pair<PackId, PackUse>>& candidates, std::uint64_t limit,
                    std::uint64_t& unused) {
    std::uint64_t repacked = 0;
    for (const auto& [id, use] : candidates) {
      const bool must = !use.is_data() || use.unused_bytes == 0;
      const bool too_much =
          options_.max_repack_bytes && repacked + use.size() > *options_.max_repack_bytes;
      if (too_much || (!must && unused <= limit)) {
        add(plan_.figures.packs_kept, use.size());
        continue;
      }
      repacked += use.size();
      unused -= use.unused_bytes;
      plan_.figures.bytes_freed += use.unused_bytes;
      plan_.repack.push_back(id);
      add(plan_.figures.packs_repacked, use.size());
    }
  }

  void remove(const PackId& id, const PackUse& use) {
    plan_.remove.push_back(id);
    add(plan_.figures.packs_removed, use.size());
    plan_.figures.bytes_freed += use.size();
  }

  void choose_indexes() {
    std::unordered_set<PackId> going(plan_.repack.begin(), plan_.repack.end());
    going.insert(plan_.remove.begin(), plan_.remove.end());
    going.insert(plan_.missing.begin(), plan_.missing.end());
    const auto is_small = [](const IndexFile& file) { return file.blobs < kSmallIndex; };
    const bool merge = std::count_if(index_files_.begin(), index_files_.end(), is_small) >
                       static_cast<std::ptrdiff_t>(kFewSmallIndexes);
    for (const IndexFile& file : index_files_) {
      const bool touched = std::any_of(file.packs.begin(), file.packs.end(), [&](const PackId& id) {
        const auto found = packs_.find(id);
        return going.count(id) != 0 || (found != packs_.end() && found->second.named > 1);
      });
      if (touched || file.packs.empty() || (merge && is_small(file))) {
        plan_.rewrite.push_back(file.id);
      }
    }
    plan_.figures.index_files = plan_.rewrite.size();
  }

  static void add(PruneFigures::Part& part, std::uint64_t bytes) {
    ++part.count;
    part.bytes += bytes;
  }

  const Repository& repository_;
  const PruneOptions& options_;
  const std::vector<SnapshotId>& forgotten_;
  const Call& call_;
  PrunePlan plan_;
  std::unordered_map<PackId, PackUse> packs_;
  std::vector<IndexFile> index_files_;
  std::string wrong_;
};

// Copies used blobs into new packs. What is sealed well stays sealed as it is.
//
// threads  synchronised
class Repacker {
 public:
  Repacker(const Repository& repository, const PrunePlan& plan, const PruneProgress& progress)
      : repository_(repository),
        plan_(plan),
        progress_(progress),
        buffers_(kFullPack + 256 * limits::kKiB, 2),
        data_(kFullPack, buffers_),
        trees_(kFullPack, buffers_) {}

  void repack(const PackId& pack, const std::vector<PackEntry>& entries, const Call& call) {
    BlobSealer sealer(repository_.make_sealer(), repository_.config().version);
    SealedBlobs data;
    SealedBlobs trees;
    copy(pack, entries, sealer, data, trees, call);
    for (SealedBlobs& full : data_.add(data)) store(std::move(full), sealer.sealer(), call);
    for (SealedBlobs& full : trees_.add(trees)) store(std::move(full), sealer.sealer(), call);
  }

  std::vector<IndexedPack> finish(const Call& call) {
    Sealer sealer = repository_.make_sealer();
    for (Packer* packer : {&data_, &trees_}) {
      if (std::optional<SealedBlobs> rest = packer->rest()) store(std::move(*rest), sealer, call);
    }
    return std::move(stored_);
  }

 private:
  void copy(const PackId& pack, const std::vector<PackEntry>& entries, BlobSealer& sealer,
            SealedBlobs& data, SealedBlobs& trees, const Call& call) {
    const FileName name{FileKind::pack, pack.hex()};
    const Bytes bytes = repository_.store().load(name, limits::kPackBytes, call);
    BlobOpener opener(repository_.make_sealer());
    for (const PackEntry& entry : entries) {
      call.require_live();
      SealedBlobs& out = entry.blob.type == BlobType::tree ? trees : data;
      try {
        if (std::uint64_t{entry.offset} + entry.length > bytes.size()) {
          throw Error(ErrorKind::corrupt,
                      "blob " + entry.blob.id.hex() + ": beyond the pack's end");
        }
        const ByteView sealed = ByteView(bytes).subspan(entry.offset, entry.length);
        const ByteView plain = opener.open(sealed, entry);
        if (must_compress(entry)) {
          sealer.seal(entry.blob, plain, out);
        } else {
          append(entry, sealed, out);
        }
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::corrupt) throw;
        log::warn("{}: {}", name.path(), error.what());
        sealer.seal(entry.blob, repository_.load_blob(plan_.index, entry.blob, call), out);
      }
    }
    progress_(bytes.size());
  }

  bool must_compress(const PackEntry& entry) const {
    return repository_.config().version >= 2 && entry.blob.type == BlobType::tree &&
           !entry.compressed();
  }

  static void append(PackEntry entry, ByteView sealed, SealedBlobs& out) {
    entry.offset = static_cast<std::uint32_t>(out.bytes.size());
    out.bytes.insert(out.bytes.end(), sealed.begin(), sealed.end());
    out.entries.push_back(entry);
  }

  void store(SealedBlobs&& full, Sealer& sealer, const Call& call) {
    Pack pack = finish_pack(std::move(full), sealer);
    repository_.store().save({FileKind::pack, pack.id.hex()}, pack.bytes, pack.id.digest(),
                             storage::SaveMode::replace, call);
    const std::lock_guard guard(mutex_);
    stored_.push_back({pack.id, std::move(pack.entries)});
    buffers_.give(std::move(pack.bytes));
  }

  const Repository& repository_;
  const PrunePlan& plan_;
  const PruneProgress& progress_;
  BufferPool buffers_;
  Packer data_;
  Packer trees_;
  std::mutex mutex_;
  std::vector<IndexedPack> stored_;  // guarded by mutex_
};

class Execution {
 public:
  Execution(const Repository& repository, Lock& lock, const PrunePlan& plan, const Call& call)
      : repository_(repository), lock_(lock), plan_(plan), call_(call) {}

  void run(const PruneProgress& progress) {
    remove_leftovers();
    remove_packs(plan_.unreferenced);
    for (IndexedPack& pack : repack(progress)) name_pack(std::move(pack));
    rewrite_indexes();
    save_index();
    remove_old_indexes();
    remove_packs(plan_.repack);
    remove_packs(plan_.remove);
  }

 private:
  std::vector<IndexedPack> repack(const PruneProgress& progress) const {
    if (plan_.repack.empty()) return {};
    const std::unordered_map<PackId, std::vector<PackEntry>> wanted = used_entries();
    Repacker repacker(repository_, plan_, progress);
    for_each_parallel(plan_.repack.size(), kRepackThreads, call_,
                      [&](std::size_t i, const Call& call) {
                        const PackId& pack = plan_.repack[i];
                        const auto entries = wanted.find(pack);
                        if (entries == wanted.end()) return;
                        repacker.repack(pack, entries->second, call);
                      });
    return repacker.finish(call_);
  }

  std::unordered_map<PackId, std::vector<PackEntry>> used_entries() const {
    const std::unordered_set<PackId> repacked(plan_.repack.begin(), plan_.repack.end());
    std::unordered_map<PackId, std::vector<PackEntry>> entries;
    plan_.index.each([&](const Index::Place& place) {
      if (repacked.count(place.pack) == 0 || plan_.used.count(place.entry.blob) == 0) return;
      const auto keeper = plan_.keepers.find(place.entry.blob);
      if (keeper != plan_.keepers.end() && keeper->second != place.pack) return;
      entries[place.pack].push_back(place.entry);
    });
    for (auto& [pack, list] : entries) {
      std::sort(list.begin(), list.end(),
                [](const PackEntry& a, const PackEntry& b) { return a.offset < b.offset; });
    }
    return entries;
  }

  void rewrite_indexes() {
    if (plan_.rewrite.empty()) return;
    const std::unordered_set<IndexId> old(plan_.rewrite.begin(), plan_.rewrite.end());
    std::unordered_set<PackId> done(plan_.repack.begin(), plan_.repack.end());
    done.insert(plan_.remove.begin(), plan_.remove.end());
    done.insert(plan_.missing.begin(), plan_.missing.end());
    std::size_t met = 0;
    repository_.each_index_file(call_, [&](const IndexId& id, std::vector<IndexedPack>&& packs) {
      if (old.count(id) == 0) return;
      ++met;
      for (IndexedPack& pack : packs) {
        if (done.insert(pack.id).second) name_pack(std::move(pack));
      }
    });
    // What it names would be in no index any more.
    if (met != old.size()) {
      throw Error(ErrorKind::unavailable,
                  "prune: an index file that was there is not listed any more",
                  "nothing that is needed was removed; run it again, and check the store");
    }
  }

  void name_pack(IndexedPack pack) {
    open_blobs_ += pack.entries.size();
    open_.push_back(std::move(pack));
    if (open_blobs_ >= kFullIndex) save_index();
  }

  void save_index() {
    if (open_.empty()) return;
    save_index_file(open_, repository_.files(), lock_, call_);
    open_.clear();
    open_blobs_ = 0;
  }

  void remove_old_indexes() const {
    if (plan_.rewrite.empty()) return;
    lock_.require_held(call_);
    for (const IndexId& id : plan_.rewrite) {
      repository_.store().remove({FileKind::index, id.hex()}, call_);
    }
  }

  // What a kill left of a file in a folder. Nobody has written to it for hours, lock or not.
  void remove_leftovers() const {
    try {
      repository_.store().remove_leftovers(call_.clock().now() - kLeftoverAge, call_);
    } catch (const Error& error) {
      call_.require_live();
      log::warn("what a killed save left behind: not removed: {}", error.what());
    }
  }

  // A pack that stays is waste, which the next prune sees: no reason to stop.
  void remove_packs(const std::vector<PackId>& packs) const {
    if (packs.empty()) return;
    lock_.require_held(call_);
    for_each_parallel(packs.size(), kRemoveThreads, call_, [&](std::size_t i, const Call& call) {
      const FileName name{FileKind::pack, packs[i].hex()};
      try {
        repository_.store().remove(name, call);
      } catch (const Error& error) {
        call.require_live();
        log::warn("{}: not removed: {}", name.path(), error.what());
      }
    });
  }

  const Repository& repository_;
  Lock& lock_;
  const PrunePlan& plan_;
  const Call& call_;
  std::vector<IndexedPack> open_;
  std::size_t open_blobs_ = 0;
};

}  // namespace

PrunePlan plan_prune(const Repository& repository, const Lock& lock, const PruneOptions& options,
                     const Call& call) {
  lock.scope().require_live();
  return Planner(repository, options, {}, call).run();
}

PruneFigures rehearse_prune(const Repository& repository, const Lock& lock,
                            const PruneOptions& options, const std::vector<SnapshotId>& forgotten,
                            const Call& call) {
  lock.scope().require_live();
  return Planner(repository, options, forgotten, call).run().figures;
}

void execute_prune(const Repository& repository, Lock& lock, const PrunePlan& plan,
                   const PruneProgress& progress, const Call& call) {
  if (plan.empty()) return;
  Execution(repository, lock, plan, call).run(progress);
}

}  // namespace kubedr::repo
