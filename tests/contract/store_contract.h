#ifndef KUBEDR_CONTRACT_STORE_CONTRACT_H
#define KUBEDR_CONTRACT_STORE_CONTRACT_H

#include <functional>
#include <memory>

#include "storage/store.h"

namespace kubedr::storage {

// A store of a repository that does not exist yet; another one each time. What it stands on must
// outlive it.
using MakeStore = std::function<std::unique_ptr<Store>()>;

// Whether of several who create a file at the same time one is sure to be refused.
enum class Creation { atomic, looks_first };

// What storage/store.h promises, checked with doctest from within a test case.
void check_store(const MakeStore& make, Creation creation = Creation::atomic);

}  // namespace kubedr::storage

#endif  // KUBEDR_CONTRACT_STORE_CONTRACT_H
