// In a root folder with next to nothing in it: what the program needs of a machine, it has itself.
// package/check lets the same stories happen where the release is installed.

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "base/file.h"
#include "base/text.h"
#include "e2e/world.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

namespace fs = std::filesystem;

constexpr char kNameServer[] = "127.53.7.1";      // of this machine, with a port 53 of its own
constexpr char kS3Name[] = "s3.kubedr.test";      // asked of the name server
constexpr char kEtcdName[] = "etcd.kubedr.test";  // in /etc/hosts

// Knows one name, which is this machine, and counts who asks for it.
class NameServer {
 public:
  NameServer() : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(53);
    inet_pton(AF_INET, kNameServer, &address.sin_addr);
    listens_ =
        ::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    if (listens_) thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
  }

  bool listens() const { return listens_; }

  int asked() const { return asked_; }

 private:
  void serve(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      pollfd ready{socket_.get(), POLLIN, 0};
      if (::poll(&ready, 1, 50) == 1) answer();
    }
  }

  // The question comes back as it was, behind it an address for type A and nothing for others.
  void answer() {
    std::array<unsigned char, 512> message{};
    sockaddr_in peer{};
    socklen_t peer_size = sizeof peer;
    const ssize_t received = ::recvfrom(socket_.get(), message.data(), message.size(), 0,
                                        reinterpret_cast<sockaddr*>(&peer), &peer_size);
    std::size_t end = 12;  // behind the header
    std::string name;
    while (received > 0 && end < static_cast<std::size_t>(received) && message[end] != 0) {
      if (!name.empty()) name += '.';
      name.append(reinterpret_cast<const char*>(&message[end + 1]), message[end]);
      end += message[end] + 1U;
    }
    end += 5;  // the root's label, type and class
    if (received < 0 || end > static_cast<std::size_t>(received)) return;
    const bool is_address = message[end - 3] == 1;
    const bool is_known = name == kS3Name;
    if (is_known) ++asked_;
    std::string reply(reinterpret_cast<const char*>(message.data()), end);
    reply[2] = '\x81';                          // an answer
    reply[3] = is_known ? '\x80' : '\x83';      // there is no such name
    reply[7] = is_known && is_address ? 1 : 0;  // how many
    reply[9] = reply[11] = 0;                   // what else the question had is not repeated
    if (is_known && is_address) {
      reply += std::string("\xC0\x0C\0\x01\0\x01\0\0\0\x3C\0\x04\x7F\0\0\x01", 16);
    }
    ::sendto(socket_.get(), reply.data(), reply.size(), 0, reinterpret_cast<const sockaddr*>(&peer),
             peer_size);
  }

  FileDescriptor socket_;
  bool listens_ = false;
  std::atomic<int> asked_ = 0;
  std::jthread thread_;
};

// A root folder with the program: made of the one that was built, with the libraries that it names,
// or the one that KUBEDR_INSTALLED_ROOT names.
class Root {
 public:
  Root() {
    if (const char* installed = std::getenv("KUBEDR_INSTALLED_ROOT")) {
      path_ = installed;
    } else {
      path_ = made_.path();
      copy_program();
    }
    write("etc/hosts", fmt::format("127.0.0.1 {}\n", kEtcdName));
    write("etc/resolv.conf", fmt::format("nameserver {}\n", kNameServer));
  }

  const fs::path& path() const { return path_; }

  fs::path write(const std::string& name, const std::string& content) const {
    fs::create_directories((path_ / name).parent_path());
    replace(path_ / name, content);
    return "/" + name;
  }

  RunResult kubedr(std::vector<std::string> args,
                   const std::map<std::string, std::string>& env) const {
    ProcessOptions options;
    options.env = env;
    args.insert(args.begin(), {"chroot", path_.string(), "/usr/bin/kubectl-kubedr"});
    return run(args, options);
  }

 private:
  static void replace(const fs::path& file, const std::string& content) {
    std::FILE* const out = std::fopen(file.c_str(), "w");
    REQUIRE(out != nullptr);
    std::fwrite(content.data(), 1, content.size(), out);
    REQUIRE(std::fclose(out) == 0);
  }

