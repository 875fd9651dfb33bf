// The cluster view: what the cluster holds after each of our steps equals what it held after the
// same step of operator mode, whole objects, captured in data/operator-mode.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <set>
#include <tuple>

#include "base/text.h"
#include "base/time.h"
#include "base/yaml.h"
#include "crd/totals.h"
#include "e2e/world.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

constexpr char kLocation[] = "local-minio";
constexpr char kBucket[] = "testbucket62";
constexpr char kPolicy[] = "test-backup";
constexpr char kRestore[] = "mr1";
constexpr char kRestorePod[] = "mr1-mr";

// What may differ between two clusters, and nothing else may. A value of the keys is only replaced
// if it has the form that it must have, so that a wrong one stays and is seen.
struct Rule {
  std::set<std::string> keys;  // empty: any
  const char* form;
  const char* replacement;
};

const std::vector<Rule>& rules() {
  static constexpr char kRfc3339[] = R"(^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$)";
  static constexpr char kAsctime[] =
      R"(^(Sun|Mon|Tue|Wed|Thu|Fri|Sat) [A-Z][a-z]{2} [ 123]\d \d\d:\d\d:\d\d \d{4}$)";
  static const std::vector<Rule> all = {
      {{"creationTimestamp", "firstTimestamp", "lastTimestamp", "restoreTime"}, kRfc3339, "<time>"},
      {{"initTime", "backupTime"}, kAsctime, "<time>"},
      // The captures' operator wrote backupTime so; the seed page has asctime, and wins.
      {{"backupTime"}, kRfc3339, "<time>"},
      {{"resourceVersion"}, R"(^\d+$)", "<version>"},
      {{"uid"}, "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "<uid>"},
      {{"snapshotId"}, "^[0-9a-f]{8}$", "<id>"},
      {{"mbrName", "name"}, "^mbr-[0-9a-f]{8}$", "mbr-<id>"},
      {{"message"}, "snapshot ID: [0-9a-f]{8}$", "snapshot ID: <id>"},
      {{"message"}, "^Restore from snapshot [0-9a-f]{8} completed$", "Restored <id>"},
      {{"totalDurationSecs"}, R"(^\d+\.\d{1,9}$)", "<seconds>"},
      {{"backupPod", "component"}, R"(^test-backup-backup-job-\d{5}$)", "<pod>"},
      {{"name"}, R"(^(kubedr\.catalogicsoftware\.com-v1alpha1-.*)-\d+$)", "$1-<version>"},
      {{"certsDir"}, "^/.+$", "<folder>"},
      {{"etcdEndpoint"}, R"(^https?://127\.0\.0\.1:\d+$)", "<etcd>"},
      {{"url", "initErrorMessage", "message"}, R"(http://127\.0\.0\.1:\d+)", "<s3>"},
      // Python's words for a folder that is not there, and ours.
      {{"backupErrorMessage"}, "^.+$", "<why>"},
  };
  return all;
}

const std::set<std::string> kSizes = {"dataAdded", "totalBytesProcessed"};

std::string normalized_text(const std::string& key, std::string text) {
  for (const Rule& rule : rules()) {
    if (!rule.keys.empty() && rule.keys.count(key) == 0) continue;
    text = std::regex_replace(text, std::regex(rule.form), rule.replacement);
  }
  return text;
}

// Notes of ours for the next run and for `status`, beside what operator mode writes.
void take_our_notes(Json& object) {
  Json& annotations = object["annotations"];
  for (auto it = annotations.begin(); it != annotations.end();) {
    it = it.key().starts_with("kubedr.catalogicsoftware.com/") ? annotations.erase(it) : ++it;
  }
  if (annotations.empty()) object.erase("annotations");
}

Json normalized(Json object, const std::string& key = "") {
  if (object.is_string()) return normalized_text(key, object.get<std::string>());
  if (object.is_number_integer() && kSizes.count(key) == 1) return "<bytes>";
  if (object.is_array()) {
    for (Json& item : object) item = normalized(item, key);
  }
  if (object.is_object()) {
    if (object.contains("annotations")) take_our_notes(object);
    for (const auto& [name, value] : object.items()) value = normalized(value, name);
    if (find_string(object, {"reason"}) == "BackupFailed") object["message"] = "<why>";
  }
  return object;
}

// What the operator's web hook fills in where it runs; it did not for the captures. Ours come from
// the definitions.
void take_defaults(Json& policy) {
  Json& spec = policy["spec"];
  CHECK(spec.value("etcdCreds", "") == "etcd-creds");
  CHECK(spec.value("suspend", true) == false);
  spec.erase("etcdCreds");
  spec.erase("suspend");
}

// Our pods copy nothing: what did not change since the parent does not count as changed.
void take_changed(Json& policy, int expected) {
  Json& status = policy["status"];
  CHECK(status["filesChanged"] == expected);
  CHECK(status["filesChanged"].is_number_integer());
  status["filesChanged"] = "<changed>";
}

void check_equal(const Json& ours, const Json& captured) {
  const Json difference = Json::diff(captured, ours);
  CHECK_MESSAGE(difference.empty(), difference.dump(2));
}

// The objects of that kind in a capture, oldest change first.
std::vector<Json> captured(const std::string& file, const std::string& kind) {
  const std::string text = read_text(std::string(KUBEDR_TEST_DATA "/operator-mode/") + file);
  REQUIRE_FALSE(text.empty());
  std::vector<Json> objects;
  for (Json& object : parse_yaml(text, file)) {
    if (find_string(object, {"kind"}) == kind) objects.push_back(std::move(object));
  }
  return objects;
}

Json only(const std::vector<Json>& objects) {
  REQUIRE(objects.size() == 1);
  return objects.front();
}

long long version_of(const Json& object) {
  return std::stoll(find_string(object, {"metadata", "resourceVersion"}).value_or("0"));
}

// What the cluster held after a step.
struct View {
  int exit_code = 0;
  std::string err;
  Json location;
  Json policy;
  Json restore;  // in the last step
  std::vector<Json> records;
  std::vector<Json> events;
  std::string version_before;  // of the object the step works on, when it began
  std::string shown;           // of that object, by kubectl get and describe
  std::string capture_shown;   // what the same kubectl shows of the capture
};

// What people see of an object and of its events.
std::string shown_by_kubectl(const KubeApi& api, const std::string& name_space,
                             const std::string& kind, const std::string& name) {
  std::string text;
  for (const char* verb : {"get", "describe"}) {
    const RunResult result = api.kubectl({"-n", name_space, verb, kind, name});
    REQUIRE_MESSAGE(result.ok(), result.err);
    text += result.out;
  }
  return text;
}

// The same of a capture: its object and the events about it, put into a namespace of their own.
std::string shown_of_capture(const KubeApi& api, const std::string& file, const std::string& kind) {
  const std::string name_space = "captured-" + file.substr(0, 1);
  const auto kubectl = [&](const std::vector<std::string>& args, const Json& object) {
    const RunResult result = api.kubectl(args, object.dump());
    REQUIRE_MESSAGE(result.ok(), result.err);
    return result.out;
  };
  kubectl({"create", "namespace", name_space}, Json());
  const auto create = [&](Json object) {
    object["metadata"].erase("resourceVersion");
    object["metadata"]["namespace"] = name_space;
    return parse_json(kubectl({"create", "-o", "json", "-f", "-"}, object), "created");
  };
  const Json object = only(captured(file, kind));
  const Json created = create(object);
  const std::string name = created.at("metadata").at("name");
  kubectl({"-n", name_space, "patch", kind, name, "--subresource=status", "--type=merge", "-p",
           Json{{"status", object.at("status")}}.dump()},
          Json());
  for (Json event : captured(file, "Event")) {
    if (event.at("involvedObject").at("kind") != kind) continue;
    event["involvedObject"]["namespace"] = name_space;
    event["involvedObject"]["uid"] = created.at("metadata").at("uid");
    create(event);
  }
  return shown_by_kubectl(api, name_space, kind, name);
}

// Notes of ours, and times, numbers and names that differ between two clusters aside; events in any
// order, since they may be of the same second.
std::string comparable(const std::string& text) {
  static const std::vector<std::pair<const char*, const char*>> all = {
      {R"(Annotations: +(kubedr\.catalogicsoftware\.com/\S+:[^\n]*\n( +\{[^\n]*\n)? *)+API)",
       "Annotations: <none>\nAPI"},
      {"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uid>"},
      {R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)", "<time>"},
      {R"((Sun|Mon|Tue|Wed|Thu|Fri|Sat) [A-Z][a-z]{2} [ 123]\d \d\d:\d\d:\d\d \d{4})", "<time>"},
      {R"(127\.0\.0\.1:\d+)", "<address>"},
      {R"(https?://<address>)", "<url>"},
      {R"((test-backup-backup-job)-\d{5})", "$1-<number>"},
      {R"((Resource Version|Data Added|Files Changed|Total Bytes Processed): +\d+)",
       "$1: <number>"},
      {R"(Total Duration Secs: +[\d.]+)", "Total Duration Secs: <number>"},
      {R"(\b[0-9a-f]{8}\b)", "<id>"},  // behind the numbers: a fraction may have eight digits
      {R"(Certs Dir: +\S+)", "Certs Dir: <folder>"},
      {R"(Namespace: +\S+)", "Namespace: <namespace>"},
      {R"((Normal|Error) +(\S+) +\S+ +(\S+-(init-pod|mr|<number>)) +)", "$1 $2 <age> $3 "},
      // Python's words for a folder that is not there, and ours.
      {R"((BackupFailed <age> \S+) [^\n]*)", "$1 <why>"},
      {R"(Backup Error Message: +\S[^\n]*)", "Backup Error Message: <why>"},
      {R"( \d+[a-z0-9]*\n)", " <age>\n"},
      {" +", " "}};
  std::string line = text;
  for (const auto& [form, replacement] : all) {
    line = std::regex_replace(line, std::regex(form), replacement);
  }
  const std::size_t events = line.find("Events:");
  std::vector<std::string> rows = split(line.substr(std::min(events, line.size())), '\n');
  std::sort(rows.begin(), rows.end());
  return line.substr(0, events) + join(rows, "\n");
}

// The captures' steps, done by the shipped binary.
class Story {
 public:
  static const Story& shared() {
    static Story story;
    return story;
  }

  View init_succeeded, init_failed, first_backup, second_backup, failed_backup;
  std::optional<View> restored;  // if we may mount a claim
  std::string event_rows, tables;

 private:
  Story() : certificates_(make_certificates(folder_)) {
    create();
    init_succeeded = step("BackupLocation", kLocation, {"init", kLocation});
    init_failed = step("BackupLocation", kLocation, {"init", kLocation});
    first_backup = step("MetadataBackupPolicy", kPolicy, {"backup", kPolicy});
    second_backup = step("MetadataBackupPolicy", kPolicy, {"backup", kPolicy});
    std::filesystem::rename(certificates_, folder_ / "moved");
    failed_backup = step("MetadataBackupPolicy", kPolicy, {"backup", kPolicy});
    restore();
    for (const auto& [view, file, kind] :
         {std::tuple(&init_succeeded, "1-init-succeeded.yaml", "BackupLocation"),
          std::tuple(&init_failed, "2-init-failed.yaml", "BackupLocation"),
          std::tuple(&first_backup, "3-first-backup.yaml", "MetadataBackupPolicy"),
          std::tuple(&second_backup, "4-second-backup.yaml", "MetadataBackupPolicy"),
          std::tuple(&failed_backup, "5-failed-backup.yaml", "MetadataBackupPolicy")}) {
      view->capture_shown = shown_of_capture(plane_.api(), file, kind);
    }
    event_rows = kubectl({"get", "event"});
    tables = kubectl({"get", "backuplocations,metadatabackuppolicies,metadatabackuprecords"});
  }

  void restore() {
    std::filesystem::create_directory(folder_ / "claim");
    const TmpfsMount claim(folder_ / "claim");
    if (!claim.mounted()) return;
    create_restore(first_backup.records.at(0).at("metadata").at("name"));
    restored = step("MetadataRestore", kRestore,
                    {"restore", "--resource", kRestore, "--target", (folder_ / "claim").string()},
                    {{"MY_POD_NAME", kRestorePod}});
    restored->restore = plane_.get("MetadataRestore", kRestore);
    restored->capture_shown = shown_of_capture(plane_.api(), "6-restore.yaml", "MetadataRestore");
  }

  std::string kubectl(std::vector<std::string> args) {
    args.insert(args.begin(), {"-n", kNamespace});
    const RunResult result = plane_.api().kubectl(args);
    REQUIRE_MESSAGE(result.ok(), result.err);
    return result.out;
  }

  void create_secret(const std::string& name, const std::map<std::string, std::string>& values) {
    std::vector<std::string> args = {"create", "secret", "generic", name};
    for (const auto& [key, value] : values) args.push_back("--from-literal=" + key + "=" + value);
    kubectl(args);
  }

  void create() {
    create_secret("minio-creds", {{"access_key", plane_.s3().access_key()},
                                  {"secret_key", plane_.s3().secret_key()},
                                  {"restic_repo_password", kPassword}});
    create_secret("etcd-creds", {{"ca.crt", plane_.etcd().ca_pem()},
                                 {"client.crt", plane_.etcd().client_cert_pem()},
                                 {"client.key", plane_.etcd().client_key_pem()}});
    // `create`, as apply would leave an annotation of its own.
    const RunResult created = plane_.api().kubectl(
        {"create", "-f", "-"},
        fmt::format(R"(
apiVersion: kubedr.catalogicsoftware.com/v1alpha1
kind: BackupLocation
metadata: {{name: {}, namespace: kubedr-system}}
spec: {{url: "{}", bucketName: {}, credentials: minio-creds}}
---
apiVersion: kubedr.catalogicsoftware.com/v1alpha1
kind: MetadataBackupPolicy
metadata: {{name: {}, namespace: kubedr-system}}
spec:
  certsDir: {}
  destination: {}
  etcdEndpoint: {}
  options: {{master-node-label-name: node-role.kubernetes.io/master}}
  retainNumBackups: 3
  schedule: "*/10 * * * *"
)",
                    kLocation, plane_.s3().url(), kBucket, kPolicy, certificates_.string(),
                    kLocation, plane_.etcd().endpoint()));
    REQUIRE_MESSAGE(created.ok(), created.err);
  }

  // Of that record into a claim, and the pod that mounts it.
  void create_restore(const Json& record) {
    const Json restore = {{"apiVersion", "kubedr.catalogicsoftware.com/v1alpha1"},
                          {"kind", "MetadataRestore"},
                          {"metadata", {{"name", kRestore}, {"namespace", kNamespace}}},
                          {"spec", {{"mbrName", record}, {"pvcName", "p"}}}};
    const Json container = {
        {"name", "kubedr"},
        {"image", "kubedr"},
        {"volumeMounts", {{{"name", "target"}, {"mountPath", (folder_ / "claim").string()}}}}};
    const Json volume = {{"name", "target"}, {"persistentVolumeClaim", {{"claimName", "p"}}}};
    const Json pod = {{"apiVersion", "v1"},
                      {"kind", "Pod"},
                      {"metadata", {{"name", kRestorePod}, {"namespace", kNamespace}}},
                      {"spec",
                       {{"automountServiceAccountToken", false},
                        {"containers", {container}},
                        {"volumes", {volume}}}}};
    for (const Json& object : {restore, pod}) {
      const RunResult created = plane_.api().kubectl({"create", "-f", "-"}, object.dump());
      REQUIRE_MESSAGE(created.ok(), created.err);
    }
  }

  std::vector<Json> list(const std::string& kind) {
    std::vector<Json> items;
    const Json all = parse_json(kubectl({"get", kind, "-o", "json"}), kind);
    for (const Json& item : all.at("items")) items.push_back(item);
    std::sort(items.begin(), items.end(),
              [](const Json& a, const Json& b) { return version_of(a) < version_of(b); });
    return items;
  }

  View step(const std::string& kind, const std::string& name, const std::vector<std::string>& args,
            const std::map<std::string, std::string>& env = {}) {
    View view;
    view.version_before = std::to_string(version_of(plane_.get(kind, name)));
    const RunResult result = plane_.kubedr(args, "admin", env);
    view.exit_code = result.exit.code;
    view.err = result.err;
    view.shown = shown_by_kubectl(plane_.api(), kNamespace, kind, name);
    view.location = plane_.get("BackupLocation", kLocation);
    view.policy = plane_.get("MetadataBackupPolicy", kPolicy);
    view.records = list("MetadataBackupRecord");
    view.events = list("Event");
    return view;
  }

  ControlPlane plane_;
  TempDir folder_;
  std::filesystem::path certificates_;
};

