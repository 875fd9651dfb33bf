// Wrong names, wrong Secrets, and init where something is in its way.

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fmt/core.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <nlohmann/json.hpp>

#include "e2e/faults.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

// status and event of an init that failed.
void check_init_failure_is_published(ControlPlane& plane, const std::string& location,
                                     std::string_view text) {
  const Json object = plane.get("backuplocation", location);
  const Json& status = object.at("status");
  CAPTURE(status.dump(2));
  CHECK(status.at("initStatus") == "Failed");
  CHECK(status.at("observedGeneration") == object.at("metadata").at("generation"));
  const std::string message = status.at("initErrorMessage").get<std::string>();
  CHECK_MESSAGE(has(message, text), text);
  CHECK_FALSE(object.at("metadata")
                  .value("annotations", Json::object())
                  .contains("initialized.annotations.kubedr.catalogicsoftware.com"));
  const std::vector<Json> events = plane.events_of(location);
  REQUIRE(events.size() == 1);
  CHECK(events[0].at("type") == "Error");
  CHECK(events[0].at("reason") == "InitFailed");
  CHECK(events[0].at("message") == message);
}

Json allowed(const std::vector<std::string>& actions) {
  const Json statement = {
      {"Effect", "Allow"}, {"Action", actions}, {"Resource", {"arn:aws:s3:::*"}}};
  return {{"Version", "2012-10-17"}, {"Statement", {statement}}};
}

