// The worst day, as guides/worst-day.md tells it: from nothing but the bucket and its password to
// an etcd, and an API server, that answer. Its commands are taken from there.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/text.h"
#include "e2e/world.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;
using std::chrono::seconds;

namespace {

namespace fs = std::filesystem;

const fs::path kGuide = fs::path(KUBEDR_TEST_DATA) / "../../guides/worst-day.md";

void replace_all(std::string& text, const std::string& what, const std::string& with) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

// The commands of the guide's block that has this line's beginning in it.
std::string block_with(const std::string& beginning) {
  std::string block;
  bool inside = false;
  for (const std::string& line : split(read_text(kGuide), '\n')) {
    if (line.starts_with("```")) {
      if (inside && block.find("\n" + beginning) != std::string::npos) return block;
      inside = !inside;
      block = "\n";
    } else if (inside) {
      block += line + "\n";
    }
  }
  FAIL("the guide has no block with: " << beginning);
  return "";
}

// A bare machine: a bucket's name and keys, the program, and nothing else.
class Rescue {
 public:
  Rescue(const S3Server& s3, const std::string& bucket)
      : repository_(fmt::format("s3:{}/{}", s3.url(), bucket)) {
    fs::create_directories(home_ / "bin");
    fs::create_symlink(KUBEDR_BINARY, home_ / "bin/kubectl-kubedr");
    fs::create_symlink(find_server("etcdutl"), home_ / "bin/etcdutl");
    home_.write("repository-password", kPassword);
    options_.env = {{"PATH", (home_ / "bin").string() + ":/usr/bin:/bin"},
                    {"HOME", home_.path().string()}};
    keys_ = fmt::format("AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}", s3.access_key(),
                        s3.secret_key());
  }

  // Section 1 of the guide, as it stands there.
  std::string get_the_backup_out() const {
    std::string commands = block_with("kubectl-kubedr --repo \"$REPO\" restore");
    replace_all(commands, "/root", home_.path().string());
    replace_all(commands, "AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...", keys_);
    replace_all(commands, "s3:https://minio:9000/cluster-backups", repository_);
    return run(commands);
  }

  std::string run(const std::string& commands) const {
    const RunResult result = test::run({"bash", "-ec", commands}, options_);
    REQUIRE_MESSAGE(result.ok(), (result.out + result.err));
    return result.out;
  }

  fs::path path(const std::string& name) const { return home_ / name; }

 private:
  TempDir home_;
  std::string repository_;
  std::string keys_;
  ProcessOptions options_;
};

// The lines that restore prints for people to type.
std::vector<std::string> next_commands(const std::string& said) {
  std::vector<std::string> commands;
  for (const std::string& line : split(said, '\n')) {
    if (line.starts_with("  etcdutl ")) commands.emplace_back(trim(line));
  }
  return commands;
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
  plane.add_policy("lost");
  plane.apply(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: precious, namespace: default}\n"
      "data: {answer: \"42\"}\n");
  REQUIRE(plane.kubedr({"init", "lost"}).ok());
  REQUIRE(plane.kubedr({"backup", "lost"}).ok());
  plane.api().stop();
  plane.etcd().stop();
  fs::remove_all(plane.etcd().data());

  const Rescue rescue(plane.s3(), "lost");
  const std::vector<std::string> next = next_commands(rescue.get_the_backup_out());
  REQUIRE(next.size() == 1);
  CHECK(fs::exists(rescue.path("restored/data/certificates/ca.crt")));
  std::string command = next.front();
  replace_all(command, "/var/lib/etcd", rescue.path("etcd").string());
  rescue.run(command);

  EtcdOptions options;
  options.data = rescue.path("etcd");
  const EtcdServer etcd(options);
  const KubeApi api(etcd);
  CHECK(api.kubectl({"get", "configmap", "precious", "-o", "jsonpath={.data.answer}"}).out == "42");
}

TEST_CASE("the worst day: three members, all of them from one snapshot") {
  KUBEDR_NEEDS("etcd");
  KUBEDR_NEEDS("etcdutl");
  const S3Server s3;
  const TempDir folder;
  ThreeMembers etcd;
  etcd.start(folder / "before");
  REQUIRE(etcd.etcdctl({"put", "precious", "42"}).ok());
  const std::map<std::string, std::string> env = {{"RESTIC_PASSWORD", kPassword},
                                                  {"AWS_ACCESS_KEY_ID", s3.access_key()},
                                                  {"AWS_SECRET_ACCESS_KEY", s3.secret_key()}};
  const std::string repository = fmt::format("s3:{}/three", s3.url());
  REQUIRE(test::kubedr({"init", "--repo", repository}, env).ok());
  const RunResult backup = test::kubedr(
      {"backup", "--repo", repository, "--etcd-endpoint", etcd.endpoint(), "--any-etcd"}, env);
  REQUIRE_MESSAGE(backup.ok(), backup.err);
  etcd.stop();
  fs::remove_all(folder / "before");

  const Rescue rescue(s3, "three");
  std::vector<std::string> next = next_commands(rescue.get_the_backup_out());
  REQUIRE(next.size() == 3);  // one for each node
  for (std::size_t i = 0; i < next.size(); ++i) {
    const std::string name = fmt::format("cp-{}", i + 1);
    std::string& command = *std::find_if(next.begin(), next.end(), [&](const std::string& line) {
      return line.find("--name " + name + " ") != std::string::npos;
    });
    replace_all(command, "/var/lib/etcd", (folder / ("after/" + name)).string());
    rescue.run(command);
  }
  etcd.start(folder / "after");
  CHECK(etcd.etcdctl({"get", "precious", "--print-value-only"}).out == "42\n");
  const RunResult status = etcd.etcdctl({"endpoint", "status", "--cluster", "-w", "json"});
  CHECK(parse_json(status.out, "etcdctl").size() == 3);
}
