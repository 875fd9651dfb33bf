// What Prometheus is told: by file, by push and by scrape; real Prometheus programs judge it.

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <utility>

#include "base/text.h"
#include "crd/totals.h"
#include "e2e/faults.h"
#include "support/prometheus.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

const std::set<std::string> kOperators = {
    "kubedr_backup_size_bytes", "kubedr_num_backups", "kubedr_num_successful_backups",
    "kubedr_num_failed_backups", "kubedr_backup_duration_seconds"};

// The value of a sample as the text has it; empty where there is none.
std::string sample(const std::string& text, const std::string& name) {
  for (const std::string& line : split(text, '\n')) {
    if (line.starts_with(name + " ")) return line.substr(name.size() + 1);
  }
  return "";
}

std::string operators(const char* name, const std::string& policy) {
  return fmt::format("{}{{policyName=\"{}\"}}", name, policy);
}

std::string ours(const char* name, const std::string& policy) {
  return fmt::format("{}{{policy=\"{}\",policy_namespace=\"{}\"}}", name, policy, kNamespace);
}

// promtool objects to nothing but the names that the original gave.
void check_by_promtool(const std::string& text) {
  const RunResult checked = promtool({"check", "metrics"}, text);
  CHECK_FALSE(checked.timed_out);
  CHECK(checked.exit.code != 1);  // 1: it could not be parsed
  int objections = 0;
  for (const std::string& line : split(checked.out + checked.err, '\n')) {
    if (line.empty()) continue;
    ++objections;
    CHECK_MESSAGE(kOperators.count(line.substr(0, line.find(' '))) == 1, line);
  }
  CHECK(objections > 0);  // the original's names are there
}

crd::Totals totals_of(ControlPlane& plane, const std::string& policy) {
  const Json annotations =
      plane.get("metadatabackuppolicy", policy).at("metadata").at("annotations");
  const auto totals = crd::parse_totals(annotations.at(crd::kTotalsAnnotation).get<std::string>());
  REQUIRE(totals.has_value());
  return *totals;
}

void lose_totals(ControlPlane& plane, const std::string& policy) {
  const RunResult lost = plane.api().kubectl({"-n", kNamespace, "annotate", "metadatabackuppolicy",
                                              policy, std::string(crd::kTotalsAnnotation) + "-"});
  REQUIRE_MESSAGE(lost.ok(), lost.err);
}

std::size_t snapshots_in(const ControlPlane& plane, const std::string& bucket) {
  const auto env = plane.restic_env(bucket);
  const RunResult listed =
      test::kubedr({"snapshots", "--repo", env.at("RESTIC_REPOSITORY"), "-o", "json"}, env);
  return parsed(listed).at("snapshots").size();
}

bool saw_request_since(const ByteProxy& proxy, std::size_t before, std::string_view line) {
  const std::vector<std::string> requests = proxy.requests();
  return std::any_of(requests.begin() + static_cast<std::ptrdiff_t>(before), requests.end(),
                     [&](const std::string& request) { return has(request, line); });
}

// An etcd that is not there makes a backup fail at once.
const std::vector<std::string> kDeadEtcd = {"--etcd-endpoint", "https://127.0.0.1:1"};

// A listener's metrics, once they say that.
std::string scrape_until(int port, const std::string& name, const std::string& value,
                         std::chrono::seconds timeout = std::chrono::seconds(60)) {
  std::string text;
  const bool came = eventually(
      [&] {
        text = std::string(http_get(fmt::format("http://127.0.0.1:{}/metrics", port)).text());
        return sample(text, name) == value;
      },
      timeout);
  CHECK_MESSAGE(came, (name + " is " + sample(text, name) + ", not " + value));
  return text;
}

}  // namespace