// What a repository's upkeep needs, and nothing else.
Json upkeep_rights() {
  return allowed(
      {"s3:ListBucket", "s3:GetBucketLocation", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"});
}

Json reading_rights() {
  return allowed({"s3:ListBucket", "s3:GetBucketLocation", "s3:GetObject"});
}

void make_bucket(const S3Server& s3, const std::string& name) {
  const SystemClock clock;
  open_bucket(s3, name, clock)->create(Call(clock).within(std::chrono::seconds(30)));
}

void change_location(ControlPlane& plane, const std::string& name, const Json& spec) {
  const Json patch = {{"spec", spec}};
  REQUIRE(plane.api()
              .kubectl({"-n", kNamespace, "patch", "backuplocation", name, "--type=merge", "-p",
                        patch.dump()})
              .ok());
}

// "Fatal: create repository at s3:http://... failed: ", and how the text ends.
struct Frame {
  std::string begin;
  std::string end;

  bool operator==(const Frame&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Frame& frame) {
  return out << Json{frame.begin, frame.end};
}

Frame frame_of(const std::string& text) {
  const std::string failed = " failed: ";
  const std::size_t at = text.find(failed);
  REQUIRE_MESSAGE(at != std::string::npos, text);
  return {text.substr(0, at + failed.size()), text.substr(text.find_last_not_of('\n') + 1)};
}

// What an init of that location says in its status is framed as what restic's init says.
void check_framed_as_by_restic(ControlPlane& plane, const std::string& location,
                               const std::map<std::string, std::string>& env,
                               const std::vector<std::string>& versions = {"0.11", "0.14",
                                                                           "0.18"}) {
  CAPTURE(location);
  CHECK_FALSE(plane.kubedr({"init", location}).ok());
  const Frame ours = frame_of(
      plane.get("backuplocation", location).at("status").at("initErrorMessage").get<std::string>());
  for (const std::string& version : versions) {
    CAPTURE(version);
    const RunResult theirs = restic(version, {"init"}, env);
    CHECK_FALSE(theirs.ok());
    const std::size_t at = theirs.err.find("Fatal: ");
    REQUIRE_MESSAGE(at != std::string::npos, theirs.err);
    CHECK(ours == frame_of(theirs.err.substr(at)));
  }
}

// All that an init needs of the API server but one step's, granted to kInitUser while this lives.
constexpr char kInitUser[] = "reader";

class InitRights {
 public:
  InitRights(ControlPlane& plane, const std::string& but) : plane_(plane) {
    const std::string group = "kubedr.catalogicsoftware.com";
    Json rules = {rule(group, "backuplocations", {"get", "list"}), rule("", "secrets", {"get"})};
    for (const auto& [step, granted] :
         std::map<std::string, Json>{{"status", rule(group, "backuplocations/status", {"patch"})},
                                     {"annotation", rule(group, "backuplocations", {"patch"})},
                                     {"event", rule("", "events", {"create"})}}) {
      if (step != but) rules.push_back(granted);
    }
    const std::string api = "rbac.authorization.k8s.io";
    const Json metadata = {{"name", kName}, {"namespace", kNamespace}};
    plane_.apply(Json{
        {"apiVersion", api + "/v1"}, {"kind", "Role"}, {"metadata", metadata}, {"rules", rules}}
                     .dump());
    plane_.apply(Json{{"apiVersion", api + "/v1"},
                      {"kind", "RoleBinding"},
                      {"metadata", metadata},
                      {"subjects", {{{"kind", "User"}, {"name", kInitUser}}}},
                      {"roleRef", {{"apiGroup", api}, {"kind", "Role"}, {"name", kName}}}}
                     .dump());
    // The authorizer learns of it a moment later.
    REQUIRE(eventually([&] {
      return may("get", "secrets") && may("create", "events") == (but != "event") &&
             may("patch", "backuplocations." + group) == (but != "annotation");
    }));
  }

  InitRights(const InitRights&) = delete;
  InitRights& operator=(const InitRights&) = delete;

  ~InitRights() {
    plane_.api().kubectl({"-n", kNamespace, "delete", "role,rolebinding", kName});
    eventually([&] { return !may("get", "secrets"); });
  }

 private:
  static constexpr char kName[] = "init-but-one";

  static Json rule(const std::string& group, const std::string& resource,
                   const std::vector<std::string>& verbs) {
    return {{"apiGroups", {group}}, {"resources", {resource}}, {"verbs", verbs}};
  }

  bool may(const std::string& verb, const std::string& resource) const {
    return plane_.api()
        .kubectl({"-n", kNamespace, "auth", "can-i", verb, resource, "--as", kInitUser})
        .ok();
  }

  ControlPlane& plane_;
};

// A port of 127.0.0.1 where no connection is taken and none refused: its queue is full.
class DeafPort {
 public:
  DeafPort() : number_(free_port()) {
    const sockaddr_in address{
        AF_INET, htons(static_cast<std::uint16_t>(number_)), {htonl(INADDR_LOOPBACK)}, {}};
    const auto* const at = reinterpret_cast<const sockaddr*>(&address);
    listener_ = FileDescriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(bind(listener_.get(), at, sizeof address) == 0);
    REQUIRE(listen(listener_.get(), 0) == 0);
    for (FileDescriptor& waiting : waiting_) {
      waiting = FileDescriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      connect(waiting.get(), at, sizeof address);
    }
  }

  int number() const { return number_; }

 private:
  const int number_;
  FileDescriptor listener_;
  std::array<FileDescriptor, 4> waiting_;
};

// An init of that repository that can be held up at a request: stopped before it has the answer.
class HeldInit {
 public:
  // `argv` may end in a flag for the repository's address.
  HeldInit(const S3Server& s3, const BareRepository& repository, std::vector<std::string> argv,
           const ProxyRules& rules = {})
      : rules_(rules), proxy_(s3.port()) {
    ProxyRules slow = rules;
    slow.delay = std::chrono::milliseconds(200);
    proxy_.set(slow);
    argv.push_back(replaced(repository.url(), s3.port(), proxy_.port()));
    ProcessOptions options;
    options.env = repository.env();
    options.env["HOME"] = home_.path().string();
    process_.emplace(argv, options);
  }

  // At the so manieth of its kind.
  void hold_at(std::string_view request, int number = 1) {
    REQUIRE_MESSAGE(try_hold_at(request, number), process_->err());
  }

  // The same; false if it ended before it came there.
  bool try_hold_at(std::string_view request, int number) {
    REQUIRE_MESSAGE(eventually([&] {
                      return count(request) >= number ||
                             process_->wait(std::chrono::milliseconds(0)).has_value();
                    }),
                    process_->err());
    process_->kill(SIGSTOP);
    return count(request) >= number;
  }

  void go_on() {
    proxy_.set(rules_);
    process_->kill(SIGCONT);
  }

  int count(std::string_view request) const {
    const std::vector<std::string> requests = proxy_.requests();
    return static_cast<int>(
        std::count_if(requests.begin(), requests.end(),
                      [&](const std::string& line) { return has(line, request); }));
  }

  RunResult result() {
    const auto end = process_->wait(std::chrono::seconds(60));
    REQUIRE_MESSAGE(end, process_->err());
    return {*end, process_->out(), process_->err(), "", false};
  }

  int exit_code() { return result().exit.code; }

  std::string err() const { return process_->err(); }

 private:
  static std::string replaced(std::string url, int from, int to) {
    const std::string port = std::to_string(from);
    return url.replace(url.find(port), port.size(), std::to_string(to));
  }

  TempDir home_;
  const ProxyRules rules_;
  ByteProxy proxy_;
  std::optional<Process> process_;
};

// Of the races between inits.
const S3Server& race_server() {
  static const S3Server s3;
  return s3;
}

HeldInit start_our_init(const S3Server& s3, const BareRepository& repository,
                        const ProxyRules& rules = {}) {
  return {s3, repository, {KUBEDR_BINARY, "init", "--repo"}, rules};
}

HeldInit start_restic_init(const S3Server& s3, const BareRepository& repository) {
  return {s3, repository, {find_server("restic-0.18").string(), "init", "--no-cache", "--repo"}};
}

// One key, and everybody can work with it.
void check_works_for_all(const BareRepository& repository) {
  const RunResult keys = restic("0.18", {"list", "keys"}, repository.restic_env());
  CHECK_MESSAGE(keys.ok(), keys.err);
  CHECK(keys.out.size() == 64 + 1);
  const RunResult backup = repository.run({"backup"});
  CHECK_MESSAGE(backup.ok(), backup.err);
  repository.check_repository();
}

// Two inits at a time, both stopped before they have the answer of that request, with which each
// has found nothing for the so manieth time. Whether it came to that: they may run on too far
// before they are stopped, and one still wins then.
bool check_one_of_two_wins(const std::string& bucket, const std::string& look, int number,
                           const ProxyRules& rules = {}) {
  const S3Server& s3 = race_server();
  const BareRepository repository(s3, bucket);
  HeldInit one = start_our_init(s3, repository, rules);
  HeldInit two = start_our_init(s3, repository, rules);
  const bool held = one.try_hold_at(look, number) && two.try_hold_at(look, number);
  const std::string write = "PUT /" + bucket + "/config";
  // Behind each look that finds nothing there is a try to write.
  const auto both_wrote = [&](int times) {
    return one.count(write) == times && two.count(write) == times;
  };
  const bool neither_yet = held && both_wrote(number - 1);
  one.go_on();
  two.go_on();
  const RunResult first = one.result();
  const RunResult second = two.result();
  CAPTURE(first.err);
  CAPTURE(second.err);
  CHECK(first.ok() != second.ok());
  check_failed(first.ok() ? second : first, 1, "already initialized");
  check_works_for_all(repository);
  const bool met = neither_yet && both_wrote(number);
  if (met && rules.unknown_header.empty()) {
    // The store refused its config: it got no further.
    CHECK((first.ok() ? two : one).count("PUT /" + bucket + "/keys/") == 0);
  }
  return met;
}

}  // namespace

TEST_CASE("faults: a name that is not there is answered with the one that was meant") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("wrong-name");
  const RunResult init = plane.kubedr({"init", "wrong-nome"});
  check_failed(init, 4, "backuplocation \"wrong-nome\" not found in namespace \"kubedr-system\"");
  CHECK(has(init.err, "did you mean \"wrong-name\"?"));
  const RunResult backup = plane.kubedr({"backup", "rong-name"});
  check_failed(backup, 4, "metadatabackuppolicy \"rong-name\" not found");
  CHECK(has(backup.err, "did you mean \"wrong-name\"?"));
  check_failed(plane.kubedr({"backup", "nothing-like-it"}), 4, "there are: ");
  check_failed(plane.kubedr({"snapshots", "wrong-nome"}), 4, "not found");
  CHECK(plane.events_of("wrong-name").empty());
}

TEST_CASE("faults: with -o json the error is one object on the last line of stderr") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("wrong-json");
  const RunResult result = plane.kubedr({"backup", "wrong-jso", "-o", "json"});
  CHECK(result.exit.code == 4);
  CHECK(result.out == "");
  const std::string text = result.err.substr(0, result.err.size() - 1);
  const Json error = parse_json(text.substr(text.find_last_of('\n') + 1), "stderr").at("error");
  CHECK(error.at("kind") == "not_found");
  CHECK(error.at("exitCode") == 4);
  CHECK(has(error.at("message").get<std::string>(), "wrong-jso"));
  CHECK(has(error.at("hint").get<std::string>(), "wrong-json"));
}

