// What README and the manual pages show is what the commands print: they are typed on a fresh
// control plane, and their output is compared with data/output/VERB.txt, which the manual pages are
// made from, and with README's first block. KUBEDR_WRITE_DOCS=1 writes data/output anew.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "e2e/desk.h"
#include "e2e/world.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

namespace fs = std::filesystem;

const fs::path kOutput = fs::path(KUBEDR_TEST_DATA) / "output";

struct Step {
  const char* verb;  // whose page shows it; empty: nobody sees it
  const char* command;
};

// As in quickstart, and further.
constexpr Step kStory[] = {
    {"install", "kubectl kubedr install"},
    {"",
     "kubectl -n kubedr-system create secret generic minio-credentials --from-file=access_key "
     "--from-file=secret_key --from-file=restic_repo_password"},
    {"",
     "kubectl -n kubedr-system create secret generic etcd-creds --from-file=ca.crt "
     "--from-file=client.crt --from-file=client.key"},
    {"", "kubectl apply -f kubedr.yaml"},
    {"init", "kubectl kubedr init"},
    {"doctor", "kubectl kubedr doctor | sed '/^$/,$d'"},
    {"", "kubectl kubedr backup"},
    {"", "kubectl create configmap another --from-literal=text='a change'"},
    {"backup", "kubectl kubedr backup"},
    {"snapshots", "kubectl kubedr snapshots"},
    {"status", "kubectl kubedr status"},
    {"restore", "kubectl kubedr restore latest --target restored"},
    {"ls", "kubectl kubedr ls latest"},
    {"check", "kubectl kubedr check --read-data"},
    {"stats", "kubectl kubedr stats"},
    {"forget", "kubectl kubedr forget --keep-last 1 --yes"},
    {"prune", "kubectl kubedr prune --max-unused 0 --yes"},
    {"suspend", "kubectl kubedr suspend nightly"},
    {"status", "kubectl kubedr status nightly"},
    {"resume", "kubectl kubedr resume nightly"},
    {"dump", "kubectl kubedr dump latest /data/certificates/ca.crt | sed -n 1p"},
    {"key", "kubectl kubedr key list"},
    {"unlock", "kubectl kubedr unlock"},
    {"repair", "kubectl kubedr repair index"},
    {"sync", "kubectl kubedr sync --dry-run"},
    {"metrics", "kubectl kubedr metrics | grep '^kubedr_backup_last'"},
    {"schedule", "kubectl kubedr schedule nightly --image registry.example.com/kubedr:1.0"},
    {"unschedule", "kubectl kubedr unschedule nightly"},
    {"version", "kubectl kubedr version --server"},
    {"location",
     "kubectl kubedr location create second --url https://minio:9000 --bucket second "
     "--credentials minio-credentials"},
    {"policy",
     "kubectl kubedr policy create weekly --location second --schedule '0 3 * * 0' --retain 8"},
    {"uninstall", "kubectl kubedr uninstall --yes"},
};

// A control plane with nothing of ours in it, and somebody who has README before them.
class Story {
 public:
  Story()
      : etcd_([] {
          EtcdOptions options;
          options.tls = true;
          return options;
        }()),
        api_(etcd_),
        pki_(make_certificates(folder_)),
        desk_({"kubectl"}) {
    desk_.options().env["KUBECONFIG"] = api_.kubeconfig().string();
    desk_.home().write("access_key", s3_.access_key());
    desk_.home().write("secret_key", s3_.secret_key());
    desk_.home().write("restic_repo_password", kPassword);
    desk_.home().write("ca.crt", etcd_.ca_pem());
    desk_.home().write("client.crt", etcd_.client_cert_pem());
    desk_.home().write("client.key", etcd_.client_key_pem());
    std::string resources = block_with("README.md", "kind: BackupLocation");
    for (const auto& [there, here] : places()) replace_all(resources, there, here);
    desk_.home().write("kubedr.yaml", resources);
    for (const Step& step : kStory) {
      std::string command = step.command;
      for (const auto& [there, here] : places()) replace_all(command, there, here);
      const std::string printed = desk_.typed(command);
      if (*step.verb == '\0') continue;
      std::string& page = pages_[step.verb];
      page += fmt::format("{}$ {}\n{}", page.empty() ? "" : "\n", step.command, readable(printed));
    }
  }

  // By verb: "$ COMMAND" and what it printed.
  const std::map<std::string, std::string>& pages() const { return pages_; }

 private:
  // In README and here.
  std::vector<std::pair<std::string, std::string>> places() const {
    return {{"https://minio:9000", s3_.url()},
            {"https://127.0.0.1:2379", etcd_.endpoint()},
            {"https://10.0.0.1:6443", api_.url()},
            {"/etc/kubernetes/pki", pki_.string()}};
  }

