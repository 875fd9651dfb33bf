// What `status` shows: tables within 80 columns, a document by its schema, several clusters in one
// table, again and again.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/hex.h"
#include "base/text.h"
#include "base/time.h"
#include "e2e/faults.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

const std::filesystem::path kSchema =
    std::filesystem::path(KUBEDR_TEST_DATA) / "../../monitoring/status.schema.json";

bool is_of_type(const Json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  if (type == "null") return value.is_null();
  FAIL(("unknown type " + type));
  return false;
}

bool is_of_type(const Json& value, const Json& type) {
  if (type.is_string()) return is_of_type(value, type.get<std::string>());
  return std::any_of(type.begin(), type.end(),
                     [&](const Json& one) { return is_of_type(value, one.get<std::string>()); });
}

// Judges a value by as much of JSON Schema as ours uses; anything else in the schema fails.
// `seen` learns which fields had a value.
void check_by_schema(const Json& value, const Json& schema, const std::string& where,
                     std::set<std::string>& seen) {
  CAPTURE(where);
  static const std::set<std::string> kWords = {
      "$schema", "$id",        "title",    "description",          "type",  "enum",     "minimum",
      "format",  "properties", "required", "additionalProperties", "items", "minLength"};
  for (const auto& [word, content] : schema.items()) {
    CHECK_MESSAGE(kWords.count(word) == 1, word);
  }
  CHECK_FALSE(schema.at("description").get<std::string>().empty());
  REQUIRE_MESSAGE(is_of_type(value, schema.at("type")), value.dump());
  if (value.is_null()) return;
  seen.insert(where);
  if (schema.contains("enum")) {
    const Json& allowed = schema.at("enum");
    CHECK_MESSAGE(std::find(allowed.begin(), allowed.end(), value) != allowed.end(), value.dump());
  }
  if (schema.contains("minimum")) CHECK(value >= schema.at("minimum"));
  if (schema.contains("minLength")) CHECK_FALSE(value.get<std::string>().empty());
  if (schema.contains("format")) {
    CHECK(schema.at("format") == "date-time");
    CHECK_MESSAGE(parse_time(value.get<std::string>()).has_value(), value.dump());
  }
  if (value.is_array()) {
    for (const Json& item : value) check_by_schema(item, schema.at("items"), where + "[]", seen);
  }
  if (!value.is_object()) return;
  CHECK(schema.at("additionalProperties") == false);
  for (const Json& name : schema.at("required")) {
    CHECK_MESSAGE(value.contains(name.get<std::string>()), name.dump());
  }
  for (const auto& [name, content] : value.items()) {
    REQUIRE_MESSAGE(schema.at("properties").contains(name), name);
    check_by_schema(content, schema.at("properties").at(name), where + "." + name, seen);
  }
}

void list_fields(const Json& schema, const std::string& where, std::set<std::string>& fields) {
  fields.insert(where);
  if (schema.contains("items")) list_fields(schema.at("items"), where + "[]", fields);
  if (!schema.contains("properties")) return;
  for (const auto& [name, content] : schema.at("properties").items()) {
    list_fields(content, where + "." + name, fields);
  }
}

Json status_of(ControlPlane& plane, std::vector<std::string> flags) {
  flags.insert(flags.begin(), {"status", "-o", "json", "--fail-on", "never"});
  return parsed(plane.kubedr(flags));
}

std::vector<std::string> lines_of(const std::string& text) {
  return split(text, '\n');
}

// The lines of the tables, which end where the findings begin.
std::vector<std::string> table_lines(const std::string& text) {
  std::vector<std::string> lines;
  int tables = 0;
  for (const std::string& line : lines_of(text)) {
    if (line.empty() && ++tables == 2) break;
    lines.push_back(line);
  }
  return lines;
}

std::size_t longest(const std::vector<std::string>& lines) {
  std::size_t longest = 0;
  for (const std::string& line : lines) longest = std::max(longest, line.size());
  return longest;
}