TEST_CASE("faults: a policy whose location is not there says so in its status") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("no-place", {{"destination", "no-plaice"}});
  check_failed(plane.kubedr({"backup", "no-place"}), 4, "backuplocation \"no-plaice\" not found");
  const Json status = plane.get("metadatabackuppolicy", "no-place").at("status");
  CHECK(status.size() == 4);
  CHECK(status.at("backupStatus") == "Failed");
  const std::string message = status.at("backupErrorMessage").get<std::string>();
  CHECK(has(message, "no-plaice"));
  const std::vector<Json> events = plane.events_of("no-place");
  REQUIRE(events.size() == 1);
  CHECK(events[0].at("type") == "Error");
  CHECK(events[0].at("reason") == "BackupFailed");
  CHECK(events[0].at("message") == message);
}

TEST_CASE("faults: a Secret that is not there, or lacks a key, is named") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "bare-secret");
  const std::string creds = "bare-secret-creds";

  for (const char* key : {"access_key", "secret_key", "restic_repo_password"}) {
    CAPTURE(key);
    const Json secret = plane.get("secret", creds);
    const std::string text = fmt::format("secret \"{}\" has no key \"{}\"", creds, key);
    set_key(plane, creds, key, std::nullopt);
    check_failed(policy.backup(), 4, text);
    policy.check_failure_is_published(text);
    plane.apply(Json{{"apiVersion", "v1"},
                     {"kind", "Secret"},
                     {"metadata", {{"name", creds}, {"namespace", kNamespace}}},
                     {"data", secret.at("data")}}
                    .dump());
  }
  const std::string etcd = "bare-secret-etcd";
  const std::string key_there = plane.etcd().client_key_pem();
  set_key(plane, etcd, "client.key", std::nullopt);
  check_failed(policy.backup(), 4, "secret \"bare-secret-etcd\" has no key \"client.key\"");
  policy.check_failure_is_published("client.key");
  set_key(plane, etcd, "client.key", key_there);

  REQUIRE(plane.api().kubectl({"-n", kNamespace, "delete", "secret", etcd}).ok());
  check_failed(policy.backup(), 4, "secret \"bare-secret-etcd\" not found");
  policy.check_failure_is_published("secret \"bare-secret-etcd\" not found");

  REQUIRE(plane.api().kubectl({"-n", kNamespace, "delete", "secret", creds}).ok());
  check_failed(policy.backup(), 4, "secret \"bare-secret-creds\" not found");
  policy.check_failure_is_published("secret \"bare-secret-creds\" not found");

  plane.add_policy("bare-secret");
  policy.check_next_backup_works();
}

