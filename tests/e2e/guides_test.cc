// The commands of guides/operate.md and guides/ci.md, typed as they stand there; those of
// guides/worst-day.md have a file of their own.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "base/text.h"
#include "e2e/desk.h"
#include "e2e/world.h"
#include "support/prometheus.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

namespace fs = std::filesystem;

// Whoever has read README: its resources and the Secrets they name lie in the home.
class Reader {
 public:
  explicit Reader(ControlPlane& plane) : plane_(plane) {
    desk_.options().env["KUBECONFIG"] = plane.api().kubeconfig().string();
    desk_.options().terminal = Terminal::input;
    desk_.options().input = "y\n";  // to every question
    const std::vector<std::string> resources =
        split_documents(for_here(block_with("README.md", "kind: BackupLocation")));
    REQUIRE(resources.size() == 2);
    desk_.home().write("location.yaml", resources[0]);
    desk_.home().write("policy.yaml", resources[1]);
    desk_.home().write("secrets.yaml", secrets());
    desk_.home().write("escrow.txt", "words for a safe");
    desk_.home().write("new-password", "words for the next year\n");
    fs::copy(document("monitoring/alerts.yaml"), desk_.home() / "alerts.yaml");
  }

  // Each command of that guide that stands between fences.
  void follow(const std::string& guide) {
    for (const std::string& block : blocks_of(guide)) {
      if (block.starts_with("rule_files")) {
        check_prometheus(block);
        continue;
      }
      std::string command;
      for (const std::string& line : split(block, '\n')) {
        command += line + "\n";
        if (line.ends_with('\\')) continue;
        if (!trim(command).empty()) type(command);
        command.clear();
      }
    }
  }

  // What a command between fences gave.
  RunResult type(const std::string& command) {
    RunResult result = desk_.type(for_here(command));
    CHECK_MESSAGE(result.ok(), (command + result.out + result.err));
    return result;
  }

  // The same, however it ends.
  RunResult try_out(const std::string& command) { return desk_.type(for_here(command)); }

 private:
  static std::vector<std::string> split_documents(const std::string& text) {
    const std::size_t line = text.find("---\n");
    return {text.substr(0, line), text.substr(line + 4)};
  }

  std::string secrets() const {
    const auto secret = [](const std::string& name, const Json& values) {
      return Json{{"apiVersion", "v1"},
                  {"kind", "Secret"},
                  {"metadata", {{"name", name}, {"namespace", kNamespace}}},
                  {"stringData", values}}
          .dump();
    };
    return secret("minio-credentials", {{"access_key", plane_.s3().access_key()},
                                        {"secret_key", plane_.s3().secret_key()},
                                        {"restic_repo_password", kPassword}}) +
           "\n---\n" +
           secret("etcd-creds", {{"ca.crt", plane_.etcd().ca_pem()},
                                 {"client.crt", plane_.etcd().client_cert_pem()},
                                 {"client.key", plane_.etcd().client_key_pem()}});
  }

  std::string for_here(std::string text) {
    replace_all(text, "https://minio:9000", plane_.s3().url());
    replace_all(text, "https://127.0.0.1:2379", plane_.etcd().endpoint());
    replace_all(text, "/etc/kubernetes/pki", plane_.certs().string());
    if (text.find("3f2a91c0") != std::string::npos)
      replace_all(text, "3f2a91c0", other_key(plane_));
    return text;
  }

  void check_prometheus(const std::string& config) {
    if (!have_server("promtool")) return;
    const fs::path file = desk_.home().write("prometheus.yml", config);
    const RunResult checked = promtool({"check", "config", file.string()});
    CHECK_MESSAGE(checked.ok(), (checked.out + checked.err));
  }

  ControlPlane& plane_;
  Desk desk_{{"kubectl", "etcdutl"}};
};

// The names before a colon in a line of JSON that may be shortened.
std::set<std::string> keys_in(const std::string& line) {
  static const std::regex key(R"re("(\w+)":)re");
  std::set<std::string> keys;
  for (std::sregex_iterator it(line.begin(), line.end(), key), end; it != end; ++it) {
    keys.insert((*it)[1]);
  }
  return keys;
}

}  // namespace

TEST_CASE("guides: running it, from the first install to the rotation of the password") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("etcdutl");
  ControlPlane plane;  // of its own: one location and one policy
  Reader reader(plane);
  reader.follow("guides/operate.md");

  // Whom it has bound to a role may do what it says.
  for (const auto& [user, backs_up] : {std::pair{"alice", "yes\n"}, {"bob", "no\n"}}) {
    const auto may = [&](const char* verb, const char* kind) {
      return plane.api()
          .kubectl({"-n", kNamespace, "auth", "can-i", verb, kind, std::string("--as=") + user})
          .out;
    };
    CHECK(may("list", "metadatabackuppolicies") == "yes\n");
    CHECK(may("create", "metadatabackuprecords") == backs_up);
  }
}

TEST_CASE("guides: in CI, what is printed and how it ends") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("etcdutl");
  ControlPlane plane;
  Reader reader(plane);
  reader.type("kubectl apply -f secrets.yaml -f location.yaml -f policy.yaml");
  reader.type("kubectl kubedr init");

  std::vector<std::string> blocks = blocks_of("guides/ci.md");
  const std::vector<std::string> lines = split(blocks.front(), '\n');
  REQUIRE(lines.size() == 5);  // two commands with what they say, and the end of the last line
  const RunResult good = reader.type(lines[0].substr(2));
  const Json report = parse_json(good.out, "stdout");
  for (const std::string& key : keys_in(lines[1])) CHECK_MESSAGE(report.contains(key), key);
  CHECK(good.err.empty());

  const RunResult bad = reader.try_out(lines[2].substr(2));
  const Json told = parse_json(split(std::string(trim(bad.err)), '\n').back(), "stderr");
  Json expected = parse_json(lines[3], "the guide");
  expected["error"]["message"] = told.at("error").at("message");
  CHECK(told == expected);
  CHECK(bad.exit.code == expected.at("error").at("exitCode"));

  for (std::size_t i = 1; i < blocks.size(); ++i) reader.type(blocks[i]);
}
