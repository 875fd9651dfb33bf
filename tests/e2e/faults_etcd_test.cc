// What may be wrong with etcd, with the way to it, and with the certificates' folder.

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>

#include "e2e/faults.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

// Somewhere in the payload of the database's stream, far behind every other answer.
constexpr std::uint64_t kInTheStream = 1'500'000;

std::string through(const ByteProxy& proxy) {
  return fmt::format("http://127.0.0.1:{}", proxy.port());
}

// A repository with one good backup of plain_etcd().
struct Stored {
  TempDir folder;
  BareRepository repository{(folder / "repository").string()};
  std::vector<std::string> good;

  Stored() {
    const RunResult init = repository.run({"init"});
    REQUIRE_MESSAGE(init.ok(), init.err);
    const RunResult first = repository.run({"backup"});
    REQUIRE_MESSAGE(first.ok(), first.err);
    good = repository.snapshot_ids();
    REQUIRE(good.size() == 1);
  }

  RunResult backup_through(const ByteProxy& proxy, std::vector<std::string> flags = {}) const {
    flags.insert(flags.begin(), {"backup", "--etcd-endpoint", through(proxy)});
    return repository.run(flags);
  }

  // The failure left nothing but what a prune takes away.
  void check_nothing_changed() const {
    CHECK(repository.snapshot_ids() == good);
    repository.check_repository();
    CHECK(files_below(folder / "repository/locks").empty());
  }
};

// One etcd of several real members, which join one after the other.
class Members {
 public:
  // A learner has the data and no vote.
  EtcdServer& add(bool as_learner = false) {
    const std::string peer = fmt::format("http://127.0.0.1:{}", free_port());
    const bool first = members_.empty();
    if (!first) {
      const Json request = {{"peerURLs", {peer}}, {"isLearner", as_learner}};
      members_.front()->gateway("/v3/cluster/member/add", request.dump());
    }
    const std::string name = fmt::format("member-{}", members_.size() + 1);
    cluster_ += fmt::format("{}{}={}", first ? "" : ",", name, peer);
    EtcdOptions options;
    options.flags = {"--name=" + name,
                     "--listen-peer-urls=" + peer,
                     "--initial-advertise-peer-urls=" + peer,
                     "--initial-cluster=" + cluster_,
                     fmt::format("--initial-cluster-state={}", first ? "new" : "existing"),
                     "--strict-reconfig-check=false"};
    return *members_.emplace_back(std::make_unique<EtcdServer>(options));
  }

 private:
  std::vector<std::unique_ptr<EtcdServer>> members_;
  std::string cluster_;
};

// As its own consistency check does.
void raise_corrupt(EtcdServer& etcd) {
  const Json status = parse_json(etcd.gateway("/v3/maintenance/status", "{}"), "etcd");
  const Json alarm = {{"action", "ACTIVATE"},
                      {"alarm", "CORRUPT"},
                      {"memberID", status.at("header").at("member_id")}};
  etcd.gateway("/v3/maintenance/alarm", alarm.dump());
}

// As a user whom modes stop: root reads whatever it likes.
RunResult backup_bound_by_modes(ControlPlane& plane, const std::string& policy) {
  const TempDir home;
  ProcessOptions options;
  options.env = {{"HOME", home.path().string()}};
  std::vector<std::string> argv = {KUBEDR_BINARY, "backup", policy, "--kubeconfig",
                                   plane.api().kubeconfig().string()};
  if (geteuid() == 0) {
    argv.insert(argv.begin(), {"setpriv", "--bounding-set=-dac_override,-dac_read_search"});
  }
  return run(argv, options);
}

}  // namespace

