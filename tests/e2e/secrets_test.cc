// Passwords and keys are nowhere but in memory and in the Secrets they came from.

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <sstream>

#include "base/hex.h"
#include "e2e/faults.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

constexpr char kOddPassword[] = "p@ss/w+rd=%of a 7-headed \"beast\"";

std::string lower(std::string text) {
  for (char& letter : text) letter = static_cast<char>(std::tolower(letter));
  return text;
}

std::string url_encoded(const std::string& text, const std::string& blank, bool small = false) {
  std::string result;
  for (const char letter : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(letter)) != 0 ||
                       std::string_view("-_.~").find(letter) != std::string_view::npos;
    if (plain) {
      result += letter;
    } else if (letter == ' ') {
      result += blank;
    } else {
      const std::string code = fmt::format("%{:02X}", static_cast<unsigned char>(letter));
      result += small ? lower(code) : code;
    }
  }
  return result;
}

std::string upper(std::string text) {
  for (char& letter : text) letter = static_cast<char>(std::toupper(letter));
  return text;
}

// What a text looks like in base64 when it is part of a longer one, at each of the three positions,
// without the letters that its neighbours have a part in; in base64url, too.
std::set<std::string> in_base64(const std::string& text) {
  std::set<std::string> forms;
  for (std::size_t before = 0; before < 3; ++before) {
    const std::string all = to_base64(as_bytes(std::string(before, 'x') + text));
    const std::size_t skip = before == 0 ? 0 : 4;
    std::string form = all.substr(skip, all.size() - skip - 4);
    forms.insert(form);
    std::replace(form.begin(), form.end(), '+', '-');
    std::replace(form.begin(), form.end(), '/', '_');
    forms.insert(form);
  }
  return forms;
}

// Every form in which these would be a leak.
class Needles {
 public:
  void add(const std::string& secret) {
    const std::string hex = to_hex(as_bytes(secret));
    forms_.insert({secret, hex, upper(hex), url_encoded(secret, "%20"), url_encoded(secret, "+"),
                   url_encoded(secret, "%20", true), url_encoded(secret, "+", true),
                   Json(secret).dump().substr(1, Json(secret).dump().size() - 2)});
    for (const std::string& form : in_base64(secret)) forms_.insert(form);
  }

  // Each line of a key between its BEGIN and END.
  void add_pem(const std::string& pem) {
    std::istringstream lines(pem);
    for (std::string line; std::getline(lines, line);) {
      if (line.size() >= 16 && !line.starts_with("-----")) add(line);
    }
  }

  bool found_in(const std::string& text) const {
    return std::any_of(forms_.begin(), forms_.end(),
                       [&](const std::string& form) { return has(text, form); });
  }

  void check_not_in(const std::string& text, const std::string& where) const {
    for (const std::string& form : forms_) {
      if (!has(text, form)) continue;
      FAIL_CHECK(where << " holds the secret as " << form);
    }
  }

 private:
  std::set<std::string> forms_;
};

// Its arguments and the files that it has open at this moment, but for those below a folder;
// returns how many files that were.
int look_at(const Needles& needles, pid_t pid, const std::string& but_below = "/nowhere") {
  const std::filesystem::path proc = fmt::format("/proc/{}", pid);
  needles.check_not_in(read_text(proc / "cmdline"), "cmdline");
  int files = 0;
  std::error_code error;
  std::filesystem::directory_iterator at(proc / "fd", error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(at->path(), gone).string();
    if (target.starts_with(but_below)) continue;
    if (!std::filesystem::is_regular_file(at->path(), gone)) continue;
    ++files;
    needles.check_not_in(read_text(at->path()), target);
  }
  return files;
}

void check_process(const Needles& needles, pid_t pid) {
  CHECK(look_at(needles, pid) > 0);  // its stdout and stderr, at the least
}

