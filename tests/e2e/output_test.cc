// What people and scripts get to read: tables that line up, documents that parse, failures as JSON,
// help, suggestions, findings with their remedy.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/text.h"
#include "base/yaml.h"
#include "e2e/faults.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines = split(text, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

// Where the columns of a header line begin; a title may hold a single blank.
std::vector<std::size_t> column_starts(const std::string& header) {
  std::vector<std::size_t> starts;
  for (std::size_t i = 0; i < header.size(); ++i) {
    if (header[i] == ' ') continue;
    if (i == 0 || (i > 1 && header[i - 1] == ' ' && header[i - 2] == ' ')) starts.push_back(i);
  }
  return starts;
}

bool lines_up(const std::string& row, const std::vector<std::size_t>& starts) {
  for (const std::size_t start : starts) {
    if (row.size() <= start || row[start] == ' ') return false;
    if (start > 0 && row[start - 1] != ' ') return false;
  }
  return true;
}

// Every table of an output: a header of capitals, rows until an empty line. Returns the rows.
std::vector<std::string> check_tables(const std::string& text) {
  std::vector<std::string> rows;
  std::vector<std::size_t> starts;
  for (const std::string& line : lines_of(text)) {
    const bool is_header = !line.empty() && line == [&] {
      std::string upper = line;
      for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
      return upper;
    }();
    if (is_header) {
      starts = column_starts(line);
      CHECK_MESSAGE(starts.size() >= 4, line);
    } else if (line.empty()) {
      starts.clear();
    } else if (!starts.empty()) {
      rows.push_back(line);
      CHECK_MESSAGE(lines_up(line, starts), line);
    }
    CHECK_MESSAGE((line.empty() || line.back() != ' '), line);
  }
  return rows;
}

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

// The failure that must be the last line of stderr, with nothing on stdout.
Json failure_of(const RunResult& result) {
  CHECK(result.out.empty());
  const std::vector<std::string> lines = lines_of(result.err);
  REQUIRE_FALSE(lines.empty());
  const Json failure = parse_json(lines.back(), "stderr");
  CHECK(keys_of(failure) == std::vector<std::string>{"error"});
  const Json& error = failure.at("error");
  CHECK(error.at("exitCode") == result.exit.code);
  CHECK_FALSE(error.at("message").get<std::string>().empty());
  CHECK(error.at("hint").is_string());
  return error;
}

// The verbs, as the overview lists them.
std::vector<std::string> verbs() {
  const RunResult help = test::kubedr({"--help"});
  REQUIRE(help.ok());
  std::vector<std::string> names;
  bool listing = false;
  for (const std::string& line : lines_of(help.out)) {
    const bool is_heading = !line.empty() && line.front() != ' ';
    if (is_heading) listing = to_lower(line).starts_with("subcommands");
    if (!listing || is_heading || !line.starts_with("  ") || line.size() < 3 || line[2] == ' ') {
      continue;
    }
    names.push_back(line.substr(2, line.find(' ', 2) - 2));
  }
  return names;
}

Json findings_of(ControlPlane& plane, const std::string& name,
                 const std::vector<std::string>& flags = {}) {
  std::vector<std::string> args = {"status", name, "-o", "json"};
  args.insert(args.end(), flags.begin(), flags.end());
  const RunResult result = plane.kubedr(args);
  return parse_json(result.out, "status").at("findings");
}

std::vector<std::string> codes_of(const Json& findings) {
  std::vector<std::string> codes;
  for (const Json& finding : findings) codes.push_back(finding.at("code").get<std::string>());
  return codes;
}

// The finding is there as JSON and for people, with its remedy, and decides about the exit code.
void check_finding(ControlPlane& plane, const std::string& name, const std::string& code,
                   const std::string& remedy, std::vector<std::string> flags = {}) {
  CAPTURE(code);
  const Json findings = findings_of(plane, name, flags);
  Json found;
  for (const Json& finding : findings) {
    if (finding.at("code") == code) found = finding;
  }
  REQUIRE_MESSAGE(!found.is_null(), findings.dump(2));
  CHECK_MESSAGE(has(found.at("remedy").get<std::string>(), remedy), found.dump(2));

  flags.insert(flags.begin(), {"status", name});
  const RunResult shown = plane.kubedr(flags);
  const std::string severity = found.at("severity").get<std::string>();
  CHECK(shown.exit.code == (severity == "error" ? 5 : 0));
  CHECK_MESSAGE(
      has(shown.out, fmt::format("{}: {}: ", severity, found.at("object").get<std::string>())),
      shown.out);
  CHECK_MESSAGE(has(shown.out, remedy), shown.out);

  flags.insert(flags.end(), {"--fail-on", "never"});
  CHECK(plane.kubedr(flags).exit.code == 0);
  flags.back() = "warning";
  CHECK(plane.kubedr(flags).exit.code == (severity == "info" ? 0 : 5));
}