TEST_CASE("faults: another cluster's etcd is not backed up as this one's") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "stranger");
  EtcdServer stranger;
  check_failed(policy.backup({"--etcd-endpoint", stranger.endpoint()}), 2,
               "holds no Kubernetes cluster");
  policy.check_failure_is_published("holds no Kubernetes cluster");

  stranger.put("/registry/namespaces/kube-system",
               "k8s\n\x01v1\x12Namespace 11111111-2222-3333-4444-555555555555");
  const RunResult refused = policy.backup({"--etcd-endpoint", stranger.endpoint()});
  check_failed(refused, 2, "belongs to another cluster");
  CHECK(has(refused.err, "--any-etcd"));
  policy.check_failure_is_published("belongs to another cluster");

  const RunResult forced = policy.backup({"--etcd-endpoint", stranger.endpoint(), "--any-etcd"});
  CHECK_MESSAGE(forced.ok(), forced.err);
  CHECK(policy.status().at("backupStatus") == "Completed");
  policy.check_next_backup_works();
}

TEST_CASE("faults: an etcd that cannot be reached") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "etcd-away");
  const std::string nobody = fmt::format("https://127.0.0.1:{}", free_port());
  check_failed(policy.backup({"--etcd-endpoint", nobody}), 20, nobody);
  policy.check_failure_is_published(nobody);
  policy.check_next_backup_works();
}

// Its own limit ends it: for what etcd must answer at once it has ten seconds.
TEST_CASE("faults: an etcd that takes connections and is silent") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "etcd-silent");
  ByteProxy silent(plane.etcd().port());
  ProxyRules rules;
  rules.stall_at = 0;
  rules.every_connection = true;
  silent.set(rules);
  const std::string endpoint = fmt::format("https://127.0.0.1:{}", silent.port());
  const auto begin = std::chrono::steady_clock::now();
  check_failed(policy.backup({"--etcd-endpoint", endpoint}), 20, endpoint);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
  CHECK(silent.counts().connections > 0);
  policy.check_failure_is_published(endpoint);
  policy.check_next_backup_works();
}

TEST_CASE("faults: of several members one that is fit is backed up, or none with the reason") {
  const Stored stored;
  Members etcd;
  EtcdServer& first = etcd.add();
  first.fill("/registry/configmaps/default/c", 100, 2000);
  EtcdServer& second = etcd.add();
  EtcdServer& third = etcd.add();
  const std::string learner = etcd.add(true).endpoint();
  const auto backup = [&](const std::string& endpoints) {
    return stored.repository.run({"backup", "--etcd-endpoint", endpoints, "-o", "json"});
  };
  const auto check_taken_of = [&](const EtcdServer& member, const std::string& endpoints) {
    CAPTURE(endpoints);
    CHECK(parsed(backup(endpoints)).at("etcd").at("endpoint") == member.endpoint());
  };

  check_failed(stored.repository.run({"backup", "--etcd-endpoint", learner}), 1,
               learner + ": is a learner");
  const std::string strange = plain_etcd().endpoint();
  check_failed(
      stored.repository.run({"backup", "--etcd-endpoint", first.endpoint() + "," + strange}), 2,
      "are members of different clusters");
  stored.check_nothing_changed();
  check_taken_of(first, learner + "," + first.endpoint());
  check_taken_of(first, first.endpoint() + "," + learner);

  second.stop();
  check_taken_of(first, second.endpoint() + "," + first.endpoint());
  check_taken_of(first, first.endpoint() + "," + second.endpoint());
  // The last one that lives of three has no leader, and all the data.
  third.stop();
  check_taken_of(first, first.endpoint() + "," + second.endpoint() + "," + third.endpoint());
  stored.repository.check_repository();
}

