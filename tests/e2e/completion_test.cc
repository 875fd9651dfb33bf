// What is offered when Tab is pressed: by the program, in real shells, under a real kubectl; with a
// cluster that answers, one that is not there, and one that never answers.

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/text.h"
#include "e2e/desk.h"
#include "e2e/world.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

namespace fs = std::filesystem;

const fs::path kCompletions = fs::path(KUBEDR_TEST_DATA) / "../../completions";

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// What the program answers, without what it says about the candidates.
struct Offer {
  std::vector<std::string> candidates;
  std::string directive;
  RunResult result;

  bool has(const std::string& candidate) const {
    return std::find(candidates.begin(), candidates.end(), candidate) != candidates.end();
  }
};

Offer offered(std::vector<std::string> words) {
  words.insert(words.begin(), "__complete");
  Offer offer;
  offer.result = test::kubedr(words);
  REQUIRE(offer.result.ok());
  CHECK(offer.result.err.empty());
  std::vector<std::string> lines = split(offer.result.out, '\n');
  REQUIRE(lines.size() >= 2);
  lines.pop_back();  // empty, behind the last newline
  offer.directive = lines.back();
  lines.pop_back();
  for (const std::string& line : lines) offer.candidates.push_back(line.substr(0, line.find('\t')));
  return offer;
}

using Words = std::vector<std::string>;

// Names that are asked for may come too late on a machine that is busy with something else.
Offer check_offered(const Words& words, const Words& expected) {
  CAPTURE(words);
  Offer offer = offered(words);
  for (int tries = 0; tries < 50 && offer.candidates != expected; ++tries) offer = offered(words);
  CHECK(offer.candidates == expected);
  return offer;
}

// The answer that names something, as above.
std::string asked_again(const std::function<std::string()>& ask, const std::string& name) {
  std::string said = ask();
  for (int tries = 0; tries < 50 && said.find(name) == std::string::npos; ++tries) said = ask();
  return said;
}

// A port that takes connections and never says anything.
class Silence {
 public:
  Silence() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port_));
    REQUIRE(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
            0);
    REQUIRE(::listen(socket_.get(), 16) == 0);
  }

  std::string url() const { return fmt::format("https://127.0.0.1:{}", port_); }

 private:
  const int port_ = free_port();
  FileDescriptor socket_;
};

// A person waits no longer without wondering.
constexpr milliseconds kBudget{200};

// How long that takes, and whether it said what it shall.
struct Try {
  std::chrono::steady_clock::duration time;
  bool right;
};

Try timed(const std::function<bool()>& say) {
  const auto begun = std::chrono::steady_clock::now();
  const bool right = say();
  return {std::chrono::steady_clock::now() - begun, right};
}

// One of some tries must offer that within the time: of a machine that is busy with something else
// the others tell nothing.
bool offered_in_time(const Words& words, const Words& expected) {
  for (int tries = 0; tries < 50; ++tries) {
    const Try one = timed([&] { return offered(words).candidates == expected; });
    if (one.right && one.time < kBudget) return true;
  }
  return false;
}

// With kubectl, what it wants for the completion of plugins, and a cluster.
class ClusterDesk : public Desk {
 public:
  explicit ClusterDesk(ControlPlane& plane) : Desk({"kubectl"}) {
    fs::copy(kCompletions / "kubectl_complete-kubedr", home() / "bin");
    options().env["KUBECONFIG"] = plane.api().kubeconfig().string();
  }
};

// One location, one policy, two backups; the older record's name.
std::string make_backups(ControlPlane& plane, const std::string& name) {
  plane.add_policy(name);
  REQUIRE(plane.kubedr({"init", name, "--if-needed"}).ok());
  const Json first = parsed(plane.kubedr({"backup", name, "-o", "json"}));
  std::this_thread::sleep_for(seconds(1));  // records have times of whole seconds
  REQUIRE(plane.kubedr({"backup", name}).ok());
  return first.at("record").get<std::string>();
}