const Json& object_of(const View& view, const std::string& kind) {
  if (kind == "BackupLocation") return view.location;
  return kind == "MetadataRestore" ? view.restore : view.policy;
}

void check_events(const View& view, const std::string& file) {
  const std::vector<Json> expected = captured(file, "Event");
  REQUIRE(view.events.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    check_equal(normalized(view.events[i]), normalized(expected[i]));
  }
  const Json& newest = view.events.back();
  const Json& object = newest.at("involvedObject");
  CHECK(object.at("resourceVersion") == view.version_before);
  CHECK(object.at("uid") == object_of(view, object.at("kind")).at("metadata").at("uid"));
  CHECK(newest.at("metadata").at("name") ==
        fmt::format("kubedr.catalogicsoftware.com-v1alpha1-{}-{}-{}",
                    object.at("kind").get<std::string>(), object.at("name").get<std::string>(),
                    view.version_before));
  CHECK(newest.at("firstTimestamp") == newest.at("lastTimestamp"));
}

void check_policy(const View& view, const std::string& file, int changed, int captured_changed) {
  // Where the operator's counters lived in its memory.
  CHECK(view.policy.at("metadata").at("annotations").contains(crd::kTotalsAnnotation));
  Json ours = normalized(view.policy);
  Json theirs = normalized(only(captured(file, "MetadataBackupPolicy")));
  take_defaults(ours);
  take_changed(ours, changed);
  take_changed(theirs, captured_changed);
  check_equal(ours, theirs);
}

