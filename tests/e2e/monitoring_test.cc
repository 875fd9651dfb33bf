// Alert rules and dashboard as they are handed out, judged by real Prometheus programs.

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <set>

#include "base/text.h"
#include "base/time.h"
#include "base/yaml.h"
#include "e2e/faults.h"
#include "support/prometheus.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

const std::filesystem::path kFolder = std::filesystem::path(KUBEDR_TEST_DATA) / "../../monitoring";

Json yaml_of(const std::filesystem::path& file) {
  const std::vector<Json> documents = parse_yaml(read_text(file), file.string());
  REQUIRE(documents.size() == 1);
  return documents.front();
}

// The rules of alerts.yaml, by name.
std::map<std::string, Json> alert_rules() {
  std::map<std::string, Json> rules;
  const Json file = yaml_of(kFolder / "alerts.yaml");
  for (const Json& group : file.at("groups")) {
    for (const Json& rule : group.at("rules")) rules[rule.at("alert").get<std::string>()] = rule;
  }
  return rules;
}

}  // namespace

TEST_CASE("alerts: promtool finds no fault, and each rule has a unit test that passes") {
  KUBEDR_NEEDS("promtool");
  const std::string tests = (kFolder / "alerts_test.yaml").string();
  const RunResult checked = promtool({"check", "rules", (kFolder / "alerts.yaml").string()});
  CHECK_MESSAGE(checked.ok(), (checked.out + checked.err));
  const RunResult passed = promtool({"test", "rules", tests});
  CHECK_MESSAGE(passed.ok(), (passed.out + passed.err));

  std::map<std::string, int> fires;
  std::map<std::string, int> stays_quiet;
  const Json file = yaml_of(tests);
  for (const Json& test : file.at("tests")) {
    for (const Json& moment : test.at("alert_rule_test")) {
      const std::string alert = moment.at("alertname").get<std::string>();
      ++(moment.at("exp_alerts").empty() ? stays_quiet : fires)[alert];
    }
  }
  for (const auto& [alert, rule] : alert_rules()) {
    CAPTURE(alert);
    CHECK(fires[alert] > 0);
    CHECK(stays_quiet[alert] > 1);  // before, and after
    CHECK(rule.at("annotations").contains("summary"));
    CHECK(rule.at("annotations").contains("description"));
    CHECK(rule.at("labels").contains("severity"));
  }
}

namespace {

constexpr char kPolicy[] = "watched";

// The rules without their `for`: what a person waits an hour for, a test need not.
std::filesystem::path rules_at_once(const TempDir& folder) {
  Json rules = yaml_of(kFolder / "alerts.yaml");
  for (Json& group : rules.at("groups")) {
    for (Json& rule : group.at("rules")) rule.erase("for");
  }
  return folder.write("alerts.yaml", rules.dump());
}

// A cluster with one policy, our listener on it, and a Prometheus that scrapes that and judges.
class Watched {
 public:
  Watched() {
    plane_.add_policy(kPolicy);
    listen();
  }

  ControlPlane& plane() { return plane_; }

  const Prometheus& prometheus() const { return prometheus_; }

  void listen() {
    listener_.emplace(
        std::vector<std::string>{KUBEDR_BINARY, "metrics", "--listen",
                                 fmt::format("127.0.0.1:{}", port_), "--interval", "1s",
                                 "--repository-interval", "1s",
                                 "--kubeconfig=" + plane_.api().kubeconfig().string()},
        home());
    REQUIRE(listener_->wait_for("listening on ", std::chrono::seconds(30)));
  }

  void stop_listening() { listener_->stop(); }

  void backup(int expected, std::vector<std::string> flags = {}) {
    flags.insert(flags.begin(), {"backup", kPolicy});
    const RunResult result = plane_.kubedr(flags);
    REQUIRE_MESSAGE(result.exit.code == expected, result.err);
  }