TEST_CASE("metrics: a file for the textfile collector, whole, after success and failure") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("promtool");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "textfile");
  const TempDir folder;
  const std::string file = (folder / "kubedr.prom").string();

  const RunResult good = policy.backup({"--textfile", file});
  REQUIRE_MESSAGE(good.ok(), good.err);
  std::string text = read_text(file);
  CHECK(sample(text, operators("kubedr_num_backups", "textfile")) == "2");
  CHECK(sample(text, operators("kubedr_num_failed_backups", "textfile")) == "0");
  CHECK(sample(text, ours("kubedr_policy_snapshots", "textfile")) == "2");
  const Json status = policy.status();
  CHECK(sample(text, operators("kubedr_backup_size_bytes", "textfile")) ==
        status.at("dataAdded").dump());
  CHECK(sample(text, ours("kubedr_backup_last_processed_bytes", "textfile")) ==
        status.at("totalBytesProcessed").dump());
  check_by_promtool(text);

  std::vector<std::string> flags = kDeadEtcd;
  flags.insert(flags.end(), {"--textfile", file});
  const RunResult failed = policy.backup(flags);
  CHECK(failed.exit.code == 20);
  text = read_text(file);
  CHECK(sample(text, operators("kubedr_num_backups", "textfile")) == "3");
  CHECK(sample(text, operators("kubedr_num_successful_backups", "textfile")) == "2");
  CHECK(sample(text, operators("kubedr_num_failed_backups", "textfile")) == "1");
  CHECK(sample(text, ours("kubedr_backup_last_attempt_failed", "textfile")) == "1");
  CHECK(sample(text, ours("kubedr_backup_consecutive_failures", "textfile")) == "1");
  check_by_promtool(text);

  // Readable for the collector, and nothing half written beside it.
  struct stat info {};

  REQUIRE(stat(file.c_str(), &info) == 0);
  CHECK((info.st_mode & 0444) == 0444);
  CHECK(files_below(folder.path()).size() == 1);
}

TEST_CASE("metrics: a textfile that cannot be written is a failed step of a backup that is safe") {
  KUBEDR_NEEDS("kube-apiserver");
  BackedUpPolicy policy(ControlPlane::shared(), "no-textfile");
  const RunResult result = policy.backup({"--textfile", "/nowhere/kubedr.prom", "-o", "json"});
  CHECK(result.exit.code == 3);
  const Json steps = parse_json(result.out, "stdout").at("failedSteps");
  REQUIRE(steps.size() == 1);
  CHECK(steps[0].at("step") == "textfile");
  CHECK(has(steps[0].at("error").get<std::string>(), "/nowhere/kubedr.prom"));
  CHECK(policy.snapshot_ids().size() == 2);
}

TEST_CASE("metrics: a Pushgateway has them, and a job's replace its last ones") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("pushgateway");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "pushed");
  const Pushgateway gateway;
  const RunResult pushed = policy.backup({"--push", gateway.url()});
  REQUIRE_MESSAGE(pushed.ok(), pushed.err);
  const std::string name = "kubedr_num_backups{instance=\"\",job=\"kubedr\",policyName=\"pushed\"}";
  CHECK(sample(gateway.metrics(), name) == "2");
  REQUIRE(plane.kubedr({"metrics", "--push", gateway.url() + "/"}).ok());
  CHECK(sample(gateway.metrics(), name) == "2");
  REQUIRE(
      plane.kubedr({"metrics", "--push", gateway.url() + "/metrics/job/kubedr/cluster/a"}).ok());
  CHECK(sample(gateway.metrics(),
               "kubedr_num_backups{cluster=\"a\",instance=\"\",job=\"kubedr\","
               "policyName=\"pushed\"}") == "2");
}

TEST_CASE(
    "metrics: a Pushgateway that is away or refuses is a failed step, and an error of its own") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("pushgateway");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "not-pushed");
  const RunResult safe = policy.backup({"--push", "http://127.0.0.1:1", "-o", "json"});
  CHECK(safe.exit.code == 3);
  CHECK(parse_json(safe.out, "stdout").at("failedSteps")[0].at("step") == "push");
  check_failed(plane.kubedr({"metrics", "--push", "http://127.0.0.1:1"}), 20, "127.0.0.1:1");
  const Pushgateway gateway;
  check_failed_plainly(plane.kubedr({"metrics", "--push", gateway.url() + "/metrics/job/"}), 1,
                       "push: " + gateway.url());
  check_failed(plane.kubedr({"metrics", "--push", "http://me:secret@127.0.0.1:1"}), 2,
               "a password in a URL");
}