TEST_CASE("faults: a member with a CORRUPT alarm is not backed up, another one is") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "etcd-corrupt");
  Members etcd;
  EtcdServer& sound = etcd.add();
  sound.put("/registry/namespaces/kube-system",
            plane.get("namespace", "kube-system").at("metadata").at("uid").get<std::string>());
  EtcdServer& corrupt = etcd.add();
  etcd.add();
  raise_corrupt(corrupt);
  check_failed(policy.backup({"--etcd-endpoint", corrupt.endpoint(), "--any-etcd"}), 22,
               corrupt.endpoint() + ": alarm CORRUPT on member ");
  policy.check_failure_is_published("alarm CORRUPT on member ");

  const std::string both = corrupt.endpoint() + "," + sound.endpoint();
  const RunResult backup = policy.backup({"--etcd-endpoint", both, "-o", "json"});
  CHECK(parsed(backup).at("etcd").at("endpoint") == sound.endpoint());
  CHECK_MESSAGE(has(backup.err, "alarm CORRUPT on member "), backup.err);
  policy.check_next_backup_works();
}

TEST_CASE("faults: a member whose corruption is found while its snapshot is streamed") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "etcd-corrupt-later");
  EtcdServer etcd;
  etcd.fill("/registry/late", 800, 4000);
  ByteProxy proxy(etcd.port());
  ProxyRules rules;
  rules.stall_at = kInTheStream;
  proxy.set(rules);
  std::future<RunResult> backup = std::async(std::launch::async, [&] {
    return policy.backup({"--etcd-endpoint", through(proxy), "--any-etcd"});
  });
  while (proxy.counts().bytes_to_client < kInTheStream) {
    REQUIRE(backup.wait_for(std::chrono::milliseconds(20)) == std::future_status::timeout);
  }
  raise_corrupt(etcd);
  proxy.set({});
  check_failed(backup.get(), 22, through(proxy) + ": alarm CORRUPT on member ");
  policy.check_failure_is_published("alarm CORRUPT on member ");
  policy.check_next_backup_works();
}

TEST_CASE("faults: a client certificate that etcd does not accept") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "etcd-denied");
  const Certificates other;
  const Certificate client = other.issue({"root"});
  const TempDir folder;
  const std::string certificate = folder.write("client.crt", client.certificate_pem).string();
  const std::string key = folder.write("client.key", client.key_pem).string();
  check_failed(policy.backup({"--etcd-cert", certificate, "--etcd-key", key}), 21,
               plane.etcd().endpoint());
  policy.check_failure_is_published("certificate");

  const std::string authority = folder.write("ca.crt", other.ca_pem()).string();
  check_failed(policy.backup({"--etcd-cacert", authority}), 21, "certificate");
  policy.check_failure_is_published("certificate");

  const Certificate expired = plane.etcd().certificates().issue_expired({"root"});
  folder.write("client.crt", expired.certificate_pem);
  folder.write("client.key", expired.key_pem);
  check_failed(policy.backup({"--etcd-cert", certificate, "--etcd-key", key}), 21,
               plane.etcd().endpoint());
  policy.check_failure_is_published("certificate");
  check_failed(policy.backup({"--etcd-cert", certificate}), 2, "--etcd-key go together");
  policy.check_next_backup_works();
}

TEST_CASE("faults: https spoken to an etcd without TLS, and http to one with it") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "etcd-scheme");
  const std::string https = fmt::format("https://127.0.0.1:{}", plain_etcd().port());
  const RunResult no_tls = policy.backup({"--etcd-endpoint", https});
  check_failed(no_tls, 20, https);
  CHECK_MESSAGE(has(no_tls.err, "http://"), no_tls.err);
  policy.check_failure_is_published(https);

  const std::string http = fmt::format("http://127.0.0.1:{}", plane.etcd().port());
  const RunResult with_tls = policy.backup({"--etcd-endpoint", http});
  check_failed(with_tls, 20, http);
  CHECK_MESSAGE(has(with_tls.err, "https://"), with_tls.err);
  policy.check_failure_is_published(http);
  policy.check_next_backup_works();
}

