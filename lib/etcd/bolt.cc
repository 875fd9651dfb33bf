#include "etcd/bolt.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"

// A bbolt file is an array of pages that form B+ trees. A tree of buckets begins at the page that
// the newer of two meta pages names; each bucket is a tree of its own, or, when small, one leaf
// page inside its parent's value. All numbers are little-endian on the machines etcd runs on.
//
//   page     id u64 | flags u16 | count u16 | overflow u32 | elements | keys and values
//   meta     magic u32 | version u32 | page size u32 | flags u32 | root u64 | sequence u64 |
//            freelist u64 | high water u64 | txid u64 | FNV-1a of all before
//   branch   element: pos u32 | key size u32 | child u64
//   leaf     element: flags u32 | pos u32 | key size u32 | value size u32
//   bucket   value: root u64 | sequence u64 | the page itself when root is 0
//
// pos counts from the start of its element.
namespace kubedr::etcd {
namespace {

constexpr std::size_t kPageHeader = 16;
constexpr std::size_t kElement = 16;
constexpr std::size_t kMetaSize = 64;
constexpr std::size_t kBucketHeader = 16;
constexpr std::uint32_t kMagic = 0xED0CDAED;
constexpr std::uint32_t kVersion = 2;
constexpr unsigned kBranch = 0x01;
constexpr unsigned kLeaf = 0x02;
constexpr std::uint32_t kBucketFlag = 0x01;
constexpr std::uint32_t kSmallestPage = 512;

template <class Number>
Number read_number(ByteView bytes, std::size_t at) {
  Number value = 0;
  for (std::size_t i = sizeof(Number); i-- > 0;) {
    value = static_cast<Number>(static_cast<std::uint64_t>(value) << 8 | bytes[at + i]);
  }
  return value;
}

std::uint64_t fnv1a(ByteView bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

struct Element {
  bool is_bucket = false;
  std::uint64_t child = 0;  // of a branch
  ByteView key;
  ByteView value;  // of a leaf
};

// A page whose elements all lie within it, in ascending order of their keys.
class Page {
 public:
  Page(Bytes bytes, const std::string& where) : bytes_(std::move(bytes)) { read_elements(where); }

  Page(Page&&) = default;  // a copy's views would be the original's
  Page& operator=(Page&&) = default;

  bool is_leaf() const { return is_leaf_; }

  const std::vector<Element>& elements() const { return elements_; }

 private:
  void read_elements(const std::string& where) {
    const auto flags = read_number<std::uint16_t>(bytes_, 8);
    const std::size_t count = read_number<std::uint16_t>(bytes_, 10);
    if (flags != kBranch && flags != kLeaf) {
      throw Error(ErrorKind::corrupt, fmt::format("{}: neither branch nor leaf", where));
    }
    is_leaf_ = flags == kLeaf;
    if (kPageHeader + count * kElement > bytes_.size()) {
      throw Error(ErrorKind::corrupt, fmt::format("{}: too many elements: {}", where, count));
    }
    elements_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      elements_.push_back(read_element(kPageHeader + i * kElement, where));
      const bool is_ordered = i == 0 || as_text(elements_[i - 1].key) < as_text(elements_[i].key);
      if (!is_ordered) throw Error(ErrorKind::corrupt, where + ": keys out of order");
    }
  }

  Element read_element(std::size_t at, const std::string& where) const {
    const std::size_t first = is_leaf_ ? at + 4 : at;
    const std::uint64_t begin = at + std::uint64_t{read_number<std::uint32_t>(bytes_, first)};
    const std::uint64_t key_size = read_number<std::uint32_t>(bytes_, first + 4);
    const std::uint64_t value_size = is_leaf_ ? read_number<std::uint32_t>(bytes_, at + 12) : 0;
    if (begin + key_size + value_size > bytes_.size()) {
      throw Error(ErrorKind::corrupt, where + ": an element lies outside of it");
    }
    Element element;
    element.key = ByteView(bytes_).subspan(begin, key_size);
    element.value = ByteView(bytes_).subspan(begin + key_size, value_size);
    if (is_leaf_) {
      element.is_bucket = (read_number<std::uint32_t>(bytes_, at) & kBucketFlag) != 0;
    } else {
      element.child = read_number<std::uint64_t>(bytes_, at + 8);
    }
    return element;
  }

  Bytes bytes_;
  bool is_leaf_ = false;
  std::vector<Element> elements_;  // views into bytes_
};

// Where a bucket's rows are: a page of the file, or bytes inside the parent's value.
struct Bucket {
  std::uint64_t root = 0;
  Bytes inline_page;
};

// An open bbolt file. Each page is entered once at the most, so that no loop of pages can be
// followed.
class File {
 public:
  explicit File(const std::filesystem::path& path)
      : path_(path), fd_(open_file(path, O_RDONLY)), size_(size_of_file()) {
    meta_ = choose_meta();
    if (meta_.high_water > size_ / meta_.page_size) {
      fail(fmt::format("{} pages of {} bytes do not fit in {} bytes", meta_.high_water,
                       meta_.page_size, size_));
    }
    visited_.resize(meta_.high_water);
  }