TEST_CASE("faults: keys and password with a newline at their end work, with a warning") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "newlines");
  const std::string creds = "newlines-creds";
  set_key(plane, creds, "access_key", plane.s3().access_key() + "\n");
  set_key(plane, creds, "secret_key", plane.s3().secret_key() + "\n");
  const RunResult keys = policy.backup();
  CHECK_MESSAGE(keys.ok(), keys.err);
  CHECK(has(keys.err, "key access_key ends in white space"));
  CHECK(has(keys.err, "key secret_key ends in white space"));
  CHECK_FALSE(has(keys.err, plane.s3().secret_key()));

  set_key(plane, creds, "restic_repo_password", std::string(kPassword) + "\n");
  const RunResult password = policy.backup();
  CHECK_MESSAGE(password.ok(), password.err);
  CHECK(has(password.err, "newline at its end"));
  CHECK_FALSE(has(password.err, kPassword));
  CHECK(policy.snapshot_ids().size() == 3);
}

TEST_CASE("faults: init makes no repository with a password that ends in a newline") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_location("new-newline");
  set_key(plane, "new-newline-creds", "restic_repo_password", std::string(kPassword) + "\n");
  const RunResult init = plane.kubedr({"init", "new-newline"});
  check_failed(init, 2, "ends in a newline");
  check_init_failure_is_published(plane, "new-newline", "ends in a newline");
  CHECK(restic("0.18", {"cat", "config"}, plane.restic_env("new-newline")).exit.code != 0);
}

TEST_CASE("faults: while S3 does not answer, a location is Initializing") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  ByteProxy proxy(plane.s3().port());
  plane.add_location("waiting", fmt::format("http://127.0.0.1:{}", proxy.port()));
  ProxyRules stall;
  stall.stall_at = 0;
  proxy.set(stall);
  Process init =
      start_kubedr({"init", "waiting", "--kubeconfig", plane.api().kubeconfig().string()});
  REQUIRE_MESSAGE(eventually([&] { return !proxy.requests().empty(); }), init.err());
  Json object = plane.get("backuplocation", "waiting");
  CHECK(object.at("status").at("initStatus") == "Initializing");
  CHECK(object.at("status").at("initErrorMessage") == "");
  CHECK(object.at("status").at("observedGeneration") == 1);
  CHECK(plane.events_of("waiting").empty());

  proxy.set({});
  const auto end = init.wait(std::chrono::seconds(60));
  REQUIRE(end);
  CHECK_MESSAGE(end->code == 0, init.err());
  object = plane.get("backuplocation", "waiting");
  CHECK(object.at("status").at("initStatus") == "Completed");
  CHECK(plane.events_of("waiting").size() == 1);
}

TEST_CASE("faults: init of an endpoint where nobody listens") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const std::string url = fmt::format("http://127.0.0.1:{}", free_port());
  plane.add_location("nobody-there", url);
  const auto begin = std::chrono::steady_clock::now();
  check_failed(plane.kubedr({"init", "nobody-there"}), 20, url);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
  check_init_failure_is_published(plane, "nobody-there", "Fatal: ");
}

TEST_CASE("faults: a backup to an endpoint that does not even refuse a connection") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "no-answer");
  const DeafPort port;
  const std::string url = fmt::format("http://127.0.0.1:{}", port.number());
  plane.add_location("no-answer", url);
  const auto begin = std::chrono::steady_clock::now();
  const RunResult deaf = policy.backup({"-v", "--timeout", "12s"});
  check_failed(deaf, 20, url);
  CHECK(has(deaf.err, url + ": could not connect in time"));
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
  policy.check_failure_is_published(url);
  plane.add_location("no-answer");
  policy.check_next_backup_works();
}

TEST_CASE("faults: init of an endpoint whose host is unknown") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_location("no-such-host", "http://minio.invalid:9000");
  check_failed(plane.kubedr({"init", "no-such-host"}), 20, "minio.invalid");
  check_init_failure_is_published(plane, "no-such-host", "minio.invalid");
}

TEST_CASE("faults: init of an S3 whose certificate nobody vouches for") {
  KUBEDR_NEEDS("minio");
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const S3Server s3(S3Server::Scheme::https);
  plane.add_location("untrusted", s3.url());
  check_failed(plane.kubedr({"init", "untrusted"}), 21, "certificate");
  check_init_failure_is_published(plane, "untrusted", "certificate");

  // The remedy: its certificate authority in the Secret.
  set_key(plane, "untrusted-creds", "ca.crt", s3.ca_pem());
  const RunResult trusted = plane.kubedr({"init", "untrusted"});
  CHECK_MESSAGE(trusted.ok(), trusted.err);
  CHECK(plane.get("backuplocation", "untrusted").at("status").at("initStatus") == "Completed");
}

