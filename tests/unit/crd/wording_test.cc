#include "crd/wording.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/limits.h"
#include "base/time.h"
#include "base/yaml.h"

namespace kubedr::crd {
namespace {

std::vector<Json> capture(const std::string& name) {
  const std::string path = std::string(KUBEDR_TEST_DATA) + "/operator-mode/" + name;
  const Bytes bytes = read_file(path, limits::kYamlBytes);
  return parse_yaml(as_text(bytes), name);
}

Json captured(const std::string& file, const std::string& kind) {
  for (const Json& object : capture(file)) {
    if (object["kind"] == kind) return object;
  }
  FAIL("no " << kind << " in " << file);
  return {};
}

Json captured_event(const std::string& file, const std::string& reason) {
  for (const Json& object : capture(file)) {
    if (object["kind"] == "Event" && object["reason"] == reason) return object;
  }
  FAIL("no event " << reason << " in " << file);
  return {};
}

std::set<std::string> keys(const Json& object) {
  std::set<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.insert(key);
  return keys;
}

WallTime at(const char* text) {
  return parse_time(text).value();
}

const WallTime kNow = at("2026-11-22T21:54:32Z");

constexpr char kRepository[] = "s3:http://127.0.0.1:29000/testbucket62";

// The event that was captured, as we would have sent it: without what the server adds.
Json as_sent(Json event) {
  event["metadata"].erase("creationTimestamp");
  event["metadata"].erase("resourceVersion");
  event["metadata"].erase("uid");
  event.erase("eventTime");
  return event;
}

Json same_event(const Json& captured, const EventText& text) {
  const Json& object = captured["involvedObject"];
  ObjectRef ref;
  for (const Kind kind : {Kind::location, Kind::policy, Kind::restore}) {
    if (object["kind"] == kind_name(kind)) ref.kind = kind;
  }
  ref.name = object["name"];
  ref.name_space = object["namespace"];
  ref.uid = object["uid"];
  ref.resource_version = object["resourceVersion"];
  return make_event(ref, text, captured["source"]["component"],
                    parse_time(captured["firstTimestamp"].get<std::string>()).value());
}

}  // namespace

TEST_CASE("status of a good init is the captured one to the letter") {
  const Json status = captured("1-init-succeeded.yaml", "BackupLocation")["status"];
  CHECK(init_completed_status(1, at("2026-11-22T21:54:32Z")) == status);
}

TEST_CASE("status of a second init is the captured one, both newlines included") {
  const Json status = captured("2-init-failed.yaml", "BackupLocation")["status"];
  CHECK(init_failed_status(1, already_initialized(kRepository), at("2026-11-22T21:54:36Z")) ==
        status);
}

TEST_CASE("status before an init has the fields of the one after it") {
  CHECK(keys(initializing_status(1, kNow)) == keys(init_completed_status(1, kNow)));
  CHECK(initializing_status(1, kNow)["initStatus"] == "Initializing");
}

TEST_CASE("status of a good backup is the captured one but for the form of its time") {
  Json status = captured("3-first-backup.yaml", "MetadataBackupPolicy")["status"];
  const WallTime time = parse_time(status["backupTime"].get<std::string>()).value();
  BackupFigures figures;
  figures.backup_pod = "test-backup-backup-job-21012";
  figures.snapshot_id = "9a2d69bb";
  figures.files_new = 6;
  figures.data_added = 358282;
  figures.total_bytes_processed = 359041;
  figures.duration = std::chrono::nanoseconds(258581911);
  status["backupTime"] = "Sun Nov 22 21:54:37 2026";
  CHECK(backup_completed_status(figures, time) == status);
}

TEST_CASE("a failed backup patches four fields and leaves the last good figures alone") {
  Json status = captured("4-second-backup.yaml", "MetadataBackupPolicy")["status"];
  Json expected = captured("5-failed-backup.yaml", "MetadataBackupPolicy")["status"];
  const std::string message = expected["backupErrorMessage"];
  const Json patch = backup_failed_status(message, at("2026-11-22T21:56:06Z"));
  CHECK(patch.size() == 4);
  status.merge_patch(patch);
  expected["backupTime"] = "Sun Nov 22 21:56:06 2026";
  CHECK(status == expected);
}

TEST_CASE("durations are seconds with nine digits and no zeros at the end") {
  using std::chrono::nanoseconds;
  CHECK(duration_text(nanoseconds(318463127)) == "0.318463127");
  CHECK(duration_text(nanoseconds(1500000000)) == "1.5");
  CHECK(duration_text(nanoseconds(61'000'000'001)) == "61.000000001");
  CHECK(duration_text(nanoseconds(10'000'000'000)) == "10");
  CHECK(duration_text(nanoseconds(0)) == "0");
  CHECK(duration_text(nanoseconds(-5)) == "0");
}

TEST_CASE("events are the captured objects to the letter") {
  const Json init = captured_event("2-init-failed.yaml", "InitSucceeded");
  CHECK(same_event(init, init_succeeded(kRepository)) == as_sent(init));
  const Json refused = captured_event("2-init-failed.yaml", "InitFailed");
  CHECK(same_event(refused, init_failed(already_initialized(kRepository))) == as_sent(refused));
  const Json backup = captured_event("3-first-backup.yaml", "BackupSucceeded");
  CHECK(same_event(backup, backup_succeeded("9a2d69bb")) == as_sent(backup));
  const Json failed = captured_event("5-failed-backup.yaml", "BackupFailed");
  CHECK(same_event(failed, backup_failed(failed["message"])) == as_sent(failed));
}

TEST_CASE("an event of an object without resourceVersion does not end in a dash") {
  const ObjectRef ref{Kind::policy, "p", "n", "", ""};
  CHECK(make_event(ref, backup_succeeded("9a2d69bb"), "pod", kNow)["metadata"]["name"] ==
        "kubedr.catalogicsoftware.com-v1alpha1-MetadataBackupPolicy-p");
}

TEST_CASE("a text that is too long for a status is shortened with a mark") {
  const std::string message(limits::kStatusMessage + 1, 'x');
  const std::string shown = backup_failed_status(message, kNow)["backupErrorMessage"];
  CHECK(shown.size() <= limits::kStatusMessage);
  CHECK(shown.ends_with("..."));
  const ObjectRef ref{Kind::policy, "p", "n", "", "1"};
  const Json event = make_event(ref, backup_failed(message), "pod", kNow);
  CHECK(event["message"].get<std::string>().size() <= limits::kStatusMessage);
}

TEST_CASE("other failures of an init name the stage, and end in two newlines as restic's do") {
  CHECK(init_fatal(InitStage::repository, kRepository, "client.BucketExists: Access Denied.") ==
        "Fatal: create repository at s3:http://127.0.0.1:29000/testbucket62 failed: "
        "client.BucketExists: Access Denied.\n\n");
  CHECK(init_fatal(InitStage::key, kRepository, "client.PutObject: Access Denied.") ==
        "Fatal: create key in repository at s3:http://127.0.0.1:29000/testbucket62 failed: "
        "client.PutObject: Access Denied.\n\n");
}

}  // namespace kubedr::crd
