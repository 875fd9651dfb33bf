#ifndef KUBEDR_E2E_FAULTS_H
#define KUBEDR_E2E_FAULTS_H

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "e2e/world.h"
#include "repo/repository.h"
#include "storage/store.h"
#include "support/byte_proxy.h"
#include "support/fake_clock.h"

// What the stories of faults ask again and again.
namespace kubedr::test {

// The binary, started and not waited for; environment as with kubedr().
Process start_kubedr(const std::vector<std::string>& args,
                     const std::map<std::string, std::string>& env = {});

// It failed with that code, and stderr says why in one message with that text, and what to do next;
// nothing is on stdout.
void check_failed(const RunResult& result, int code, std::string_view text);

// The same without a word on what to do next: where there is nothing to be done.
void check_failed_plainly(const RunResult& result, int code, std::string_view text);

bool has(const std::string& text, std::string_view part);

// Polls until the answer is yes; false after that time.
bool eventually(const std::function<bool()>& yes,
                std::chrono::milliseconds timeout = std::chrono::seconds(30));

// Whether a request such as "PUT /bucket/data/" has come to the proxy.
bool saw_request(const ByteProxy& proxy, std::string_view line);

// A policy of the shared control plane that has one good backup. A backup that fails must leave
// the figures of that one alone and patch exactly four fields.
class BackedUpPolicy {
 public:
  BackedUpPolicy(ControlPlane& plane, std::string name,
                 const std::map<std::string, std::string>& spec = {});

  const std::string& name() const { return name_; }

  // Runs `backup NAME` with these flags too.
  RunResult backup(std::vector<std::string> flags = {}, const std::string& user = "admin") const;

  // The status tells of a failure with that text and nothing else changed; one more event of type
  // Error says the same; the repository lists the good backups and no other. Whether it is sound is
  // for check_next_backup_works() to say, once for all the failures before.
  void check_failure_is_published(std::string_view text);

  std::vector<std::string> snapshot_ids() const;
  Json status() const;
  int events(const std::string& reason) const;

  // Everything is well: this backup counts, and restic finds no fault.
  void check_next_backup_works();

  // By restic's check, with the data read.
  void check_repository() const;

 private:
  ControlPlane& plane_;
  const std::string name_;
  Json good_status_;
  std::vector<std::string> good_snapshots_;
  int failures_ = 0;
};

// Before anybody mends anything: restic finds no error in what somebody killed left, whose lock
// counts for nothing here.
void check_left_sound(const std::map<std::string, std::string>& restic_env);

// As if nobody had taken a backup of the policy for so long: its snapshots were made then, and
// records and status are what `sync` makes of that. Its repository's bucket has its name.
void age_backups(ControlPlane& plane, const std::string& policy, std::chrono::seconds age);

// Replaces one key of a Secret; without a value it goes.
void set_key(ControlPlane& plane, const std::string& secret, const std::string& key,
             const std::optional<std::string>& value);

// A location's keys with the rights of that IAM policy and no others, by MinIO's AssumeRole: they
// come with a session token.
std::map<std::string, std::string> temporary_keys(const S3Server& s3, const Json& policy);

// A repository in a folder or bucket without any cluster, and a plain etcd to fill it from.
class BareRepository {
 public:
  explicit BareRepository(std::string url);  // a folder

  // s3:..., through a proxy at that port if one is given.
  BareRepository(const S3Server& s3, const std::string& bucket, int port = 0);

  const std::string& url() const { return url_; }

  // With --repo URL, or another way to the same repository.
  RunResult run(std::vector<std::string> args, const std::string& url = "") const;
  Process start(std::vector<std::string> args, const std::string& url = "") const;

  const std::map<std::string, std::string>& env() const { return env_; }

  std::map<std::string, std::string> restic_env() const;

  std::vector<std::string> snapshot_ids() const;
  void check_repository() const;

 private:
  std::vector<std::string> with_repo(std::vector<std::string> args, const std::string& url) const;

  std::string url_;
  std::map<std::string, std::string> env_;
};

// Our own way to the files of that bucket.
std::unique_ptr<storage::Store> open_bucket(const S3Server& s3, const std::string& bucket,
                                            const Clock& clock);

enum class Exclusive { no, yes };

// A lock that process 1 of that host took so long ago and has not refreshed since: time stands
// still for its holder. Stores that know when a file was written take it for a new one.
class HeldLock {
 public:
  HeldLock(std::unique_ptr<storage::Store> store, const std::string& host, std::chrono::minutes age,
           Exclusive exclusive = Exclusive::no, std::int64_t pid = 1);

 private:
  const SystemClock real_clock_;  // S3 refuses requests of another time
  SystemRandom random_;
  const std::unique_ptr<storage::Store> store_;
  repo::Repository repository_;
  FakeClock clock_;
  std::optional<repo::Lock> lock_;
};

// One etcd without TLS and with some MB in it, shared by the stories of a test binary.
EtcdServer& plain_etcd();

}  // namespace kubedr::test

#endif  // KUBEDR_E2E_FAULTS_H