// Bytes of the unlinked file in which sealed packs wait for S3.
std::uintmax_t spooled_by(pid_t pid) {
  std::uintmax_t bytes = 0;
  std::error_code error;
  std::filesystem::directory_iterator at(fmt::format("/proc/{}/fd", pid), error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(at->path(), gone).string();
    if (!target.ends_with(" (deleted)")) continue;
    const std::uintmax_t size = std::filesystem::file_size(at->path(), gone);
    if (!gone) bytes = std::max(bytes, size);
  }
  return bytes;
}

// Whom the kernel takes the memory of a process for: root's where it may not be looked at or
// dumped.
uid_t owner_of_memory(pid_t pid) {
  struct stat info {};

  REQUIRE(stat(fmt::format("/proc/{}/mem", pid).c_str(), &info) == 0);
  return info.st_uid;
}

void check_files(const Needles& needles, const std::filesystem::path& folder) {
  for (const auto& [name, content] : files_below(folder)) needles.check_not_in(content, name);
}

void check_bucket(const Needles& needles, const S3Server& s3, const std::string& bucket) {
  const SystemClock clock;
  const Call call = Call(clock).within(std::chrono::minutes(2));
  const auto store = open_bucket(s3, bucket, clock);
  std::vector<storage::FileName> names = {{storage::FileKind::config, {}}};
  for (const auto kind : {storage::FileKind::key, storage::FileKind::pack, storage::FileKind::index,
                          storage::FileKind::snapshot, storage::FileKind::lock}) {
    store->list(
        kind,
        [&](const storage::FileInfo& info) {
          names.push_back({kind, info.id});
        },
        call);
  }
  CHECK(names.size() > 5);
  for (const storage::FileName& name : names) {
    const Bytes bytes = store->load(name, std::size_t{1} << 28, call);
    needles.check_not_in(std::string(as_text(bytes)), name.path());
  }
}

// Everything that we, and the API server for us, keep in the cluster: Secrets aside.
void check_cluster(const Needles& needles, ControlPlane& plane,
                   const std::set<std::string>& kinds) {
  std::set<std::string> found;
  for (const Json& object :
       plane.list("backuplocations,metadatabackuppolicies,metadatabackuprecords,cronjobs,jobs,"
                  "events,configmaps")) {
    found.insert(object.at("kind"));
    needles.check_not_in(object.dump(), object.at("metadata").at("name"));
  }
  for (const std::string& kind : kinds) CHECK_MESSAGE(found.count(kind) == 1, kind);
}

// What a backup of that control plane is trusted with.
Needles needles_of(ControlPlane& plane) {
  Needles needles;
  needles.add(kPassword);
  needles.add(plane.s3().secret_key());
  needles.add(KubeApi::token("admin"));
  needles.add_pem(plane.etcd().client_key_pem());
  return needles;
}

}  // namespace