void make_backup(ControlPlane& plane, const std::string& policy) {
  const RunResult init = plane.kubedr({"init", policy, "--if-needed"});
  REQUIRE_MESSAGE(init.ok(), init.err);
  const RunResult backup = plane.kubedr({"backup", policy});
  REQUIRE_MESSAGE(backup.ok(), backup.err);
}

}  // namespace

TEST_CASE("output: every verb's documents parse, its tables line up, its names are names") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("shapes");
  make_backup(plane, "shapes");
  const TempDir folder;
  std::string said;
  const auto run = [&](std::vector<std::string> verb, const std::string& output) {
    CAPTURE(verb.front());
    CAPTURE(output);
    if (verb.front() == "restore") verb.push_back("--target=" + (folder / output).string());
    verb.insert(verb.end(), {"-o", output});
    const RunResult result = plane.kubedr(verb);
    CHECK_MESSAGE(result.ok(), result.err);
    said += result.out + result.err;
    return result.out;
  };
  for (const std::vector<std::string>& verb : {std::vector<std::string>{"version"},
                                               {"install"},
                                               {"init", "shapes", "--if-needed"},
                                               {"backup", "shapes"},
                                               {"snapshots", "--location", "shapes"},
                                               {"status", "shapes"},
                                               {"restore", "latest", "--policy", "shapes"}}) {
    CAPTURE(verb.front());
    const Json json = parse_json(run(verb, "json"), "json");
    CHECK(json.is_object());
    const std::vector<Json> yaml = parse_yaml(run(verb, "yaml"), "yaml");
    REQUIRE(yaml.size() == 1);
    CHECK(keys_of(yaml.front()) == keys_of(json));
    const std::string table = run(verb, "table");
    const std::string wide = run(verb, "wide");
    const std::string names = run(verb, "name");
    CHECK_FALSE(names.empty());
    const bool is_list = verb.front() == "snapshots" || verb.front() == "status";
    if (verb.front() != "version" && verb.front() != "restore") {
      for (const std::string& name : lines_of(names)) {
        CHECK_MESSAGE(has(name, "/"), name);
        CHECK_MESSAGE(!has(name, " "), name);
      }
    }
    if (!is_list) continue;
    CHECK_FALSE(check_tables(table).empty());
    CHECK_FALSE(check_tables(wide).empty());
    CHECK(lines_of(wide).front().size() >= lines_of(table).front().size());
    std::vector<std::string> bare = verb;
    bare.emplace_back("--no-headers");
    const std::string rows = run(bare, "table");
    CHECK_FALSE(has(rows, "SNAPSHOT"));
    CHECK_FALSE(has(rows, "POLICY"));
    const std::size_t tables = verb.front() == "status" ? 2 : 1;
    CHECK(lines_of(rows).size() == lines_of(table).size() - tables);
  }
  CHECK_FALSE(has(said, kPassword));
  CHECK_FALSE(has(said, plane.s3().secret_key()));
}

TEST_CASE("output: -q says nothing but the result, -v says no secrets") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("volume");
  make_backup(plane, "volume");
  const RunResult quiet = plane.kubedr({"-q", "backup", "volume", "-o", "name"});
  CHECK(quiet.ok());
  CHECK(quiet.err.empty());
  CHECK(quiet.out.starts_with("metadatabackuprecord/mbr-"));
  for (const char* flag : {"-v", "-vv", "-v=9"}) {
    const RunResult loud = plane.kubedr({flag, "--no-cache", "snapshots", "volume"});
    CHECK_MESSAGE(loud.ok(), loud.err);
    if (flag != std::string("-v")) CHECK(has(loud.err, "/snapshots/"));  // each request
    CHECK_FALSE(has(loud.err, kPassword));
    CHECK_FALSE(has(loud.err, plane.s3().secret_key()));
    CHECK_FALSE(has(loud.err, KubeApi::token("admin")));
    CHECK_FALSE(has(loud.err, "Signature="));
  }
}