TEST_CASE("faults: S3's own words about a wrong key are in status and event") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_location("wrong-secret");
  set_key(plane, "wrong-secret-creds", "secret_key", "surely-not-the-right-one");
  const std::string signature = "signature we calculated does not match";
  const RunResult wrong = plane.kubedr({"init", "wrong-secret"});
  check_failed(wrong, 21, signature);
  CHECK_FALSE(has(wrong.err, "surely-not-the-right-one"));
  check_init_failure_is_published(plane, "wrong-secret", signature);

  plane.add_location("wrong-access");
  set_key(plane, "wrong-access-creds", "access_key", "nobody");
  const std::string unknown = "Access Key Id you provided does not exist";
  check_failed(plane.kubedr({"init", "wrong-access"}), 21, unknown);
  check_init_failure_is_published(plane, "wrong-access", unknown);
}

TEST_CASE("faults: a backup with a wrong S3 key leaves the figures of the last good one") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "key-changed");
  set_key(plane, "key-changed-creds", "secret_key", "surely-not-the-right-one");
  check_failed(policy.backup(), 21, "signature we calculated does not match");
  policy.check_failure_is_published("signature we calculated does not match");
  set_key(plane, "key-changed-creds", "secret_key", plane.s3().secret_key());
  policy.check_next_backup_works();
}

TEST_CASE("faults: a bucket that S3 will not make is named, with S3's reason") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_location("bad-bucket");
  change_location(plane, "bad-bucket", {{"bucketName", "Not_A_Bucket"}});
  const RunResult init = plane.kubedr({"init", "bad-bucket"});
  check_failed(init, 1, "Not_A_Bucket");
  check_init_failure_is_published(plane, "bad-bucket", "Not_A_Bucket");
  CHECK(plane.get("backuplocation", "bad-bucket").at("status").at("observedGeneration") == 2);
}

TEST_CASE("faults: keys that may write into a bucket but make none") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("no-maker");
  for (const auto& [key, value] : temporary_keys(plane.s3(), upkeep_rights())) {
    set_key(plane, "no-maker-creds", key, value);
  }
  const RunResult init = plane.kubedr({"init", "no-maker"});
  check_failed(init, 21, "make bucket no-maker: 403 AccessDenied");
  check_init_failure_is_published(plane, "no-maker", "Access Denied");

  // Once somebody made it, these rights are all that is needed.
  make_bucket(plane.s3(), "no-maker");
  const RunResult made = plane.kubedr({"init", "no-maker"});
  CHECK_MESSAGE(made.ok(), made.err);
  const RunResult backup = plane.kubedr({"backup", "no-maker"});
  CHECK_MESSAGE(backup.ok(), backup.err);
  set_key(plane, "no-maker-creds", "session_token", std::nullopt);
  check_failed(plane.kubedr({"snapshots", "no-maker"}), 21, "security token");
}

TEST_CASE("faults: init where a repository is already fails as the seed page shows it") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_location("twice");
  REQUIRE(plane.kubedr({"init", "twice"}).ok());
  const auto env = plane.restic_env("twice");
  const RunResult config = restic("0.18", {"cat", "config"}, env);
  const RunResult keys = restic("0.18", {"list", "keys"}, env);
  REQUIRE(config.ok());

  const std::string text = fmt::format(
      "Fatal: create key in repository at s3:{}/twice failed: repository master key and config "
      "already initialized",
      plane.s3().url());
  check_failed(plane.kubedr({"init", "twice"}), 1, text);
  const Json object = plane.get("backuplocation", "twice");
  CHECK(object.at("status").at("initStatus") == "Failed");
  CHECK(object.at("status").at("initErrorMessage") == text + "\n\n");
  // The annotation of the first success stays, as in operator mode.
  CHECK(object.at("metadata")
            .at("annotations")
            .at("initialized.annotations.kubedr.catalogicsoftware.com") == "true");
  int errors = 0;
  for (const Json& event : plane.events_of("twice")) {
    if (event.at("reason") != "InitFailed") continue;
    ++errors;
    CHECK(event.at("type") == "Error");
    CHECK(has(event.at("message").get<std::string>(), text));
  }
  CHECK(errors == 1);
  CHECK(restic("0.18", {"cat", "config"}, env).out == config.out);
  CHECK(restic("0.18", {"list", "keys"}, env).out == keys.out);

  const RunResult again = plane.kubedr({"init", "twice", "--if-needed"});
  CHECK_MESSAGE(again.ok(), again.err);
  CHECK(plane.get("backuplocation", "twice").at("status").at("initStatus") == "Completed");
}