TEST_CASE("secrets: are in no output, argument, file, status or event") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("discreet");
  const auto set_key = [&](const std::string& key, const std::string& value) {
    const Json data = {{"stringData", {{key, value}}}};
    REQUIRE(plane.api()
                .kubectl({"-n", kNamespace, "patch", "secret", "discreet-creds", "--type=merge",
                          "-p", data.dump()})
                .ok());
  };
  constexpr char kWrongKey[] = "another-secret+that/is=wrong";
  constexpr char kWrongPassword[] = "another pass/word that+is wrong";
  set_key("restic_repo_password", kOddPassword);
  Needles needles;
  for (const std::string& secret :
       {std::string(kOddPassword), plane.s3().secret_key(), KubeApi::token("admin"),
        std::string(kWrongKey), std::string(kWrongPassword)}) {
    needles.add(secret);
  }
  needles.add_pem(plane.etcd().client_key_pem());
  // They are found where they are.
  REQUIRE(needles.found_in(plane.get("secret", "discreet-creds").dump()));
  REQUIRE(needles.found_in(plane.get("secret", "discreet-etcd").dump()));

  const TempDir folder;
  std::filesystem::create_directories(folder / "home");
  std::filesystem::create_directories(folder / "tmp");
  const std::map<std::string, std::string> env = {{"HOME", (folder / "home").string()},
                                                  {"TMPDIR", (folder / "tmp").string()}};
  const auto run_all = [&](const std::vector<std::vector<std::string>>& commands, bool good) {
    for (std::vector<std::string> command : commands) {
      CAPTURE(command);
      command.emplace_back("-v=9");
      const RunResult result = plane.kubedr(command, "admin", env);
      CHECK_MESSAGE(result.ok() == good, result.err);
      needles.check_not_in(result.out, "stdout");
      needles.check_not_in(result.err, "stderr");
    }
  };
  const std::string target = (folder / "target").string();
  run_all({{"init", "discreet"},
           {"backup", "discreet"},
           {"backup", "discreet", "-o", "json"},
           {"snapshots", "discreet"},
           {"snapshots", "discreet", "-o", "yaml"},
           {"status", "-o", "json", "--fail-on", "never"},
           {"restore", "latest", "--policy", "discreet", "--target", target}},
          true);
  const std::vector<std::vector<std::string>> failing = {
      {"init", "discreet"},
      {"backup", "discreet"},
      {"backup", "discreet", "-o", "json"},
      {"snapshots", "discreet"},
      {"restore", "latest", "--policy", "discreet", "--target", target + "2"}};
  set_key("restic_repo_password", kWrongPassword);
  run_all(failing, false);
  set_key("secret_key", kWrongKey);
  run_all(failing, false);
  set_key("restic_repo_password", kOddPassword);
  set_key("secret_key", plane.s3().secret_key());
  run_all({{"backup", "discreet", "--etcd-endpoint", "https://127.0.0.1:1"},
           {"backup", "discreet", "--token", kWrongKey, "--user", "nobody"},
           {"backup", "discreet", "--server", "https://127.0.0.1:1"}},
          false);

  check_files(needles, folder / "home");
  check_files(needles, folder / "tmp");
  check_cluster(needles, plane,
                {"BackupLocation", "MetadataBackupPolicy", "MetadataBackupRecord", "Event"});
  check_bucket(needles, plane.s3(), "discreet");
}