void check_records(const View& view, const std::string& file) {
  const std::vector<Json> expected = captured(file, "MetadataBackupRecord");
  REQUIRE(view.records.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    check_equal(normalized(view.records[i]), normalized(expected[i]));
    CHECK(view.records[i].at("metadata").at("name") ==
          "mbr-" + view.records[i].at("spec").at("snapshotId").get<std::string>());
  }
}

Json status_of(const Json& object) {
  return object.at("status");
}

// kubectl's cells are three blanks apart.
std::vector<std::string> cells_of(const std::string& line) {
  static const std::regex gap("  +");
  std::vector<std::string> cells;
  for (std::sregex_token_iterator it(line.begin(), line.end(), gap, -1), end; it != end; ++it) {
    cells.push_back(it->str());
  }
  return cells;
}

// TYPE, REASON, OBJECT, MESSAGE of each row, names aside.
std::multiset<std::vector<std::string>> event_rows(const std::string& text) {
  std::multiset<std::vector<std::string>> rows;
  for (const std::string& line : split(text, '\n')) {
    std::vector<std::string> cells = cells_of(line);
    if (cells.size() < 5) continue;
    cells.erase(cells.begin());
    if (cells[1] == "BackupFailed") cells[3] = "<why>";
    cells[3] = normalized_text("message", cells[3]);
    rows.insert(cells);
  }
  return rows;
}