  void copy(const fs::path& from, const fs::path& to) const {
    const fs::path target = path_ / to.relative_path();
    fs::create_directories(target.parent_path());
    fs::copy_file(from, target, fs::copy_options::skip_existing);
  }

  void copy_program() const {
    copy(KUBEDR_BINARY, "/usr/bin/kubectl-kubedr");
    const std::string needed = run({"ldd", KUBEDR_BINARY}).out;
    const std::regex library("(/[^ ]+) \\(0x");
    for (std::sregex_iterator it(needed.begin(), needed.end(), library), end; it != end; ++it) {
      copy((*it)[1].str(), (*it)[1].str());
    }
  }

  TempDir made_;
  fs::path path_;
};

}  // namespace

TEST_CASE("root: servers are found by name and trusted by each system's authorities") {
  KUBEDR_NEEDS("minio");
  KUBEDR_NEEDS("etcd");
  KUBEDR_NEEDS_RIGHT(geteuid() == 0, "change the root folder");
  const NameServer names;
  REQUIRE(names.listens());
  const S3Server s3(S3Server::Scheme::https);
  EtcdOptions with_tls;
  with_tls.tls = true;
  EtcdServer etcd(with_tls);
  etcd.fill("/registry/configmaps/default/c", 300, 2000);
  const Root root;
  const std::map<std::string, std::string> env = {
      {"RESTIC_REPOSITORY", fmt::format("s3:https://{}:{}/rooted", kS3Name, s3.port())},
      {"RESTIC_PASSWORD", kPassword},
      {"AWS_ACCESS_KEY_ID", s3.access_key()},
      {"AWS_SECRET_ACCESS_KEY", s3.secret_key()},
      {"ETCDCTL_ENDPOINTS", fmt::format("https://{}:{}", kEtcdName, etcd.port())},
      {"ETCDCTL_CACERT", root.write("tls/ca.crt", etcd.ca_pem())},
      {"ETCDCTL_CERT", root.write("tls/client.crt", etcd.client_cert_pem())},
      {"ETCDCTL_KEY", root.write("tls/client.key", etcd.client_key_pem())}};
  const std::string repo = "--repo=" + env.at("RESTIC_REPOSITORY");
  const auto done = [&](std::vector<std::string> args, const auto& variables) {
    args.push_back(repo);
    const RunResult result = root.kubedr(args, variables);
    REQUIRE_MESSAGE(result.ok(), (result.out + result.err));
    return result.out;
  };

  const RunResult untrusted = root.kubedr({"init", repo}, env);
  CHECK(untrusted.exit.code == 21);
  CHECK_MESSAGE(untrusted.err.find("is not trusted") != std::string::npos, untrusted.err);

  auto named = env;
  named["SSL_CERT_FILE"] = root.write("mine.pem", s3.ca_pem());
  done({"init"}, named);
  for (const std::string file :
       {"etc/ssl/certs/ca-certificates.crt", "etc/ssl/cert.pem", "etc/pki/tls/certs/ca-bundle.crt",
        "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"}) {
    CAPTURE(file);
    root.write(file, s3.ca_pem());
    const Json backup = parse_json(done({"backup", "-o", "json"}, env), "stdout");
    CHECK(backup.at("failedSteps").empty());
    const std::string target = "/restored-" + backup.at("snapshotId").get<std::string>();
    const std::string told = done({"restore", "latest", "--target", target}, env);
    CHECK_MESSAGE(told.find("is whole: its sha-256 digest matches") != std::string::npos, told);
    const std::string database =
        (root.path() / (target.substr(1) + "/data/etcd-snapshot.db")).string();
    const RunResult status =
        run({find_server("etcdutl").string(), "snapshot", "status", database, "-w", "json"});
    REQUIRE_MESSAGE(status.ok(), status.err);
    CHECK(parse_json(status.out, "etcdutl").at("totalKey") >= 300);
    fs::remove(root.path() / file);
  }
  CHECK(names.asked() > 0);
}
