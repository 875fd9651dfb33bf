#include "workflow/tar.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/error.h"
#include "repo/json_text.h"

namespace kubedr::workflow {
namespace {

constexpr std::size_t kBlock = 512;
const std::array<std::uint8_t, 2 * kBlock> kZeros{};

// Where a field of a header begins, and its bytes.
struct Field {
  std::size_t offset;
  std::size_t size;
};

constexpr Field kName{0, 100};
constexpr Field kMode{100, 8};
constexpr Field kUid{108, 8};
constexpr Field kGid{116, 8};
constexpr Field kSize{124, 12};
constexpr Field kTime{136, 12};
constexpr Field kChecksum{148, 8};
constexpr Field kType{156, 1};
constexpr Field kLink{157, 100};
constexpr Field kMagic{257, 8};
constexpr Field kUser{265, 32};
constexpr Field kGroup{297, 32};

std::uint64_t padding_of(std::uint64_t size) {
  return (kBlock - size % kBlock) % kBlock;
}

// One header. What does not fit a field becomes a record of the pax header before it.
class Header {
 public:
  explicit Header(char type) {
    put(kType, std::string(1, type));
    put(kMagic, std::string("ustar\0"
                            "00",
                            8));
  }

  void text(const Field& field, const char* key, const std::string& value) {
    if (value.size() > field.size) {
      // Names are bytes, and records are UTF-8 unless they say otherwise.
      if (!repo::is_utf8(value)) record("hdrcharset", "BINARY");
      record(key, value);
    }
    put(field, value.substr(0, field.size));
  }

  void number(const Field& field, const char* key, std::int64_t value) {
    const std::string digits = fmt::format("{:0{}o}", value, field.size - 1);
    if (value >= 0 && digits.size() < field.size) return put(field, digits);
    record(key, std::to_string(value));
    put(field, std::string(field.size - 1, '0'));
  }

  const std::string& records() const { return records_; }

  ByteView sealed() {
    put(kChecksum, std::string(kChecksum.size, ' '));
    std::uint64_t sum = 0;
    for (const std::uint8_t byte : block_) sum += byte;
    put(kChecksum, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
    return block_;
  }

 private:
  void put(const Field& field, const std::string& value) {
    std::copy(value.begin(), value.end(),
              block_.begin() + static_cast<std::ptrdiff_t>(field.offset));
  }

  // "LENGTH key=value\n", with the digits of the length counted too.
  void record(const std::string& key, const std::string& value) {
    const std::size_t rest = key.size() + value.size() + 3;
    std::size_t size = rest + 1;
    while (size != rest + std::to_string(size).size()) size = rest + std::to_string(size).size();
    records_ += fmt::format("{} {}={}\n", size, key, value);
  }

  std::array<std::uint8_t, kBlock> block_{};
  std::string records_;
};

char type_of(const repo::Node& node) {
  switch (node.type) {
  case repo::NodeType::file:
    return '0';
  case repo::NodeType::symlink:
    return '2';
  case repo::NodeType::dir:
    return '5';
  case repo::NodeType::dev:
  case repo::NodeType::chardev:
  case repo::NodeType::fifo:
  case repo::NodeType::socket:
  case repo::NodeType::irregular:
    return '\0';
  }
  return '\0';
}

}  // namespace

void TarWriter::begin(const std::string& path, const repo::Node& node, std::uint64_t size) {
  pad();
  const char type = type_of(node);
  if (type == '\0') return;
  Header header(type);
  header.text(kName, "path", node.type == repo::NodeType::dir ? path + "/" : path);
  header.number(kMode, "mode", repo::permissions_of(node.mode));
  header.number(kUid, "uid", node.uid);
  header.number(kGid, "gid", node.gid);
  if (node.type == repo::NodeType::file) left_ = size;
  header.number(kSize, "size", static_cast<std::int64_t>(left_));
  const auto seconds = std::chrono::floor<std::chrono::seconds>(node.mtime.time_since_epoch());
  header.number(kTime, "mtime", seconds.count());
  header.text(kLink, "linkpath", node.link_target);
  header.text(kUser, "uname", node.user);
  header.text(kGroup, "gname", node.group);
  if (const std::string& records = header.records(); !records.empty()) {
    Header pax('x');
    pax.text(kName, "path", "PaxHeaders");
    pax.number(kSize, "size", static_cast<std::int64_t>(records.size()));
    write_(pax.sealed());
    write_(as_bytes(records));
    write_(ByteView(kZeros).first(padding_of(records.size())));
  }
  write_(header.sealed());
  padding_ = padding_of(left_);
}

void TarWriter::write(ByteView bytes) {
  if (bytes.size() > left_) throw Error(ErrorKind::internal, "tar: more content than was said");
  left_ -= bytes.size();
  write_(bytes);
}

void TarWriter::finish() {
  pad();
  write_(kZeros);
}

void TarWriter::pad() {
  if (left_ != 0) throw Error(ErrorKind::internal, "tar: less content than was said");
  write_(ByteView(kZeros).first(padding_));
  padding_ = 0;
}

}  // namespace kubedr::workflow
