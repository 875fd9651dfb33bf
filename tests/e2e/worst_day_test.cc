// The worst day, as guides/worst-day.md tells it: from nothing but the bucket and its password to
// an etcd, and an API server, that answer. Its commands are taken from there.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <thread>

#include "base/text.h"
#include "e2e/desk.h"
#include "e2e/world.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;
using std::chrono::seconds;

namespace {

namespace fs = std::filesystem;

constexpr char kGuide[] = "guides/worst-day.md";

// A bare machine: a bucket's name and keys, the program, and nothing else.
class Rescue {
 public:
  Rescue(const S3Server& s3, const std::string& bucket)
      : repository_(fmt::format("s3:{}/{}", s3.url(), bucket)),
        keys_(fmt::format("AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}", s3.access_key(),
                          s3.secret_key())) {
    desk_.home().write("repository-password", kPassword);
  }

  // Section 1 of the guide, as it stands there.
  std::string get_the_backup_out() const {
    std::string commands = block_with(kGuide, "kubectl-kubedr --repo \"$REPO\" restore");
    replace_all(commands, "AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...", keys_);
    replace_all(commands, "s3:https://minio:9000/cluster-backups", repository_);
    return type(commands);
  }

  // With root's home at hand.
  std::string type(std::string commands) const {
    replace_all(commands, "/root", desk_.home().path().string());
    return desk_.typed(commands);
  }

  fs::path path(const std::string& name) const { return desk_.home() / name; }

 private:
  Desk desk_{{"etcdutl"}};
  std::string repository_;
  std::string keys_;
};

// The lines that restore prints for people to type.
std::vector<std::string> next_commands(const std::string& said) {
  std::vector<std::string> commands;
  for (const std::string& line : split(said, '\n')) {
    if (line.starts_with("  etcdutl ")) commands.emplace_back(trim(line));
  }
  return commands;
}

// Section 2 of the guide on the machine itself, where stopping the servers and starting them again
// is not moving manifests, and what restore printed stands in for its shortened line.
void put_back(const Rescue& rescue, ControlPlane& plane, const std::string& restore) {
  int typed = 0;
  for (std::string line : split(block_with(kGuide, "etcdutl snapshot restore /root"), '\n')) {
    if (line.find("manifests") != std::string::npos || line.find("crictl") != std::string::npos) {
      continue;
    }
    if (line.empty() || line.starts_with("kubectl")) continue;
    if (line.starts_with("etcdutl")) line = restore;
    replace_all(line, "/var/lib/etcd", plane.etcd().data().string());
    replace_all(line, "/etc/kubernetes/pki", plane.api().pki().string());
    rescue.type(line);
    ++typed;
  }
  CHECK(typed == 3);
}

// A line for one of several members: names and flags as they are, addresses and folders aside.
std::string comparable(std::string command) {
  replace_all(command, "\\\n", " ");
  for (const auto& [form, replacement] :
       std::map<std::string, std::string>{{R"(https?://[\d.]+:\d+)", "<url>"},
                                          {R"(\S*/etcd-snapshot\.db)", "etcd-snapshot.db"},
                                          {R"(\s+)", " "}}) {
    command = std::regex_replace(command, std::regex(form), replacement);
  }
  return std::string(trim(command));
}

// An etcd of three members on one machine.
class ThreeMembers {
 public:
  ThreeMembers() {
    for (int i = 1; i <= 3; ++i) {
      members_.push_back({fmt::format("cp-{}", i), free_port(), free_port(), nullptr});
    }
  }

  // Each on its own data folder below `data`.
  void start(const fs::path& data) {
    std::string cluster;
    for (const Member& member : members_) {
      cluster += fmt::format("{}{}=http://127.0.0.1:{}", cluster.empty() ? "" : ",", member.name,
                             member.peer_port);
    }
    for (Member& member : members_) {
      const std::string client = fmt::format("http://127.0.0.1:{}", member.client_port);
      const std::string peer = fmt::format("http://127.0.0.1:{}", member.peer_port);
      ProcessOptions options;
      options.log = logs_ / (member.name + ".log");
      member.process = std::make_unique<Process>(
          std::vector<std::string>{find_server("etcd").string(), "--name", member.name,
                                   "--data-dir", (data / member.name).string(),
                                   "--listen-client-urls", client, "--advertise-client-urls",
                                   client, "--listen-peer-urls", peer,
                                   "--initial-advertise-peer-urls", peer, "--initial-cluster",
                                   cluster, "--unsafe-no-fsync"},
          options);
    }
    const auto until = std::chrono::steady_clock::now() + seconds(60);
    while (!etcdctl({"endpoint", "health", "--cluster"}).ok()) {
      REQUIRE_MESSAGE(std::chrono::steady_clock::now() < until, "the members do not get ready");
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  }

  void stop() {
    for (Member& member : members_) member.process->stop();
  }

  std::string endpoint() const {
    return fmt::format("http://127.0.0.1:{}", members_.front().client_port);
  }

  // Of them all.
  std::string endpoints() const {
    std::vector<std::string> all;
    for (const Member& member : members_) {
      all.push_back(fmt::format("http://127.0.0.1:{}", member.client_port));
    }
    return join(all, ",");
  }

  RunResult etcdctl(std::vector<std::string> args) const {
    args.insert(args.begin(), {find_server("etcdctl").string(), "--endpoints", endpoint()});
    return run(args);
  }

 private:
  struct Member {
    std::string name;
    int client_port;
    int peer_port;
    std::unique_ptr<Process> process;
  };

  TempDir logs_;
  std::vector<Member> members_;
};

}  // namespace

TEST_CASE("the worst day: one member, from the bucket to an API server that answers") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("etcdutl");
  ControlPlane plane;
  plane.add_policy("nightly", {{"certsDir", plane.api().pki().string()}});
  const std::string configmap =
      "apiVersion: v1\nkind: ConfigMap\n"
      "metadata: {name: precious, namespace: default}\n"
      "data: {answer: \"42\"}\n";
  plane.apply(configmap);
  // As kubeadm's administrators have it: by a certificate, which the server that comes back must
  // know, as its own must be known to them.
  Desk administrator({"kubectl"});
  administrator.options().env["KUBECONFIG"] = plane.api().admin_kubeconfig().string();
  REQUIRE(plane.kubedr({"init", "nightly"}).ok());
  REQUIRE(plane.kubedr({"backup", "nightly"}).ok());
  const RunResult unrecorded =
      plane.kubedr({"backup", "nightly", "-o", "json"});  // its record is not in it
  const std::string record = parsed(unrecorded).at("record").get<std::string>();
  plane.api().stop();
  plane.etcd().stop();
  fs::remove_all(plane.api().pki());
  fs::create_directory(plane.api().pki());  // a new machine