TEST_CASE("output: with -o json a failure is one JSON object, the last line of stderr") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_location("json-failure");

  struct Case {
    std::vector<std::string> args;
    const char* kind;
    int code;
  };

  const TempDir folder;
  for (const Case& one :
       {Case{{"init", "no-such-location"}, "not_found", 4},
        Case{{"backup", "no-such-policy"}, "not_found", 4},
        Case{{"snapshots", "--location", "json-failure"}, "no_repository", 10},
        Case{{"restore", "latest"}, "usage", 2},
        Case{{"restore", "0000000", "--location", "json-failure", "--target",
              (folder / "target").string()},
             "no_repository",
             10},
        Case{{"status", "no-such-thing"}, "not_found", 4},
        Case{{"backup", "x", "--timeout", "soon"}, "usage", 2},
        Case{{"backup", "--no-such-flag"}, "usage", 2}, Case{{"no-such-verb"}, "usage", 2},
        Case{{"init", "json-failure", "--repository-version", "3"}, "usage", 2}}) {
    for (const std::vector<std::string>& flags :
         {std::vector<std::string>{"-o", "json"}, {"-ojson"}, {"--output=json"}}) {
      CAPTURE(one.args);
      CAPTURE(flags);
      std::vector<std::string> args = one.args;
      args.insert(args.end(), flags.begin(), flags.end());
      const RunResult result = plane.kubedr(args);
      CHECK(result.exit.code == one.code);
      CHECK(failure_of(result).at("kind") == one.kind);
    }
    const RunResult plain = plane.kubedr(one.args);
    CHECK(plain.exit.code == one.code);
    CHECK_MESSAGE(has("\n" + plain.err, "\nerror: "), plain.err);
    CHECK(plain.out.empty());
  }
}

TEST_CASE("output: a mistyped verb or flag is told what was probably meant") {
  struct Case {
    std::vector<std::string> args;
    const char* complaint;
    const char* meant;
  };

  for (const Case& one :
       {Case{{"backpu"}, "unknown command \"backpu\" for \"kubectl kubedr\"", "backup"},
        Case{{"snapshot"}, "unknown command \"snapshot\"", "snapshots"},
        Case{{"-n", "kubedr-system", "statuss"}, "unknown command \"statuss\"", "status"},
        Case{{"key", "lst"}, "unknown command \"lst\" for \"kubectl kubedr key\"", "list"},
        Case{{"help", "backpu"}, "unknown command \"backpu\" for \"kubectl kubedr\"", "backup"},
        Case{{"key", "add", "--new-pasword-file", "x"},
             "unknown flag: --new-pasword-file",
             "--new-password-file"},
        Case{{"backup", "--etcd-endpont", "x"}, "unknown flag: --etcd-endpont", "--etcd-endpoint"},
        Case{{"backup", "--etcd-endpont=x"}, "unknown flag: --etcd-endpont", "--etcd-endpoint"},
        Case{{"status", "--no-header"}, "unknown flag: --no-header", "--no-headers"},
        Case{{"--kubeconfg=x", "status"}, "unknown flag: --kubeconfg", "--kubeconfig"}}) {
    CAPTURE(one.args);
    const RunResult result = test::kubedr(one.args);
    CHECK(result.exit.code == 2);
    CHECK(result.out.empty());
    CHECK_MESSAGE(has(result.err, one.complaint), result.err);
    CHECK_MESSAGE(has(result.err, std::string("Did you mean this?\n  ") + one.meant + "\n"),
                  result.err);
  }
  for (const std::vector<std::string>& args : {std::vector<std::string>{},
                                               {"qqqqqq"},
                                               {"status", "--qqqqqq"},
                                               {"-o", "jsn", "status"},
                                               {"version", "surplus"}}) {
    CAPTURE(args);
    const RunResult result = test::kubedr(args);
    CHECK(result.exit.code == 2);
    CHECK_FALSE(has(result.err, "Did you mean"));
    CHECK(has(result.err, "error: "));
  }
}

TEST_CASE(
    "output: a line that is not understood ends with what was meant, or with whose help has more") {
  for (const auto& [args, expected] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{}, "error: which verb?\n  kubectl kubedr --help shows verbs and flags\n"},
           {{"backpu"},
            "error: unknown command \"backpu\" for \"kubectl kubedr\"\n\nDid you mean this?\n  "
            "backup\n"},
           {{"version", "surplus"},
            "error: unexpected argument: surplus\n  kubectl kubedr version --help shows its "
            "flags\n"},
           {{"status", "--qqqqqq"},
            "error: unknown flag: --qqqqqq\n  kubectl kubedr status --help shows its flags\n"}}) {
    CHECK(test::kubedr(args).err == expected);
  }
}