TEST_CASE("secrets: are in nothing that the other verbs say and make") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const std::string name = "reticent";
  constexpr char kNewPassword[] = "a second pass/word+of=the safe";
  const std::map<std::string, std::string> temporary = temporary_keys(
      plane.s3(),
      Json{{"Version", "2012-10-17"},
           {"Statement",
            {{{"Effect", "Allow"}, {"Action", {"s3:*"}}, {"Resource", {"arn:aws:s3:::*"}}}}}});
  Needles needles;
  for (const std::string& secret :
       {std::string(kOddPassword), std::string(kNewPassword), plane.s3().secret_key(),
        KubeApi::token("admin"), temporary.at("secret_key"), temporary.at("session_token")}) {
    needles.add(secret);
  }
  needles.add_pem(plane.etcd().client_key_pem());

  const TempDir folder;
  std::filesystem::create_directories(folder / "home");
  std::filesystem::create_directories(folder / "tmp");
  const std::string password = folder.write("password", kNewPassword).string();
  std::map<std::string, std::string> env = {{"HOME", (folder / "home").string()},
                                            {"TMPDIR", (folder / "tmp").string()},
                                            {"AWS_ACCESS_KEY_ID", plane.s3().access_key()},
                                            {"AWS_SECRET_ACCESS_KEY", plane.s3().secret_key()},
                                            {"RESTIC_PASSWORD", kOddPassword}};
  const auto check_said = [&](std::vector<std::string> command, std::set<int> codes) {
    CAPTURE(command);
    command.emplace_back("-v=9");
    const RunResult result = plane.kubedr(command, "admin", env);
    CHECK_MESSAGE(codes.count(result.exit.code) == 1, result.out, result.err);
    needles.check_not_in(result.out, "stdout");
    needles.check_not_in(result.err, "stderr");
  };
  const std::vector<std::string> at_location = {"--location", name};
  const auto of_location = [&](std::vector<std::string> command) {
    command.insert(command.end(), at_location.begin(), at_location.end());
    return command;
  };
  const std::vector<std::string> make_location = {"location",       "create",   name, "--url",
                                                  plane.s3().url(), "--bucket", name};
  check_said(make_location, {0});
  const std::vector<std::string> make_policy = of_location(
      {"policy", "create", name, "--schedule", "0 3 * * *", "--certs-dir", plane.certs().string(),
       "--etcd-endpoint", plane.etcd().endpoint(), "--etcd-cacert", plane.etcd().ca_file().string(),
       "--etcd-cert", plane.etcd().client_cert_file().string(), "--etcd-key",
       plane.etcd().client_key_file().string()});
  check_said(make_policy, {0});
  // From here on they come from the Secrets.
  for (const char* key : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "RESTIC_PASSWORD"}) {
    env.erase(key);
  }
  const std::string secret = name + "-credentials";
  REQUIRE(needles.found_in(plane.get("secret", secret).dump()));
  REQUIRE(needles.found_in(plane.get("secret", name + "-etcd").dump()));
  check_said({"init", name}, {0});
  check_said({"backup", name}, {0});
  check_said(of_location({"key", "add", "--new-password-file", password}), {0});
  check_said(of_location({"key", "list", "-o", "json"}), {0});
  check_said(of_location({"check", "--read-data"}), {0});
  check_said(of_location({"sync", "--yes"}), {0});
  check_said(of_location({"stats"}), {0});
  check_said({"doctor", name}, {0, 5});
  check_said({"doctor", name, "-o", "json"}, {0, 5});
  check_said({"schedule", name, "--image", "registry.example.com/kubedr:1"}, {0});
  check_said({"backup", name, "--in-cluster"}, {0});
  check_said({"metrics"}, {0});
  check_said({"metrics", "--textfile", (folder / "home/kubedr.prom").string()}, {0});
  check_said({"metrics", "--push", "http://127.0.0.1:1"}, {20});
  CHECK(has(read_text(folder / "home/kubedr.prom"), name));

  // Keys that end, with a session's token; a token of the API server from a plugin.
  for (const auto& [key, value] : temporary) set_key(plane, secret, key, value);
  check_said({"backup", name}, {0});
  set_key(plane, secret, "session_token", temporary.at("session_token") + "x");
  check_said({"backup", name}, {20, 21});
  set_key(plane, secret, "session_token", temporary.at("session_token"));
  const std::filesystem::path plugin = folder.write(
      "plugin", fmt::format("#!/bin/sh\necho '{{\"apiVersion\":\"client.authentication.k8s.io/v1\","
                            "\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"{}\"}}}}'\n",
                            KubeApi::token("admin")));
  std::filesystem::permissions(plugin, std::filesystem::perms::owner_all);
  std::string config = read_text(plane.api().kubeconfig());
  const std::string token = "token: " + KubeApi::token("admin");
  REQUIRE(has(config, token));
  config.replace(config.find(token), token.size(),
                 "exec: {apiVersion: client.authentication.k8s.io/v1, command: " + plugin.string() +
                     ", interactiveMode: Never}");
  const std::string by_plugin = folder.write("kubeconfig", config).string();
  const RunResult status =
      test::kubedr({"status", "--fail-on", "never", "-v=9", "--kubeconfig", by_plugin}, env);
  CHECK_MESSAGE(status.ok(), status.err);
  needles.check_not_in(status.out + status.err, "status by a plugin's token");

  check_files(needles, folder / "home");
  check_files(needles, folder / "tmp");
  check_cluster(needles, plane,
                {"BackupLocation", "MetadataBackupPolicy", "MetadataBackupRecord", "Event",
                 "CronJob", "Job"});
  check_bucket(needles, plane.s3(), name);
}

