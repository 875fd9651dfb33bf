#include "repo/check.h"

#include <fmt/core.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/limits.h"
#include "base/sha256.h"
#include "base/text.h"
#include "repo/blob.h"
#include "repo/keyring.h"
#include "repo/parallel.h"
#include "repo/walk.h"

namespace kubedr::repo {

namespace {

using storage::FileInfo;
using storage::FileKind;
using storage::FileName;

constexpr std::size_t kReadThreads = 3;  // each holds a pack

constexpr char kRepairIndex[] = "kubectl kubedr repair index";
constexpr char kPrune[] = "kubectl kubedr prune";
// A backup takes for stored what an index names: a pack that is lost must be given up first.
constexpr char kGiveUp[] =
    "bring the file back from a copy or an older version in the bucket; else `repair index`, then "
    "a "
    "backup, which stores again what it can; forget the snapshots that `check` still calls broken";
constexpr char kForgetBroken[] =
    "bring the file back from a copy or an older version in the bucket; else forget the snapshots "
    "that need it, prune, and take a backup";

// What the indexes say of one pack.
struct PackSeen {
  std::uint64_t size = 0;
  std::uint64_t blobs = 0;
  std::uint32_t named = 0;
  bool has_data = false;
  bool has_tree = false;
};

std::string data_path(const PackId& id) {
  return FileName{FileKind::pack, id.hex()}.path();
}

class Checker {
 public:
  Checker(const Repository& repository, const Secret& password, const ReadData& read_data,
          const CheckProgress& progress, Random& random, const Call& call)
      : repository_(repository),
        password_(password),
        read_data_(read_data),
        progress_(progress),
        random_(random),
        call_(call) {}

  CheckReport run() {
    check_keys_and_locks();
    check_indexes();
    list_packs();
    const std::vector<SavedSnapshot> snapshots = check_snapshots();
    report_packs();
    report_trees();
    read_packs();
    if (report_.errors() != 0) find_broken(snapshots);
    std::stable_sort(report_.problems.begin(), report_.problems.end(),
                     [](const Problem& a, const Problem& b) { return a.severity > b.severity; });
    return std::move(report_);
  }

 private:
  void add(Problem::Severity severity, const std::string& code, const std::string& object,
           const std::string& message, const std::string& remedy) {
    report_.problems.push_back({severity, code, object, message, remedy});
  }

  void error(const std::string& code, const std::string& object, const std::string& message,
             const std::string& remedy) {
    add(Problem::Severity::error, code, object, message, remedy);
  }

  void hint(const std::string& code, const std::string& object, const std::string& message,
            const std::string& remedy) {
    add(Problem::Severity::hint, code, object, message, remedy);
  }

  // A text of a damaged file begins with its path.
  static std::string object_of(const std::string& text) { return text.substr(0, text.find(':')); }

  void check_keys_and_locks() {
    std::vector<std::string> damaged;
    for (const KeyId& id : foreign_keys(repository_, password_, random_, call_, &damaged)) {
      const std::string path = FileName{FileKind::key, id.hex()}.path();
      error("key-foreign", path, path + ": a key with the same password, but of another repository",
            "restic may stop at it: kubectl kubedr key remove " + id.short_hex());
    }
    for (const std::string& text : damaged) {
      error("key-damaged", object_of(text), text,
            "restic may stop at it: remove the file, and add a key with `key add`");
    }
    damaged.clear();
    repository_.locks(call_, &damaged);
    for (const std::string& id : damaged) {
      const std::string path = FileName{FileKind::lock, id}.path();
      hint("lock-damaged", path, path + ": invalid lock file",
           "kubectl kubedr unlock --remove-all, once nobody works on the repository");
    }
  }

  void check_indexes() {
    std::vector<std::string> damaged;
    repository_.each_index_file(
        call_,
        [this](const IndexId&, std::vector<IndexedPack>&& packs) {
          for (const IndexedPack& pack : packs) check_indexed(pack);
        },
        &damaged);
    for (const std::string& text : damaged) {
      report_.suggest_repair_index = true;
      error("index-damaged", object_of(text), text, kRepairIndex);
    }
    report_.packs = packs_.size();
    for (const auto& [id, seen] : packs_) {
      if (seen.named > 1) {
        report_.suggest_repair_index = true;
        hint("pack-in-several-indexes", data_path(id),
             fmt::format("pack {} contained in several indexes", id.hex()), kPrune);
      }
      if (seen.has_data && seen.has_tree) {
        report_.suggest_prune = true;
        hint("pack-mixed", data_path(id),
             fmt::format("pack {} contains a mix of tree and data blobs", id.hex()), kPrune);
      }
    }
  }