// Columns of the table that begins with NAME and holds `name`.
std::vector<std::string> header_above(const std::string& tables, const std::string& name) {
  std::vector<std::string> header;
  for (const std::string& line : split(tables, '\n')) {
    if (line.starts_with("NAME")) header = cells_of(line);
    if (line.starts_with(name)) return header;
  }
  return {};
}

bool is_asctime(const Json& value) {
  const auto time = parse_time(value.get<std::string>());
  return time && format_asctime(*time) == value.get<std::string>();
}

}  // namespace

TEST_CASE("cluster view: a successful init leaves what operator mode leaves") {
  KUBEDR_NEEDS("kube-apiserver");
  const View& view = Story::shared().init_succeeded;
  REQUIRE_MESSAGE(view.exit_code == 0, view.err);
  check_equal(normalized(view.location),
              normalized(only(captured("1-init-succeeded.yaml", "BackupLocation"))));
  CHECK(is_asctime(view.location.at("status").at("initTime")));
  check_events(view, "1-init-succeeded.yaml");
}

TEST_CASE("cluster view: a second init fails in restic's words, both newlines included") {
  KUBEDR_NEEDS("kube-apiserver");
  const View& view = Story::shared().init_failed;
  CHECK(view.exit_code == 1);
  check_equal(normalized(view.location),
              normalized(only(captured("2-init-failed.yaml", "BackupLocation"))));
  CHECK(is_asctime(view.location.at("status").at("initTime")));
  const std::string url = view.location.at("spec").at("url").get<std::string>();
  const std::string words =
      "Fatal: create key in repository at s3:" + url +
      "/testbucket62 failed: repository master key and config already initialized\n\n";
  CHECK(view.location.at("status").at("initErrorMessage") == words);
  CHECK(view.events.back().at("message") == words);
  check_events(view, "2-init-failed.yaml");
}

