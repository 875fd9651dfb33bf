#include "repo/index.h"

#include <fmt/core.h>

#include <array>
#include <iterator>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "repo/json_text.h"
#include "repo/lock.h"
#include "repo/unpacked.h"

namespace kubedr::repo {
namespace {

const char* type_name(BlobType type) {
  return type == BlobType::tree ? "tree" : "data";
}

class IndexReader final : public JsonEvents {
 public:
  IndexReader(int version, const std::string& where, const std::function<void(IndexedPack&&)>& each)
      : version_(version), where_(where), each_(each) {}

  bool begin_object() override {
    switch (at_) {
    case At::start:
      at_ = At::root;
      return true;
    case At::packs:
      at_ = At::pack;
      pack_ = IndexedPack{};
      seen_ = 0;
      return true;
    case At::blobs:
      at_ = At::blob;
      entry_ = PackEntry{};
      blob_seen_ = 0;
      return true;
    case At::root:
    case At::pack:
    case At::blob:
      require_unknown_key();
      return false;
    }
    return false;
  }

  bool begin_array() override {
    if (at_ == At::root && key_ == "packs") {
      at_ = At::packs;
      has_packs_ = true;
      return true;
    }
    if (at_ == At::pack && key_ == "blobs") {
      at_ = At::blobs;
      return true;
    }
    if (at_ != At::root && at_ != At::pack && at_ != At::blob) fail("an array in a wrong place");
    require_unknown_key();
    return false;
  }

  void end() override {
    switch (at_) {
    case At::blob:
      finish_blob();
      at_ = At::blobs;
      return;
    case At::blobs:
      at_ = At::pack;
      return;
    case At::pack:
      if ((seen_ & kId) == 0) fail("a pack without id");
      each_(std::move(pack_));
      at_ = At::packs;
      return;
    case At::packs:
      at_ = At::root;
      return;
    case At::root:
      if (!has_packs_) fail("no packs");
      return;
    case At::start:
      return;
    }
  }

  void key(std::string& name) override { key_.swap(name); }

  void text(std::string& value) override {
    if (at_ == At::pack && key_ == "id") {
      pack_.id = parse_id<PackId>(value);
      seen_ |= kId;
    } else if (at_ == At::blob && key_ == "id") {
      entry_.blob.id = parse_id<BlobId>(value);
      blob_seen_ |= kId;
    } else if (at_ == At::blob && key_ == "type") {
      entry_.blob.type = parse_type(value);
      blob_seen_ |= kType;
    } else {
      require_unknown_key();
    }
  }

  void number(std::uint64_t value) override {
    if (at_ == At::blob && key_ == "offset") {
      entry_.offset = narrow(value);
      blob_seen_ |= kOffset;
    } else if (at_ == At::blob && key_ == "length") {
      entry_.length = narrow(value);
      blob_seen_ |= kLength;
    } else if (at_ == At::blob && key_ == "uncompressed_length") {
      entry_.plain_length = narrow(value);
    } else {
      require_unknown_key();
    }
  }

  // Go writes an empty list that was never made as null.
  void null() override {
    if (at_ == At::root && key_ == "packs") {
      has_packs_ = true;
    } else if (at_ != At::pack || key_ != "blobs") {
      require_unknown_key();
    }
  }

  void other() override { require_unknown_key(); }

 private:
  enum class At { start, root, packs, pack, blobs, blob };

  // What a blob needs; `kId` of a pack too.
  static constexpr unsigned kId = 1;
  static constexpr unsigned kType = 2;
  static constexpr unsigned kOffset = 4;
  static constexpr unsigned kLength = 8;

  template <class AnyId>
  AnyId parse_id(const std::string& text) const {
    const std::optional<AnyId> id = AnyId::parse(text);
    if (!id) fail("an id is not 64 hex digits");
    return *id;
  }

  BlobType parse_type(const std::string& text) const {
    if (text == "data") return BlobType::data;
    if (text != "tree") fail("a blob that is neither data nor tree");
    return BlobType::tree;
  }

  std::uint32_t narrow(std::uint64_t value) const {
    if (value > UINT32_MAX) fail("a number beyond 32 bits");
    return static_cast<std::uint32_t>(value);
  }

  void finish_blob() {
    if (blob_seen_ != (kId | kType | kOffset | kLength)) fail("a blob that lacks a key");
    if (entry_.length < kSealOverhead) fail("a blob is shorter than its seal");
    if (entry_.length > UINT32_MAX - entry_.offset) fail("a blob that ends beyond 4 GiB");
    if (version_ < 2 && entry_.compressed()) {
      fail("index uses feature not supported by repository version 1");
    }
    pack_.entries.push_back(entry_);
  }

