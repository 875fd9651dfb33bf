// Every example of every verb's help is typed as it stands there, at a terminal, against real
// servers; only names that differ from one cluster to the next are put in.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "e2e/desk.h"
#include "e2e/world.h"
#include "support/controller_manager.h"
#include "support/image.h"
#include "support/kubelet.h"
#include "support/prometheus.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

namespace fs = std::filesystem;

using Names = std::vector<std::string>;

// In an order in which each finds what the one before left.
const Names kVerbs = {"",
                      "install",
                      "init",
                      "location create",
                      "location delete",
                      "policy create",
                      "policy delete",
                      "schedule",
                      "suspend",
                      "resume",
                      "backup",
                      "unschedule",
                      "snapshots",
                      "status",
                      "doctor",
                      "restore",
                      "ls",
                      "dump",
                      "check",
                      "stats",
                      "unlock",
                      "key list",
                      "key add",
                      "key remove",
                      "repair index",
                      "sync",
                      "forget",
                      "prune",
                      "metrics",
                      "version",
                      "help",
                      "completion",
                      "uninstall"};

constexpr char kImage[] = "registry.example.com/kubectl-kubedr:0.1.0";

// What is asked at the terminal, and what a person says.
constexpr std::pair<const char*, const char*> kDialogue[] = {
    {"[y/N] ", "y\n"},
    {"enter password for new key: ", "words for the safe\n"},
    {"enter password again: ", "words for the safe\n"},
    {"listening on ", "\x03"},
    {"\033[2J", "\x03"},  // a screen that is written over until somebody ends it
    {"to delete the records: ", "kubedr-system\n"},
};

// Examples whose exit code is not 0 here.
const std::map<std::string, int> kCodes = {
    {"kubectl kubedr init local-minio", 1},  // it was, by the overview's examples
};

// Below a verb, as completion lists them.
Names verbs_below(const Names& words) {
  std::vector<std::string> args{"__complete"};
  args.insert(args.end(), words.begin(), words.end());
  args.emplace_back();
  Names names;
  for (const std::string& line : split(test::kubedr(args).out, '\n')) {
    if (!line.empty() && line.front() != ':') names.push_back(line.substr(0, line.find('\t')));
  }
  return names;
}

// The lines of "Examples:", those that go on behind a backslash joined.
Names examples_of(const std::string& verb) {
  Names args = verb.empty() ? Names() : split(verb, ' ');
  args.emplace_back("--help");
  const RunResult help = test::kubedr(args);
  REQUIRE(help.ok());
  Names examples;
  bool among_them = false;
  bool goes_on = false;
  for (const std::string& line : split(help.out, '\n')) {
    if (line == "Examples:") {
      among_them = true;
    } else if (line.empty()) {
      among_them = false;
    } else if (among_them) {
      std::string text(trim(line));
      const bool continued = text.ends_with('\\');
      if (continued) text.pop_back();
      if (goes_on) {
        examples.back() += text;
      } else {
        examples.push_back(text);
      }
      goes_on = continued;
    }
  }
  return examples;
}

// Whoever tries the examples: a home with the files they name, and a policy "nightly".
class Reader {
 public:
  explicit Reader(ControlPlane& plane) : plane_(plane) {
    plane_.add_policy("local-minio", {{"destination", "local-minio"}});
    REQUIRE(plane_.api()
                .kubectl({"-n", kNamespace, "delete", "metadatabackuppolicy", "local-minio"})
                .ok());
    plane_.add_policy("nightly", {{"destination", "local-minio"}, {"schedule", "0 0 1 1 *"}});
    REQUIRE(plane_.api().kubectl({"-n", kNamespace, "delete", "backuplocation", "nightly"}).ok());
    plane_.apply(
        fmt::format("apiVersion: v1\nkind: Secret\nmetadata: {{name: minio-creds, namespace: {}}}\n"
                    "stringData: {{access_key: {}, secret_key: {}, restic_repo_password: {}}}\n",
                    kNamespace, plane_.s3().access_key(), plane_.s3().secret_key(), kPassword));
    plane_.apply(etcd_secret().dump());
    home_.write("pki/ca.crt", plane_.etcd().ca_pem());
    home_.write("pki/healthcheck-client.crt", plane_.etcd().client_cert_pem());
    home_.write("pki/healthcheck-client.key", plane_.etcd().client_key_pem());
    fs::create_directories(home_ / "bin");
    fs::create_directories(home_ / "functions");
    fs::create_directories(home_ / ".config/fish/completions");
    fs::create_symlink(KUBEDR_BINARY, home_ / "bin/kubectl-kubedr");
    fs::create_symlink(find_server("kubectl"), home_ / "bin/kubectl");
    home_.write("pw", kPassword);
    home_.write("escrow.txt", "words for another safe\n");
    save_database(plane_.etcd(), home_ / "etcd.db");
    write_manifests();
    options_.cwd = home_.path();
    options_.terminal = Terminal::all;
    options_.env = {{"PATH", (home_ / "bin").string() + ":" + std::getenv("PATH")},
                    {"HOME", home_.path().string()},
                    {"TERM", "xterm"},
                    {"KUBECONFIG", plane_.api().kubeconfig().string()},
                    {"RESTIC_PASSWORD", kPassword},
                    {"AWS_ACCESS_KEY_ID", plane_.s3().access_key()},
                    {"AWS_SECRET_ACCESS_KEY", plane_.s3().secret_key()}};
  }