TEST_CASE("faults: a policy's endpoint without a scheme is spoken to in TLS, as in operator mode") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const std::string endpoint = fmt::format("127.0.0.1:{}", plane.etcd().port());
  plane.add_policy("etcd-no-scheme", {{"etcdEndpoint", endpoint}});
  REQUIRE(plane.kubedr({"init", "etcd-no-scheme"}).ok());
  const RunResult backup = plane.kubedr({"backup", "etcd-no-scheme", "-o", "json"});
  CHECK(parsed(backup).at("etcd").at("endpoint") == "https://" + endpoint);
}

TEST_CASE("faults: one bit flipped in etcd's stream is no backup") {
  const Stored stored;
  ByteProxy proxy(plain_etcd().port());
  ProxyRules rules;
  rules.flip_at = kInTheStream;
  rules.every_connection = true;
  proxy.set(rules);
  const RunResult flipped = stored.backup_through(proxy);
  check_failed(flipped, 22, "digest");
  stored.check_nothing_changed();
  proxy.set({});
  CHECK(stored.backup_through(proxy).ok());
  CHECK(stored.repository.snapshot_ids().size() == 2);
}

TEST_CASE("faults: what happens to etcd's stream is told by status and event") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "streams");
  ByteProxy proxy(plain_etcd().port());

  struct Fault {
    std::optional<std::uint64_t> ProxyRules::*at;
    int code;
    std::string text;
  };

  for (const Fault& fault : {Fault{&ProxyRules::flip_at, 22, "digest"},
                             {&ProxyRules::cut_at, 20, through(proxy)},
                             {&ProxyRules::stall_at, 20, "no answer within the time allowed"}}) {
    CAPTURE(fault.code);
    ProxyRules rules;
    rules.*fault.at = kInTheStream;
    rules.every_connection = true;
    proxy.set(rules);
    const bool stalls = fault.at == &ProxyRules::stall_at;  // which only the limit ends
    const std::vector<std::string> flags = {"--etcd-endpoint", through(proxy), "--any-etcd",
                                            "--timeout", stalls ? "8s" : "60s"};
    check_failed(policy.backup(flags), fault.code, fault.text);
    policy.check_failure_is_published(fault.text);
  }
  policy.check_next_backup_works();
}

TEST_CASE("faults: etcd's stream cut half way is no backup") {
  const Stored stored;
  ByteProxy proxy(plain_etcd().port());
  ProxyRules rules;
  rules.cut_at = kInTheStream;
  rules.every_connection = true;
  proxy.set(rules);
  check_failed(stored.backup_through(proxy), 20, through(proxy));
  stored.check_nothing_changed();
}

TEST_CASE("faults: a stream that stalls ends with the backup's own time") {
  const Stored stored;
  ByteProxy proxy(plain_etcd().port());
  ProxyRules rules;
  rules.stall_at = kInTheStream;
  rules.every_connection = true;
  proxy.set(rules);
  const auto begin = std::chrono::steady_clock::now();
  check_failed(stored.backup_through(proxy, {"--timeout", "8s"}), 20,
               through(proxy) + ": snapshot: no answer within the time allowed");
  const auto took = std::chrono::steady_clock::now() - begin;
  CHECK(took > std::chrono::seconds(7));
  CHECK(took < std::chrono::seconds(20));
  stored.check_nothing_changed();
}

TEST_CASE("faults: a stream that breaks off once is begun anew") {
  const Stored stored;
  ByteProxy proxy(plain_etcd().port());
  ProxyRules rules;
  rules.cut_at = kInTheStream;
  proxy.set(rules);
  const RunResult result = stored.backup_through(proxy);
  CHECK_MESSAGE(result.ok(), result.err);
  CHECK(has(result.err, "trying once more"));
  CHECK(stored.repository.snapshot_ids().size() == 2);
  stored.repository.check_repository();
}