  void check_indexed(const IndexedPack& pack) {
    PackSeen seen;
    seen.size = pack_size(pack.entries);
    seen.blobs = pack.entries.size();
    for (const PackEntry& entry : pack.entries) {
      (entry.blob.type == BlobType::tree ? seen.has_tree : seen.has_data) = true;
    }
    index_.add(pack);
    const auto [at, is_new] = packs_.emplace(pack.id, seen);
    ++at->second.named;
    if (is_new || (at->second.size == seen.size && at->second.blobs == seen.blobs)) return;
    report_.suggest_repair_index = true;
    error("pack-contradicted", data_path(pack.id),
          fmt::format("pack {} has different data in indexes", pack.id.hex()), kRepairIndex);
  }

  void list_packs() {
    repository_.store().list(
        FileKind::pack,
        [this](const FileInfo& info) {
          const PackId id = PackId::parse(info.id).value_or(PackId());
          stored_.emplace(id, info.size);
          if (packs_.count(id) == 0) unreferenced_.push_back(id);
        },
        call_);
    for (const auto& [id, seen] : packs_) {
      const auto found = stored_.find(id);
      if (found == stored_.end() || found->second != seen.size) bad_packs_.insert(id);
    }
  }

  std::vector<SavedSnapshot> check_snapshots() {
    std::vector<std::string> damaged;
    std::vector<SavedSnapshot> snapshots = repository_.snapshots(call_, &damaged);
    report_.unreadable_snapshots = damaged.size();
    report_.snapshots = snapshots.size() + damaged.size();
    for (const std::string& text : damaged) {
      error("snapshot-damaged", object_of(text), text,
            "bring the file back from a copy or an older version in the bucket; else remove it");
    }
    std::vector<BlobId> roots;
    for (const SavedSnapshot& saved : snapshots) roots.push_back(saved.snapshot.tree);
    const BlobSet used = find_used_blobs(
        repository_, index_, roots,
        [this](const TreeProblem& problem) {
          tree_problems_.push_back(problem);
          lost_index_ = lost_index_ || index_may_mend(problem);
        },
        call_);
    for (const BlobHandle& blob : used) {
      if (is_readable(blob)) continue;
      for (const Index::Place& place : index_.find_all(blob)) needed_.insert(place.pack);
    }
    return snapshots;
  }

  // What no index names may well be in a pack that no index names.
  bool index_may_mend(const TreeProblem& problem) const {
    return problem.unknown && !unreferenced_.empty();
  }

  void report_trees() {
    for (const TreeProblem& problem : tree_problems_) {
      error("tree-damaged", object_of(problem.text), "error for " + problem.text,
            index_may_mend(problem) ? kRepairIndex : kForgetBroken);
    }
  }

  void report_packs() {
    for (const PackId& id : bad_packs_) {
      const bool needed = needed_.count(id) != 0;
      const char* remedy = needed ? kGiveUp : kRepairIndex;
      report_.suggest_repair_index = report_.suggest_repair_index || !needed;
      const auto found = stored_.find(id);
      if (found == stored_.end()) {
        error("pack-missing", data_path(id), fmt::format("pack {}: does not exist", id.hex()),
              remedy);
      } else {
        error("pack-size", data_path(id),
              fmt::format("pack {}: unexpected file size: got {}, expected {}", id.hex(),
                          found->second, packs_.at(id).size),
              remedy);
      }
    }
    for (const PackId& id : unreferenced_) {
      hint("pack-unreferenced", data_path(id),
           fmt::format("pack {}: not referenced in any index", id.hex()),
           lost_index_ ? kRepairIndex : kPrune);
    }
    report_.suggest_repair_index = report_.suggest_repair_index || lost_index_;
    report_.suggest_prune = report_.suggest_prune || (!unreferenced_.empty() && !lost_index_);
  }

  // The packs that `read_data_` means, in the order of their ids.
  std::vector<PackId> choose_packs() const {
    std::vector<PackId> ids;
    for (const auto& [id, seen] : packs_) ids.push_back(id);
    std::sort(ids.begin(), ids.end());
    switch (read_data_.kind) {
    case ReadData::Kind::none:
      return {};
    case ReadData::Kind::all:
      return ids;
    case ReadData::Kind::bucket:
      std::erase_if(ids, [this](const PackId& id) {
        return id.digest()[0] % read_data_.buckets != read_data_.bucket - 1;
      });
      return ids;
    case ReadData::Kind::percent:
      return some_of(std::move(ids), read_data_.percent / 100);
    case ReadData::Kind::bytes: {
      std::uint64_t total = 0;
      for (const auto& [id, seen] : packs_) total += seen.size;
      const double wanted = static_cast<double>(std::min(read_data_.bytes, total));
      return some_of(std::move(ids), total == 0 ? 1 : wanted / static_cast<double>(total));
    }
    }
    return {};
  }