TEST_CASE("metrics: counted once each, however many backups run side by side") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const BackedUpPolicy policy(plane, "side-by-side");
  std::vector<std::unique_ptr<Process>> running;
  const std::string kubeconfig = "--kubeconfig=" + plane.api().kubeconfig().string();
  const TempDir home;
  ProcessOptions options;
  options.env = {{"HOME", home.path().string()}};
  for (int i = 0; i < 6; ++i) {
    std::vector<std::string> argv{KUBEDR_BINARY, "backup", "side-by-side", kubeconfig};
    if (i % 2 == 1) argv.insert(argv.end(), kDeadEtcd.begin(), kDeadEtcd.end());
    running.push_back(std::make_unique<Process>(argv, options));
  }
  for (std::size_t i = 0; i < running.size(); ++i) {
    const auto end = running[i]->wait(std::chrono::seconds(120));
    REQUIRE(end);
    CHECK_MESSAGE(end->code == (i % 2 == 1 ? 20 : 0), running[i]->err());
  }
  const crd::Totals totals = totals_of(plane, "side-by-side");
  CHECK(totals.succeeded == 4);
  CHECK(totals.failed == 3);
}

TEST_CASE("metrics: lost totals are counted anew from the repository, by a backup or by sync") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const BackedUpPolicy policy(plane, "forgetful");
  REQUIRE(policy.backup().ok());
  const crd::Totals before = totals_of(plane, "forgetful");
  CHECK(before.succeeded == 2);
  CHECK(before.stored_bytes > 0);

  lose_totals(plane, "forgetful");
  const RunResult synced = plane.kubedr({"sync", "--location", "forgetful", "--yes"});
  REQUIRE_MESSAGE(synced.ok(), synced.err);
  CHECK(totals_of(plane, "forgetful") == before);
  CHECK(has(plane.kubedr({"sync", "--location", "forgetful", "--yes"}).out, "agree"));

  lose_totals(plane, "forgetful");
  CHECK(policy.backup(kDeadEtcd).exit.code == 20);  // knows nothing of the repository
  CHECK(totals_of(plane, "forgetful").failed == 1);
  REQUIRE(policy.backup().ok());
  const crd::Totals after = totals_of(plane, "forgetful");
  CHECK(after.succeeded == 3);
  CHECK(after.failed == 1);
  CHECK(after.failures_in_row == 0);
  CHECK(after.added_bytes > before.added_bytes);

  // They outlive records and events.
  plane.api().kubectl({"-n", kNamespace, "delete", "events", "--all"});
  const Json records = plane.list("metadatabackuprecords");
  std::size_t deleted = 0;
  for (const Json& record : records) {
    if (record.at("spec").at("policy") != "forgetful") continue;
    const std::string name = record.at("metadata").at("name");
    deleted += plane.api().kubectl({"-n", kNamespace, "delete", "metadatabackuprecord", name}).ok()
                   ? 1U
                   : 0U;
  }
  CHECK(deleted == 3);
  CHECK(totals_of(plane, "forgetful") == after);
  REQUIRE(policy.backup().ok());
  CHECK(totals_of(plane, "forgetful").succeeded == 4);
}

