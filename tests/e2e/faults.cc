#include "e2e/faults.h"

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/hex.h"
#include "base/text.h"
#include "base/time.h"
#include "s3/s3_store.h"
#include "support/restic.h"

namespace kubedr::test {
namespace {

// How many lines begin so, and whether the last of these messages ends with a hint, and stderr with
// that: what is printed behind it, or an indented line of a warning, is none.
struct Messages {
  int count = 0;
  bool hint = false;
};

Messages messages_in(const std::string& text) {
  Messages found;
  bool inside = false;  // a message may have several lines
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    const bool remark = line.starts_with("warning: ") || line.starts_with("  not written (");
    const bool indented = line.starts_with("  ") && line.size() > 2;
    if (line.starts_with("error: ")) {
      ++found.count;
      inside = true;
      found.hint = false;
    } else if (remark || (found.hint && !indented)) {
      found.hint = inside = false;
    } else if (indented && inside) {
      found.hint = true;
    }
  }
  return found;
}

std::vector<std::string> ids_of(const RunResult& listed) {
  REQUIRE_MESSAGE(listed.ok(), listed.err);
  std::vector<std::string> ids;
  const Json document = parse_json(listed.out, "snapshots");
  for (const Json& one : document.at("snapshots")) {
    ids.push_back(one.at("id").get<std::string>());
  }
  return ids;
}

void check_with_restic(const std::map<std::string, std::string>& env) {
  const RunResult check = restic("0.18", {"check", "--read-data"}, env);
  CHECK_MESSAGE(check.ok(), (check.out + check.err));
  CHECK_MESSAGE(has(check.out, "no errors were found"), (check.out + check.err));
}

}  // namespace

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