  // As many as restic reads: a share of the packs, not of their bytes, rounded down, one at least.
  std::vector<PackId> some_of(std::vector<PackId> ids, double share) const {
    if (ids.empty()) return ids;
    shuffle(ids);
    const auto count = static_cast<std::size_t>(static_cast<double>(ids.size()) * share);
    ids.resize(std::clamp(count, std::size_t{1}, ids.size()));
    return ids;
  }

  void shuffle(std::vector<PackId>& ids) const {
    for (std::size_t left = ids.size(); left > 1; --left) {
      std::swap(ids[left - 1], ids[random_.next() % left]);
    }
  }

  void read_packs() {
    const std::vector<PackId> chosen = choose_packs();
    if (chosen.empty()) return;
    const std::unordered_set<PackId> wanted(chosen.begin(), chosen.end());
    std::unordered_map<PackId, std::vector<PackEntry>> entries;
    std::uint64_t total = 0;
    for (const PackId& id : chosen) {
      entries[id];
      total += packs_.at(id).size;
    }
    progress_(0, total);
    index_.each([&](const Index::Place& place) {
      if (wanted.count(place.pack) != 0) entries[place.pack].push_back(place.entry);
    });
    std::mutex mutex;  // guards the report
    for_each_parallel(chosen.size(), kReadThreads, call_, [&](std::size_t i, const Call& call) {
      std::vector<PackEntry>& indexed = entries.find(chosen[i])->second;
      std::uint64_t bytes = 0;
      std::vector<BlobHandle> lost;
      const std::vector<std::string> wrong = read_pack(chosen[i], indexed, lost, bytes, call);
      progress_(bytes, total);
      const std::lock_guard guard(mutex);
      ++report_.packs_read;
      report_.bytes_read += bytes;
      for (const std::string& text : wrong) {
        error("pack-damaged", data_path(chosen[i]),
              fmt::format("pack {}: {}", chosen[i].hex(), text), kForgetBroken);
      }
      if (bytes == 0) {
        if (!wrong.empty()) bad_packs_.insert(chosen[i]);
        return;
      }
      // Of what was read, each blob speaks for itself.
      bad_packs_.erase(chosen[i]);
      for (const BlobHandle& blob : lost) lost_.emplace(chosen[i], blob);
    });
  }

  // What is wrong with a pack, all of it, and which blobs of it are lost.
  std::vector<std::string> read_pack(const PackId& id, std::vector<PackEntry>& indexed,
                                     std::vector<BlobHandle>& lost, std::uint64_t& bytes_read,
                                     const Call& call) const {
    std::vector<std::string> wrong;
    Bytes bytes;
    try {
      bytes = repository_.store().load({FileKind::pack, id.hex()}, limits::kPackBytes, call);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::not_found) return {};  // named already: it does not exist
      if (error.kind() != ErrorKind::corrupt) throw;
      return {error.what()};
    }
    bytes_read = bytes.size();
    if (const PackId got(sha256(bytes)); got != id) {
      wrong.push_back(fmt::format("hash does not match id: want {}, got {}", id.hex(), got.hex()));
    }
    check_layout(bytes, indexed, wrong);
    BlobOpener opener(repository_.make_sealer());
    for (const PackEntry& entry : indexed) {
      call.require_live();
      try {
        if (std::uint64_t{entry.offset} + entry.length > bytes.size()) {
          throw Error(ErrorKind::corrupt,
                      "blob " + entry.blob.id.hex() + ": beyond the end of the file");
        }
        opener.open(ByteView(bytes).subspan(entry.offset, entry.length), entry);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::corrupt) throw;
        wrong.push_back(fmt::format("blob {}: {}", entry.blob.id.hex(), error.what()));
        lost.push_back(entry.blob);
      }
    }
    return wrong;
  }

  // The pack's own header against the index.
  void check_layout(ByteView bytes, std::vector<PackEntry>& indexed,
                    std::vector<std::string>& wrong) const {
    const auto by_offset = [](const PackEntry& a, const PackEntry& b) {
      return a.offset < b.offset;
    };
    std::sort(indexed.begin(), indexed.end(), by_offset);
    std::uint64_t end = 0;
    for (const PackEntry& entry : indexed) {
      if (entry.offset != end) {
        wrong.emplace_back("index for pack contains gaps / overlapping blobs");
        break;
      }
      end += entry.length;
    }
    try {
      Sealer sealer = repository_.make_sealer();
      std::vector<PackEntry> header = parse_pack_header(bytes, bytes.size(), sealer, "header");
      std::sort(header.begin(), header.end(), by_offset);
      if (header != indexed) {
        wrong.emplace_back("its header is not what the index says");
      }
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      wrong.emplace_back(error.what());
    }
  }

