#ifndef KUBEDR_CRD_WORDING_H
#define KUBEDR_CRD_WORDING_H

#include <string>

#include "base/clock.h"
#include "base/json.h"
#include "crd/resources.h"

// What the operator writes into status and events, to the letter.
//
// source   the seed page monitoring.rst; captures of operator mode in tests/data/operator-mode
namespace kubedr::crd {

// What a good backup reports.
struct BackupFigures {
  std::string backup_pod;
  std::string snapshot_id;  // 8 hex digits
  std::int64_t files_new = 0;
  std::int64_t files_changed = 0;
  std::int64_t data_added = 0;
  std::int64_t total_bytes_processed = 0;
  std::chrono::nanoseconds duration{0};
};

// Values of `status`, complete or, for a failed backup, exactly the four fields to merge.
Json initializing_status(std::int64_t generation, WallTime now);
Json init_completed_status(std::int64_t generation, WallTime now);
Json init_failed_status(std::int64_t generation, const std::string& message, WallTime now);
// Ours alone: operator mode has no word for it. Empty: it went well, and the field is gone again.
Json prune_failed_status(const std::string& message);

Json backup_completed_status(const BackupFigures& figures, WallTime now);
Json backup_failed_status(const std::string& message, WallTime now);

Json restore_completed_status(std::int64_t generation, WallTime now);
Json restore_failed_status(std::int64_t generation, const std::string& message, WallTime now);

// Seconds with nine digits, trailing zeros dropped: "0.318463127".
std::string duration_text(std::chrono::nanoseconds duration);

struct EventText {
  std::string type;    // Normal | Error
  std::string reason;  // InitSucceeded ...
  std::string message;
};

EventText init_succeeded(const std::string& repository);  // "s3:<url>/<bucket>"
EventText init_failed(const std::string& message);
EventText backup_succeeded(const std::string& snapshot_id);
EventText backup_failed(const std::string& message);
EventText restore_succeeded(const std::string& snapshot_id);
EventText restore_failed(const std::string& message);

// A core/v1 Event about the object in the state that `ref` names. `component` is the pod that did
// the work, or what stands in for it.
Json make_event(const ObjectRef& ref, const EventText& text, const std::string& component,
                WallTime now);

// How far restic's init comes: it opens the backend and makes its bucket, then it writes key and
// config.
enum class InitStage { repository, key };

// restic 0.9 to 0.14's text on stderr where that fails, both newlines: "Fatal: create repository at
// X failed: WHY\n\n", or "create key in repository at".
std::string init_fatal(InitStage stage, const std::string& repository, const std::string& why);

// That of a repository that is already there.
std::string already_initialized(const std::string& repository);

}  // namespace kubedr::crd

#endif  // KUBEDR_CRD_WORDING_H
