#ifndef KUBEDR_WORKFLOW_STEPS_H
#define KUBEDR_WORKFLOW_STEPS_H

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/call.h"

namespace kubedr::workflow {

// A step behind the commit point that did not work out.
struct FailedStep {
  std::string step;  // "record", "status", "totals", "event", "unlock"
  std::string error;
  std::string remedy;
};

// Steps behind the commit point: each is tried, none turns success into failure.
class Steps {
 public:
  void attempt(const std::string& step, const std::string& remedy,
               const std::function<void()>& work);

  const std::vector<FailedStep>& failed() const { return failed_; }

  // For a failure that could not be published: nobody else will be told.
  void warn() const;

 private:
  std::vector<FailedStep> failed_;
};

// A call for the steps behind the commit point, and for cleaning up: it outlives the end of the
// work's own call by ten seconds, which all of one work have together, but for three that each has.
class Afterwards {
 public:
  explicit Afterwards(const Call& work);

  const Call& call() const { return scope_.call(); }

 private:
  CallScope scope_;
  std::jthread watch_;
};

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_STEPS_H