  using Visit = std::function<void(const Element&)>;

  Bucket root() const { return {meta_.root, {}}; }

  Bucket bucket_of(const Element& element) const {
    if (!element.is_bucket || element.value.size() < kBucketHeader) {
      fail("not a bucket: '" + printable(as_text(element.key)) + "'");
    }
    Bucket bucket{read_number<std::uint64_t>(element.value, 0), {}};
    if (bucket.root != 0) return bucket;
    const ByteView page = element.value.subspan(kBucketHeader);
    if (page.size() < kPageHeader) fail("an inline bucket is too short");
    bucket.inline_page.assign(page.begin(), page.end());
    return bucket;
  }

  // All rows in the order of their keys.
  void for_each(const Bucket& bucket, const Visit& visit) {
    std::string last;
    bool is_first = true;
    walk(load(bucket), 0, [&](const Element& element) {
      if (!is_first && as_text(element.key) <= last) fail("keys out of order");
      is_first = false;
      last = as_text(element.key);
      visit(element);
    });
  }

  // The greatest key, nullopt in an empty bucket.
  std::optional<Bytes> last_key(const Bucket& bucket) {
    Page page = load(bucket);
    for (int depth = 0; !page.is_leaf(); ++depth) {
      if (depth == limits::kDatabaseDepth) fail("the tree is too deep");
      if (page.elements().empty()) fail("a branch without children");
      page = read_page(page.elements().back().child);
    }
    if (page.elements().empty()) return std::nullopt;
    const ByteView key = page.elements().back().key;
    return Bytes(key.begin(), key.end());
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw Error(ErrorKind::corrupt, path_.string() + ": " + why);
  }

  const std::string& name() const { return path_.native(); }

 private:
  std::uint64_t size_of_file() const {
    struct stat status {};

    if (fstat(fd_.get(), &status) != 0) throw_errno(path_, "stat");
    if (!S_ISREG(status.st_mode)) fail("not a regular file");
    return static_cast<std::uint64_t>(status.st_size);
  }

  Bytes read_at(std::uint64_t offset, std::size_t size) const {
    Bytes bytes(size);
    if (read_full_at(fd_.get(), bytes, offset, path_) < size) fail("the file ends early");
    return bytes;
  }

  std::optional<Meta> meta_at(std::uint64_t offset) const {
    constexpr std::size_t kNeeded = kPageHeader + kMetaSize;
    if (offset + kNeeded > size_) return std::nullopt;
    const std::optional<Meta> meta = parse_meta(read_at(offset, kNeeded));
    if (!meta || meta->page_size < kSmallestPage || meta->page_size > limits::kDatabasePage) {
      return std::nullopt;
    }
    return meta;
  }

  // The newer of the two. Without the first, the page size that leads to the second is unknown.
  Meta choose_meta() const {
    const std::optional<Meta> first = meta_at(0);
    if (first) {
      const std::optional<Meta> second = meta_at(first->page_size);
      return second && second->txid > first->txid ? *second : *first;
    }
    for (std::uint32_t size = 1024; size <= limits::kDatabasePage; size *= 2) {
      const std::optional<Meta> second = meta_at(size);
      if (second && second->page_size == size) return *second;
    }
    fail("not an etcd database: no valid meta page");
  }

  Page load(const Bucket& bucket) {
    if (bucket.root != 0) return read_page(bucket.root);
    Page page(bucket.inline_page, path_.string() + ": inline bucket");
    if (!page.is_leaf()) fail("an inline bucket is no leaf");
    return page;
  }

  Page read_page(std::uint64_t id) {
    const std::string where = fmt::format("{}: page {}", path_.string(), id);
    const auto bad = [&](const char* why) { return Error(ErrorKind::corrupt, where + ": " + why); };
    if (id < 2 || id >= meta_.high_water) throw bad("not in the file");
    if (visited_[id]) throw bad("found twice");
    visited_[id] = true;
    const std::uint64_t offset = id * meta_.page_size;
    const Bytes header = read_at(offset, kPageHeader);
    if (read_number<std::uint64_t>(header, 0) != id) throw bad("another page is in its place");
    const std::uint64_t overflow = read_number<std::uint32_t>(header, 12);
    if (overflow >= meta_.high_water - id) throw bad("overflows the file");
    const std::uint64_t size = (overflow + 1) * meta_.page_size;
    if (size > limits::kDatabaseRun) throw bad("too large");
    return Page(read_at(offset, static_cast<std::size_t>(size)), where);
  }