  const Rescue rescue(plane.s3(), "nightly");
  const std::vector<std::string> next = next_commands(rescue.get_the_backup_out());
  REQUIRE(next.size() == 1);
  put_back(rescue, plane, next.front());
  CHECK(fs::exists(plane.etcd().data().string() + ".broken"));
  plane.etcd().restart();
  plane.api().restart();
  administrator.typed("kubectl get nodes");
  CHECK(administrator.typed("kubectl get configmap precious -o jsonpath={.data.answer}") == "42");

  // Section 4.
  const std::string get_record = "kubectl -n kubedr-system get metadatabackuprecord " + record;
  CHECK_FALSE(administrator.type(get_record).ok());
  administrator.options().terminal = Terminal::input;
  administrator.options().input = "y\n";  // to what sync asks
  administrator.typed(block_with(kGuide, "kubectl kubedr sync"));
  administrator.typed(get_record);
  administrator.typed("kubectl kubedr status --deep --fail-on warning");
  CHECK(plane.list("metadatabackuprecords").size() == 3);
}

TEST_CASE("the worst day: three members, all of them from one snapshot, under an API server") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("etcdutl");
  const S3Server s3;
  const TempDir folder;
  ThreeMembers etcd;
  etcd.start(folder / "before");
  KubeApi api(etcd.endpoints());
  REQUIRE(api.kubectl({"create", "configmap", "precious", "--from-literal=answer=42"}).ok());
  const std::map<std::string, std::string> env = {{"RESTIC_PASSWORD", kPassword},
                                                  {"AWS_ACCESS_KEY_ID", s3.access_key()},
                                                  {"AWS_SECRET_ACCESS_KEY", s3.secret_key()}};
  const std::string repository = fmt::format("s3:{}/three", s3.url());
  REQUIRE(test::kubedr({"init", "--repo", repository}, env).ok());
  const RunResult backup = test::kubedr(
      {"backup", "--repo", repository, "--etcd-endpoint", etcd.endpoint(), "--any-etcd"}, env);
  REQUIRE_MESSAGE(backup.ok(), backup.err);
  api.stop();
  etcd.stop();
  fs::remove_all(folder / "before");

  const Rescue rescue(s3, "three");
  std::vector<std::string> next = next_commands(rescue.get_the_backup_out());
  REQUIRE(next.size() == 3);  // one for each node
  const std::string in_guide = block_with(kGuide, "etcdutl snapshot restore etcd-snapshot.db");
  std::set<std::string> printed;
  for (const std::string& line : next) printed.insert(comparable(line));
  CHECK_MESSAGE(printed.count(comparable(in_guide)) == 1, comparable(in_guide));
  for (std::size_t i = 0; i < next.size(); ++i) {
    const std::string name = fmt::format("cp-{}", i + 1);
    std::string& command = *std::find_if(next.begin(), next.end(), [&](const std::string& line) {
      return line.find("--name " + name + " ") != std::string::npos;
    });
    replace_all(command, "/var/lib/etcd", (folder / ("after/" + name)).string());
    rescue.type(command);
  }
  etcd.start(folder / "after");
  api.restart();
  const RunResult precious =
      api.kubectl({"get", "configmap", "precious", "-o", "jsonpath={.data.answer}"});
  CHECK_MESSAGE(precious.out == "42", precious.err);
  REQUIRE(api.kubectl({"create", "configmap", "new", "--from-literal=since=then"}).ok());

  const RunResult status = etcd.etcdctl({"endpoint", "status", "--cluster", "-w", "json"});
  const Json members = parse_json(status.out, "etcdctl");
  CHECK(members.size() == 3);
  std::set<Json> leaders;
  for (const Json& member : members) leaders.insert(member.at("Status").at("leader"));
  CHECK(leaders.size() == 1);
}
