#include "workflow/notes.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "crd/wording.h"
#include "workflow/steps.h"

namespace kubedr::workflow {
namespace {

std::string with_time(const Services& services, const std::string& failure) {
  return failure.empty() ? "" : format_rfc3339(services.clock.now()) + " " + failure;
}

// For the next run and for `status`: nothing fails for the want of it.
template <class Write>
void write_note(const crd::ObjectRef& ref, const char* what, const Call& call, const Write& write) {
  const Afterwards afterwards(call);
  try {
    write(afterwards.call());
  } catch (const Error& error) {
    log::info("{}: {} could not be noted: {}", ref.display(), what, error.what());
  }
}

void note(const Services& services, const crd::ObjectRef& ref, const char* annotation,
          const std::string& text, const Call& call) {
  write_note(ref, annotation, call, [&](const Call& limited) {
    services.cluster.annotate(ref, annotation, text, limited);
  });
}

}  // namespace

void note_prune(const Services& services, const crd::Location& location, const std::string& failure,
                const Call& call) {
  if (failure.empty() && location.prune_failure.empty()) return;
  write_note(location.ref, "how the prune went", call, [&](const Call& limited) {
    services.cluster.patch_status(location.ref,
                                  crd::prune_failed_status(with_time(services, failure)), limited);
  });
}

void note_retention(const Services& services, const crd::Policy& policy, const std::string& failure,
                    const std::string& remedy, const Call& call) {
  if (failure.empty() && policy.retention_failure.empty()) return;
  const std::string text = failure.empty() ? "" : with_time(services, failure) + "\n" + remedy;
  note(services, policy.ref, crd::kRetentionFailedAnnotation, text, call);
}

void note_snapshots(const Services& services, const crd::Policy& policy, std::size_t listed,
                    const Call& call) {
  if (policy.snapshots == static_cast<std::int64_t>(listed)) return;
  note(services, policy.ref, crd::kSnapshotsAnnotation, std::to_string(listed), call);
}

void clear_noted_snapshots(const Services& services, const Call& call) {
  try {
    for (const crd::Policy& policy : services.cluster.policies(call).items) {
      if (policy.snapshots) note(services, policy.ref, crd::kSnapshotsAnnotation, "", call);
    }
  } catch (const Error& error) {
    log::info("the policies could not be read: {}", error.what());
  }
}

void note_check(const Services& services, const crd::Location& location,
                const crd::LastCheck& result, const Call& call) {
  note(services, location.ref, crd::kLastCheckAnnotation, crd::to_annotation(result), call);
}

}  // namespace kubedr::workflow
