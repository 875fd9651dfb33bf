#include "workflow/services.h"

#include <exception>

namespace kubedr::workflow {

Step::Step(Progress& progress, std::string_view name, std::uint64_t total_bytes)
    : progress_(progress), exceptions_(std::uncaught_exceptions()) {
  progress_.begin(name, total_bytes);
}

Step::~Step() {
  progress_.end(std::uncaught_exceptions() == exceptions_);
}

}  // namespace kubedr::workflow