// Names that only the API server and the bucket know, the older backup's; and a cluster that is
// away, of which nobody sees anything. `end` is pressed where a shell adds no space by itself.
void press_live_names(Shell& shell, const std::string& program, const std::string& policy,
                      const std::string& record, const std::string& end = "") {
  const std::string id = record.substr(4);
  const auto check = [&](const std::string& words, const std::string& typed,
                         const std::string& name) {
    shell.check(program + words + typed + "\t" + end, words + name);
  };
  check(" restore --policy " + policy + " ", "lat", "latest");
  check(" restore --policy " + policy + " ", id.substr(0, 7), id);
  check(" forget --policy " + policy + " ", record.substr(0, 11), record);
  const std::string away =
      fmt::format("{} --server https://127.0.0.1:{} backup ", program, free_port());
  shell.check_quiet(away + "\tX", "backup X");
}

}  // namespace

TEST_CASE("completion: verbs, flags and the values that can be listed") {
  CHECK(offered({""}).has("backup"));
  CHECK_FALSE(offered({""}).has("__complete"));
  CHECK(offered({"ba"}).candidates == Words{"backup"});
  CHECK(offered({"-n", "ba", "ba"}).candidates == Words{"backup"});
  CHECK(offered({"key", ""}).candidates == Words{"list", "add", "remove"});
  CHECK(offered({"key", "add", "--new-pass"}).candidates == Words{"--new-password-file"});
  CHECK(offered({"backup", "--chunker", ""}).candidates == Words{"auto", "pages", "restic"});
  CHECK(offered({"backup", "--chunker=p"}).candidates == Words{"pages"});
  CHECK(offered({"-o", "w"}).candidates == Words{"wide"});
  CHECK(offered({"completion", "z"}).candidates == Words{"zsh"});
  const Offer flags = offered({"backup", "nightly", "--dry-run", "--"});
  CHECK(flags.has("--etcd-endpoint"));
  CHECK(flags.has("--kubeconfig"));
  CHECK_FALSE(flags.has("--dry-run"));  // is there already
  CHECK(offered({"backup", "--etcd-endpoint", "x", "--etcd-e"}).has("--etcd-endpoint"));
  CHECK(flags.directive == ":4");
  CHECK(offered({"backup", "--etcd-cacert", ""}).directive == ":0");  // files
  CHECK(offered({"restore", "--target", ""}).directive == ":16");     // folders
  CHECK(offered({"help", "key", "a"}).candidates == Words{"add"});
  CHECK(offered({"no-such-verb", ""}).candidates.empty());
  CHECK(offered({"backup", "--", "--"}).candidates.empty());
  CHECK(offered({}).has("backup"));
}

TEST_CASE("completion: live names, the likeliest first") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const std::string older = make_backups(plane, "tabbed");
  plane.add_location("tabbed-too");
  const std::string kubeconfig = "--kubeconfig=" + plane.api().kubeconfig().string();
  const auto live = [&](Words words) {
    words.insert(words.begin(), kubeconfig);
    return words;
  };
  check_offered(live({"init", "tab"}), {"tabbed", "tabbed-too"});
  check_offered(live({"backup", "tab"}), {"tabbed"});
  check_offered(live({"status", "tabbed", "tab"}), {"tabbed-too"});
  check_offered(live({"status", "policy/tab"}), {"policy/tabbed"});
  check_offered(live({"check", "--location", "tabbed-"}), {"tabbed-too"});
  check_offered(live({"check", "--location=tabbed-"}), {"tabbed-too"});
  const Offer policy = check_offered(live({"backup", "tab"}), {"tabbed"});
  CHECK(policy.result.out == "tabbed\t*/10 * * * *, to tabbed\n:36\n");

  const std::string newer =
      plane.get("MetadataBackupPolicy", "tabbed").at("status").at("mbrName").get<std::string>();
  Words ids{newer.substr(4), older.substr(4)};
  std::sort(ids.begin(), ids.end());
  check_offered(live({"restore", "--policy", "tabbed", ""}),
                {"latest", newer, older, ids[0], ids[1]});
  check_offered(live({"restore", "--policy", "tabbed", ids[0].substr(0, 7)}), {ids[0]});
  check_offered(live({"forget", "--policy", "tabbed", older, "mbr-"}), {newer});
  const Json keys = parsed(plane.kubedr({"key", "list", "--location", "tabbed", "-o", "json"}));
  check_offered(live({"key", "remove", "--location", "tabbed", ""}),
                {keys.at("keys").at(0).at("id").get<std::string>().substr(0, 8)});

  CHECK(offered(live({"--context", ""})).candidates.size() == 1);
  CHECK(offered(live({"-n", "elsewhere", "backup", ""})).candidates.empty());
  CHECK(offered({"--kubeconfig", "/no/such/file", "backup", ""}).candidates.empty());
  CHECK(offered({"--kubeconfig", "/no/such/file", "--context", ""}).candidates.empty());
}