// Takes two minutes: the client's own idle limit, and once more.
TEST_CASE("faults: a stream that stalls twice is given up after a minute each without a byte") {
  const Stored stored;
  ByteProxy proxy(plain_etcd().port());
  ProxyRules rules;
  rules.stall_at = kInTheStream;
  rules.every_connection = true;
  proxy.set(rules);
  const auto begin = std::chrono::steady_clock::now();
  Process backup = stored.repository.start({"backup", "--etcd-endpoint", through(proxy)});
  const auto end = backup.wait(std::chrono::seconds(180));
  REQUIRE(end);
  check_failed({*end, backup.out(), backup.err(), "", false}, 20, through(proxy));
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(150));
  stored.check_nothing_changed();
}

TEST_CASE("faults: a slow etcd is no fault") {
  const Stored stored;
  ByteProxy proxy(plain_etcd().port());
  ProxyRules rules;
  rules.bytes_per_second = 2'000'000;
  proxy.set(rules);
  const RunResult slow = stored.backup_through(proxy);
  CHECK_MESSAGE(slow.ok(), slow.err);
}

TEST_CASE("faults: a certificates' folder with something unreadable fails the backup") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const TempDir folder;
  const std::filesystem::path certs = make_certificates(folder);
  BackedUpPolicy policy(plane, "half-certs", {{"certsDir", certs.string()}});

  std::filesystem::create_symlink("gone.crt", certs / "dangling.crt");
  check_failed(policy.backup(), 1, "dangling.crt");
  policy.check_failure_is_published("dangling.crt");
  std::filesystem::remove(certs / "dangling.crt");

  REQUIRE(mkfifo((certs / "pipe").c_str(), 0600) == 0);
  check_failed(policy.backup(), 1, "pipe: neither a file nor a folder");
  policy.check_failure_is_published("pipe: neither a file nor a folder");
  std::filesystem::remove(certs / "pipe");

  std::filesystem::create_directory_symlink("..", certs / "etcd/circle");
  check_failed(policy.backup(), 1, "circle");
  policy.check_failure_is_published("circle");
  std::filesystem::remove(certs / "etcd/circle");

  std::filesystem::rename(certs, folder / "elsewhere");
  const RunResult missing = policy.backup();
  check_failed(missing, 4, certs.string());
  policy.check_failure_is_published(certs.string());
  std::filesystem::rename(folder / "elsewhere", certs);
  policy.check_next_backup_works();
}

TEST_CASE("faults: a certificates' folder, or a file in it, that this user may not read") {
  KUBEDR_NEEDS("kube-apiserver");
  namespace fs = std::filesystem;
  ControlPlane& plane = ControlPlane::shared();
  const TempDir folder;
  const fs::path certs = make_certificates(folder);
  BackedUpPolicy policy(plane, "closed-certs", {{"certsDir", certs.string()}});
  for (const fs::path& closed : {certs, certs / "etcd/ca.crt"}) {
    CAPTURE(closed.string());
    const fs::perms before = fs::status(closed).permissions();
    fs::permissions(closed, fs::perms::none);
    check_failed(backup_bound_by_modes(plane, "closed-certs"), 21, closed.string() + ": open");
    policy.check_failure_is_published("Permission denied");
    fs::permissions(closed, before);
  }
  policy.check_next_backup_works();
}

TEST_CASE("faults: a link that leads out of the certificates' folder is followed, with a warning") {
  const Stored stored;
  const TempDir folder;
  const std::filesystem::path certs = make_certificates(folder);
  const std::string target = folder.write("elsewhere/ca.crt", "of another folder").string();
  std::filesystem::create_symlink("../elsewhere/ca.crt", certs / "other.crt");
  const RunResult backup = stored.repository.run({"backup", "--certs-dir", certs.string()});
  CHECK_MESSAGE(backup.ok(), backup.err);
  CHECK_MESSAGE(has(backup.err, fmt::format("{}: leads out of the certificates' folder, to {}",
                                            (certs / "other.crt").string(), target)),
                backup.err);
  CHECK_FALSE(has(backup.err, "current.crt"));  // a link within it
  CHECK(stored.repository.run({"dump", "latest", "/data/certificates/other.crt"}).out ==
        "of another folder");
}
