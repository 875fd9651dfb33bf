// Whoever does not say yes at a prompt of a real terminal finds everything as it was.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "e2e/faults.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;
using std::chrono::seconds;

namespace {

using Args = std::vector<std::string>;

const std::vector<std::string> kNotYes = {"n\n", "\n", "no\n", "yesterday\n", "\x04"};

struct Talk {
  int code = -1;
  std::string screen;
};

// The answer is given once the question is there.
Talk talk(const Args& args, const std::map<std::string, std::string>& env,
          const std::string& answer) {
  const TempDir home;
  ProcessOptions options;
  options.env = env;
  options.env.emplace("HOME", home.path().string());
  options.env.emplace("TERM", "xterm");
  options.terminal = Terminal::all;
  Args argv = {KUBEDR_BINARY};
  argv.insert(argv.end(), args.begin(), args.end());
  Process process(argv, options);
  REQUIRE_MESSAGE(process.wait_for("[y/N]", seconds(30)), process.screen());
  process.type(answer);
  const auto end = process.wait(seconds(60));
  REQUIRE_MESSAGE(end, process.screen());
  return {end->code, process.screen()};
}

// A repository in a folder that has something to do for each verb that asks.
class Asked {
 public:
  Asked() : repository_((folder_ / "repository").string()) {
    must({"init"});
    for (const std::string name : {"first", "second", "third"}) {
      plain_etcd().fill("/kubedr-test/prompt/" + name, 20, 3000);
      const std::string db = save_database(plain_etcd(), folder_ / name);
      must({"backup", "--no-certs", "--etcd-snapshot", db});
    }
    must({"forget", repository_.snapshot_ids().front(), "--yes"});
    folder_.write("password", "for the safe");
    key_ = parsed(repository_.run(
                      {"key", "add", "--new-password-file", folder_ / "password", "-o", "json"}))
               .at("saved")
               .get<std::string>();
  }

  const std::string& key() const { return key_; }

  Talk talk(Args args, const std::string& answer) const {
    args.insert(args.end(), {"--repo", repository_.url()});
    return ::talk(args, repository_.env(), answer);
  }

  // Every file with every byte, locks among them.
  std::map<std::string, std::string> files() const { return files_below(folder_ / "repository"); }

 private:
  void must(const Args& args) const {
    const RunResult result = repository_.run(args);
    REQUIRE_MESSAGE(result.ok(), result.err);
  }

  TempDir folder_;
  BareRepository repository_;
  std::string key_;
};

}  // namespace

TEST_CASE("prompts: forget, prune and key remove change no byte without a yes") {
  const Asked asked;
  for (const Args& verb : {Args{"forget", "--keep-last", "1"},
                           {"prune", "--max-unused", "0"},
                           {"forget", "--keep-last", "1", "--prune"},
                           {"key", "remove", asked.key()}}) {
    CAPTURE(verb.front());
    const auto before = asked.files();
    for (const std::string& answer : kNotYes) {
      CAPTURE(answer);
      const Talk refused = asked.talk(verb, answer);
      CHECK(refused.code == 0);
      CHECK_MESSAGE(has(refused.screen, "nothing was changed"), refused.screen);
      CHECK(asked.files() == before);
    }
    const Talk interrupted = asked.talk(verb, "\x03");
    CHECK(interrupted.code == 130);
    CHECK(asked.files() == before);
  }
  // The same question, and a yes: it was no empty one.
  for (const Args& verb : {Args{"prune", "--max-unused", "0"},
                           {"forget", "--keep-last", "1"},
                           {"key", "remove", asked.key()}}) {
    CAPTURE(verb.front());
    const auto before = asked.files();
    CHECK(asked.talk(verb, "y\n").code == 0);
    CHECK(asked.files() != before);
  }
}

TEST_CASE("prompts: sync writes nothing into cluster or store without a yes") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const BackedUpPolicy policy(plane, "asked-sync");
  REQUIRE(policy.backup().ok());
  REQUIRE(plane.api()
              .kubectl({"-n", kNamespace, "delete", "metadatabackuprecord",
                        policy.status().at("mbrName").get<std::string>()})
              .ok());
  const Args sync = {"sync", "--location", "asked-sync",
                     "--kubeconfig=" + plane.api().kubeconfig().string()};
  const auto resources = [&] {
    Json found;
    for (const char* kind :
         {"metadatabackuprecords", "metadatabackuppolicies", "backuplocations"}) {
      const RunResult got = plane.api().kubectl({"-n", kNamespace, "get", kind, "-o", "json"});
      REQUIRE(got.ok());
      found.push_back(parse_json(got.out, kind).at("items"));
    }
    return found;
  };
  const SystemClock clock;
  const auto store = open_bucket(plane.s3(), "asked-sync", clock);
  const auto files = [&] {
    using storage::FileKind;
    std::vector<std::string> names;
    for (const FileKind kind :
         {FileKind::key, FileKind::lock, FileKind::snapshot, FileKind::index, FileKind::pack}) {
      store->list(
          kind,
          [&](const storage::FileInfo& file) {
            names.push_back(fmt::format("{} {}", file.id, file.size));
          },
          Call(clock).within(seconds(30)));
    }
    return names;
  };
  const Json resources_before = resources();
  const std::vector<std::string> files_before = files();
  for (const std::string& answer : kNotYes) {
    CAPTURE(answer);
    const Talk refused = talk(sync, {}, answer);
    CHECK(refused.code == 0);
    CHECK_MESSAGE(has(refused.screen, "nothing was changed"), refused.screen);
    CHECK(resources() == resources_before);
    CHECK(files() == files_before);
  }
  const Talk agreed = talk(sync, {}, "yes\n");
  CHECK(agreed.code == 0);
  CHECK(resources() != resources_before);
}