TEST_CASE("completion: an answer within 200 ms, also of a cluster or a bucket that is away") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const std::string older = make_backups(plane, "timed");
  const std::string newer =
      plane.get("MetadataBackupPolicy", "timed").at("status").at("mbrName").get<std::string>();
  const std::string kubeconfig = "--kubeconfig=" + plane.api().kubeconfig().string();
  CHECK(offered_in_time({kubeconfig, "backup", "tim"}, {"timed"}));
  CHECK(offered_in_time({kubeconfig, "forget", "--policy", "timed", older, "mbr-"}, {newer}));
  Words ids{newer.substr(4), older.substr(4)};
  std::sort(ids.begin(), ids.end());
  CHECK(offered_in_time({kubeconfig, "restore", "--policy", "timed", ""},
                        {"latest", newer, older, ids[0], ids[1]}));

  const Silence silence;
  const std::string nobody = fmt::format("https://127.0.0.1:{}", free_port());
  for (const std::string& server : {nobody, silence.url()}) {
    CAPTURE(server);
    CHECK(offered_in_time({"--server", server, "backup", ""}, {}));
    CHECK(offered_in_time({"--server", server, "ba"}, {"backup"}));
  }
  // What the cluster knows is offered, though the bucket does not answer.
  plane.add_location("silent", silence.url());
  CHECK(offered_in_time({kubeconfig, "restore", "--location", "silent", ""}, {"latest"}));
}

TEST_CASE("completion: under kubectl, for `kubectl kubedr`") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("plugged");
  const ClusterDesk desk(plane);
  const auto ask = [&](const std::string& line) {
    const RunResult result = desk.type("kubectl __complete kubedr " + line);
    CHECK_MESSAGE(result.ok(), result.err);
    return result.out;
  };
  CHECK(ask("ba") == "backup\tTake a backup now, verified before it counts\n:4\n");
  CHECK(has(asked_again([&] { return ask("backup plug"); }, "plugged\t"), "plugged\t"));
  CHECK(ask("backup --chunker=r") == "restic\n:4\n");
  CHECK(has(ask("status --fail-on ''"), "warning\n"));
  // kubectl itself takes longer than all the rest: what counts is what a name adds to that.
  bool in_time = false;
  for (int tries = 0; tries < 50 && !in_time; ++tries) {
    const Try alone = timed([&] { return desk.type("kubectl __complete version ''").ok(); });
    const Try named = timed([&] { return has(ask("backup plug"), "plugged\t"); });
    REQUIRE(alone.right);
    in_time = named.right && named.time < alone.time + kBudget;
  }
  CHECK(in_time);
}

TEST_CASE("completion: pressed in bash, as kubectl-kubedr and as kubectl kubedr") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const std::string record = make_backups(plane, "bashed");
  const ClusterDesk desk(plane);
  Shell bash({"bash", "--norc", "-i"}, desk,
             "bind 'set bell-style none'; source <(kubectl-kubedr completion bash)");
  bash.check("kubectl-kubedr snap\t", "kubectl-kubedr snapshots ");
  bash.check("kubectl-kubedr backup bas\t--chu\tpag\t-o js\t",
             "backup bashed --chunker pages -o json ");
  bash.check("kubectl-kubedr backup --chunker=pa\t", "--chunker=pages ");
  bash.check("X=1 kubectl-kubedr check --location=bas\t", "--location=bashed ");
  bash.check("kubectl-kubedr key \t\t", "remove");
  desk.home().write("some-file.pem", "");
  bash.check("kubectl-kubedr backup --etcd-cacert some-f\t", "some-file.pem ");
  bash.check("kubectl-kubedr restore --target bi\t", "--target bin/");
  press_live_names(bash, "kubectl-kubedr", "bashed", record);

  KUBEDR_NEEDS_FILE("/usr/share/bash-completion/bash_completion", "bash-completion");
  Shell kubectl({"bash", "--norc", "-i"}, desk,
                "source /usr/share/bash-completion/bash_completion; "
                "source <(kubectl completion bash)");
  kubectl.check("kubectl kubedr snap\t", "kubectl kubedr snapshots ");
  kubectl.check("kubectl kubedr backup bas\t", "kubectl kubedr backup bashed ");
  press_live_names(kubectl, "kubectl kubedr", "bashed", record);
}