TEST_CASE("faults: what an init says of its failure is framed as restic frames it") {
  KUBEDR_NEEDS("kube-apiserver");
  for (const char* version : {"restic-0.11", "restic-0.14", "restic-0.18"}) KUBEDR_NEEDS(version);
  ControlPlane& plane = ControlPlane::shared();
  const auto with = [&](std::map<std::string, std::string> env,
                        const std::map<std::string, std::string>& changed) {
    for (const auto& [name, value] : changed) env[name] = value;
    return env;
  };

  // Up to the bucket it is about the repository ...
  const std::string refused = fmt::format("http://127.0.0.1:{}", free_port());
  plane.add_location("framed-refused", refused);
  check_framed_as_by_restic(plane, "framed-refused",
                            with(plane.restic_env("framed-refused"),
                                 {{"RESTIC_REPOSITORY", "s3:" + refused + "/framed-refused"}}));
  plane.add_location("framed-secret");
  set_key(plane, "framed-secret-creds", "secret_key", "surely-not-the-right-one");
  check_framed_as_by_restic(plane, "framed-secret",
                            with(plane.restic_env("framed-secret"),
                                 {{"AWS_SECRET_ACCESS_KEY", "surely-not-the-right-one"}}));
  plane.add_location("framed-access");
  set_key(plane, "framed-access-creds", "access_key", "nobody");
  check_framed_as_by_restic(
      plane, "framed-access",
      with(plane.restic_env("framed-access"), {{"AWS_ACCESS_KEY_ID", "nobody"}}));
  plane.add_location("framed-short");
  change_location(plane, "framed-short", {{"bucketName", "ab"}});
  check_framed_as_by_restic(plane, "framed-short", plane.restic_env("ab"));
  plane.add_location("framed-name");
  change_location(plane, "framed-name", {{"bucketName", "Not_A_Bucket"}});
  check_framed_as_by_restic(plane, "framed-name", plane.restic_env("Not_A_Bucket"));

  // ... and from there on about its key.
  plane.add_location("framed-there");
  REQUIRE(plane.kubedr({"init", "framed-there"}).ok());
  check_framed_as_by_restic(plane, "framed-there", plane.restic_env("framed-there"));
  plane.add_location("framed-write");
  make_bucket(plane.s3(), "framed-write");
  const auto keys = temporary_keys(plane.s3(), reading_rights());
  for (const auto& [key, value] : keys) set_key(plane, "framed-write-creds", key, value);
  // Older ones try for a quarter of an hour.
  check_framed_as_by_restic(
      plane, "framed-write",
      with(plane.restic_env("framed-write"), {{"AWS_ACCESS_KEY_ID", keys.at("access_key")},
                                              {"AWS_SECRET_ACCESS_KEY", keys.at("secret_key")},
                                              {"AWS_SESSION_TOKEN", keys.at("session_token")}}),
      {"0.18"});
}

TEST_CASE("faults: init with a Secret that is not there, or lacks a key") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  for (const std::string key : {"access_key", "secret_key", "restic_repo_password"}) {
    CAPTURE(key);
    std::string name = "init-without-" + key;
    std::replace(name.begin(), name.end(), '_', '-');
    plane.add_location(name);
    set_key(plane, name + "-creds", key, std::nullopt);
    const std::string text = fmt::format("secret \"{}-creds\" has no key \"{}\"", name, key);
    const RunResult init = plane.kubedr({"init", name});
    check_failed(init, 4, text);
    CHECK(has(init.err, fmt::format("add the key {} to the Secret {}-creds", key, name)));
    check_init_failure_is_published(plane, name, text);
  }
  const std::string absent = "secret \"init-no-secret-creds\" not found";
  plane.add_location("init-no-secret");
  REQUIRE(plane.api().kubectl({"-n", kNamespace, "delete", "secret", "init-no-secret-creds"}).ok());
  check_failed(plane.kubedr({"init", "init-no-secret"}), 4, absent);
  check_init_failure_is_published(plane, "init-no-secret", absent);

  plane.add_location("init-no-secret");
  const RunResult mended = plane.kubedr({"init", "init-no-secret"});
  CHECK_MESSAGE(mended.ok(), mended.err);
}

TEST_CASE("faults: an init whose publishing is forbidden made a repository, and says what is not") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  for (const std::string step : {"status", "annotation", "event"}) {
    CAPTURE(step);
    const std::string name = "init-no-" + step;
    plane.add_location(name);
    const InitRights rights(plane, step);
    // Without --if-needed a status that may not be written ends it before anything is made.
    std::vector<std::string> args = {"init", name, "-o", "json"};
    if (step == "status") {
      check_failed(plane.kubedr({"init", name}, kInitUser), 21, "forbidden");
      CHECK(plane.kubedr({"snapshots", "--location", name}).exit.code == 10);
      args.emplace_back("--if-needed");
    }
    const RunResult init = plane.kubedr(args, kInitUser);
    CAPTURE(init.err);
    REQUIRE(init.exit.code == 3);
    const Json report = parse_json(init.out, "stdout");
    CHECK(report.at("created") == true);
    REQUIRE(report.at("failedSteps").size() == 1);
    const Json& failed = report.at("failedSteps")[0];
    CHECK(failed.at("step") == step);
    CHECK(has(failed.at("error").get<std::string>(), "forbidden"));
    const std::string remedy = failed.at("remedy").get<std::string>();
    CHECK(remedy != "");
    CHECK(has(init.err, fmt::format("warning: {} failed: ", step)));
    CHECK(has(init.err, remedy));

    const RunResult config = restic("0.18", {"cat", "config"}, plane.restic_env(name));
    CHECK_MESSAGE(config.ok(), config.err);
    const Json object = plane.get("backuplocation", name);
    CHECK((object.at("metadata").contains("annotations") &&
           object.at("metadata")
               .at("annotations")
               .contains("initialized.annotations.kubedr.catalogicsoftware.com")) ==
          (step != "annotation"));
    const Json status = object.value("status", Json::object());
    CHECK((status.value("initStatus", "") == "Completed") == (step != "status"));
    const std::vector<Json> events = plane.events_of(name);
    CHECK(std::count_if(events.begin(), events.end(), [](const Json& event) {
            return event.at("reason") == "InitSucceeded";
          }) == (step == "event" ? 0 : 1));

    const RunResult again = plane.kubedr({"init", name, "--if-needed"});
    CHECK_MESSAGE(again.ok(), again.err);
    CHECK(plane.get("backuplocation", name).at("status").at("initStatus") == "Completed");
  }
}

