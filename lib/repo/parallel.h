#ifndef KUBEDR_REPO_PARALLEL_H
#define KUBEDR_REPO_PARALLEL_H

#include <cstddef>
#include <functional>

#include "base/call.h"

namespace kubedr::repo {

// Runs `work` for 0 .. count-1 on up to `threads` threads, in about that order. The first failure
// ends the others and is thrown; the call handed to `work` ends with it.
void for_each_parallel(std::size_t count, std::size_t threads, const Call& call,
                       const std::function<void(std::size_t, const Call&)>& work);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_PARALLEL_H