  // Called for a value of a type that no known key has here.
  void require_unknown_key() const {
    const bool known = (at_ == At::root && key_ == "packs") ||
                       (at_ == At::pack && (key_ == "id" || key_ == "blobs")) ||
                       (at_ == At::blob && is_blob_key());
    const bool in_list = at_ == At::start || at_ == At::packs || at_ == At::blobs;
    if (known || in_list) fail("a value of a wrong type");
  }

  bool is_blob_key() const {
    return key_ == "id" || key_ == "type" || key_ == "offset" || key_ == "length" ||
           key_ == "uncompressed_length";
  }

  [[noreturn]] void fail(const char* why) const {
    throw Error(ErrorKind::corrupt, where_ + ": not an index: " + why);
  }

  const int version_;
  const std::string& where_;
  const std::function<void(IndexedPack&&)>& each_;
  At at_ = At::start;
  std::string key_;
  IndexedPack pack_;
  PackEntry entry_;
  unsigned seen_ = 0;
  unsigned blob_seen_ = 0;
  bool has_packs_ = false;
};

// What a pack and a blob take of it at the most.
constexpr std::size_t kPackJson = 96;
constexpr std::size_t kBlobJson = 168;

void append_blob(std::string& out, const PackEntry& entry) {
  fmt::format_to(std::back_inserter(out), R"({{"id":"{}","type":"{}","offset":{},"length":{})",
                 entry.blob.id.hex(), type_name(entry.blob.type), entry.offset, entry.length);
  if (entry.compressed()) {
    fmt::format_to(std::back_inserter(out), R"(,"uncompressed_length":{})", entry.plain_length);
  }
  out += '}';
}

}  // namespace

void parse_index(std::string_view json, int version, const std::string& where,
                 const std::function<void(IndexedPack&&)>& each) {
  IndexReader reader(version, where, each);
  read_json(json, where, reader);
}

std::string index_json(const std::vector<IndexedPack>& packs) {
  // At once: doubling would take three times the bytes. What is not written to takes none.
  std::size_t most = 0;
  for (const IndexedPack& pack : packs) most += kPackJson + pack.entries.size() * kBlobJson;
  std::string out;
  out.reserve(most);
  out += R"({"packs":[)";
  for (const IndexedPack& pack : packs) {
    if (out.back() == '}') out += ',';
    out += R"({"id":")" + pack.id.hex() + R"(","blobs":[)";
    for (const PackEntry& entry : pack.entries) {
      if (out.back() == '}') out += ',';
      append_blob(out, entry);
    }
    out += "]}";
  }
  return out += "]}\n";
}

std::size_t save_index_file(const std::vector<IndexedPack>& packs, const UnpackedFiles& files,
                            Lock& lock, const Call& call) {
  lock.require_held(call);
  const UnpackedFiles::Sealed file = files.seal(storage::FileKind::index, index_json(packs));
  files.save(file, call);
  return file.bytes.size();
}

// Places lie in blocks that never move, in the order they came; a table of their numbers is probed
// from the place that the id, itself a hash, points to. Places of one blob have the same first
// slot, so that the first one that came is met first. Nothing is ever removed.
//
// 52 bytes for the place, and 4 for each slot of a table that is between 3/8 and 3/4 full.
struct Index::Impl {
  static constexpr std::uint32_t kClaimed = UINT32_MAX;  // instead of a pack's number
  static constexpr std::uint32_t kFree = UINT32_MAX;     // a slot
  static constexpr std::size_t kBlock = 4096;

  struct Entry {
    Digest id;
    std::uint32_t pack;
    std::uint32_t offset;
    std::uint32_t length;
    std::uint32_t plain_length;
    BlobType type;
  };

  using Block = std::array<Entry, kBlock>;

  mutable std::mutex mutex;
  // Guarded by mutex:
  std::vector<std::unique_ptr<Block>> blocks;
  std::size_t places = 0;
  std::size_t known = 0;  // different blobs that are in a pack
  std::vector<std::uint32_t> slots = std::vector<std::uint32_t>(1024, kFree);
  std::vector<PackId> pack_ids;
  std::unordered_map<PackId, std::uint32_t> pack_numbers;

  Entry& entry(std::uint32_t number) const { return (*blocks[number / kBlock])[number % kBlock]; }

  static bool is(const Entry& entry, const BlobHandle& blob) {
    return entry.type == blob.type && entry.id == blob.id.digest();
  }

  std::size_t first_slot(const BlobId& id) const {
    return std::hash<BlobId>()(id) & (slots.size() - 1);
  }