TEST_CASE("output: what is missing or refused is told by name, with what to do about it") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const auto told = [&](const std::vector<std::string>& args) { return plane.kubedr(args).err; };
  CHECK(has(told({"init", "-n", "empty"}), "\n  kubectl kubedr location create makes one; -n "));
  CHECK(has(told({"backup", "-n", "empty"}), "\n  kubectl kubedr policy create makes one; -n "));

  plane.add_location("hinted");
  using Lines = std::vector<std::vector<std::string>>;
  const Lines ask = {{"snapshots", "--location", "hinted"}, {"check", "--location", "hinted"}};
  for (const auto& line : ask) {
    CHECK(has(told(line),
              "\n  kubectl kubedr init hinted makes one; if there was one, check url and "));
  }
  REQUIRE(plane.kubedr({"init", "hinted"}).ok());
  const auto change = [&](const Json& values) {
    const Json patch = {{"stringData", values}};
    REQUIRE(plane.api()
                .kubectl({"-n", kNamespace, "patch", "secret", "hinted-creds", "-p", patch.dump()})
                .ok());
  };
  const std::string secret = "secret hinted-creds of namespace kubedr-system\n";
  change({{"restic_repo_password", "another"}});
  const std::vector<std::string> init = {"init", "hinted", "--if-needed"};
  for (const auto& line : Lines{ask[0], ask[1], init}) {
    CHECK(has(told(line), "\n  check restic_repo_password in " + secret));
  }
  change({{"secret_key", "another-that-is-long"}});
  for (const auto& line : Lines{ask[0], ask[1], init}) {
    CHECK(
        has(told(line), "\n  check the access key and the secret key; the keys are in " + secret));
  }
}

TEST_CASE("output: without a cluster no hint names a Secret or a location of one") {
  const TempDir folder;
  const std::string repository = (folder / "repository").string();
  const auto told = [&](const std::string& verb, const std::string& password) {
    return test::kubedr({verb, "--repo", repository}, {{"RESTIC_PASSWORD", password}}).err;
  };
  for (const char* verb : {"snapshots", "check"}) {
    CHECK(has(told(verb, kPassword), "\n  `init` makes one\n"));
  }
  REQUIRE(test::kubedr({"init", "--repo", repository}, {{"RESTIC_PASSWORD", kPassword}}).ok());
  for (const char* verb : {"snapshots", "check"}) {
    CHECK(has(told(verb, "another"),
              "\n  check restic_repo_password in the location's Secret, or RESTIC_PASSWORD\n"));
  }
}

TEST_CASE("output: --repo without S3's keys is told which variables have them") {
  using Environment = std::map<std::string, std::string>;
  for (const Environment& keys : {Environment{},
                                  {{"AWS_ACCESS_KEY_ID", "one"}},
                                  {{"AWS_SECRET_ACCESS_KEY", "two"}},
                                  {{"AWS_ACCESS_KEY_ID", " "}, {"AWS_SECRET_ACCESS_KEY", "two"}}}) {
    Environment env = keys;
    env["RESTIC_PASSWORD"] = kPassword;
    CAPTURE(env.size());
    for (const char* verb : {"init", "snapshots"}) {
      const RunResult result = test::kubedr({verb, "--repo", "s3:http://127.0.0.1:1/bucket"}, env);
      check_failed(result, 2, "error: --repo: S3's ");
      CHECK(has(result.err, "\n  set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY\n"));
      CHECK_FALSE(has(result.err, "ecret \"bare\""));
    }
  }
}