// A kubeconfig with a context for each: a server that is there, and one that is not.
std::filesystem::path two_contexts(const KubeApi& api, const TempDir& folder) {
  return folder.write("two.yaml", fmt::format(R"(apiVersion: v1
kind: Config
contexts:
- {{name: here, context: {{cluster: here, user: admin}}}}
- {{name: again, context: {{cluster: here, user: admin}}}}
- {{name: away, context: {{cluster: away, user: admin}}}}
clusters:
- {{name: here, cluster: {{server: "{}", certificate-authority-data: {}}}}}
- {{name: away, cluster: {{server: "https://127.0.0.1:1"}}}}
users:
- {{name: admin, user: {{token: {}}}}}
)",
                                              api.url(), to_base64(as_bytes(api.ca_pem())),
                                              KubeApi::token("admin")));
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("status: the document is what its schema says, and each field of it has been seen") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  const Json schema = parse_json(read_text(kSchema), "schema");
  std::set<std::string> seen;
  const auto check = [&](const std::vector<std::string>& flags) {
    check_by_schema(status_of(plane, flags), schema, "", seen);
  };
  check({});
  plane.add_policy("described");
  check({"--deep"});
  REQUIRE(plane.kubedr({"init", "described"}).ok());
  REQUIRE(plane.kubedr({"backup", "described"}).ok());
  REQUIRE(plane.kubedr({"backup", "described"}).ok());
  REQUIRE(plane.kubedr({"check", "--location", "described"}).ok());
  check({});
  check({"--deep"});
  const SystemClock clock;
  const HeldLock somebody(open_bucket(plane.s3(), "described", clock), "elsewhere",
                          std::chrono::minutes(1));
  CHECK(plane.kubedr({"backup", "described", "--etcd-endpoint", "https://127.0.0.1:1"}).exit.code ==
        20);
  check({"--deep"});
  std::set<std::string> fields;
  list_fields(schema, "", fields);
  for (const std::string& field : fields) CHECK_MESSAGE(seen.count(field) == 1, field);
}

TEST_CASE("status: tables fit 80 columns whatever the names, and wide has the rest") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  const std::string name = "a-policy-whose-name-is-as-long-as-nobody-would-like-to-type-it";
  plane.add_policy("fit");
  plane.add_policy(name, {{"destination", "fit"}});
  REQUIRE(plane.kubedr({"init", "fit"}).ok());
  REQUIRE(plane.kubedr({"backup", "fit"}).ok());
  REQUIRE(plane.kubedr({"backup", name}).ok());
  REQUIRE(plane.kubedr({"check", "--location", "fit"}).ok());
  for (const std::vector<std::string>& flags : {std::vector<std::string>{}, {"--deep"}, {"-A"}}) {
    CAPTURE(flags);
    std::vector<std::string> args{"status"};
    args.insert(args.end(), flags.begin(), flags.end());
    const RunResult table = plane.kubedr(args);
    CHECK_MESSAGE(longest(table_lines(table.out)) <= 80, table.out);
    CHECK(has(table.out, "a-policy"));
    CHECK_FALSE(has(table.out, name + "  "));  // as a cell; findings say it
    args.insert(args.end(), {"-o", "wide"});
    const RunResult wide = plane.kubedr(args);
    CHECK(has(wide.out, name + " "));
    CHECK(has(wide.out, plane.s3().url() + "/fit"));
    CHECK(has(wide.out, "*/10 * * * *"));
  }
}

TEST_CASE("status: the table has size and growth, the last check, and a failure with its text") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "grown");
  plane.etcd().fill("/kubedr-test/grown/", 200, 4000);
  REQUIRE(policy.backup().ok());
  REQUIRE(plane.kubedr({"check", "--location", "grown"}).ok());
  const Json one = status_of(plane, {"policy/grown"}).at("policies")[0];
  const std::int64_t growth = one.at("growthBytes").get<std::int64_t>();
  CHECK(growth >= 0);
  const std::int64_t size = one.at("totalBytesProcessed").get<std::int64_t>();
  CHECK(growth == 2 * size - one.at("totals").at("processedBytes").get<std::int64_t>());
  RunResult table = plane.kubedr({"status", "grown"});
  CHECK(has(table.out, human_size(static_cast<std::uint64_t>(size))));
  CHECK(has(table.out, "+" + human_size(static_cast<std::uint64_t>(growth))));
  CHECK_MESSAGE(has(table.out, " ago "), table.out);
  CHECK_FALSE(has(table.out, "never"));  // checked
  CHECK(has(table.out, "ok\n"));         // prunes work
  CHECK(policy.backup({"--etcd-endpoint", "https://127.0.0.1:1"}).exit.code == 20);
  table = plane.kubedr({"status", "grown"});
  CHECK(table.exit.code == 5);
  CHECK_MESSAGE(has(table.out, "last backup failed: etcd: https://127.0.0.1:1: "), table.out);
}

TEST_CASE("status: colours are for terminals, and not with --no-color") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const BackedUpPolicy policy(plane, "coloured");
  ProcessOptions options;
  options.terminal = Terminal::all;
  options.env = {{"TERM", "xterm"}, {"HOME", "/nowhere"}};
  const std::string kubeconfig = "--kubeconfig=" + plane.api().kubeconfig().string();
  const RunResult shown = run({KUBEDR_BINARY, "status", "coloured", kubeconfig}, options);
  CHECK(has(shown.screen, "\033[32mCompleted\033[0m"));
  const RunResult plain =
      run({KUBEDR_BINARY, "status", "coloured", "--no-color", kubeconfig}, options);
  CHECK_FALSE(has(plain.screen, "\033["));
}