  // Calls `visit` for the places of a blob, the first one first, until it returns true; returns the
  // free slot behind the last one, or the slot of that place.
  template <class Visit>
  std::size_t probe(const BlobHandle& blob, const Visit& visit) const {
    std::size_t slot = first_slot(blob.id);
    while (slots[slot] != kFree) {
      Entry& candidate = entry(slots[slot]);
      if (is(candidate, blob) && visit(candidate)) break;
      slot = (slot + 1) & (slots.size() - 1);
    }
    return slot;
  }

  Place place_of(const Entry& entry) const {
    const BlobHandle blob{entry.type, BlobId(entry.id)};
    return {pack_ids[entry.pack], {blob, entry.offset, entry.length, entry.plain_length}};
  }

  std::uint32_t pack_number(const PackId& id) {
    const auto next = static_cast<std::uint32_t>(pack_ids.size());
    const auto [at, is_new] = pack_numbers.emplace(id, next);
    if (is_new) pack_ids.push_back(id);
    return at->second;
  }

  void grow() {
    std::vector<std::uint32_t>(slots.size() * 2, kFree).swap(slots);
    for (std::uint32_t number = 0; number < places; ++number) {
      std::size_t slot = first_slot(BlobId(entry(number).id));
      while (slots[slot] != kFree) slot = (slot + 1) & (slots.size() - 1);
      slots[slot] = number;
    }
  }

  void insert(std::size_t slot, const Entry& added) {
    if (places >= kFree) throw Error(ErrorKind::failed, "index: too many blobs");
    if (places % kBlock == 0) blocks.push_back(std::make_unique<Block>());
    const auto number = static_cast<std::uint32_t>(places++);
    entry(number) = added;
    slots[slot] = number;
    if (places > slots.size() / 4 * 3) grow();
  }

  void add(std::uint32_t pack, const PackEntry& stored) {
    bool is_known = false;
    bool done = false;
    const Entry added{stored.blob.id.digest(), pack,
                      stored.offset,           stored.length,
                      stored.plain_length,     stored.blob.type};
    const std::size_t slot = probe(stored.blob, [&](Entry& found) {
      if (found.pack == kClaimed) {
        found = added;
        done = true;
        return true;
      }
      is_known = true;
      done = found.pack == pack && found.offset == stored.offset;
      return done;
    });
    if (!is_known) ++known;
    if (!done) insert(slot, added);
  }

  void add(const IndexedPack& pack) {
    const std::lock_guard guard(mutex);
    const std::uint32_t number = pack_number(pack.id);
    for (const PackEntry& stored : pack.entries) add(number, stored);
  }
};

Index::Index() : impl_(std::make_unique<Impl>()) {}

Index::~Index() = default;
Index::Index(Index&&) noexcept = default;
Index& Index::operator=(Index&&) noexcept = default;

void Index::add(const IndexedPack& pack) {
  impl_->add(pack);
}

void Index::publish(const IndexedPack& pack) {
  impl_->add(pack);
}

std::optional<Index::Place> Index::find(const BlobHandle& blob) const {
  const std::lock_guard guard(impl_->mutex);
  std::optional<Place> place;
  impl_->probe(blob, [&](const Impl::Entry& found) {
    if (found.pack == Impl::kClaimed) return false;
    place = impl_->place_of(found);
    return true;
  });
  return place;
}

void Index::each(const std::function<void(const Place&)>& visit) const {
  const std::lock_guard guard(impl_->mutex);
  for (std::uint32_t number = 0; number < impl_->places; ++number) {
    const Impl::Entry& found = impl_->entry(number);
    if (found.pack != Impl::kClaimed) visit(impl_->place_of(found));
  }
}

std::vector<Index::Place> Index::find_all(const BlobHandle& blob) const {
  const std::lock_guard guard(impl_->mutex);
  std::vector<Place> places;
  impl_->probe(blob, [&](const Impl::Entry& found) {
    if (found.pack != Impl::kClaimed) places.push_back(impl_->place_of(found));
    return false;
  });
  return places;
}

Index::Claim Index::claim(const BlobHandle& blob) {
  const std::lock_guard guard(impl_->mutex);
  std::optional<Claim> claimed;
  const std::size_t slot = impl_->probe(blob, [&](const Impl::Entry& found) {
    claimed = found.pack == Impl::kClaimed ? Claim::pending : Claim::known;
    return true;
  });
  if (claimed) return *claimed;
  impl_->insert(slot, {blob.id.digest(), Impl::kClaimed, 0, 0, 0, blob.type});
  return Claim::mine;
}

std::size_t Index::blobs() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->known;
}

std::size_t Index::packs() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->pack_ids.size();
}

}  // namespace kubedr::repo