TEST_CASE("metrics: a backup killed after it was safe is counted by the next one") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  ByteProxy proxy(plane.s3().port());
  plane.add_policy("cut-short");
  REQUIRE(plane.kubedr({"init", "cut-short"}).ok());
  plane.apply(
      fmt::format("apiVersion: kubedr.catalogicsoftware.com/v1alpha1\n"
                  "kind: BackupLocation\n"
                  "metadata: {{name: cut-short, namespace: {}}}\n"
                  "spec: {{url: \"http://127.0.0.1:{}\", bucketName: cut-short, "
                  "credentials: cut-short-creds}}\n",
                  kNamespace, proxy.port()));
  REQUIRE(plane.kubedr({"backup", "cut-short"}).ok());
  const std::size_t before = proxy.requests().size();
  ProxyRules slow;
  slow.delay = std::chrono::milliseconds(250);
  proxy.set(slow);
  Process victim =
      start_kubedr({"backup", "cut-short", "--kubeconfig=" + plane.api().kubeconfig().string()});
  // From its index on each answer takes its time, that of the request that makes it safe too.
  REQUIRE(eventually([&] { return saw_request_since(proxy, before, "PUT /cut-short/index/"); }));
  slow.delay = std::chrono::seconds(5);
  proxy.set(slow);
  REQUIRE(eventually([&] { return snapshots_in(plane, "cut-short") == 2; }));
  victim.kill(SIGKILL);
  REQUIRE(victim.wait(std::chrono::seconds(10)));
  proxy.set({});
  CHECK(totals_of(plane, "cut-short").succeeded == 1);
  const RunResult next = plane.kubedr({"backup", "cut-short"});
  REQUIRE_MESSAGE(next.ok(), next.err);
  CHECK(totals_of(plane, "cut-short").succeeded == 3);
  plane.add_location("cut-short");  // its proxy goes, and others look at all locations
}

TEST_CASE("metrics: a backup that no API server answers tells that, and nothing it cannot know") {
  const TempDir folder;
  const std::string file = (folder / "kubedr.prom").string();
  const RunResult result = test::kubedr({"backup", "nightly", "--server", "http://127.0.0.1:1",
                                         "--timeout", "5s", "--textfile", file});
  CHECK_MESSAGE(result.exit.code == 20, result.err);
  const std::string text = read_text(file);
  CHECK(sample(text, "kubedr_api_server_up") == "0");
  CHECK(sample(text, "kubedr_survey_timestamp_seconds").empty());
}

TEST_CASE("metrics: a bare repository tells of itself, and a failed backup of its failure") {
  KUBEDR_NEEDS("etcd");
  const TempDir folder;
  const BareRepository repository((folder / "repository").string());
  REQUIRE(repository.run({"init"}).ok());
  const std::string file = (folder / "kubedr.prom").string();
  REQUIRE(repository.run({"backup", "--textfile", file}).ok());
  REQUIRE(repository.run({"backup", "--textfile", file}).ok());
  std::string text = read_text(file);
  CHECK(sample(text, operators("kubedr_num_backups", "bare")) == "2");
  CHECK(sample(text, ours("kubedr_backup_last_attempt_failed", "bare")) == "0");
  CHECK(sample(text, "kubedr_api_server_up").empty());
  CHECK(repository.run({"backup", "--etcd-endpoint", "http://127.0.0.1:1", "--textfile", file})
            .exit.code == 20);
  text = read_text(file);
  CHECK(sample(text, operators("kubedr_num_failed_backups", "bare")) == "1");
  CHECK(sample(text, operators("kubedr_num_successful_backups", "bare")) == "2");
  CHECK(sample(text, ours("kubedr_backup_last_attempt_failed", "bare")) == "1");
  const RunResult printed = repository.run({"metrics"});
  CHECK(sample(printed.out, operators("kubedr_num_backups", "bare")) == "2");
}

