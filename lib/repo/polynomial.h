#ifndef KUBEDR_REPO_POLYNOMIAL_H
#define KUBEDR_REPO_POLYNOMIAL_H

#include <cstdint>

// Polynomials over GF(2): bit n of a number is the coefficient of x^n.
namespace kubedr::repo {

// Of any polynomial but 0.
inline int degree(std::uint64_t polynomial) {
  return 63 - __builtin_clzll(polynomial);
}

inline std::uint64_t remainder(std::uint64_t value, std::uint64_t polynomial) {
  const int by = degree(polynomial);
  while (value != 0 && degree(value) >= by) value ^= polynomial << (degree(value) - by);
  return value;
}

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_POLYNOMIAL_H