TEST_CASE("status: severities are coloured, errors red and warnings yellow") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const BackedUpPolicy policy(plane, "alarming");
  CHECK(policy.backup({"--etcd-endpoint", "https://127.0.0.1:1"}).exit.code == 20);
  REQUIRE(plane.kubedr({"suspend", "alarming"}).ok());
  ProcessOptions options;
  options.terminal = Terminal::all;
  options.env = {{"TERM", "xterm"}, {"HOME", "/nowhere"}};
  const std::string kubeconfig = "--kubeconfig=" + plane.api().kubeconfig().string();
  const RunResult shown = run({KUBEDR_BINARY, "status", "alarming", kubeconfig}, options);
  CHECK_MESSAGE(has(shown.screen, "\033[31merror\033[0m"), shown.screen);
  CHECK_MESSAGE(has(shown.screen, "\033[33mwarning\033[0m"), shown.screen);
}

TEST_CASE("status: contexts of two control planes, each with what is its own") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& home = ControlPlane::shared();
  ControlPlane abroad;
  const BackedUpPolicy good(home, "at-home");
  abroad.add_policy("abroad");
  const TempDir folder;
  const auto merged = [&](const std::string& name, ControlPlane& plane) {
    return fmt::format(
        "- {{name: {0}, cluster: {{server: \"{1}\", certificate-authority-data: {2}}}}}\n", name,
        plane.api().url(), to_base64(as_bytes(plane.api().ca_pem())));
  };
  const std::string config =
      folder
          .write("config",
                 "contexts:\n"
                 "- {name: home, context: {cluster: home, user: admin}}\n"
                 "- {name: abroad, context: {cluster: abroad, user: admin}}\n"
                 "clusters:\n" +
                     merged("home", home) + merged("abroad", abroad) +
                     "users: [{name: admin, user: {token: " + KubeApi::token("admin") + "}}]\n")
          .string();
  const RunResult both = test::kubedr({"status", "--contexts", "home,abroad", "--kubeconfig",
                                       config, "-o", "json", "--fail-on", "never"});
  const Json report = parsed(both);
  std::set<std::string> policies;
  for (const Json& policy : report.at("policies")) {
    policies.insert(policy.at("context").get<std::string>() + "/" +
                    policy.at("name").get<std::string>());
  }
  CHECK(policies.count("home/at-home") == 1);
  CHECK(policies.count("abroad/abroad") == 1);
  CHECK(policies.count("home/abroad") + policies.count("abroad/at-home") == 0);
  bool told = false;
  for (const Json& finding : report.at("findings")) {
    if (finding.at("code") != "not-initialized") continue;
    told = told || finding.at("context") == "abroad";
    CHECK_FALSE((finding.at("context") == "home" && has(finding.dump(), "at-home")));
  }
  CHECK(told);
}

TEST_CASE("status: several contexts share one table, and one that is away hides none") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const BackedUpPolicy policy(plane, "contexts");
  const TempDir folder;
  const std::string kubeconfig = "--kubeconfig=" + two_contexts(plane.api(), folder).string();
  const auto status = [&](std::vector<std::string> args) {
    args.insert(args.begin(), {"status", kubeconfig, "--request-timeout", "5s"});
    return test::kubedr(args);
  };
  const RunResult both = status({"policy/contexts", "--contexts", "here,again", "--max-age", "1h"});
  CHECK_MESSAGE(both.ok(), (both.out + both.err));
  const std::vector<std::string> lines = table_lines(both.out);
  CHECK(std::count_if(lines.begin(), lines.end(),
                      [](const std::string& line) { return line.starts_with("here "); }) == 2);
  CHECK(std::count_if(lines.begin(), lines.end(),
                      [](const std::string& line) { return line.starts_with("again "); }) == 2);
  CHECK(longest(lines) <= 80);
  CHECK(has(both.out, "No findings."));

  const RunResult away =
      status({"policy/contexts", "--contexts", "away,here", "--max-age", "1h", "-o", "json"});
  CHECK(away.exit.code == 20);
  const Json document = parse_json(away.out, "stdout");
  CHECK(document.at("policies")[0].at("context") == "here");
  REQUIRE(document.at("findings").size() == 1);
  CHECK(document.at("findings")[0].at("context") == "away");
  CHECK(document.at("findings")[0].at("code") == "cluster-unanswered");
  check_failed(status({"--contexts", "nowhere"}), 2, "context \"nowhere\" does not exist");
  check_failed(status({"--contexts", "here", "--repo", "/tmp/x"}), 2, "--contexts cannot be given");
}