TEST_CASE("output: what cannot be used as it was given is answered with what to do") {
  const TempDir folder;
  const std::string file = folder.write("a-file", "of somebody").string();
  const std::string repository = (folder / "repository").string();
  const std::string manifests = folder
                                    .write("manifests.yaml", fmt::format(R"(
apiVersion: kubedr.catalogicsoftware.com/v1alpha1
kind: BackupLocation
metadata: {{name: disk}}
spec: {{url: "file://{}", bucketName: etcd, credentials: disk-creds}}
---
apiVersion: v1
kind: Secret
metadata: {{name: disk-creds}}
data: {{restic_repo_password: "not base64!"}}
)",
                                                                         folder.path().string()))
                                    .string();
  const auto told = [](const std::vector<std::string>& args, const std::string& access_key) {
    return test::kubedr(args, {{"RESTIC_PASSWORD", kPassword},
                               {"AWS_ACCESS_KEY_ID", access_key},
                               {"AWS_SECRET_ACCESS_KEY", "two"}});
  };
  REQUIRE(told({"init", "--repo", repository}, "one").ok());

  struct Case {
    std::vector<std::string> args;
    int code;
    std::string text;
    std::string hint;
  };

  const std::string nothing = "/nonexistent/file";
  for (const Case& one :
       {Case{{"init", "--repo", file}, 1, "File exists", "something else is there already"},
        Case{{"init", "--repo", file + "/below"}, 4, "Not a directory", "a file stands where"},
        Case{{"init", "--repo", "/proc/repository"}, 4, "No such file", "check the name or path"},
        Case{{"init", "--repo", "s3:http://127.0.0.1:1/ab"},
             2,
             "shorter than 3",
             "correct url and bucketName"},
        Case{{"backup", "--repo", repository, "--etcd-snapshot", nothing},
             4,
             nothing,
             "check the name or path"},
        Case{{"backup", "--repo", repository, "--etcd-cacert", nothing},
             4,
             nothing,
             "check the name or path"},
        Case{{"suspend", "nightly", "--repo", repository},
             2,
             "works on a cluster",
             "leave -f and --repo out"},
        Case{
            {"init", "-f", manifests}, 2, "not base64", "correct the Secret: data holds base64"}}) {
    CAPTURE(one.args);
    const RunResult result = told(one.args, "one");
    check_failed(result, one.code, one.text);
    CHECK_MESSAGE(has(result.err, "\n  " + one.hint), result.err);
  }
  const RunResult blank = told({"init", "--repo", "s3:http://127.0.0.1:1/bucket"}, "o ne");
  check_failed(blank, 2, "the access key holds a blank");
  CHECK(has(blank.err, "AWS_ variable"));
}

TEST_CASE("output: a mistyped name is told what was probably meant") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("mistyped");
  make_backup(plane, "mistyped");
  const std::string record =
      plane.get("MetadataBackupPolicy", "mistyped").at("status").at("mbrName").get<std::string>();
  std::string wrong = record;
  wrong.back() = wrong.back() == '0' ? '1' : '0';
  const std::string id = record.substr(4);
  const std::string wrong_id = wrong.substr(4);
  for (const auto& [args, meant] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"backup", "mistypd"}, "mistyped"},
           {{"check", "--location", "mistyped1"}, "mistyped"},
           {{"status", "mistypde"}, "mistyped"},
           {{"ls", wrong, "--location", "mistyped"}, record},
           {{"ls", wrong_id, "--location", "mistyped"}, id}}) {
    CAPTURE(args);
    const RunResult result = plane.kubedr(args);
    CHECK(result.exit.code == 4);
    CHECK_MESSAGE(has(result.err, "did you mean \"" + meant + "\"?"), result.err);
  }
}

TEST_CASE("version --server: everybody who was asked, and who did not answer") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("versions");
  REQUIRE(plane.kubedr({"init", "versions", "--repository-version", "1"}).ok());
  plane.add_policy("versions-away",
                   {{"etcdEndpoint", fmt::format("https://127.0.0.1:{}", free_port())}});
  const RunResult result = plane.kubedr({"version", "--server", "-o", "json"});
  CHECK(result.exit.code == 20);
  const Json servers = parse_json(result.out, "stdout").at("servers");
  const auto version_of = [&](const std::string& of, const std::string& name) {
    for (const Json& one : servers) {
      if (one.at("of") == of && (name.empty() || one.at("name") == name)) {
        return one.at("version").get<std::string>();
      }
    }
    return std::string("not asked");
  };
  CHECK(version_of("kubernetes", "").starts_with("v1.36."));
  CHECK(version_of("etcd", "versions").starts_with("3.6."));
  CHECK(version_of("repository", "versions") == "1");
  CHECK(version_of("etcd", "versions-away").empty());
  CHECK(version_of("repository", "versions-away").empty());  // no repository yet
  CHECK(has(result.err, "warning: etcd: https://127.0.0.1:"));
  CHECK(has(plane.kubedr({"version", "--server"}).out, "SERVER"));
  CHECK(test::kubedr({"-s", "https://127.0.0.1:1", "version", "--server"}).exit.code == 20);
}

