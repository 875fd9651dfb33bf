// Where to cut a stream so that the next backup of it finds most chunks stored already.
//
// restic cuts by content: a hash of the last 64 bytes rolls over the stream, and wherever its low
// 20 bits are zero a chunk ends. Bytes inserted into a text file move everything behind them, but
// the same 64 bytes still make the same border:
//
//   monday    [the quick brown ][fox jumps over ][the lazy dog]
//   tuesday   [a the quick brown ][fox jumps over ][the lazy dog]      two of three chunks are
//   known
//
// An etcd database never has insertions. bbolt writes changed pages in place of freed ones, a few
// KiB here and there all over the file, and a chunk of a MiB is stored anew for each page in it:
//
//   monday    pages  a b c d e f g h i j k l       x: changed
//   tuesday   pages  a x c d e f g x i j k l
//   by content       [a x c d e][f g x i j k l]    both chunks are new: 12 pages are stored
//   every 2 pages    [a x][c d][e f][g x][i j][k l]  4 pages are stored
//
// So a database is cut at multiples of a few pages, which also costs no hash: at 16 KiB four to
// seven times fewer bytes for a later backup of a database of 84 MB under an hour of churn. The
// price is a longer list of chunks; the workflow chooses a size that keeps it short. Everything
// else, and a database that restic itself saves to the same repository, is cut as restic does it.
//
// The rolling hash is the remainder of the window, read as a polynomial over GF(2), divided by the
// repository's own polynomial. Two facts make it quick. No chunk is shorter than 512 KiB, so the
// hash starts 64 bytes before that. And it depends on the last 64 bytes alone, so that four places
// of the stream are hashed at once: one hash waits for its own table look-ups most of the time.

#include "repo/cut.h"

#include <algorithm>
#include <array>
#include <string>
#include <variant>

#include "base/error.h"
#include "repo/polynomial.h"

namespace kubedr::repo {
namespace {

constexpr std::size_t kWindow = 64;
constexpr std::size_t kMin = std::size_t{512} << 10;
constexpr std::uint64_t kBorderMask = (std::uint64_t{1} << 20) - 1;  // a border every MiB or so

constexpr std::size_t kLanes = 4;
constexpr std::size_t kLaneBytes = 8192;
constexpr std::size_t kStretch = kLanes * kLaneBytes;
constexpr std::size_t kNone = SIZE_MAX;

// The hash of the window that ends at a byte, from that of the window before it.
class RollingHash {
 public:
  explicit RollingHash(std::uint64_t polynomial) : shift_(degree(polynomial) - 8) {
    const int top = degree(polynomial);
    for (std::uint64_t byte = 0; byte < 256; ++byte) {
      // byte * x^top, reduced bit by bit: shifted there at once it could leave 64 bits.
      std::uint64_t reduced = byte;
      for (int i = 0; i < top; ++i) reduced = remainder(reduced << 1, polynomial);
      mod_[byte] = reduced | byte << top;
    }
    // When a byte leaves the window, 64 others came after it: byte * x^(8*64). It is taken out
    // together with the entry of the 64th, so that its look-up does not wait for the last hash.
    for (std::uint64_t byte = 0; byte < 256; ++byte) {
      std::uint64_t out = byte;
      for (std::size_t i = 1; i < kWindow; ++i) out = enter(out, 0);
      leave_[byte] = enter(out, 0);
    }
  }

  std::uint64_t enter(std::uint64_t hash, std::uint8_t byte) const {
    return (hash << 8 | byte) ^ mod_[hash >> shift_];
  }

  std::uint64_t roll(std::uint64_t hash, std::uint8_t oldest, std::uint8_t byte) const {
    return enter(hash, byte) ^ leave_[oldest];
  }

  // Of the 64 bytes before `end`.
  std::uint64_t window_before(const std::uint8_t* end) const {
    std::uint64_t hash = 0;
    for (const std::uint8_t* at = end - kWindow; at != end; ++at) hash = enter(hash, *at);
    return hash;
  }

 private:
  std::array<std::uint64_t, 256> mod_{};
  std::array<std::uint64_t, 256> leave_{};
  int shift_;
};

bool is_border(std::uint64_t hash) {
  return (hash & kBorderMask) == 0;
}

// The bytes up to and with the first border in `size` bytes at `bytes`, or kNone. 64 bytes can be
// read in front of them; `hash` is that of the window which ends there, and is moved on.
std::size_t find_border(const RollingHash& rolling, const std::uint8_t* bytes, std::size_t size,
                        std::uint64_t& hash) {
  std::uint64_t at = hash;
  for (std::size_t i = 0; i < size; ++i) {
    at = rolling.roll(at, *(bytes + i - kWindow), bytes[i]);
    if (!is_border(at)) continue;
    hash = at;
    return i + 1;
  }
  hash = at;
  return kNone;
}

// The same for kStretch bytes. After a border `hash` is 0, which is one.
std::size_t find_border_in_stretch(const RollingHash& rolling, const std::uint8_t* bytes,
                                   std::uint64_t& hash) {
  std::array<std::uint64_t, kLanes> at{hash};
  std::array<std::size_t, kLanes> first{kNone, kNone, kNone, kNone};
  for (std::size_t lane = 1; lane < kLanes; ++lane) {
    at[lane] = rolling.window_before(bytes + lane * kLaneBytes);
  }
  for (std::size_t i = 0; i < kLaneBytes && first[0] == kNone; ++i) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const std::uint8_t* byte = bytes + lane * kLaneBytes + i;
      at[lane] = rolling.roll(at[lane], *(byte - kWindow), *byte);
      if (is_border(at[lane])) first[lane] = std::min(first[lane], i);
    }
  }
  hash = 0;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    if (first[lane] != kNone) return lane * kLaneBytes + first[lane] + 1;
  }
  hash = at[kLanes - 1];
  return kNone;
}