TEST_CASE("completion: pressed in zsh") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS_PROGRAM("zsh");
  ControlPlane& plane = ControlPlane::shared();
  const std::string record = make_backups(plane, "zshed");
  const ClusterDesk desk(plane);
  // As an autoloaded function, and as a script that is sourced.
  fs::create_directories(desk.home() / "functions");
  fs::copy(kCompletions / "_kubectl-kubedr", desk.home() / "functions");
  for (const char* setup : {"fpath=(~/functions $fpath); autoload -U compinit; compinit -D -u",
                            "autoload -U compinit; compinit -D -u; "
                            "source <(kubectl-kubedr completion zsh)"}) {
    CAPTURE(setup);
    Shell zsh({"zsh", "-f", "-i"}, desk, setup);
    zsh.check("kubectl-kubedr snap\t-o js\t", "-o json");
    zsh.check("kubectl-kubedr backup zsh\t", "backup zshed");
    zsh.check("kubectl-kubedr check --location=zs\t", "--location=zshed");
    zsh.check("kubectl-kubedr key \t", "-- Remove a key");
    press_live_names(zsh, "kubectl-kubedr", "zshed", record);
  }

  Shell kubectl({"zsh", "-f", "-i"}, desk,
                "autoload -U compinit; compinit -D -u; source <(kubectl completion zsh)");
  kubectl.check("kubectl kubedr snap\t", "kubectl kubedr snapshots");
  kubectl.check("kubectl kubedr backup zsh\t", "kubectl kubedr backup zshed");
  kubectl.check("kubectl kubedr backup --chunker=pa\t", "--chunker=pages");
  kubectl.check("kubectl kubedr key \t", "-- Remove a key");
  press_live_names(kubectl, "kubectl kubedr", "zshed", record);
}

TEST_CASE("completion: pressed in fish") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS_PROGRAM("fish");
  ControlPlane& plane = ControlPlane::shared();
  const std::string record = make_backups(plane, "fished");
  const ClusterDesk desk(plane);
  const std::string load = "source " + (kCompletions / "kubectl-kubedr.fish").string() + "; ";
  const auto ask = [&](const std::string& line) {
    const RunResult result =
        desk.run({"fish", "--no-config", "-c", load + "complete -C '" + line + "'"});
    CHECK_MESSAGE(result.ok(), result.err);
    CHECK(result.err.empty());
    return result.out;
  };
  CHECK(ask("kubectl-kubedr ba") == "backup\tTake a backup now, verified before it counts\n");
  const auto named = asked_again([&] { return ask("kubectl-kubedr backup fis"); }, "fished\t");
  CHECK(has(named, "fished\t"));
  CHECK(ask("kubectl-kubedr backup --chunker=pa") == "--chunker=pages\n");
  CHECK(ask("kubectl-kubedr -o wi") == "wide\n");
  CHECK(has(ask("kubectl-kubedr restore --target bi"), "bin/"));
  CHECK_FALSE(has(ask("kubectl-kubedr backup "), "bin"));  // no files where names belong

  Shell fish({"fish", "--no-config", "-i"}, desk, load + "true");
  fish.check("kubectl-kubedr snap\tX", "snapshots X");
  press_live_names(fish, "kubectl-kubedr", "fished", record, "X");

  Shell kubectl({"fish", "--no-config", "-i"}, desk, "kubectl completion fish | source");
  kubectl.check("kubectl kubedr snap\tX", "kubectl kubedr snapshots X");
  kubectl.check("kubectl kubedr backup fis\tX", "kubectl kubedr backup fished X");
  kubectl.check("kubectl kubedr check --location=fis\tX", "--location=fished X");
  press_live_names(kubectl, "kubectl kubedr", "fished", record, "X");
}
