#ifndef KUBEDR_WORKFLOW_MONITOR_H
#define KUBEDR_WORKFLOW_MONITOR_H

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "health/fleet.h"
#include "workflow/services.h"
#include "workflow/survey.h"

namespace kubedr::workflow {

// Keeps what is known of a fleet: the resources as often as `look` is called, a repository once in
// `repository_interval`, and when a backup was made. What cannot be asked stays as it was seen
// last, and the fleet says so.
//
// threads  look: one thread, and its services' only one; fleet, last_look: any
class Monitor {
 public:
  // `services` must outlive this.
  Monitor(const Services& services, std::chrono::milliseconds repository_interval);

  // One look. An API server or S3 that cannot be asked is no error.
  //
  // errors   what ends the call
  void look(const Call& call);

  // As of now: ages go on, whatever can be asked.
  health::Fleet fleet() const;

  // When the last look ended; nullopt before the first.
  std::optional<SteadyTime> last_look() const;

 private:
  using Name = std::pair<std::string, std::string>;  // namespace and name

  struct Looked {
    health::SeenRepository repository;
    std::vector<health::SeenCertificate> certificates;
    std::vector<health::SeenProblem> etcd_problems;
    std::vector<health::SeenRefusal> refusals;
    std::vector<std::string> snapshots;  // that the policies named then
    SteadyTime next;
  };

  void look_at_fleet(const Call& call);
  void keep(const Name& name, Looked looked);
  bool is_due(const health::Fleet& fleet, const health::SeenLocation& seen) const;
  Looked look_into(const health::Fleet& fleet, const health::SeenLocation& seen,
                   const std::optional<std::string>& cluster_uid, const Call& call) const;
  void publish(health::Fleet fleet);

  const Services& services_;
  const std::chrono::milliseconds interval_;
  std::map<Name, Looked> repositories_;

  mutable std::mutex mutex_;
  // Guarded by mutex_:
  health::Fleet fleet_;
  std::optional<SteadyTime> last_look_;
};

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_MONITOR_H