TEST_CASE("faults: a backup to an S3 that refuses, and to one that nobody vouches for") {
  KUBEDR_NEEDS("minio");
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "moved");
  const std::string refused = fmt::format("http://127.0.0.1:{}", free_port());
  plane.add_location("moved", refused);
  check_failed(policy.backup({"--timeout", "30s"}), 20, refused);
  policy.check_failure_is_published(refused);

  const S3Server strange(S3Server::Scheme::https);
  plane.add_location("moved", strange.url());
  check_failed(policy.backup({"--timeout", "60s"}), 21, "certificate");
  policy.check_failure_is_published("certificate");

  plane.add_location("moved");
  policy.check_next_backup_works();
}

TEST_CASE("faults: a bucket that is there and holds no repository") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("bucket-only");
  make_bucket(plane.s3(), "bucket-only");
  const std::string where = fmt::format(
      "Is there a repository at the following location?\ns3:{}/bucket-only", plane.s3().url());
  const RunResult backup = plane.kubedr({"backup", "bucket-only"});
  check_failed(backup, 10, "unable to open config file");
  CHECK_MESSAGE(has(backup.err, where), backup.err);
  CHECK(has(backup.err, "\n  kubectl kubedr init bucket-only makes one"));
  const Json status = plane.get("metadatabackuppolicy", "bucket-only").at("status");
  CHECK(status.size() == 4);
  CHECK(status.at("backupStatus") == "Failed");
  CHECK(status.at("mbrName") == "");
  const std::string message = status.at("backupErrorMessage").get<std::string>();
  CHECK_MESSAGE(has(message, where), message);
  const std::vector<Json> events = plane.events_of("bucket-only");
  REQUIRE(events.size() == 1);
  CHECK(events[0].at("type") == "Error");
  CHECK(events[0].at("reason") == "BackupFailed");
  CHECK(events[0].at("message") == message);
  check_failed(plane.kubedr({"snapshots", "bucket-only"}), 10, where);

  REQUIRE(plane.kubedr({"init", "bucket-only"}).ok());
  const RunResult next = plane.kubedr({"backup", "bucket-only"});
  CHECK_MESSAGE(next.ok(), next.err);
}

// As they come: what they do at a time, the bucket included, differs from run to run.
TEST_CASE("faults: of two inits begun at once on one empty bucket exactly one wins") {
  KUBEDR_NEEDS("minio");
  KUBEDR_NEEDS("restic-0.11");
  KUBEDR_NEEDS("restic-0.18");
  const S3Server& s3 = race_server();
  for (int round = 0; round < 2; ++round) {
    CAPTURE(round);
    const BareRepository repository(s3, fmt::format("race-{}", round));
    Process one = repository.start({"init"});
    Process two = repository.start({"init"});
    const auto first = one.wait(std::chrono::seconds(60));
    const auto second = two.wait(std::chrono::seconds(60));
    REQUIRE((first && second));
    CAPTURE(one.err());
    CAPTURE(two.err());
    CHECK(std::min(first->code, second->code) == 0);
    CHECK(std::max(first->code, second->code) == 1);
    CHECK(has((first->code == 0 ? two : one).err(), "already initialized"));
    CHECK(repository.snapshot_ids().empty());
    CHECK(restic("0.18", {"list", "keys"}, repository.restic_env()).ok());
    const RunResult old = restic("0.11", {"snapshots"}, repository.restic_env());
    CHECK_FALSE(old.ok());
    CHECK_MESSAGE(has(old.err, "unsupported repository version"), old.err);
    CHECK(repository.run({"backup"}).ok());
    repository.check_repository();
  }
}

