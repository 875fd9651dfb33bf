#ifndef KUBEDR_REPO_CONFIG_H
#define KUBEDR_REPO_CONFIG_H

#include <cstdint>
#include <string>
#include <string_view>

#include "base/random.h"

namespace kubedr::repo {

// shape    {"version":2,"id":"<64 hex>","chunker_polynomial":"<hex>"}; sealed, never compressed
// errors   corrupt: not that; `unsupported repository version N` is usage
struct Config {
  int version = 2;  // 1 or 2; 2 compresses
  std::string id;   // 64 random hex digits
  std::uint64_t polynomial = 0;
};

Config make_config(int version, Random& random);
std::string to_json(const Config& config);
Config parse_config(std::string_view json, const std::string& where);

// Irreducible polynomials over GF(2) of degree 53, bits of a number.
bool is_irreducible(std::uint64_t polynomial);
std::uint64_t random_polynomial(Random& random);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_CONFIG_H
