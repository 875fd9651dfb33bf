// Alert rules and dashboard as they are handed out, judged by real Prometheus programs.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

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