  void walk(const Page& page, int depth, const Visit& visit) {
    if (depth > limits::kDatabaseDepth) fail("the tree is too deep");
    for (const Element& element : page.elements()) {
      if (page.is_leaf()) {
        visit(element);
      } else {
        walk(read_page(element.child), depth + 1, visit);
      }
    }
  }

  std::filesystem::path path_;
  FileDescriptor fd_;
  std::uint64_t size_ = 0;
  Meta meta_;
  std::vector<bool> visited_;
};

// main u64 BE | '_' | sub u64 BE | 't' for a tombstone
std::int64_t revision_of(const File& file, ByteView key) {
  const bool is_revision =
      (key.size() == 17 || (key.size() == 18 && key[17] == 't')) && key[8] == '_';
  if (!is_revision) file.fail("the last row of bucket 'key' is no revision");
  std::uint64_t main = 0;
  for (std::size_t i = 0; i < 8; ++i) main = main << 8 | key[i];
  if (main > INT64_MAX) file.fail("the last revision is out of range");
  return static_cast<std::int64_t>(main);
}

std::uint64_t parse_member_id(const File& file, std::string_view text) {
  std::uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  if (error != std::errc() || end != text.data() + text.size()) {
    file.fail("not a member id: '" + printable(shorten(text, 40)) + "'");
  }
  return id;
}

std::vector<std::string> strings_at(const Json& object, const char* name) {
  std::vector<std::string> strings;
  const Json* const list = find(object, {name});
  if (list == nullptr || !list->is_array()) return strings;
  for (const Json& item : *list) {
    if (item.is_string()) strings.push_back(item.get<std::string>());
  }
  return strings;
}

Member parse_member(const File& file, const Element& element) {
  Member member;
  member.id = parse_member_id(file, as_text(element.key));
  const std::string where = fmt::format("{}: member {:x}", file.name(), member.id);
  const Json json = parse_json(as_text(element.value), where);
  member.name = find_string(json, {"name"}).value_or("");
  member.peer_urls = strings_at(json, "peerURLs");
  member.is_learner = find_bool(json, {"isLearner"}).value_or(false);
  return member;
}

std::vector<Member> read_members(File& file, const Bucket& present, const Bucket* removed) {
  std::set<std::uint64_t> gone;
  if (removed != nullptr) {
    file.for_each(*removed, [&](const Element& element) {
      gone.insert(parse_member_id(file, as_text(element.key)));
    });
  }
  std::vector<Member> members;
  file.for_each(present, [&](const Element& element) {
    Member member = parse_member(file, element);
    if (!gone.contains(member.id)) members.push_back(std::move(member));
  });
  return members;
}

std::string read_cluster_version(File& file, const Bucket& cluster) {
  std::string version;
  file.for_each(cluster, [&](const Element& element) {
    if (as_text(element.key) == "clusterVersion") version = as_text(element.value);
  });
  return version;
}

}  // namespace

std::optional<Meta> parse_meta(ByteView page) {
  if (page.size() < kPageHeader + kMetaSize) return std::nullopt;
  const ByteView meta = page.subspan(kPageHeader, kMetaSize);
  constexpr std::size_t kSummed = kMetaSize - 8;
  if (read_number<std::uint32_t>(meta, 0) != kMagic) return std::nullopt;
  if (read_number<std::uint32_t>(meta, 4) != kVersion) return std::nullopt;
  if (read_number<std::uint64_t>(meta, kSummed) != fnv1a(meta.first(kSummed))) return std::nullopt;
  return Meta{read_number<std::uint32_t>(meta, 8), read_number<std::uint64_t>(meta, 16),
              read_number<std::uint64_t>(meta, 40), read_number<std::uint64_t>(meta, 48)};
}

DatabaseInfo inspect_database(const std::filesystem::path& path) {
  File file(path);
  std::map<std::string, Bucket, std::less<>> buckets;
  file.for_each(file.root(), [&](const Element& element) {
    const std::string_view name = as_text(element.key);
    if (name == "key" || name == "members" || name == "members_removed" || name == "cluster") {
      buckets.emplace(name, file.bucket_of(element));
    }
  });
  const auto bucket = [&](std::string_view name) -> const Bucket* {
    const auto found = buckets.find(name);
    return found == buckets.end() ? nullptr : &found->second;
  };
  const Bucket* const keys = bucket("key");
  if (keys == nullptr) file.fail("not an etcd database: no bucket 'key'");
  DatabaseInfo info;
  if (const std::optional<Bytes> last = file.last_key(*keys))
    info.revision = revision_of(file, *last);
  if (const Bucket* const members = bucket("members")) {
    info.members = read_members(file, *members, bucket("members_removed"));
  }
  if (const Bucket* const cluster = bucket("cluster")) {
    info.cluster_version = read_cluster_version(file, *cluster);
  }
  return info;
}

}  // namespace kubedr::etcd
