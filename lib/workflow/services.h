#ifndef KUBEDR_WORKFLOW_SERVICES_H
#define KUBEDR_WORKFLOW_SERVICES_H

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/random.h"
#include "cluster/cluster.h"
#include "repo/lock.h"
#include "repo/writer.h"
#include "storage/store.h"

namespace kubedr::workflow {

// Told how far the work is; what is shown of it, and where, is the implementation's.
//
// threads  advance() is called by any, the rest by the workflow's only
class Progress {
 public:
  virtual ~Progress() = default;

  // A new step begins, in place of the one before; a total of 0 means that it is not known.
  virtual void begin(std::string_view step, std::uint64_t total_bytes) = 0;
  // Never waits: whoever stores or reads must not be held up by a terminal.
  virtual void advance(std::uint64_t bytes) = 0;
  virtual void end(bool done) = 0;
};

// A step while it lives; one that an exception ends was not done.
class Step {
 public:
  Step(Progress& progress, std::string_view name, std::uint64_t total_bytes = 0);
  ~Step();
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

 private:
  Progress& progress_;
  const int exceptions_;  // on their way when it began
};

// Whether copies of what was read before may stand for the store's files: not for who wants to know
// how those are.
enum class Caching { on, off };

// Opens the store that a location names, with the keys of its Secret. Implemented where S3 and
// folders are known: in the composition root.
//
// errors   usage: a URL or keys that cannot be used
using OpenStore = std::function<std::unique_ptr<storage::Store>(
    const crd::Location& location, const cluster::SecretData& keys, Caching caching)>;

// Restic's name of a location's repository, known without opening it.
using RepositoryUrl = std::function<std::string(const crd::Location& location)>;

// What the pod we run in was given of its location's Secret, instead of the right to read it.
struct GivenKeys {
  std::string repository_url;  // whose keys they are
  cluster::SecretData keys;
};

// Everything a recipe works with. What is borrowed outlives every recipe.
struct Services {
  cluster::Cluster& cluster;
  OpenStore open_store;
  RepositoryUrl repository_url;
  const Clock& clock;
  Random& random;
  Progress& progress;
  repo::LockOwner owner;  // who we are in locks
  std::string host;       // where we are, in snapshots
  std::string pod_name;   // of the pod we run in; empty outside
  std::string program;    // "kubectl-kubedr 0.1.0", stored with each snapshot
  repo::WriterOptions writer;
  std::chrono::milliseconds lock_retry = std::chrono::minutes(10);
  bool no_lock = false;  // verbs that only read take none
  // Told when what was asked for is safe, and only later steps are missing.
  std::function<void()> commit = [] {};
  std::optional<GivenKeys> given = std::nullopt;
};

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_SERVICES_H