TEST_CASE("metrics: a real Prometheus scrapes the listener, in both formats") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("prometheus");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "scraped");
  const int port = free_port();
  Process listener =
      start_kubedr({"metrics", "--listen", fmt::format("127.0.0.1:{}", port), "--interval", "1s",
                    "--kubeconfig=" + plane.api().kubeconfig().string()});
  REQUIRE(listener.wait_for("listening on http://127.0.0.1:", std::chrono::seconds(30)));
  scrape_until(port, ours("kubedr_policy_snapshots", "scraped"), "1");
  CHECK(http_get(fmt::format("http://127.0.0.1:{}/healthz", port)).status == 200);
  CHECK(http_get(fmt::format("http://127.0.0.1:{}/", port)).status == 404);

  const http::Response open = http_get(fmt::format("http://127.0.0.1:{}/metrics", port),
                                       {{"Accept", "application/openmetrics-text"}});
  CHECK(has(*open.header("content-type"), "application/openmetrics-text; version=1.0.0"));
  CHECK(std::string(open.text()).ends_with("# EOF\n"));
  const http::Response text = http_get(fmt::format("http://127.0.0.1:{}/metrics", port));
  CHECK(has(*text.header("content-type"), "text/plain; version=0.0.4"));
  check_by_promtool(std::string(text.text()));

  // Prometheus asks for OpenMetrics; what it could not read would not be up.
  const Prometheus prometheus({{"kubedr", port, false}});
  const std::string count = operators("kubedr_num_backups", "scraped");
  CHECK(eventually([&] { return prometheus.value(count) == "1"; }));
  REQUIRE(policy.backup().ok());
  CHECK(policy.backup(kDeadEtcd).exit.code == 20);
  CHECK(eventually([&] { return prometheus.value(count) == "3"; }));
  // A scrape may be missed; and the API server's answer is told before the repository is looked
  // into.
  for (const auto& [expression, value] :
       {std::pair<std::string, const char*>{"up{job=\"kubedr\"}", "1"},
        {operators("kubedr_num_failed_backups", "scraped"), "1"},
        {ours("kubedr_failed_backups_total", "scraped"), "1"},
        {ours("kubedr_policy_snapshots", "scraped"), "2"},
        {"kubedr_backup_duration_seconds_bucket{policyName=\"scraped\",le=\"+Inf\"}", "2"}}) {
    CAPTURE(expression);
    CHECK(eventually([&] { return prometheus.value(expression) == value; }));
  }

  listener.kill(SIGTERM);
  const auto end = listener.wait(std::chrono::seconds(20));
  REQUIRE(end);
  CHECK(end->code == 0);
}

TEST_CASE("metrics: the listener outlives an API server and an S3 that are away, and says so") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  plane.add_policy("lonely");
  REQUIRE(plane.kubedr({"init", "lonely"}).ok());
  REQUIRE(plane.kubedr({"backup", "lonely"}).ok());
  const int port = free_port();
  Process listener =
      start_kubedr({"metrics", "--listen", fmt::format("127.0.0.1:{}", port), "--interval", "1s",
                    "--repository-interval", "1s", "--request-timeout", "5s",
                    "--kubeconfig=" + plane.api().kubeconfig().string()});
  const std::string up = fmt::format(
      "kubedr_repository_up{{location=\"lonely\",location_namespace=\"{}\"}}", kNamespace);
  scrape_until(port, up, "1");

  plane.s3().stop();
  std::string text = scrape_until(port, up, "0", std::chrono::seconds(120));
  CHECK(sample(text, "kubedr_findings{severity=\"error\"}") == "1");
  plane.s3().restart();
  scrape_until(port, up, "1", std::chrono::seconds(120));

  plane.api().stop();
  text = scrape_until(port, "kubedr_api_server_up", "0", std::chrono::seconds(120));
  // What was known is still told, and grows older.
  const std::string age = ours("kubedr_backup_age_seconds", "lonely");
  const double before = std::stod(sample(text, age));
  CHECK(eventually([&] {
    text = std::string(http_get(fmt::format("http://127.0.0.1:{}/metrics", port)).text());
    return std::stod(sample(text, age)) > before + 2;
  }));
  CHECK(http_get(fmt::format("http://127.0.0.1:{}/healthz", port)).status == 200);
  plane.api().restart();
  scrape_until(port, "kubedr_api_server_up", "1", std::chrono::seconds(120));
  listener.kill(SIGTERM);
  CHECK(listener.wait(std::chrono::seconds(30)));
}