TEST_CASE("cluster view: the first backup leaves what operator mode leaves") {
  KUBEDR_NEEDS("kube-apiserver");
  const View& view = Story::shared().first_backup;
  REQUIRE_MESSAGE(view.exit_code == 0, view.err);
  check_policy(view, "3-first-backup.yaml", 0, 0);
  check_records(view, "3-first-backup.yaml");
  check_events(view, "3-first-backup.yaml");
  const Json status = status_of(view.policy);
  CHECK(is_asctime(status.at("backupTime")));
  CHECK(status.at("mbrName") == view.records.back().at("metadata").at("name"));
  CHECK(status.at("snapshotId") == view.records.back().at("spec").at("snapshotId"));
  CHECK(view.events.back().at("source").at("component") == status.at("backupPod"));
  CHECK(status.at("dataAdded").get<long long>() > 0);
  CHECK(status.at("totalBytesProcessed").get<long long>() > 0);
}

TEST_CASE("cluster view: the second backup leaves what operator mode leaves, from another pod") {
  KUBEDR_NEEDS("kube-apiserver");
  const View& first = Story::shared().first_backup;
  const View& view = Story::shared().second_backup;
  REQUIRE_MESSAGE(view.exit_code == 0, view.err);
  check_policy(view, "4-second-backup.yaml", 1, 6);
  check_records(view, "4-second-backup.yaml");
  check_events(view, "4-second-backup.yaml");
  CHECK(status_of(view.policy).at("backupPod") != status_of(first.policy).at("backupPod"));
  CHECK(status_of(view.policy).at("snapshotId") != status_of(first.policy).at("snapshotId"));
}