  bool is_readable(const BlobHandle& blob) const {
    const std::vector<Index::Place> places = index_.find_all(blob);
    return std::any_of(places.begin(), places.end(), [&](const Index::Place& place) {
      return bad_packs_.count(place.pack) == 0 && lost_.count({place.pack, blob}) == 0;
    });
  }

  void find_broken(const std::vector<SavedSnapshot>& snapshots) {
    for (const SavedSnapshot& saved : snapshots) {
      bool broken = false;
      const BlobSet used = find_used_blobs(
          repository_, index_, {saved.snapshot.tree}, [&](const TreeProblem&) { broken = true; },
          call_);
      broken = broken || std::any_of(used.begin(), used.end(),
                                     [this](const BlobHandle& blob) { return !is_readable(blob); });
      if (broken) report_.broken_snapshots.push_back(saved.id);
    }
  }

  const Repository& repository_;
  const Secret& password_;
  const ReadData& read_data_;
  const CheckProgress& progress_;
  Random& random_;
  const Call& call_;
  CheckReport report_;
  Index index_;
  std::unordered_map<PackId, PackSeen> packs_;
  std::unordered_map<PackId, std::uint64_t> stored_;  // the packs there are, with their sizes
  std::vector<PackId> unreferenced_;
  std::vector<TreeProblem> tree_problems_;
  bool lost_index_ = false;                       // of packs that are there and needed
  std::set<PackId> bad_packs_;                    // gone, or not of the size they must have
  std::unordered_set<PackId> needed_;             // of them
  std::set<std::pair<PackId, BlobHandle>> lost_;  // blobs that were read and are no good
};

[[noreturn]] void fail_subset(const std::string& why) {
  throw Error(ErrorKind::usage, "check flag --read-data-subset" + why,
              "give a part as n/t, a share as x%, or a size with K, M, G or T");
}

}  // namespace

ReadData parse_read_data_subset(const std::string& text) {
  ReadData read;
  if (const std::size_t slash = text.find('/'); slash != std::string::npos) {
    constexpr std::uint64_t kMostBuckets = 256;
    const auto bucket = parse_number<std::uint64_t>(std::string_view(text).substr(0, slash));
    const auto buckets = parse_number<std::uint64_t>(std::string_view(text).substr(slash + 1));
    if (!bucket || !buckets || *bucket == 0 || *bucket > *buckets) {
      fail_subset("=n/t values must be positive integers, and n <= t, e.g. --read-data-subset=1/2");
    }
    if (*buckets > kMostBuckets) fail_subset("=n/t t must be at most 256");
    read.kind = ReadData::Kind::bucket;
    read.bucket = *bucket;
    read.buckets = *buckets;
    return read;
  }
  if (text.ends_with('%')) {
    const auto percent = parse_number<double>(std::string_view(text).substr(0, text.size() - 1));
    if (!percent || !(*percent > 0) || *percent > 100) {
      fail_subset("=x% x must be above 0.0% and at most 100.0%");
    }
    read.kind = ReadData::Kind::percent;
    read.percent = *percent;
    return read;
  }
  static constexpr std::string_view kUnits = "KMGT";
  std::string_view digits = text;
  const std::size_t unit = digits.empty()
                               ? std::string_view::npos
                               : kUnits.find(static_cast<char>(std::toupper(digits.back())));
  if (unit != std::string_view::npos) digits.remove_suffix(1);
  const std::size_t shift = unit == std::string_view::npos ? 0 : (unit + 1) * 10;
  const auto bytes = parse_number<std::uint64_t>(digits);
  if (!bytes || *bytes == 0 || *bytes > (UINT64_MAX >> shift)) {
    fail_subset(" has invalid value \"" + text + "\"");
  }
  read.kind = ReadData::Kind::bytes;
  read.bytes = *bytes << shift;
  return read;
}

std::uint64_t CheckReport::errors() const {
  return static_cast<std::uint64_t>(std::count_if(
      problems.begin(), problems.end(),
      [](const Problem& problem) { return problem.severity == Problem::Severity::error; }));
}

std::uint64_t CheckReport::whole_snapshots() const {
  return snapshots - unreadable_snapshots - broken_snapshots.size();
}

CheckReport check(const Repository& repository, const Secret& password, const ReadData& read_data,
                  const CheckProgress& progress, Random& random, const Call& call) {
  return Checker(repository, password, read_data, progress, random, call).run();
}

}  // namespace kubedr::repo