  void run(const std::vector<std::string>& args) {
    const RunResult result = plane_.kubedr(args);
    REQUIRE_MESSAGE(result.ok(), (result.out + result.err));
  }

  // `--deep`, as the listener looks.
  Json status() {
    const RunResult result = plane_.kubedr({"status", "--deep", "-o", "json", "--fail-on=never"});
    return parsed(result);
  }

  bool fires(const std::string& alert) const {
    const std::vector<std::string> firing = prometheus_.firing();
    return std::find(firing.begin(), firing.end(), alert) != firing.end();
  }

  // A store that is away is tried for a quarter of a minute before it is called so.
  void check_fires(const std::string& alert) const {
    CHECK_MESSAGE(eventually([&] { return fires(alert); }, std::chrono::seconds(90)),
                  (alert + " does not fire"));
  }

  void check_stops(const std::string& alert) const {
    CHECK_MESSAGE(eventually([&] { return !fires(alert); }), (alert + " does not stop"));
  }

 private:
  ProcessOptions home() const {
    ProcessOptions options;
    options.env = {{"HOME", folder_.path().string()}};
    return options;
  }

  ControlPlane plane_;
  const TempDir folder_;
  const int port_ = free_port();
  std::optional<Process> listener_;
  const Prometheus prometheus_{{{"kubedr", port_, false}}, rules_at_once(folder_)};
};

// An etcd that is not there makes a backup fail at once.
const std::vector<std::string> kDeadEtcd = {"--etcd-endpoint", "https://127.0.0.1:1"};

// Of a process of this host that is not there; taken before half an hour.
HeldLock abandoned_lock(ControlPlane& plane, const Clock& clock) {
  constexpr std::int64_t kNobody = 0x7fffff00;
  char host[256] = {};
  REQUIRE(gethostname(host, sizeof host - 1) == 0);
  return HeldLock(open_bucket(plane.s3(), kPolicy, clock), host, std::chrono::minutes(31),
                  Exclusive::no, kNobody);
}

void suspend(ControlPlane& plane, const std::string& policy, bool yes) {
  const RunResult patched =
      plane.api().kubectl({"-n", kNamespace, "patch", "metadatabackuppolicy", policy, "--type",
                           "merge", "-p", fmt::format("{{\"spec\":{{\"suspend\":{}}}}}", yes)});
  REQUIRE_MESSAGE(patched.ok(), patched.err);
}

double seconds_between(const Json& from, const Json& to) {
  const auto start = parse_time(from.get<std::string>());
  const auto end = parse_time(to.get<std::string>());
  REQUIRE(start.has_value());
  REQUIRE(end.has_value());
  return std::chrono::duration<double>(*end - *start).count();
}

using Values = std::map<std::string, double>;

// What a query must give by the status, by the label that tells its series apart.
struct Expected {
  std::string label;  // empty: there is one series
  std::function<Values(const Json& status)> values;
  double tolerance = 0;
};

Expected of_policy(const std::function<double(const Json& status, const Json& policy)>& value,
                   double tolerance = 0) {
  return {"",
          [value](const Json& s) {
            return Values{{"", value(s, s.at("policies")[0])}};
          },
          tolerance};
}

Expected of_location(const std::function<double(const Json& status, const Json& location)>& value,
                     double tolerance = 0) {
  return {"",
          [value](const Json& s) {
            return Values{{"", value(s, s.at("locations")[0])}};
          },
          tolerance};
}

Expected policy_field(const std::string& pointer, double tolerance = 0) {
  return of_policy(
      [=](const Json&, const Json& policy) {
        return policy.at(Json::json_pointer(pointer)).get<double>();
      },
      tolerance);
}

Expected location_field(const std::string& pointer) {
  return of_location([=](const Json&, const Json& location) {
    return location.at(Json::json_pointer(pointer)).get<double>();
  });
}

Values findings_by_severity(const Json& status) {
  Values counts = {{"info", 0}, {"warning", 0}, {"error", 0}};
  for (const Json& finding : status.at("findings")) ++counts[finding.at("severity")];
  return counts;
}

Values certificates(const Json& status) {
  Values left;
  for (const Json& one : status.at("policies")[0].at("certificates")) {
    left[one.at("name")] = seconds_between(status.at("time"), one.at("notAfter"));
  }
  return left;
}

constexpr double kSeconds = 15;  // between the two looks

// By the panel's title, and the query's letter where it has more than one.
const std::map<std::string, Expected>& expectations() {
  static const std::map<std::string, Expected> expected = {
      {"Last good backup", policy_field("/ageSeconds", kSeconds)},
      {"Late",
       of_policy([](const Json& s,
                    const Json& p) { return seconds_between(p.at("lateAfter"), s.at("time")); },
                 kSeconds)},
      {"Next backup",
       of_policy([](const Json& s,
                    const Json& p) { return seconds_between(s.at("time"), p.at("nextDue")); },
                 kSeconds)},
      {"Findings", {"severity", findings_by_severity}},
      {"Last attempt",
       of_policy([](const Json&, const Json& p) { return p.at("backupStatus") == "Failed"; })},
      {"Suspended",
       of_policy([](const Json&, const Json& p) { return p.at("suspended").get<bool>(); })},
      {"Repository opens",
       of_location([](const Json&, const Json& l) { return l.at("problem") == ""; })},
      {"API server answers", of_policy([](const Json&, const Json&) { return 1; })},
      {"Age of the last good backup", policy_field("/ageSeconds", kSeconds)},
      // An estimate that Prometheus makes of its samples.
      {"Backups a day A", policy_field("/totals/succeeded", 0.5)},
      {"Backups a day B", policy_field("/totals/failed", 0.5)},
      {"Backups so far A", policy_field("/totals/succeeded")},
      {"Backups so far B", policy_field("/totals/failed")},
      {"Failures in a row", policy_field("/totals/failuresInRow")},
      {"Size of the last good backup A", policy_field("/totalBytesProcessed")},
      {"Size of the last good backup B", policy_field("/dataAdded")},
      {"Size of the last good backup C", policy_field("/totals/lastStoredBytes")},
      {"Duration of the last good backup", policy_field("/durationSeconds", 1e-9)},
      {"Size of the repository", location_field("/bytes")},
      {"Snapshots A", policy_field("/snapshots")},
      {"Snapshots B", location_field("/snapshots")},
      {"Locks A", location_field("/locks")},
      {"Locks B", location_field("/staleLocks")},
      {"Age of the oldest lock", of_location(
                                     [](const Json& s, const Json& l) {
                                       const Json& oldest = l.at("oldestLock");
                                       return oldest.is_null()
                                                  ? 0
                                                  : seconds_between(oldest, s.at("time"));
                                     },
                                     kSeconds)},
      {"Last check", of_location(
                         [](const Json& s, const Json& l) {
                           return seconds_between(l.at("lastCheck").at("time"), s.at("time"));
                         },
                         kSeconds)},
      {"Damage at the last check", of_location([](const Json&, const Json& l) {
         return l.at("lastCheck").at("damaged").get<bool>();
       })},
      {"Prune", of_location([](const Json&, const Json& l) { return l.at("pruneFailure") != ""; })},
      {"Passwords", location_field("/keys")},
      {"Certificates are good for", {"certificate", certificates, kSeconds}},
      {"Policies", of_policy([](const Json&, const Json&) { return 1; })},
  };
  return expected;
}

std::string with_all_chosen(std::string expression) {
  for (const char* variable : {"$policy", "$location"}) {
    const std::size_t at = expression.find(variable);
    if (at != std::string::npos) expression.replace(at, std::string(variable).size(), ".*");
  }
  return expression;
}

Values answer_of(const Prometheus& prometheus, const std::string& expression,
                 const std::string& label) {
  Values values;
  for (const Json& series : prometheus.query(with_all_chosen(expression))) {
    const std::string name = label.empty() ? "" : series.at("metric").at(label).get<std::string>();
    CHECK_MESSAGE(values.count(name) == 0, expression);
    values[name] = std::stod(series.at("value")[1].get<std::string>());
  }
  return values;
}

bool agree(const Values& answer, const Values& expected, double tolerance) {
  return answer.size() == expected.size() &&
         std::all_of(expected.begin(), expected.end(), [&](const auto& one) {
           const auto found = answer.find(one.first);
           return found != answer.end() && std::abs(found->second - one.second) <= tolerance;
         });
}

std::string text_of(const Values& values) {
  std::string text;
  for (const auto& [name, value] : values) text += fmt::format(" {}={}", name, value);
  return text;
}

// What Grafana offers to choose from for "label_values(METRIC, LABEL)".
std::set<std::string> choices(const Prometheus& prometheus, const std::string& query) {
  static const std::regex form(R"(label_values\((\w+), (\w+)\))");
  std::smatch parts;
  REQUIRE(std::regex_match(query, parts, form));
  std::set<std::string> values;
  for (const Json& series : prometheus.query(parts[1])) {
    values.insert(series.at("metric").at(parts[2]).get<std::string>());
  }
  return values;
}

void check_variables(const Watched& watched, const Json& dashboard) {
  std::size_t tried = 0;
  for (const Json& variable : dashboard.at("templating").at("list")) {
    if (variable.at("type") == "datasource") continue;
    const std::string query = variable.at("query").at("query");
    CAPTURE(query);
    CHECK(variable.at("definition") == query);
    CHECK(choices(watched.prometheus(), query) == std::set<std::string>{kPolicy});
    ++tried;
  }
  CHECK(tried == 2);
}

// Each query of the dashboard finds data, and what `status` says at the same time.
void check_dashboard(Watched& watched) {
  const Json dashboard = parse_json(read_text(kFolder / "dashboard.json"), "dashboard.json");
  CHECK(dashboard.at("schemaVersion") == 42);
  check_variables(watched, dashboard);
  std::size_t tried = 0;
  for (const Json& panel : dashboard.at("panels")) {
    if (panel.at("type") == "row") continue;
    const Json& targets = panel.at("targets");
    for (const Json& target : targets) {
      std::string title = panel.at("title").get<std::string>();
      if (targets.size() > 1) title += " " + target.at("refId").get<std::string>();
      CAPTURE(title);
      const auto found = expectations().find(title);
      REQUIRE(found != expectations().end());
      const Expected& expected = found->second;
      const std::string expression = target.at("expr").get<std::string>();
      Values answer;
      Values wanted;
      const bool same = eventually([&] {
        answer = answer_of(watched.prometheus(), expression, expected.label);
        wanted = expected.values(watched.status());
        return agree(answer, wanted, expected.tolerance);
      });
      CHECK_MESSAGE(same, (expression + " gives" + text_of(answer) + ", not" + text_of(wanted)));
      CHECK_FALSE(answer.empty());
      ++tried;
    }
  }
  CHECK(tried == expectations().size());
}

}  // namespace