TEST_CASE("help: every verb begins with what to type and ends with examples") {
  const std::vector<std::string> names = verbs();
  for (const char* verb :
       {"install", "init", "backup", "snapshots", "status", "restore", "version"}) {
    CHECK_MESSAGE(std::find(names.begin(), names.end(), verb) != names.end(), verb);
  }
  for (const std::string& verb : names) {
    CAPTURE(verb);
    const RunResult help = test::kubedr({verb, "--help"});
    CHECK(help.ok());
    CHECK(help.err.empty());
    const std::size_t usage = help.out.find("Usage:\n  kubectl kubedr " + verb);
    CHECK_MESSAGE(usage != std::string::npos, help.out);
    const std::size_t examples = help.out.find("Examples:\n");
    CHECK_MESSAGE(examples != std::string::npos, help.out);
    CHECK(usage < examples);
    CHECK(has(help.out.substr(examples), "kubedr " + verb));
    CHECK(has(help.out, "--help"));
    CHECK(test::kubedr({verb, "-h"}).out == help.out);
  }
  const RunResult help = test::kubedr({"-h"});
  CHECK(help.ok());
  CHECK(has(help.out, "Usage:\n  kubectl kubedr VERB"));
  CHECK(has(help.out, "Examples:\n"));
}

TEST_CASE("status: in order, it says so and exits 0") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("fine");
  make_backup(plane, "fine");
  check_finding(plane, "fine", "single-key", "kubectl kubedr key add --location fine", {"--deep"});
  const TempDir folder;
  const std::string escrow = folder.write("escrow", "for the safe").string();
  REQUIRE(plane.kubedr({"key", "add", "--location", "fine", "--new-password-file", escrow}).ok());
  REQUIRE(plane.kubedr({"schedule", "fine", "--image", "example.com/image"}).ok());
  const RunResult status = plane.kubedr({"status", "fine", "--deep", "--fail-on", "warning"});
  CHECK_MESSAGE(status.ok(), (status.out + status.err));
  CHECK(has(status.out, "No findings."));
  CHECK(has(status.out, "Completed"));
}

TEST_CASE("status: a backup older than --max-age is a finding") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("late");
  make_backup(plane, "late");
  std::this_thread::sleep_for(std::chrono::seconds(2));  // times are of whole seconds
  check_finding(plane, "late", "backup-late", "kubectl kubedr backup late", {"--max-age", "1s"});
  CHECK(plane.kubedr({"status", "late", "--max-age", "1h"}).exit.code == 0);
}

TEST_CASE("status: what was never initialized, never backed up or failed is a finding") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("troubled", {{"certsDir", "/no/such/folder"}});
  check_finding(plane, "backuplocation/troubled", "not-initialized",
                "kubectl kubedr init troubled");
  REQUIRE(plane.kubedr({"init", "troubled"}).ok());
  check_finding(plane, "policy/troubled", "never-backed-up", "kubectl kubedr backup troubled");
  CHECK(plane.kubedr({"backup", "troubled"}).exit.code != 0);
  check_finding(plane, "troubled", "backup-failed", "kubectl kubedr backup troubled");
  const Json findings = findings_of(plane, "troubled");
  CHECK_MESSAGE(has(findings.dump(), "/no/such/folder"), findings.dump(2));
  REQUIRE(plane.kubedr({"init", "troubled"}).exit.code == 1);
  const RunResult status = plane.kubedr({"status", "backuplocation/troubled"});
  CHECK_MESSAGE(has(status.out, "already initialized"), status.out);
  CHECK_MESSAGE(has(status.out, "kubectl kubedr init troubled --if-needed"), status.out);
}

TEST_CASE("status --deep: records and snapshots that miss each other are findings") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("apart");
  make_backup(plane, "apart");
  plane.apply(R"(
apiVersion: kubedr.catalogicsoftware.com/v1alpha1
kind: MetadataBackupRecord
metadata: {name: mbr-0000feed, namespace: kubedr-system}
spec: {snapshotId: 0000feed, policy: apart, backuploc: apart}
)");
  CHECK(codes_of(findings_of(plane, "apart")).empty());
  check_finding(plane, "apart", "record-without-snapshot", "kubectl kubedr sync --location apart",
                {"--deep"});

  const std::string record =
      plane.get("MetadataBackupPolicy", "apart").at("status").at("mbrName").get<std::string>();
  for (const std::string& name : {record, std::string("mbr-0000feed")}) {
    REQUIRE(plane.api().kubectl({"-n", kNamespace, "delete", "metadatabackuprecord", name}).ok());
  }
  check_finding(plane, "apart", "snapshot-without-record", "kubectl kubedr sync --location apart",
                {"--deep"});
}
