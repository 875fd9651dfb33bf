#include "repo/config.h"

#include <fmt/core.h>

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/hex.h"
#include "base/json.h"
#include "repo/ids.h"
#include "repo/polynomial.h"

namespace kubedr::repo {
namespace {

constexpr int kDegree = 53;         // of the polynomials that restic and we make
constexpr int kSmallestDegree = 9;  // the rolling hash takes a byte off its top

// value * value mod polynomial; `value` is reduced already.
std::uint64_t square(std::uint64_t value, std::uint64_t polynomial) {
  const std::uint64_t top = std::uint64_t{1} << degree(polynomial);
  std::uint64_t result = 0;
  for (std::uint64_t factor = value, shifted = value; factor != 0; factor >>= 1) {
    if ((factor & 1) != 0) result ^= shifted;
    shifted <<= 1;
    if ((shifted & top) != 0) shifted ^= polynomial;
  }
  return result;
}

std::uint64_t greatest_common_divisor(std::uint64_t a, std::uint64_t b) {
  while (b != 0) {
    const std::uint64_t rest = remainder(a, b);
    a = b;
    b = rest;
  }
  return a;
}

void require_version(long long version) {
  if (version == 1 || version == 2) return;
  throw Error(ErrorKind::usage, fmt::format("unsupported repository version {}", version),
              "versions 1 and 2 are read and written");
}

bool is_chunker_polynomial(std::uint64_t polynomial) {
  if (polynomial == 0) return false;
  const int size = degree(polynomial);
  return size >= kSmallestDegree && size <= kDegree && is_irreducible(polynomial);
}

std::optional<std::uint64_t> parse_hex_number(const std::string& text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [at, problem] = std::from_chars(text.data(), end, value, 16);
  if (problem != std::errc() || at != end) return std::nullopt;
  return value;
}

}  // namespace

Config make_config(int version, Random& random) {
  require_version(version);
  std::array<std::uint8_t, 32> id{};
  random.fill(id);
  return Config{version, to_hex(id), random_polynomial(random)};
}

std::string to_json(const Config& config) {
  return fmt::format(R"({{"version":{},"id":"{}","chunker_polynomial":"{:x}"}})", config.version,
                     config.id, config.polynomial);
}

Config parse_config(std::string_view json, const std::string& where) {
  if (json.empty()) {
    throw Error(ErrorKind::corrupt, where + ": config file has zero size, invalid repository?");
  }
  const Json value = parse_json(json, where);
  const std::optional<long long> version = find_integer(value, {"version"});
  const std::optional<std::string> id = find_string(value, {"id"});
  const std::optional<std::string> polynomial = find_string(value, {"chunker_polynomial"});
  if (!version) throw Error(ErrorKind::corrupt, where + ": not a config: no version");
  require_version(*version);
  if (!id || !Id<struct ConfigTag>::parse(*id)) {
    throw Error(ErrorKind::corrupt, where + ": not a config: no id");
  }
  const auto number = polynomial ? parse_hex_number(*polynomial) : std::nullopt;
  if (!number || !is_chunker_polynomial(*number)) {
    throw Error(ErrorKind::corrupt, where + ": invalid chunker polynomial");
  }
  return Config{static_cast<int>(*version), *id, *number};
}

// Ben-Or's test: x^(2^i) - x is the product of all irreducible polynomials whose degree divides i,
// so a common divisor for some i up to half the degree is a factor. Factors are mostly small: a
// random candidate is given up after a few rounds.
bool is_irreducible(std::uint64_t polynomial) {
  if (polynomial < 2) return false;
  constexpr std::uint64_t kX = 2;
  std::uint64_t power = kX;
  for (int i = 1; i <= degree(polynomial) / 2; ++i) {
    power = square(power, polynomial);
    if (greatest_common_divisor(polynomial, power ^ kX) != 1) return false;
  }
  return true;
}

std::uint64_t random_polynomial(Random& random) {
  constexpr std::uint64_t kTop = std::uint64_t{1} << kDegree;
  for (;;) {
    // The top bit makes the degree; without the lowest one x would be a factor.
    const std::uint64_t candidate = (random.next() & (kTop - 1)) | kTop | 1;
    if (is_irreducible(candidate)) return candidate;
  }
}

}  // namespace kubedr::repo
