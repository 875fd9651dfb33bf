#include "crd/wording.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"

namespace kubedr::crd {
namespace {

std::string bounded(const std::string& message) {
  return shorten(message, limits::kStatusMessage);
}

Json init_status(const char* state, const std::string& message, std::int64_t generation,
                 WallTime now) {
  return {{"initStatus", state},
          {"initErrorMessage", bounded(message)},
          {"initTime", format_asctime(now)},
          {"observedGeneration", generation}};
}

}  // namespace

Json initializing_status(std::int64_t generation, WallTime now) {
  return init_status("Initializing", "", generation, now);
}

Json init_completed_status(std::int64_t generation, WallTime now) {
  return init_status("Completed", "", generation, now);
}

Json init_failed_status(std::int64_t generation, const std::string& message, WallTime now) {
  return init_status("Failed", message, generation, now);
}

Json prune_failed_status(const std::string& message) {
  return {{"pruneErrorMessage", message.empty() ? Json(nullptr) : Json(bounded(message))}};
}

Json backup_completed_status(const BackupFigures& figures, WallTime now) {
  return {{"backupErrorMessage", ""},
          {"backupPod", figures.backup_pod},
          {"backupStatus", "Completed"},
          {"backupTime", format_asctime(now)},
          {"dataAdded", figures.data_added},
          {"filesChanged", figures.files_changed},
          {"filesNew", figures.files_new},
          {"mbrName", record_name(figures.snapshot_id)},
          {"snapshotId", figures.snapshot_id},
          {"totalBytesProcessed", figures.total_bytes_processed},
          {"totalDurationSecs", duration_text(figures.duration)}};
}

Json backup_failed_status(const std::string& message, WallTime now) {
  return {{"backupErrorMessage", bounded(message)},
          {"backupStatus", "Failed"},
          {"backupTime", format_asctime(now)},
          {"mbrName", ""}};
}

Json restore_completed_status(std::int64_t generation, WallTime now) {
  return {{"observedGeneration", generation},
          {"restoreErrorMessage", ""},
          {"restoreStatus", "Completed"},
          {"restoreTime", format_rfc3339(now)}};
}

Json restore_failed_status(std::int64_t generation, const std::string& message, WallTime now) {
  return {{"observedGeneration", generation},
          {"restoreErrorMessage", bounded(message)},
          {"restoreStatus", "Failed"},
          {"restoreTime", format_rfc3339(now)}};
}

std::string duration_text(std::chrono::nanoseconds duration) {
  constexpr std::int64_t kBillion = 1'000'000'000;
  const std::int64_t nanoseconds = std::max<std::int64_t>(duration.count(), 0);
  std::string text = fmt::format("{}.{:09}", nanoseconds / kBillion, nanoseconds % kBillion);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

EventText init_succeeded(const std::string& repository) {
  return {"Normal", "InitSucceeded", "Repo at " + repository + " is successfully initialized"};
}

EventText init_failed(const std::string& message) {
  return {"Error", "InitFailed", message};
}

EventText backup_succeeded(const std::string& snapshot_id) {
  return {"Normal", "BackupSucceeded", "Backup completed, snapshot ID: " + snapshot_id};
}

EventText backup_failed(const std::string& message) {
  return {"Error", "BackupFailed", message};
}

EventText restore_succeeded(const std::string& snapshot_id) {
  return {"Normal", "RestoreSucceeded", "Restore from snapshot " + snapshot_id + " completed"};
}

EventText restore_failed(const std::string& message) {
  return {"Error", "RestoreFailed", message};
}

Json make_event(const ObjectRef& ref, const EventText& text, const std::string& component,
                WallTime now) {
  const std::string time = format_rfc3339(now);
  // An object from a manifest has no resourceVersion.
  const std::string state = ref.resource_version.empty() ? "" : "-" + ref.resource_version;
  const std::string name =
      fmt::format("{}-v1alpha1-{}-{}{}", kGroup, kind_name(ref.kind), ref.name, state);
  return {{"apiVersion", "v1"},
          {"kind", "Event"},
          {"metadata", {{"name", name}, {"namespace", ref.name_space}}},
          {"involvedObject",
           {{"apiVersion", kApiVersion},
            {"kind", kind_name(ref.kind)},
            {"name", ref.name},
            {"namespace", ref.name_space},
            {"resourceVersion", ref.resource_version},
            {"uid", ref.uid}}},
          {"type", text.type},
          {"reason", text.reason},
          {"message", bounded(text.message)},
          {"count", 1},
          {"firstTimestamp", time},
          {"lastTimestamp", time},
          {"source", {{"component", component}}},
          {"reportingComponent", ""},
          {"reportingInstance", ""}};
}

std::string init_fatal(InitStage stage, const std::string& repository, const std::string& why) {
  const char* what = stage == InitStage::key ? "key in repository" : "repository";
  return fmt::format("Fatal: create {} at {} failed: {}\n\n", what, repository, why);
}

std::string already_initialized(const std::string& repository) {
  return init_fatal(InitStage::key, repository,
                    "repository master key and config already initialized");
}

}  // namespace kubedr::crd