TEST_CASE("metrics: however many scrape the listener, nobody else is asked for it") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const BackedUpPolicy policy(plane, "besieged");
  const ByteProxy s3(plane.s3().port());
  plane.add_location("besieged", fmt::format("http://127.0.0.1:{}", s3.port()));
  const ByteProxy api(plane.api().port());
  const int port = free_port();
  Process listener = start_kubedr({"metrics", "--listen", fmt::format("127.0.0.1:{}", port),
                                   "--interval", "1h", "--repository-interval", "1h", "--server",
                                   fmt::format("https://127.0.0.1:{}", api.port()),
                                   "--kubeconfig=" + plane.api().kubeconfig().string()});
  const std::string snapshots = ours("kubedr_policy_snapshots", "besieged");
  scrape_until(port, snapshots, "1", std::chrono::seconds(120));
  // The look that it came from may have to end still.
  std::uint64_t asked = 0;
  CHECK(eventually([&] {
    const std::uint64_t before = std::exchange(asked, api.counts().bytes_to_server);
    std::this_thread::sleep_for(std::chrono::seconds(1));
    return before == asked;
  }));
  const std::vector<std::string> requests = s3.requests();
  CHECK_FALSE(requests.empty());

  std::atomic<int> good = 0;
  std::vector<std::jthread> scrapers;
  for (int i = 0; i < 200; ++i) {
    scrapers.emplace_back([&] {
      const auto answer = http_get(fmt::format("http://127.0.0.1:{}/metrics", port));
      if (answer.status == 200 && sample(std::string(answer.text()), snapshots) == "1") ++good;
    });
  }
  scrapers.clear();
  CHECK(good == 200);
  CHECK(s3.requests() == requests);
  CHECK(api.counts().bytes_to_server == asked);
  listener.kill(SIGTERM);
  CHECK(listener.wait(std::chrono::seconds(30)));
}

TEST_CASE("metrics: a listener that starts without an API server serves what it knows") {
  const int port = free_port();
  const TempDir folder;
  const auto kubeconfig = folder.write("kubeconfig",
                                       "apiVersion: v1\nkind: Config\ncurrent-context: a\n"
                                       "contexts: [{name: a, context: {cluster: a, user: a}}]\n"
                                       "clusters: [{name: a, cluster: {server: "
                                       "'https://127.0.0.1:1'}}]\n"
                                       "users: [{name: a, user: {token: t}}]\n");
  Process listener = start_kubedr({"metrics", "--listen", fmt::format("127.0.0.1:{}", port),
                                   "--kubeconfig=" + kubeconfig.string()});
  const std::string text = scrape_until(port, "kubedr_api_server_up", "0");
  CHECK(has(text, "kubedr_build_info{version="));
  CHECK_FALSE(has(text, "kubedr_findings"));

  SUBCASE("an address that is taken is told") {
    const RunResult second = test::kubedr({"metrics", "--listen", fmt::format("127.0.0.1:{}", port),
                                           "--kubeconfig=" + kubeconfig.string()});
    check_failed(second, 1, fmt::format("cannot listen on 127.0.0.1:{}", port));
  }
  listener.kill(SIGINT);
  const auto end = listener.wait(std::chrono::seconds(30));
  REQUIRE(end);
  CHECK(end->code == 0);
}

TEST_CASE("metrics: the listener speaks TLS where it is given a certificate") {
  const Certificates authority;
  const Certificate server = authority.issue({"localhost", {"127.0.0.1"}});
  const TempDir folder;
  const auto certificate = folder.write("tls.crt", server.certificate_pem);
  const auto key = folder.write("tls.key", server.key_pem);
  const auto manifest = folder.write("manifests/empty.yaml", "apiVersion: v1\nkind: List\n");
  const int port = free_port();
  const std::string address = fmt::format("127.0.0.1:{}", port);
  Process listener =
      start_kubedr({"metrics", "--listen", address, "--tls-cert", certificate.string(), "--tls-key",
                    key.string(), "-f", manifest.string()});
  REQUIRE(listener.wait_for("listening on https://", std::chrono::seconds(30)));
  http::Tls tls;
  tls.ca_pem = authority.ca_pem();
  CHECK(http_get("https://" + address + "/healthz", {}, tls).status == 200);
  CHECK(http_get("http://" + address + "/healthz").status == 0);
  check_failed(test::kubedr({"metrics", "--listen", address, "--tls-cert", key.string(),
                             "--tls-key", key.string(), "-f", manifest.string()}),
               2, "no certificate and key that belong together");
}