  std::string readable(std::string text) const {
    for (const auto& [there, here] : places()) replace_all(text, here, there);
    replace_all(text, desk_.home().path().string(), "/root");
    static const std::regex kPeer(R"(http://127\.0\.0\.1:\d+)");
    text = std::regex_replace(text, kPeer, "https://127.0.0.1:2380");
    // Who made a key, and where; with columns as wide as that.
    static const std::regex kKeys("USER +HOST +CREATED");
    static const std::regex kKey("([* ][0-9a-f]{8}   )[^ ]+ +[^ ]+ +([0-9]{4}-)");
    text = std::regex_replace(text, kKeys, "USER   HOST    CREATED");
    return std::regex_replace(text, kKey, "$1root   node1   $2");
  }

  EtcdServer etcd_;
  KubeApi api_;
  S3Server s3_;
  TempDir folder_;
  fs::path pki_;
  Desk desk_;
  std::map<std::string, std::string> pages_;
};

// What differs from run to run has a name in its place, and columns no width.
std::string comparable(const std::string& line) {
  static const std::vector<std::pair<std::regex, const char*>> all = {
      {std::regex(R"(\} \d[\d.]*$)"), "} <value>"},
      {std::regex(R"(s3:https?://\S+)"), "<repository>"},
      {std::regex(R"(/\S*/restored\b)"), "<folder>"},
      {std::regex(R"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)"), "<time>"},
      {std::regex("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uid>"},
      {std::regex(R"(\b([0-9a-f]{64}|[0-9a-f]{10}|[0-9a-f]{8})\b)"), "<id>"},
      {std::regex(R"([+-]?\d+(\.\d+)? ([KMGT]i)?B\b)"), "<size>"},
      {std::regex(R"(\b(\d+[dhms])+\b)"), "<age>"},
      {std::regex(R"(\d+\.\d+ s\b)"), "<duration>"},
      {std::regex(R"(\d+(\.\d+)?(x|%))"), "<ratio>"},
      {std::regex(R"(\d+ (files|packs|blobs)\b)"), "<count> $1"},
      {std::regex(R"(revision \d+)"), "revision <number>"},
      {std::regex(R"(\bv?\d+\.\d+\.\d+\b)"), "<version>"},
      {std::regex("  +"), " "},
  };
  std::string text = line;
  for (const auto& [form, replacement] : all) text = std::regex_replace(text, form, replacement);
  return text;
}

using Lines = std::vector<std::string>;

// By command: the lines below "$ COMMAND".
std::map<std::string, Lines> answers_in(const std::string& session) {
  std::map<std::string, Lines> answers;
  Lines* lines = nullptr;
  for (const std::string& line : split(session, '\n')) {
    if (line.starts_with("$ ")) {
      lines = &answers[line];
    } else if (lines != nullptr) {
      lines->push_back(line);
    }
  }
  for (auto& [command, answer] : answers) {
    while (!answer.empty() && answer.back().empty()) answer.pop_back();
  }
  return answers;
}

// A line that a document shows may end early.
bool is_line(const std::string& shown, const std::string& printed) {
  constexpr std::string_view kCut = " ...";
  if (!shown.ends_with(kCut)) return comparable(shown) == comparable(printed);
  return comparable(printed).starts_with(
      comparable(shown.substr(0, shown.size() - kCut.size() + 1)));
}

bool are_lines(const Lines& shown, const Lines& printed) {
  return std::equal(shown.begin(), shown.end(), printed.begin(), printed.end(), is_line);
}

// Whether a document shows what these commands print.
bool shows(const std::string& document, const std::string& printed) {
  const auto shown = answers_in(document);
  const auto expected = answers_in(printed);
  return std::all_of(shown.begin(), shown.end(), [&](const auto& answer) {
    const auto found = expected.find(answer.first);
    return found != expected.end() && are_lines(answer.second, found->second);
  });
}

bool must_write() {
  const char* value = std::getenv("KUBEDR_WRITE_DOCS");
  return value != nullptr && std::string_view(value) == "1";
}

}  // namespace

TEST_CASE("documents: README and the manual pages show what the commands print") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("minio");
  const Story story;
  std::string everything;
  for (const auto& [verb, printed] : story.pages()) {
    everything += printed;
    const fs::path file = kOutput / (verb + ".txt");
    // All of them, so that ids run through.
    if (must_write()) std::ofstream(file) << printed;
    CHECK_MESSAGE(shows(read_text(file), printed),
                  (file.string() +
                   " is out of date: KUBEDR_WRITE_DOCS=1 writes it anew, and then "
                   "__docs the manual pages. Now it says:\n" +
                   printed));
    CHECK(answers_in(read_text(file)).size() == answers_in(printed).size());
  }
  for (const auto& entry : fs::directory_iterator(kOutput)) {
    CHECK_MESSAGE(story.pages().count(entry.path().stem()) == 1, entry.path());
  }

  const std::string first = blocks_of("README.md").front();
  CHECK(answers_in(first).size() == 3);
  CHECK_MESSAGE(shows(first, everything), ("README's first block is out of date:\n" + everything));
}