TEST_CASE("faults: of our init and restic's on one empty bucket exactly one wins") {
  KUBEDR_NEEDS("minio");
  KUBEDR_NEEDS("restic-0.18");
  const S3Server& s3 = race_server();
  int met = 0;
  for (int round = 0; round < 3 || (met == 0 && round < 12); ++round) {
    CAPTURE(round);
    const BareRepository repository(s3, fmt::format("mixed-{}", round));
    const auto begin = std::chrono::steady_clock::now();
    ProcessOptions options;
    options.env = repository.restic_env();
    Process theirs({find_server("restic-0.18").string(), "init"}, options);
    // restic derives its key for about a second before it writes: meet it there.
    std::this_thread::sleep_for(std::chrono::milliseconds(300 * (round % 3)));
    Process ours = repository.start({"init"});
    const auto their_end = theirs.wait(std::chrono::seconds(60));
    const auto took = std::chrono::steady_clock::now() - begin;
    const auto our_end = ours.wait(std::chrono::seconds(60));
    REQUIRE((their_end && our_end));
    CAPTURE(theirs.err());
    CAPTURE(ours.err());
    if (took > std::chrono::seconds(3)) {
      MESSAGE("a restic that is held up for longer than our init waits: that story is below");
      continue;
    }
    ++met;
    CHECK((their_end->code == 0) != (our_end->code == 0));
    // restic may lose already at making the bucket, which it does not expect to be there.
    const bool at_bucket = our_end->code == 0 && has(theirs.err(), "client.MakeBucket");
    CHECK((at_bucket || has((our_end->code == 0 ? theirs : ours).err(), "already initialized")));
    check_works_for_all(repository);
  }
  CHECK(met > 0);
}

TEST_CASE("faults: of two inits that both have looked one wins, by the conditional PUT") {
  KUBEDR_NEEDS("minio");
  KUBEDR_NEEDS("restic-0.18");
  bool met = false;
  for (int round = 0; round < 12 && !met; ++round) {
    CAPTURE(round);
    // The last thing that an init looks for: what comes next is its config.
    met = check_one_of_two_wins(fmt::format("looked-{}", round), "prefix=snapshots", 1);
  }
  CHECK(met);
}

// Nothing but the second look keeps them apart there.
TEST_CASE("faults: of two inits that both have looked one wins, without conditional PUTs too") {
  KUBEDR_NEEDS("minio");
  KUBEDR_NEEDS("restic-0.18");
  ProxyRules rules;
  rules.unknown_header = "if-none-match";
  int met = 0;
  for (int round = 0; round < 12 && met < 2; ++round) {
    CAPTURE(round);
    const std::string bucket = fmt::format("unconditional-{}", round);
    // The second time is after the condition was refused.
    if (check_one_of_two_wins(bucket, "HEAD /" + bucket + "/config", 2, rules)) ++met;
  }
  CHECK(met > 0);
}

TEST_CASE("faults: restic has looked, and writes while our init waits: ours steps back") {
  KUBEDR_NEEDS("minio");
  KUBEDR_NEEDS("restic-0.18");
  const S3Server& s3 = race_server();
  const BareRepository repository(s3, "overwritten");
  HeldInit theirs = start_restic_init(s3, repository);
  theirs.hold_at("prefix=snapshots");
  HeldInit ours = start_our_init(s3, repository);
  ours.hold_at("PUT /overwritten/keys/");
  theirs.go_on();
  CHECK(theirs.exit_code() == 0);
  ours.go_on();
  CHECK(ours.exit_code() == 1);
  CHECK_MESSAGE(has(ours.err(), "already initialized"), ours.err());
  check_works_for_all(repository);
}

TEST_CASE("faults: restic has written its key, and no config yet: our init does not begin") {
  KUBEDR_NEEDS("minio");
  KUBEDR_NEEDS("restic-0.18");
  const S3Server& s3 = race_server();
  const BareRepository repository(s3, "half-way");
  HeldInit theirs = start_restic_init(s3, repository);
  theirs.hold_at("PUT /half-way/keys/");
  const RunResult ours = repository.run({"init"});
  check_failed(ours, 1, "already initialized");
  theirs.go_on();
  CHECK(theirs.exit_code() == 0);
  check_works_for_all(repository);
}

TEST_CASE("faults: our init has written its config: restic's does not begin") {
  KUBEDR_NEEDS("minio");
  KUBEDR_NEEDS("restic-0.18");
  const S3Server& s3 = race_server();
  const BareRepository repository(s3, "claimed");
  HeldInit ours = start_our_init(s3, repository);
  ours.hold_at("PUT /claimed/config");
  const RunResult theirs = restic("0.18", {"init"}, repository.restic_env());
  CHECK_FALSE(theirs.ok());
  CHECK_MESSAGE(has(theirs.err, "already initialized"), theirs.err);
  ours.go_on();
  CHECK_MESSAGE(ours.exit_code() == 0, ours.err());
  check_works_for_all(repository);
}

// What remains: restic does not look again before it overwrites a config.
TEST_CASE("faults: restic's init, held up for longer than ours waits, is mended by `key remove`") {
  KUBEDR_NEEDS("minio");
  KUBEDR_NEEDS("restic-0.18");
  const S3Server& s3 = race_server();
  const BareRepository repository(s3, "held-up");
  HeldInit theirs = start_restic_init(s3, repository);
  theirs.hold_at("prefix=snapshots");
  const Json ours = parsed(repository.run({"init", "-o", "json"}));
  theirs.go_on();
  CHECK(theirs.exit_code() == 0);
  // Both keys have the password, ours opens nothing any more: we pass it over, restic may not.
  CHECK(parsed(repository.run({"key", "list", "-o", "json"})).at("keys").size() == 2);
  const std::string dead = ours.at("keyId").get<std::string>();
  const RunResult removed = repository.run({"key", "remove", dead, "--yes"});
  CHECK_MESSAGE(removed.ok(), removed.err);
  check_works_for_all(repository);
}