TEST_CASE("secrets: many looks at a running init, backup and restore find none") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  ByteProxy s3(plane.s3().port());
  plane.add_policy("looked-at");
  plane.add_location("looked-at", fmt::format("http://127.0.0.1:{}", s3.port()));
  ProxyRules rules;
  rules.latency = std::chrono::milliseconds(100);
  s3.set(rules);
  const Needles needles = needles_of(plane);
  const TempDir folder;
  const std::string target = (folder / "target").string();  // holds etcd, and so its Secrets
  const std::vector<std::vector<std::string>> commands = {
      {"init", "looked-at"},
      {"backup", "looked-at"},
      {"restore", "latest", "--policy", "looked-at", "--target", target}};
  for (std::vector<std::string> command : commands) {
    CAPTURE(command);
    command.insert(command.end(), {"-v=9", "--kubeconfig=" + plane.api().kubeconfig().string()});
    Process process = start_kubedr(command, {{"TMPDIR", folder.path().string()}});
    int looks = 0;
    while (!process.wait(std::chrono::milliseconds(10))) {
      if (look_at(needles, process.pid(), target) > 0) ++looks;
    }
    CHECK_MESSAGE(process.wait(std::chrono::seconds(0))->code == 0, process.err());
    CHECK(looks > 5);
  }
}

TEST_CASE("secrets: a look at a running backup finds none") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "watched");
  ByteProxy s3(plane.s3().port());
  plane.add_location("watched", fmt::format("http://127.0.0.1:{}", s3.port()));
  plane.etcd().fill("/kubedr-test/watched/", 300, 5000);
  ProxyRules rules;
  rules.bytes_per_second = 60'000;
  s3.set(rules);
  const Needles needles = needles_of(plane);
  const TempDir folder;
  std::filesystem::create_directories(folder / "home");
  std::filesystem::create_directories(folder / "tmp");
  Process backup = start_kubedr(
      {"backup", "watched", "-v=9", "--kubeconfig=" + plane.api().kubeconfig().string()},
      {{"HOME", (folder / "home").string()}, {"TMPDIR", (folder / "tmp").string()}});
  REQUIRE_MESSAGE(eventually([&] { return saw_request(s3, "PUT /watched/data/"); }), backup.err());
  check_process(needles, backup.pid());
  check_files(needles, folder / "home");
  check_files(needles, folder / "tmp");
  s3.set({});
  REQUIRE(backup.wait(std::chrono::seconds(60)));
  needles.check_not_in(backup.err(), "stderr");
  check_files(needles, folder / "home");
  check_files(needles, folder / "tmp");
}

TEST_CASE("secrets: what waits on disk for a slow S3 is sealed") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "spooled");
  ByteProxy s3(plane.s3().port());
  plane.add_location("spooled", fmt::format("http://127.0.0.1:{}", s3.port()));
  // More than waits in memory, and in every page of it the mark.
  constexpr char kMark[] = "a mark that stands in each value of etcd";
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  EtcdServer etcd;
  std::mt19937_64 random(7);  // NOLINT(cert-msc51-cpp): the same in every run on purpose
  for (int part = 0; part < 60; ++part) {
    std::vector<EtcdServer::KeyValue> pairs;
    for (int number = 0; number < 125; ++number) {
      std::string value;
      while (value.size() < 8000) {
        value += kMark;
        for (int i = 0; i < 960; ++i) value += kLetters[random() % kLetters.size()];
      }
      pairs.emplace_back(fmt::format("/registry/secrets/default/{:02}-{:03}", part, number), value);
    }
    etcd.put_all(pairs);
  }
  const TempDir folder;
  Needles needles;
  needles.add(kMark);
  REQUIRE(needles.found_in(read_text(save_database(etcd, folder / "db"))));
  needles.add(kPassword);
  needles.add(plane.s3().secret_key());
  needles.add(KubeApi::token("admin"));

  ProxyRules rules;
  rules.bytes_per_second = 60'000;
  s3.set(rules);
  Process backup =
      start_kubedr({"backup", "spooled", "--no-certs", "--etcd-endpoint", etcd.endpoint(),
                    "--any-etcd", "--kubeconfig=" + plane.api().kubeconfig().string()});
  REQUIRE_MESSAGE(
      eventually([&] { return spooled_by(backup.pid()) > 1'000'000; }, std::chrono::seconds(120)),
      backup.err());
  check_process(needles, backup.pid());
  s3.set({});
  const auto end = backup.wait(std::chrono::seconds(120));
  REQUIRE(end);
  CHECK_MESSAGE(end->code == 0, backup.err());
}