bool eventually(const std::function<bool()>& yes, std::chrono::milliseconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  while (!yes()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

bool saw_request(const ByteProxy& proxy, std::string_view line) {
  const std::vector<std::string> requests = proxy.requests();
  // Not at its beginning: the end of the body before may stand there.
  return std::any_of(requests.begin(), requests.end(),
                     [&](const std::string& request) { return has(request, line); });
}

Process start_kubedr(const std::vector<std::string>& args,
                     const std::map<std::string, std::string>& env) {
  static const TempDir home;
  ProcessOptions options;
  options.env = env;
  options.env.try_emplace("HOME", home.path().string());
  std::vector<std::string> argv{KUBEDR_BINARY};
  argv.insert(argv.end(), args.begin(), args.end());
  return Process(argv, options);
}

void check_failed_plainly(const RunResult& result, int code, std::string_view text) {
  CAPTURE(result.err);
  CHECK_FALSE(result.timed_out);
  CHECK(result.exit.code == code);
  CHECK(result.out == "");
  CHECK(messages_in(result.err).count == 1);
  CHECK_MESSAGE(has(result.err, text), text);
}

void check_failed(const RunResult& result, int code, std::string_view text) {
  check_failed_plainly(result, code, text);
  CHECK_MESSAGE(messages_in(result.err).hint, result.err);
}

BackedUpPolicy::BackedUpPolicy(ControlPlane& plane, std::string name,
                               const std::map<std::string, std::string>& spec)
    : plane_(plane), name_(std::move(name)) {
  plane_.add_policy(name_, spec);
  const RunResult init = plane_.kubedr({"init", name_});
  REQUIRE_MESSAGE(init.ok(), init.err);
  const RunResult first = backup();
  REQUIRE_MESSAGE(first.ok(), first.err);
  good_status_ = status();
  good_snapshots_ = snapshot_ids();
  REQUIRE(good_snapshots_.size() == 1);
}

RunResult BackedUpPolicy::backup(std::vector<std::string> flags, const std::string& user) const {
  std::vector<std::string> args{"backup", name_};
  args.insert(args.end(), flags.begin(), flags.end());
  return plane_.kubedr(args, user);
}

Json BackedUpPolicy::status() const {
  return plane_.get("metadatabackuppolicy", name_).at("status");
}

int BackedUpPolicy::events(const std::string& reason) const {
  int count = 0;
  for (const Json& event : plane_.events_of(name_)) {
    if (event.at("reason") == reason) ++count;
  }
  return count;
}

std::vector<std::string> BackedUpPolicy::snapshot_ids() const {
  // Not through the location: a story may have broken it.
  std::map<std::string, std::string> env = plane_.restic_env(name_);
  return ids_of(
      test::kubedr({"snapshots", "--repo", env.at("RESTIC_REPOSITORY"), "-o", "json"}, env));
}

void BackedUpPolicy::check_failure_is_published(std::string_view text) {
  const Json now = status();
  CAPTURE(now.dump(2));
  Json expected = good_status_;
  for (const char* field : {"backupStatus", "backupErrorMessage", "backupTime", "mbrName"}) {
    REQUIRE(now.contains(field));
    expected[field] = now.at(field);
  }
  CHECK(now == expected);
  CHECK(now.at("backupStatus") == "Failed");
  CHECK(now.at("mbrName") == "");
  CHECK(parse_time(now.at("backupTime").get<std::string>()).has_value());
  const std::string message = now.at("backupErrorMessage").get<std::string>();
  CHECK_MESSAGE(has(message, text), text);

  std::vector<std::string> told;
  for (const Json& event : plane_.events_of(name_)) {
    if (event.at("reason") != "BackupFailed") continue;
    CHECK(event.at("type") == "Error");
    told.push_back(event.at("message").get<std::string>());
  }
  CHECK(static_cast<int>(told.size()) == ++failures_);
  CHECK(std::find(told.begin(), told.end(), message) != told.end());
  CHECK(snapshot_ids() == good_snapshots_);
}

void BackedUpPolicy::check_next_backup_works() {
  const RunResult next = backup();
  CHECK_MESSAGE(next.ok(), next.err);
  good_status_ = status();
  CHECK(good_status_.at("backupStatus") == "Completed");
  CHECK(good_status_.at("backupErrorMessage") == "");
  const std::vector<std::string> before = good_snapshots_;
  good_snapshots_ = snapshot_ids();
  CHECK(good_snapshots_.size() > before.size());
  CHECK(std::equal(before.begin(), before.end(), good_snapshots_.begin()));
  check_repository();
}

void BackedUpPolicy::check_repository() const {
  check_with_restic(plane_.restic_env(name_));
}

void check_left_sound(const std::map<std::string, std::string>& restic_env) {
  const RunResult check = restic("0.18", {"check", "--no-lock"}, restic_env);
  CHECK_MESSAGE(check.ok(), (check.out + check.err));
  CHECK_MESSAGE(has(check.out, "no errors were found"), (check.out + check.err));
}

void age_backups(ControlPlane& plane, const std::string& policy, std::chrono::seconds age) {
  const std::string then = format_table_time(std::chrono::system_clock::now() - age);
  const RunResult rewritten =
      restic("0.18", {"rewrite", "--forget", "--new-time", then}, plane.restic_env(policy));
  REQUIRE_MESSAGE(rewritten.ok(), rewritten.err);
  const RunResult got =
      plane.api().kubectl({"-n", kNamespace, "get", "metadatabackuprecords", "-o", "json"});
  REQUIRE_MESSAGE(got.ok(), got.err);
  const Json records = parse_json(got.out, "records");
  for (const Json& record : records.at("items")) {
    if (record.at("spec").at("policy") != policy) continue;
    const std::string name = record.at("metadata").at("name").get<std::string>();
    REQUIRE(plane.api().kubectl({"-n", kNamespace, "delete", "metadatabackuprecord", name}).ok());
  }
  const RunResult synced = plane.kubedr({"sync", "--location", policy, "--yes"});
  REQUIRE_MESSAGE(synced.ok(), (synced.out + synced.err));
}

void set_key(ControlPlane& plane, const std::string& secret, const std::string& key,
             const std::optional<std::string>& value) {
  const Json data = {{"data", {{key, value ? Json(to_base64(as_bytes(*value))) : Json()}}}};
  const RunResult patched = plane.api().kubectl(
      {"-n", kNamespace, "patch", "secret", secret, "--type=merge", "-p", data.dump()});
  REQUIRE_MESSAGE(patched.ok(), patched.err);
}

std::map<std::string, std::string> temporary_keys(const S3Server& s3, const Json& policy) {
  const RunResult answer =
      run({"curl", "-sS", "--noproxy", "*", "--aws-sigv4", "aws:amz:us-east-1:sts", "--user",
           s3.access_key() + ":" + s3.secret_key(), "--data", "Action=AssumeRole", "--data",
           "Version=2011-06-15", "--data-urlencode", "Policy=" + policy.dump(), s3.url()});
  const auto field = [&](const std::string& name) {
    const std::size_t begin = answer.out.find("<" + name + ">");
    REQUIRE_MESSAGE(begin != std::string::npos, (answer.out + answer.err));
    const std::size_t text = begin + name.size() + 2;
    return answer.out.substr(text, answer.out.find("</", text) - text);
  };
  return {{"access_key", field("AccessKeyId")},
          {"secret_key", field("SecretAccessKey")},
          {"session_token", field("SessionToken")}};
}

BareRepository::BareRepository(std::string url)
    : url_(std::move(url)), env_{{"RESTIC_PASSWORD", kPassword}} {}

BareRepository::BareRepository(const S3Server& s3, const std::string& bucket, int port)
    : url_(port == 0 ? fmt::format("s3:{}/{}", s3.url(), bucket)
                     : fmt::format("s3:http://127.0.0.1:{}/{}", port, bucket)),
      env_{{"RESTIC_PASSWORD", kPassword},
           {"AWS_ACCESS_KEY_ID", s3.access_key()},
           {"AWS_SECRET_ACCESS_KEY", s3.secret_key()}} {}

std::vector<std::string> BareRepository::with_repo(std::vector<std::string> args,
                                                   const std::string& url) const {
  args.insert(args.end(), {"--repo", url.empty() ? url_ : url});
  if (args.front() == "backup" &&
      std::find(args.begin(), args.end(), "--etcd-endpoint") == args.end()) {
    args.insert(args.end(), {"--etcd-endpoint", plain_etcd().endpoint()});
  }
  return args;
}

RunResult BareRepository::run(std::vector<std::string> args, const std::string& url) const {
  return kubedr(with_repo(std::move(args), url), env_);
}

Process BareRepository::start(std::vector<std::string> args, const std::string& url) const {
  return start_kubedr(with_repo(std::move(args), url), env_);
}

std::map<std::string, std::string> BareRepository::restic_env() const {
  std::map<std::string, std::string> env = env_;
  env["RESTIC_REPOSITORY"] = url_;
  return env;
}

std::vector<std::string> BareRepository::snapshot_ids() const {
  return ids_of(run({"snapshots", "-o", "json"}));
}

void BareRepository::check_repository() const {
  check_with_restic(restic_env());
}

std::unique_ptr<storage::Store> open_bucket(const S3Server& s3, const std::string& bucket,
                                            const Clock& clock) {
  s3::S3Options options;
  options.address = s3::make_address(s3.url(), bucket);
  options.credentials = {s3.access_key(), Secret(s3.secret_key()), Secret()};
  options.user_agent = "kubedr-test";
  return std::make_unique<s3::S3Store>(std::move(options), clock);
}

HeldLock::HeldLock(std::unique_ptr<storage::Store> store, const std::string& host,
                   std::chrono::minutes age, Exclusive exclusive, std::int64_t pid)
    : store_(std::move(store)),
      repository_(repo::Repository::open(*store_, Secret(kPassword), random_, Call(real_clock_))),
      clock_(FakeClock::Mode::manual, real_clock_.now() - age) {
  const std::jthread second_look([this] {
    if (clock_.wait_for_sleepers(1)) clock_.advance(std::chrono::milliseconds(200));
  });
  const repo::LockOwner owner{host, "root", pid, 0, 0};
  lock_.emplace(exclusive == Exclusive::yes ? repository_.lock_exclusive(owner, {}, Call(clock_))
                                            : repository_.lock_shared(owner, {}, Call(clock_)));
}

EtcdServer& plain_etcd() {
  static EtcdServer etcd;
  static const bool filled = [] {
    etcd.fill("/registry/configmaps/default/c", 1000, 3000);
    return true;
  }();
  static_cast<void>(filled);
  return etcd;
}

}  // namespace kubedr::test