  void follow(const std::string& example) {
    CAPTURE(example);
    fs::remove_all(home_ / "restored");
    prepare_for(example);
    Process shell({"bash", "-c", "set -eo pipefail; fpath=(- ~/functions); " + for_here(example)},
                  options_);
    const Exit exit = talk_with(shell);
    const auto expected = kCodes.find(example);
    CHECK_MESSAGE(exit.code == (expected == kCodes.end() ? 0 : expected->second), shell.screen());
    for (const auto& [kind, name] :
         {std::pair{"backuplocation", "offsite"}, {"metadatabackuppolicy", "hourly"}}) {
      plane_.api().kubectl({"-n", kNamespace, "delete", kind, name, "--ignore-not-found"});
    }
  }

 private:
  // The Secret of etcd by the name that is its default.
  Json etcd_secret() {
    Json secret = plane_.get("secret", "nightly-etcd");
    secret["metadata"] = {{"name", "etcd-creds"}, {"namespace", kNamespace}};
    return secret;
  }

  // What an example deletes is there.
  void prepare_for(const std::string& example) {
    if (example.find("location delete") != std::string::npos) plane_.add_location("offsite");
    if (example.find("policy delete") == std::string::npos) return;
    const RunResult made = plane_.kubedr(
        {"policy", "create", "hourly", "--location", "local-minio", "--schedule", "0 * * * *"});
    REQUIRE_MESSAGE(made.ok(), made.err);
  }

  void write_manifests() {
    std::string text;
    for (const auto& [kind, name] : {std::pair{"backuplocation", "local-minio"},
                                     {"metadatabackuppolicy", "nightly"},
                                     {"secret", "local-minio-creds"},
                                     {"secret", "nightly-etcd"}}) {
      text += plane_.get(kind, name).dump() + "\n---\n";
    }
    home_.write("manifests/all.yaml", text);
  }

  std::string for_here(std::string line) {
    const std::string local = fmt::format("{}/local-minio", plane_.s3().url());
    replace_all(line, "https://minio:9000/etcd", local);
    replace_all(line, "https://minio:9000", plane_.s3().url());
    replace_all(line, "https://10.0.0.5:2379", plane_.etcd().endpoint());
    replace_all(line, "berlin,tokyo", "test");
    replace_all(line, "/etc/kubernetes/pki/etcd", (home_ / "pki").string());
    replace_all(line, "/mnt/backups", (home_ / "backups").string());
    replace_all(line, "/var/lib/prometheus/node-exporter", home_.path().string());
    replace_all(line, "http://pushgateway:9091", pushgateway_.url());
    replace_all(line, "berlin,tokyo", "test,test");
    replace_all(line, ":9797", fmt::format(":{}", free_port()));
    if (line.find("mbr-83a71b2c") != std::string::npos) {
      const Json policy = plane_.get("MetadataBackupPolicy", "nightly");
      std::string record = policy.at("status").value("mbrName", "");
      const bool is_there =
          plane_.api().kubectl({"-n", kNamespace, "get", "metadatabackuprecord", record}).ok();
      if (!is_there) {
        record = parsed(plane_.kubedr({"backup", "nightly", "-o", "json"}))
                     .at("record")
                     .get<std::string>();
      }
      replace_all(line, "mbr-83a71b2c", record);
    }
    if (line.find("3f2a91c0") != std::string::npos)
      replace_all(line, "3f2a91c0", other_key(plane_));
    return line;
  }

  Exit talk_with(Process& shell) const {
    std::size_t answered = 0;  // of the screen
    const auto until = std::chrono::steady_clock::now() + seconds(120);
    while (std::chrono::steady_clock::now() < until) {
      if (const auto exit = shell.wait(milliseconds(20))) return *exit;
      const std::string screen = shell.screen();
      for (const auto& [question, answer] : kDialogue) {
        if (screen.find(question, answered) == std::string::npos) continue;
        answered = screen.size();
        shell.type(answer);
      }
    }
    return shell.stop();
  }

  ControlPlane& plane_;
  Pushgateway pushgateway_;
  TempDir home_;
  ProcessOptions options_;
};

}  // namespace

TEST_CASE("examples: every example of the help works as it stands there") {
  KUBEDR_NEEDS("kube-controller-manager");
  KUBEDR_NEEDS("pushgateway");
  // A plane of its own: the examples count on there being one location and one policy.
  ControlPlane plane({}, {KubeApi::kServiceAccounts});
  const ControllerManager controllers(plane.api());
  const Image image(KUBEDR_BINARY);
  const std::string node_label = "node-role.kubernetes.io/control-plane";
  const Kubelet kubelet(plane.api(), {"node-1", {{node_label, ""}}, {}, {{kImage, image.root()}}});
  Reader reader(plane);
  for (const std::string& verb : kVerbs) {
    CAPTURE(verb);
    const Names examples = examples_of(verb);
    CHECK_FALSE(examples.empty());
    for (const std::string& example : examples) reader.follow(example);
  }
}

TEST_CASE("examples: no verb is without") {
  for (const std::string& verb : verbs_below({})) {
    CAPTURE(verb);
    CHECK_FALSE(examples_of(verb).empty());
    const bool has_help =
        test::kubedr({verb, "--help"}).out.find("\nSubcommands:") != std::string::npos;
    if (!has_help) {
      CHECK_MESSAGE(std::count(kVerbs.begin(), kVerbs.end(), verb) == 1,
                    "its examples are not tried: add it to kVerbs");
      continue;
    }
    for (const std::string& below : verbs_below({verb})) {
      CHECK_MESSAGE(std::count(kVerbs.begin(), kVerbs.end(), verb + " " + below) == 1,
                    "its examples are not tried: add it to kVerbs");
    }
  }
}