namespace {

// The names that an expression looks for: metrics, and the labels that it compares or that a text
// shows of it.
struct Names {
  std::set<std::string> metrics;
  std::set<std::string> labels;
};

Names names_in(const Json& rule) {
  static const std::regex metric(R"(\bkubedr_\w+)");
  static const std::regex matched("(\\w+)(=|=~|!=)\"");
  static const std::regex joined(R"(\bon \(([\w, ]*)\))");
  static const std::regex shown(R"(\$labels\.(\w+))");
  Names names;
  const auto add = [](std::set<std::string>& set, const std::string& text, const std::regex& form,
                      std::size_t part) {
    for (std::sregex_iterator found(text.begin(), text.end(), form), end; found != end; ++found) {
      for (const std::string& name : split((*found)[part].str(), ',')) {
        if (!trim(name).empty()) set.emplace(trim(name));
      }
    }
  };
  const std::string expression = rule.at("expr");
  add(names.metrics, expression, metric, 0);
  add(names.labels, expression, matched, 1);
  add(names.labels, expression, joined, 1);
  const std::string texts = rule.at("annotations").dump();
  add(names.labels, texts, shown, 1);
  return names;
}

// Whoever mistypes a name has an alert that never fires: each is one that the listener has.
void check_names_of_alerts(const Prometheus& prometheus) {
  for (const auto& [alert, rule] : alert_rules()) {
    CAPTURE(alert);
    const Names names = names_in(rule);
    CHECK_FALSE(names.metrics.empty());
    for (const std::string& metric : names.metrics) {
      CAPTURE(metric);
      const Json series = prometheus.query(metric);
      REQUIRE_FALSE(series.empty());
      if (metric == "kubedr_build_info") continue;  // it tells that anything is there
      for (const std::string& label : names.labels) {
        CAPTURE(label);
        CHECK(series[0].at("metric").contains(label));
      }
    }
  }
}

}  // namespace