TEST_CASE("cluster view: a failed backup changes four fields and keeps the last good figures") {
  KUBEDR_NEEDS("kube-apiserver");
  const View& good = Story::shared().second_backup;
  const View& view = Story::shared().failed_backup;
  CHECK(view.exit_code != 0);
  check_policy(view, "5-failed-backup.yaml", 1, 6);
  check_events(view, "5-failed-backup.yaml");
  CHECK(view.records == good.records);
  Json expected = status_of(good.policy);
  const Json status = status_of(view.policy);
  for (const char* field : {"backupErrorMessage", "backupStatus", "backupTime", "mbrName"}) {
    expected[field] = status.at(field);
  }
  CHECK(status == expected);
  CHECK(is_asctime(status.at("backupTime")));
  const std::string why = status.at("backupErrorMessage").get<std::string>();
  const std::string folder = view.policy.at("spec").at("certsDir").get<std::string>();
  CHECK_MESSAGE(why.find(folder) != std::string::npos, why);
  CHECK(view.events.back().at("message") == why);
  CHECK_MESSAGE(view.err.find(why) != std::string::npos, view.err);
}

TEST_CASE("cluster view: a restore into a claim leaves what operator mode leaves") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story& story = Story::shared();
  KUBEDR_NEEDS_RIGHT(story.restored.has_value(), "mount a tmpfs");
  const View& before = story.failed_backup;
  const View& view = *story.restored;
  REQUIRE_MESSAGE(view.exit_code == 0, view.err);
  check_equal(normalized(view.restore),
              normalized(only(captured("6-restore.yaml", "MetadataRestore"))));
  check_events(view, "6-restore.yaml");
  CHECK(view.location == before.location);
  CHECK(view.policy == before.policy);
  CHECK(view.records == before.records);
}