TEST_CASE("secrets: nobody else may look into the program's memory, and no core holds it") {
  const TempDir folder;
  const bool is_root = geteuid() == 0;
  namespace fs = std::filesystem;
  fs::permissions(folder.path(), fs::perms::all);
  const fs::path program = folder / "kubectl-kubedr";  // where the other user can start it
  fs::copy_file(KUBEDR_BINARY, program);
  ByteProxy deaf(plain_etcd().port());
  ProxyRules rules;
  rules.stall_at = 0;
  deaf.set(rules);
  ProcessOptions options;
  options.env = {{"HOME", folder.path().string()},
                 {"RESTIC_PASSWORD", kPassword},
                 {"AWS_ACCESS_KEY_ID", "key"},
                 {"AWS_SECRET_ACCESS_KEY", "secret"}};
  // To root it would make no difference.
  const auto start = [&](std::vector<std::string> argv) {
    if (is_root) {
      argv.insert(argv.begin(), {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
    }
    return Process(argv, options);
  };
  const uid_t user = is_root ? 65534 : geteuid();
  const Process other = start({"sleep", "600"});
  REQUIRE(eventually([&] { return owner_of_memory(other.pid()) == user; }));

  const Process ours = start({program.string(), "snapshots", "--repo",
                              fmt::format("s3:http://127.0.0.1:{}/bucket", deaf.port())});
  REQUIRE_MESSAGE(eventually([&] { return deaf.counts().connections > 0; }), ours.err());
  CHECK(owner_of_memory(ours.pid()) == 0);
  const std::string limits = read_text(fmt::format("/proc/{}/limits", ours.pid()));
  const std::size_t core = limits.find("Max core file size");
  REQUIRE(core != std::string::npos);
  std::istringstream line(limits.substr(core + std::string("Max core file size").size()));
  std::string soft;
  std::string hard;
  line >> soft >> hard;
  CHECK(soft == "0");
  CHECK(hard == "0");
}

TEST_CASE("secrets: the password of a bare repository stays in its environment") {
  const TempDir folder;
  Needles needles;
  needles.add(kOddPassword);
  const std::map<std::string, std::string> env = {{"RESTIC_PASSWORD", kOddPassword},
                                                  {"HOME", (folder / "home").string()}};
  const std::string repository = (folder / "repository").string();
  const std::vector<std::vector<std::string>> commands = {
      {"init"},      {"backup", "--etcd-endpoint", plain_etcd().endpoint()},
      {"snapshots"}, {"restore", "latest", "--target", (folder / "target").string()},
      {"init"},      {"backup", "--etcd-endpoint", "http://127.0.0.1:1"}};
  for (std::vector<std::string> command : commands) {
    CAPTURE(command);
    command.insert(command.end(), {"--repo", repository, "-v=9"});
    const RunResult result = test::kubedr(command, env);
    needles.check_not_in(result.out, "stdout");
    needles.check_not_in(result.err, "stderr");
  }
  check_files(needles, folder.path());  // the repository, too: everything in it is sealed
}