TEST_CASE("monitoring: backups succeed, fail and stay away; alerts and dashboard tell") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("prometheus");
  KUBEDR_NEEDS("restic-0.18");
  Watched watched;
  ControlPlane& plane = watched.plane();
  watched.check_fires("KubedrNotInitialized");
  watched.check_fires("KubedrNeverBackedUp");
  watched.check_stops("KubedrAbsent");
  watched.run({"init", kPolicy});
  watched.backup(0);
  watched.run({"check", "--location", kPolicy});
  watched.check_stops("KubedrNotInitialized");
  watched.check_stops("KubedrNeverBackedUp");
  watched.check_stops("KubedrFindings");
  CHECK(eventually([&] { return watched.prometheus().firing().empty(); }));

  watched.backup(0);
  watched.backup(20, kDeadEtcd);
  watched.check_fires("KubedrBackupFailed");
  CHECK_FALSE(watched.fires("KubedrBackupsFailing"));
  watched.backup(20, kDeadEtcd);
  watched.backup(20, kDeadEtcd);
  watched.check_fires("KubedrBackupsFailing");
  watched.check_fires("KubedrFindings");
  check_dashboard(watched);

  watched.backup(0);
  watched.check_stops("KubedrBackupFailed");
  watched.check_stops("KubedrBackupsFailing");
  watched.check_stops("KubedrFindings");

  // The gap: nothing since two hours ago, and the schedule wants one every ten minutes.
  age_backups(plane, kPolicy, std::chrono::hours(2));
  watched.check_fires("KubedrBackupLate");
  CHECK(watched.status().at("policies")[0].at("ageSeconds").get<double>() > 7000);
  check_dashboard(watched);
  watched.backup(0);
  watched.check_stops("KubedrBackupLate");
  check_dashboard(watched);
  check_names_of_alerts(watched.prometheus());

  {
    const SystemClock clock;
    const HeldLock lock = abandoned_lock(plane, clock);
    watched.check_fires("KubedrStaleLock");
    check_dashboard(watched);
    watched.run({"unlock", "--location", kPolicy});
    watched.check_stops("KubedrStaleLock");
  }

  suspend(plane, kPolicy, true);
  watched.check_fires("KubedrSuspended");
  suspend(plane, kPolicy, false);
  watched.check_stops("KubedrSuspended");

  watched.stop_listening();
  watched.check_fires("KubedrAbsent");
  watched.listen();
  watched.check_stops("KubedrAbsent");

  plane.s3().stop();
  watched.check_fires("KubedrRepositoryDown");
  plane.s3().restart();
  watched.check_stops("KubedrRepositoryDown");

  plane.api().stop();
  watched.check_fires("KubedrApiServerDown");
  plane.api().restart();
  watched.check_stops("KubedrApiServerDown");
}