TEST_CASE("cluster view: kubectl get event shows operator mode's rows") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story& story = Story::shared();
  const std::string captured = read_text(KUBEDR_TEST_DATA "/operator-mode/events.txt");
  auto expected = event_rows(captured);
  CHECK(expected.size() == 7);  // a header, two inits, three backups, a restore
  if (!story.restored) {
    std::erase_if(expected, [](const auto& row) { return row[1] == "RestoreSucceeded"; });
  }
  CHECK(event_rows(story.event_rows) == expected);

  // The rows of the seed page.
  const std::string repository =
      "s3:" + story.init_failed.location.at("spec").at("url").get<std::string>() + "/testbucket62";
  const std::string failed = "Fatal: create key in repository at " + repository +
                             " failed: repository master key and config already initialized";
  for (const auto& [type, reason, message] :
       {std::tuple("Normal", "InitSucceeded",
                   "Repo at " + repository + " is successfully initialized"),
        std::tuple("Error", "InitFailed", failed)}) {
    const std::regex row(
        fmt::format(R"((^|\n)(\d+[hms])+ +{} +{} +backuplocation/local-minio +)", type, reason));
    CHECK(std::regex_search(story.event_rows, row));
    CHECK(story.event_rows.find(message + "\n") != std::string::npos);
  }
}

TEST_CASE("cluster view: kubectl get shows each kind's state in columns") {
  KUBEDR_NEEDS("kube-apiserver");
  using Columns = std::vector<std::string>;
  const std::string& tables = Story::shared().tables;
  CAPTURE(tables);
  const std::string group = ".kubedr.catalogicsoftware.com/";
  CHECK(header_above(tables, "backuplocation" + group + "local-minio") ==
        Columns{"NAME", "STATUS", "URL", "BUCKET", "INITIALIZED", "AGE"});
  CHECK(header_above(tables, "metadatabackuppolicy" + group + "test-backup") ==
        Columns{"NAME", "STATUS", "LAST BACKUP", "SNAPSHOT", "SCHEDULE", "SUSPEND", "LOCATION",
                "AGE"});
  CHECK(header_above(tables, "metadatabackuprecord" + group + "mbr-") ==
        Columns{"NAME", "SNAPSHOT", "POLICY", "LOCATION", "AGE"});
  const Json status = status_of(Story::shared().failed_backup.policy);
  CHECK(tables.find(status.at("backupTime").get<std::string>()) != std::string::npos);
}

TEST_CASE("cluster view: kubectl get and describe show what they show of the captures") {
  KUBEDR_NEEDS("kube-apiserver");
  const Story& story = Story::shared();
  std::vector<std::pair<const View*, const char*>> views = {
      {&story.init_succeeded, "InitSucceeded"},
      {&story.init_failed, "InitFailed"},
      {&story.first_backup, "BackupSucceeded"},
      {&story.second_backup, "BackupSucceeded"},
      {&story.failed_backup, "BackupFailed"}};
  if (story.restored) views.emplace_back(&*story.restored, "RestoreSucceeded");
  for (const auto& [view, reason] : views) {
    CAPTURE(std::string(reason));
    CHECK(comparable(view->shown) == comparable(view->capture_shown));
    CHECK(comparable(view->capture_shown).find(reason) != std::string::npos);
  }
}

TEST_CASE("install: a second time changes nothing") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();  // has it installed already
  const auto versions = [&] {
    std::string text;
    for (const char* kind : {"customresourcedefinitions", "namespaces", "clusterroles",
                             "clusterrolebindings", "roles", "rolebindings", "serviceaccounts",
                             "validatingadmissionpolicies", "validatingadmissionpolicybindings"}) {
      const RunResult got = plane.api().kubectl(
          {"get", kind, "-A", "-o",
           "jsonpath={range .items[*]}{.metadata.name}={.metadata.resourceVersion},{end}"});
      REQUIRE_MESSAGE(got.ok(), got.err);
      text += got.out;
    }
    return text;
  };
  const std::string before = versions();
  const RunResult again = plane.kubedr({"install"});
  REQUIRE_MESSAGE(again.ok(), again.err);
  std::vector<std::string> lines = split(std::string(trim(again.out)), '\n');
  CHECK(lines.size() == 15);
  for (const std::string& line : lines) CHECK_MESSAGE(line.ends_with(" unchanged"), line);
  const Json report = parsed(plane.kubedr({"install", "-o", "json"}));
  for (const Json& one : report.at("installed")) {
    CHECK_MESSAGE(one.at("changed") == false, one.dump());
  }
  CHECK(versions() == before);
}