// Borders by content, with what has to be kept between two pieces of the stream.
class ContentCutter {
 public:
  explicit ContentCutter(std::uint64_t polynomial) : rolling_(polynomial) {}

  void feed(ByteView bytes, std::vector<std::size_t>& ends) {
    std::size_t at = 0;
    while (at < bytes.size()) {
      const std::size_t step = advance(bytes, at);
      at += step;
      length_ += step;
      if (length_ < kMin || (!is_border(hash_) && length_ < kLargestChunk)) continue;
      ends.push_back(at);
      length_ = 0;
      hash_ = 0;
    }
    remember(bytes);
  }

 private:
  // Looks at some of the bytes from `at` on: never beyond a border, the smallest or largest chunk.
  std::size_t advance(ByteView bytes, std::size_t at) {
    const std::size_t available = bytes.size() - at;
    if (length_ < kMin - kWindow) return std::min(available, kMin - kWindow - length_);
    if (length_ < kMin) {
      hash_ = rolling_.enter(hash_, bytes[at]);
      return 1;
    }
    if (at < kWindow) {
      hash_ = rolling_.roll(hash_, last_[at], bytes[at]);
      return 1;
    }
    const std::size_t most = std::min(available, kLargestChunk - length_);
    const bool long_enough = most >= kStretch;
    const std::size_t border = long_enough
                                   ? find_border_in_stretch(rolling_, bytes.data() + at, hash_)
                                   : find_border(rolling_, bytes.data() + at, most, hash_);
    if (border != kNone) return border;
    return long_enough ? kStretch : most;
  }

  void remember(ByteView bytes) {
    const std::size_t added = std::min(bytes.size(), kWindow);
    std::copy(last_.begin() + static_cast<std::ptrdiff_t>(added), last_.end(), last_.begin());
    const ByteView newest = bytes.last(added);
    std::copy(newest.begin(), newest.end(), last_.end() - static_cast<std::ptrdiff_t>(added));
  }

  RollingHash rolling_;
  std::uint64_t hash_ = 0;
  std::size_t length_ = 0;                    // of the chunk so far
  std::array<std::uint8_t, kWindow> last_{};  // bytes before those of the next call
};

class FixedCutter {
 public:
  explicit FixedCutter(std::size_t size) : size_(size) {}

  void feed(ByteView bytes, std::vector<std::size_t>& ends) {
    std::size_t end = size_ - length_;
    for (; end <= bytes.size(); end += size_) ends.push_back(end);
    length_ = bytes.size() + size_ - end;
  }

 private:
  const std::size_t size_;
  std::size_t length_ = 0;  // of the chunk so far
};

std::variant<FixedCutter, ContentCutter> make_cutter(const Cut& cut) {
  if (cut.is_fixed()) return FixedCutter(cut.fixed_size());
  return ContentCutter(cut.polynomial());
}

}  // namespace

Cut Cut::fixed(std::size_t size) {
  if (size == 0 || size > kLargestChunk) {
    throw Error(ErrorKind::internal, "cut: chunks of " + std::to_string(size) + " bytes");
  }
  Cut cut;
  cut.fixed_size_ = size;
  return cut;
}

Cut Cut::rabin(std::uint64_t polynomial) {
  // The tables take a byte off the top of a hash and shift it by the degree.
  if (polynomial < 512 || degree(polynomial) > 55) {
    throw Error(ErrorKind::internal, "cut: a polynomial of an impossible degree");
  }
  Cut cut;
  cut.polynomial_ = polynomial;
  return cut;
}

struct Cutter::Impl {
  std::variant<FixedCutter, ContentCutter> cutter;
};

Cutter::Cutter(const Cut& cut) : impl_(std::make_unique<Impl>(Impl{make_cutter(cut)})) {}

Cutter::~Cutter() = default;
Cutter::Cutter(Cutter&&) noexcept = default;

void Cutter::feed(ByteView bytes, std::vector<std::size_t>& ends) {
  std::visit([&](auto& cutter) { cutter.feed(bytes, ends); }, impl_->cutter);
}

}  // namespace kubedr::repo
