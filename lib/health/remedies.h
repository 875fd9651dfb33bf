#ifndef KUBEDR_HEALTH_REMEDIES_H
#define KUBEDR_HEALTH_REMEDIES_H

#include <string>

#include "health/fleet.h"

// What an operator types to mend what a finding is about: each a line for a shell, which nothing
// here runs.
//
// A command of ours has `-n` where the object would not be found without, one of kubectl's always.
// What an object says is quoted for the shell where that could take it for more than a word. A word
// in capitals (IMAGE, DIR) is the reader's to replace. No line has a value of a Secret in it: it names
// the files to take them from.
namespace kubedr::health {

// For a clock that is wrong.
inline constexpr char kSetClock[] = "timedatectl set-ntp true";

// Goes by the mode and the namespaces of a fleet, and by what else was seen there. Lives no longer
// than the fleet.
class Remedies {
 public:
  explicit Remedies(const Fleet& fleet) : fleet_(fleet) {}

  // "kubectl kubedr WORDS -n NAMESPACE", of that object.
  std::string command(const std::string& words, const crd::ObjectRef& ref) const;

  // The same of a whole command of ours; any other text stays as it is.
  std::string in_namespace(const std::string& remedy, const crd::ObjectRef& ref) const;

  // "kubectl kubedr WORDS --location NAME -n NAMESPACE".
  std::string of_location(const std::string& words, const crd::ObjectRef& ref) const;

  // `flags` begin with a space.
  std::string backup(const crd::Policy& policy, const std::string& flags = "") const;

  // kubectl's editor; empty where there is no cluster.
  std::string edit(const std::string& name_space, const std::string& object) const;

  // For a repository that does not open; may be empty.
  std::string repository(const crd::Location& location, const SeenRepository& seen) const;

  // Makes the policy's first CronJob.
  std::string first_schedule(const crd::Policy& policy) const;

  // Makes the CronJob that was seen agree with the policy.
  std::string schedule(const crd::Policy& policy, const SeenSchedule& seen) const;

  // A backup with certificates in it.
  std::string certificates(const crd::Policy& policy) const;

  // Makes the Secret anew that opens the policy's etcd.
  static std::string etcd_secret(const crd::Policy& policy);

 private:
  std::string examine(const crd::Location& location, const std::string& flags = "") const;
  std::string image_for(const crd::Policy& policy) const;

  const Fleet& fleet_;
};

}  // namespace kubedr::health

#endif  // KUBEDR_HEALTH_REMEDIES_H