TEST_CASE("status: a cluster that did not answer is no finding any more once it does") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& here = ControlPlane::shared();
  ControlPlane there;
  const TempDir folder;
  const auto kubeconfig = folder.write(
      "both.yaml",
      fmt::format(R"(apiVersion: v1
kind: Config
contexts:
- {{name: here, context: {{cluster: here, user: admin}}}}
- {{name: there, context: {{cluster: there, user: admin}}}}
clusters:
- {{name: here, cluster: {{server: "{}", certificate-authority-data: {}}}}}
- {{name: there, cluster: {{server: "{}", certificate-authority-data: {}}}}}
users:
- {{name: admin, user: {{token: {}}}}}
)",
                  here.api().url(), to_base64(as_bytes(here.api().ca_pem())), there.api().url(),
                  to_base64(as_bytes(there.api().ca_pem())), KubeApi::token("admin")));
  const auto unanswered = [&](int code) {
    const RunResult result =
        test::kubedr({"status", "--contexts", "here,there", "--fail-on", "never", "-o", "json",
                      "--request-timeout", "20s", "--kubeconfig=" + kubeconfig.string()});
    CHECK_MESSAGE(result.exit.code == code, result.err);
    std::vector<std::string> objects;
    const Json document = parse_json(result.out, "stdout");
    for (const Json& one : document.at("findings")) {
      if (one.at("code") == "cluster-unanswered") objects.push_back(one.at("object"));
    }
    return objects;
  };
  CHECK(unanswered(0).empty());
  there.api().stop();
  CHECK(unanswered(20) == std::vector<std::string>{"context/there"});
  there.api().restart();
  CHECK(unanswered(0).empty());
}

TEST_CASE("status --watch: appended in a pipe, in place on a terminal, until it is interrupted") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "watched-on");
  const std::vector<std::string> args = {
      "status",     "watched-on", "--watch",
      "--interval", "200ms",      "--kubeconfig=" + plane.api().kubeconfig().string()};
  Process piped = start_kubedr(args);
  REQUIRE(eventually([&] { return count(piped.out(), "POLICY ") >= 3; }));
  CHECK_FALSE(has(piped.out(), "\033["));
  // What changes meanwhile is shown.
  CHECK(policy.backup({"--etcd-endpoint", "https://127.0.0.1:1"}).exit.code == 20);
  CHECK(piped.wait_for("last backup failed", std::chrono::seconds(20)));
  piped.kill(SIGINT);
  auto end = piped.wait(std::chrono::seconds(20));
  REQUIRE(end);
  CHECK(end->code == 0);

  ProcessOptions options;
  options.terminal = Terminal::all;
  options.env = {{"TERM", "xterm"}, {"HOME", "/nowhere"}};
  std::vector<std::string> argv = args;
  argv.insert(argv.begin(), KUBEDR_BINARY);
  Process shown(argv, options);
  REQUIRE(eventually([&] { return count(shown.screen(), "\033[H") >= 3; }));
  CHECK(count(shown.screen(), "\033[2J") == 1);  // cleared once, then written over
  CHECK(has(shown.screen(), "\033[K"));
  shown.kill(SIGTERM);
  end = shown.wait(std::chrono::seconds(20));
  REQUIRE(end);
  CHECK(end->code == 0);
}

TEST_CASE("status --watch: goes on while the API server is away, and ends when nobody reads") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane plane;
  const std::string kubeconfig = "--kubeconfig=" + plane.api().kubeconfig().string();
  Process watching = start_kubedr(
      {"status", "--watch", "--interval", "200ms", "--request-timeout", "2s", kubeconfig});
  CHECK(watching.wait_for("No findings.", std::chrono::seconds(20)));
  plane.api().stop();
  CHECK(watching.wait_for("error: ", std::chrono::seconds(60)));
  const std::size_t before = count(watching.out(), "No findings.");
  plane.api().restart();
  CHECK(eventually([&] { return count(watching.out(), "No findings.") > before; },
                   std::chrono::seconds(60)));
  watching.kill(SIGTERM);
  CHECK(watching.wait(std::chrono::seconds(20)));

  ProcessOptions options;
  options.env = {{"HOME", "/nowhere"}};
  const RunResult read = run({"bash", "-c",
                              fmt::format("{} status --watch --interval 100ms '{}' | head -n 1",
                                          KUBEDR_BINARY, kubeconfig)},
                             options);
  CHECK(read.ok());
}
