// What may be wrong with a repository, or happen to it while we write.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "base/file.h"
#include "base/hex.h"
#include "base/sha256.h"
#include "e2e/faults.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

// A repository of version 3 that opens with kPassword, in base64; scrypt's N is small, to be quick.
constexpr char kVersion3Config[] =
    "m4dwCSkX9OKbOHAPylarQCvHN34jOC7FwoHzCbpuLJnC8T7W4eIfJ6c4kOnO3VNuPqy8fzWZlICbg1bPaLd2vyoK"
    "wbwCKpGHLi19kmo9kGs1ztvdfuorJ/y6e1wRmd44RvkySBw/GfGDNgWbMcd9fkgnwFCTi9y7kOWz2e0XLyziQo5w"
    "N/E73qkD/5dw0jHuOmckEqiNAApkn4o=";
constexpr char kVersion3KeyId[] =
    "9ed17c0755d0775a82e7d7053dacd59055bb00ca9c3f82d53abed58b38e9074e";
constexpr char kVersion3Key[] =
    "eyJjcmVhdGVkIjoiMjAyNi0xMS0yMlQyMzozNDoyOS42MjY3MTY0OTdaIiwidXNlcm5hbWUiOiJyb290IiwiaG9z"
    "dG5hbWUiOiJub2RlLTEiLCJrZGYiOiJzY3J5cHQiLCJOIjoxMDI0LCJyIjo4LCJwIjoxLCJzYWx0IjoieUlkQnU0"
    "bjA1Vmh6WmZwZThpSDZDcTc2b3E1TUdtbnBoZlFYc211d3NmSWRlYitITzJ6dXpsdnZDTHVIMUowcitGdU1kSUpD"
    "QzlQMmh3L09XN1AyWnc9PSIsImRhdGEiOiJCU0E3QTFPUWJlWjVFM1hEakNSaUxCQnRyZUN5anZESWZIWlpTRy96"
    "R2o4alRGZU1MSTJtMTMwc0dzRW5qREptYlF3U3YwT1FvNmF6VjhOZWRBcmcvc3lTNDhhVmo3dFh3VWxnSE43RXd6"
    "WFQzZmwzenM1R2V1VEF6WlU0SSt4UXFSN3cyZ09DZGdaQStXUTdNUEZ3U0xENXBRZVdCdDJCZlNqTFcwWlhnLzN0"
    "Y3FNOEV3ck4xb041Vkw2d0VZNkFIU21PRUpsL1YxRGFvTjRLQ0VHWk1RPT0ifQ==";

void flip_a_bit(const std::filesystem::path& file) {
  std::string content = read_text(file);
  REQUIRE(content.size() > 20);
  content[content.size() / 2] = static_cast<char>(content[content.size() / 2] ^ 1);
  std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  std::ofstream(file, std::ios::binary) << content;
}

// A small file system of its own, gone with this.
class SmallDisk {
 public:
  // `files`: as many of them, folders too, and no more; 0: any number.
  explicit SmallDisk(const std::string& size, int files = 0)
      : mount_(folder_.path(), files == 0 ? size : fmt::format("{},nr_inodes={}", size, files)) {}

  bool mounted() const { return mount_.mounted(); }

  std::filesystem::path operator/(std::string_view name) const { return folder_ / name; }

  std::filesystem::path repository() const { return folder_ / "repository"; }

  std::uint64_t free_bytes() const {
    const struct statvfs info = state();
    return info.f_bavail * info.f_frsize;
  }

  std::uint64_t free_files() const { return state().f_ffree; }

  // Takes all but that much away.
  void leave(std::uint64_t bytes) const {
    free_all();
    const std::uint64_t free = free_bytes();
    if (free > bytes) folder_.write("ballast", std::string(free - bytes, 'x'));
    CHECK(free_bytes() <= bytes);
  }

  // There is room for so many new files and folders.
  void leave_files(std::uint64_t count) const {
    free_all();
    std::filesystem::create_directory(folder_ / "many");
    for (std::uint64_t free = free_files(); free > count; --free) {
      folder_.write(fmt::format("many/{}", free), "");
    }
    REQUIRE(free_files() == count);
  }

  void free_all() const {
    std::filesystem::remove(folder_ / "ballast");
    std::filesystem::remove_all(folder_ / "many");
  }

 private:
  struct statvfs state() const {
    struct statvfs info {};

    REQUIRE(statvfs(folder_.path().c_str(), &info) == 0);
    return info;
  }

  TempDir folder_;
  const TmpfsMount mount_;
};

// A location with a file:// URL that is that folder, and a policy, in a file.
class DiskManifests {
 public:
  explicit DiskManifests(const std::filesystem::path& repository,
                         const std::string& etcd_endpoint = "http://127.0.0.1:2379") {
    const Json location = {{"apiVersion", "kubedr.catalogicsoftware.com/v1alpha1"},
                           {"kind", "BackupLocation"},
                           {"metadata", {{"name", "disk"}}},
                           {"spec",
                            {{"url", "file://" + repository.parent_path().string()},
                             {"bucketName", repository.filename().string()},
                             {"credentials", "disk-creds"}}}};
    const Json secret = {{"apiVersion", "v1"},
                         {"kind", "Secret"},
                         {"metadata", {{"name", "disk-creds"}}},
                         {"stringData", {{"restic_repo_password", kPassword}}}};
    const Json policy = {
        {"apiVersion", "kubedr.catalogicsoftware.com/v1alpha1"},
        {"kind", "MetadataBackupPolicy"},
        {"metadata", {{"name", "nightly"}}},
        {"spec",
         {{"destination", "disk"}, {"schedule", "0 3 * * *"}, {"etcdEndpoint", etcd_endpoint}}}};
    file_ = folder_.write(
        "all.yaml", location.dump() + "\n---\n" + secret.dump() + "\n---\n" + policy.dump() + "\n");
  }

  RunResult kubedr(std::vector<std::string> args) const {
    args.insert(args.end(), {"-f", file_.string()});
    return test::kubedr(args);
  }

 private:
  TempDir folder_;
  std::filesystem::path file_;
};

// Where there was no room, by the message: "/config: write", "/data/..: make folder".
std::string full_at(const std::string& message, const std::filesystem::path& repository) {
  static const std::regex kPlace(
      "^((?:/[a-z]+)?)((?:/[0-9a-f]{2})?)[^:]*: ([a-z ]+): No space left on device");
  const std::size_t at = message.find(repository.string());
  if (at == std::string::npos) return "nothing";
  const std::string rest = message.substr(at + repository.string().size());
  std::smatch place;
  if (!std::regex_search(rest, place, kPlace)) return "nothing";
  return place.str(1) + (place.length(2) == 0 ? "" : "/..") + ": " + place.str(3);
}

// Every file of the repository has the name of an id: nothing half written is left behind.
void check_no_leftovers(const std::filesystem::path& repository) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(repository)) {
    if (!entry.is_regular_file()) continue;
    const std::string name = entry.path().filename().string();
    CHECK_MESSAGE((name == "config" || name.size() == 64), entry.path().string());
    CHECK_MESSAGE(entry.file_size() > 0, entry.path().string());
  }
  CHECK(files_below(repository / "locks").empty());
}

// Inits under file:// on a disk without room, each in a folder of its own.
class InitsWithoutRoom {
 public:
  explicit InitsWithoutRoom(const SmallDisk& disk) : disk_(disk) {}

  // One with the room that is left now. Nullopt when that was too little; else where it is.
  std::optional<std::filesystem::path> attempt() {
    const std::filesystem::path folder = disk_ / fmt::format("repository-{}", ++number_);
    const RunResult init = DiskManifests(folder).kubedr({"init"});
    disk_.free_all();
    if (init.ok()) return folder;
    check_failed(init, 1, "No space left on device");
    const std::string place = full_at(init.err, folder);
    CAPTURE(place);
    CAPTURE(init.err);
    // The config stays once it is there, and nothing else of any length.
    const bool begun = place.starts_with("/keys/..");
    std::map<std::string, std::string> left;
    if (std::filesystem::exists(folder)) left = files_below(folder);
    CHECK(left.size() == (begun ? 1 : 0));
    CHECK(left.count("config") == left.size());
    CHECK(has(init.err, "`init --if-needed` finishes what was begun") == begun);
    if (failed_.count(place) == 0) {
      failed_[place] = {folder, begun};
    } else {
      std::filesystem::remove_all(folder);
    }
    return std::nullopt;
  }

  std::set<std::string> places() const {
    std::set<std::string> names;
    for (const auto& failed : failed_) names.insert(failed.first);
    return names;
  }

  // Now that there is room: where each of them failed first. All at once, since each waits for what
  // restic might do.
  void check_all_work_again() const {
    std::vector<std::future<std::pair<RunResult, RunResult>>> again;
    for (const auto& failed : failed_) {
      again.push_back(std::async(std::launch::async, [&failed] {
        const auto& [folder, begun] = failed.second;
        std::vector<std::string> init = {"init"};
        if (begun) init.emplace_back("--if-needed");
        RunResult done = DiskManifests(folder).kubedr(init);
        const BareRepository repository(folder.string());
        return std::pair(std::move(done), restic("0.18", {"check"}, repository.restic_env()));
      }));
    }
    auto at = again.begin();
    for (const auto& [place, failed] : failed_) {
      CAPTURE(place);
      const auto [init, check] = (at++)->get();
      CHECK_MESSAGE(init.ok(), init.err);
      CHECK_MESSAGE(check.ok(), (check.out + check.err));
      CHECK_MESSAGE(has(check.out, "no errors were found"), (check.out + check.err));
      check_no_leftovers(failed.first);
      CHECK(files_below(failed.first).size() == 2);  // config and key
    }
  }

 private:
  const SmallDisk& disk_;
  int number_ = 0;
  // By place: the folder, and whether its config was written.
  std::map<std::string, std::pair<std::filesystem::path, bool>> failed_;
};

// Notices at once that somebody begins to write a pack.
class PackWatch {
 public:
  explicit PackWatch(const std::filesystem::path& repository) {
    REQUIRE(events_.valid());
    for (const auto& shard : std::filesystem::directory_iterator(repository / "data")) {
      REQUIRE(inotify_add_watch(events_.get(), shard.path().c_str(), IN_CREATE) >= 0);
    }
  }

  // False if nobody did within that time.
  bool wait(std::chrono::milliseconds timeout) const {
    pollfd wanted{events_.get(), POLLIN, 0};
    return poll(&wanted, 1, static_cast<int>(timeout.count())) == 1;
  }

 private:
  const FileDescriptor events_{inotify_init1(IN_CLOEXEC)};
};

// The files of a repository that have not got their names.
std::vector<std::filesystem::path> half_written(const std::filesystem::path& repository) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(repository)) {
    if (has(entry.path().filename().string(), "-tmp-")) found.push_back(entry.path());
  }
  return found;
}

}  // namespace

TEST_CASE("faults: a bucket without a repository") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("not-yet");
  const RunResult no_bucket = plane.kubedr({"backup", "not-yet"});
  check_failed(no_bucket, 10, "not-yet");
  CHECK(has(no_bucket.err, "init"));
  const Json status = plane.get("metadatabackuppolicy", "not-yet").at("status");
  CHECK(status.size() == 4);
  CHECK(status.at("backupStatus") == "Failed");
  CHECK(status.at("mbrName") == "");
  const std::string message = status.at("backupErrorMessage").get<std::string>();
  CHECK(has(message, "not-yet"));
  const std::vector<Json> events = plane.events_of("not-yet");
  REQUIRE(events.size() == 1);
  CHECK(events[0].at("type") == "Error");
  CHECK(events[0].at("reason") == "BackupFailed");
  CHECK(events[0].at("message") == message);
  check_failed(plane.kubedr({"snapshots", "not-yet"}), 10, "not-yet");
  const TempDir folder;
  check_failed(plane.kubedr({"restore", "latest", "--policy", "not-yet", "--target",
                             (folder / "target").string()}),
               10, "not-yet");
  CHECK_FALSE(std::filesystem::exists(folder / "target"));
}

TEST_CASE("faults: a password that opens nothing") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "wrong-password");
  const auto set_password = [&](const std::string& password) {
    const Json data = {{"stringData", {{"restic_repo_password", password}}}};
    REQUIRE(plane.api()
                .kubectl({"-n", kNamespace, "patch", "secret", "wrong-password-creds",
                          "--type=merge", "-p", data.dump()})
                .ok());
  };
  set_password("wrong-but-long-enough");
  const RunResult wrong = policy.backup();
  check_failed(wrong, 12, "wrong password or no key found");
  CHECK_FALSE(has(wrong.err, "wrong-but-long-enough"));
  policy.check_failure_is_published("wrong password or no key found");
  set_password(kPassword);
  policy.check_next_backup_works();
}

TEST_CASE("faults: a repository that a real restic has locked for itself") {
  KUBEDR_NEEDS("kube-apiserver");
  KUBEDR_NEEDS("restic-0.18");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "locked");
  {
    ByteProxy proxy(plane.s3().port());
    ProcessOptions options;
    options.env = plane.restic_env("locked");
    options.env["RESTIC_REPOSITORY"] = fmt::format("s3:http://127.0.0.1:{}/locked", proxy.port());
    ProxyRules slow;
    slow.delay = std::chrono::milliseconds(200);
    proxy.set(slow);
    Process prune({find_server("restic-0.18").string(), "prune", "--no-cache"}, options);
    REQUIRE(eventually([&] { return saw_request(proxy, "GET /locked/index/"); }));
    ProxyRules stall;
    stall.stall_at = 0;
    proxy.set(stall);  // it holds its lock now, and gets no further

    const auto begin = std::chrono::steady_clock::now();
    const RunResult locked = policy.backup({"--retry-lock", "1s"});
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(30));
    check_failed(locked, 11, "repository is already locked exclusively by PID");
    CHECK(has(locked.err, "unlock"));
    policy.check_failure_is_published("locked exclusively");
    const RunResult listed = plane.kubedr({"snapshots", "locked"});
    CHECK_MESSAGE(listed.ok(), listed.err);
    prune.kill(SIGKILL);
    REQUIRE(prune.wait(std::chrono::seconds(10)));
  }
  // Whoever held it is dead; as with restic, removing its lock is a decision of its own.
  const RunResult dead = policy.backup({"--retry-lock", "0"});
  check_failed(dead, 11, "repository is already locked exclusively by PID");
  CHECK_MESSAGE(has(dead.err, "the `unlock` command can be used to remove stale locks"), dead.err);
  policy.check_failure_is_published("locked exclusively");
  REQUIRE(restic("0.18", {"unlock"}, plane.restic_env("locked")).ok());
  policy.check_next_backup_works();
}

TEST_CASE("faults: waits for a lock that goes within --retry-lock") {
  KUBEDR_NEEDS("minio");
  KUBEDR_NEEDS("restic-0.18");
  const S3Server s3;
  const BareRepository repository(s3, "patience");
  REQUIRE(repository.run({"init"}).ok());
  REQUIRE(repository.run({"backup"}).ok());
  ByteProxy proxy(s3.port());
  ProcessOptions options;
  options.env = repository.restic_env();
  options.env["RESTIC_REPOSITORY"] = fmt::format("s3:http://127.0.0.1:{}/patience", proxy.port());
  ProxyRules slow;
  slow.delay = std::chrono::milliseconds(200);
  proxy.set(slow);
  Process prune({find_server("restic-0.18").string(), "prune", "--no-cache"}, options);
  REQUIRE(eventually([&] { return saw_request(proxy, "GET /patience/index/"); }));
  ProxyRules stall;
  stall.stall_at = 0;
  proxy.set(stall);
  Process backup = repository.start({"backup", "--retry-lock", "60s"});
  CHECK_FALSE(backup.wait(std::chrono::seconds(3)));
  proxy.set({});
  const auto end = backup.wait(std::chrono::seconds(60));
  REQUIRE(end);
  CHECK_MESSAGE(end->code == 0, backup.err());
  CHECK(prune.wait(std::chrono::seconds(30)).value().code == 0);
  repository.check_repository();
}

TEST_CASE("faults: a config of a version that is not known yet") {
  const TempDir folder;
  const auto put = [&](const std::string& name, const char* content) {
    folder.write("repository/" + name, as_text(from_base64(content).value()));
  };
  put("config", kVersion3Config);
  put(std::string("keys/") + kVersion3KeyId, kVersion3Key);
  const BareRepository repository((folder / "repository").string());
  const auto before = files_below(folder / "repository");
  const RunResult backup = repository.run({"backup"});
  check_failed(backup, 2, "version");
  CHECK(has(backup.err, "3"));
  check_failed(repository.run({"snapshots"}), 2, "version");
  check_failed(repository.run({"init"}), 1, "already initialized");
  CHECK(files_below(folder / "repository") == before);
}

TEST_CASE("faults: a damaged config") {
  const TempDir folder;
  const BareRepository repository((folder / "repository").string());
  REQUIRE(repository.run({"init"}).ok());
  flip_a_bit(folder / "repository/config");
  const auto before = files_below(folder / "repository");
  check_failed(repository.run({"backup"}), 22, "config");
  check_failed(repository.run({"snapshots"}), 22, "config");
  check_failed(repository.run({"init", "--if-needed"}), 22, "config");
  CHECK(files_below(folder / "repository") == before);
}

TEST_CASE("faults: a config that cannot be used is told by status and event") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  BackedUpPolicy policy(plane, "odd-config");
  const SystemClock clock;
  const Call call = Call(clock).within(std::chrono::minutes(2));
  const auto store = open_bucket(plane.s3(), "odd-config", clock);
  const auto put = [&](const storage::FileName& name, const Bytes& bytes) {
    store->save(name, bytes, sha256(bytes), storage::SaveMode::replace, call);
  };
  const storage::FileName config{storage::FileKind::config, {}};
  const Bytes good = store->load(config, std::size_t{1} << 16, call);

  Bytes damaged = good;
  damaged[damaged.size() / 2] ^= 1;
  put(config, damaged);
  check_failed(policy.backup(), 22, "config");
  put(config, good);
  policy.check_failure_is_published("config");

  const storage::FileName key{storage::FileKind::key, kVersion3KeyId};
  put(key, from_base64(kVersion3Key).value());
  put(config, from_base64(kVersion3Config).value());
  check_failed(policy.backup(), 2, "version");
  put(config, good);
  store->remove(key, call);
  policy.check_failure_is_published("version");
  policy.check_next_backup_works();
}

TEST_CASE("faults: a full disk loses nothing that was stored before") {
  const SmallDisk disk("24m");
  KUBEDR_NEEDS_RIGHT(disk.mounted(), "mount a tmpfs");
  EtcdServer etcd;
  etcd.fill("/registry/configmaps/default/c", 500, 2000);
  const std::map<std::string, std::string> env = {{"RESTIC_PASSWORD", kPassword}};
  const std::string url = disk.repository().string();
  const auto run = [&](std::vector<std::string> args) {
    args.insert(args.end(), {"--repo", url});
    if (args[0] == "backup") args.insert(args.end(), {"--etcd-endpoint", etcd.endpoint()});
    return test::kubedr(args, env);
  };
  REQUIRE(run({"init"}).ok());
  REQUIRE(run({"backup"}).ok());
  const TempDir folder;
  REQUIRE(run({"restore", "latest", "--target", (folder / "before").string()}).ok());
  const BareRepository repository(url);
  const std::vector<std::string> good = repository.snapshot_ids();
  etcd.fill("/registry/configmaps/default/d", 1500, 2000);  // some 3 MB more to store

  for (const std::uint64_t left : {0UL, 4096UL, 8192UL, 65536UL, 1UL << 20, 2UL << 20}) {
    CAPTURE(left);
    disk.leave(left);
    check_failed(run({"backup"}), 1, "No space left on device");
    check_no_leftovers(disk.repository());
    CHECK(repository.snapshot_ids() == good);
    // What was stored of it stays until a prune; the ballast takes its place next time.
  }
  disk.free_all();
  REQUIRE(run({"restore", good.front(), "--target", (folder / "after").string()}).ok());
  CHECK(files_below(folder / "after") == files_below(folder / "before"));
  repository.check_repository();
  const RunResult next = run({"backup"});
  CHECK_MESSAGE(next.ok(), next.err);
  repository.check_repository();
}

// By pages, from none to enough: each point at which a file finds no room comes by.
TEST_CASE(
    "faults: a disk under file:// that is full at the lock, a pack, the index, the snapshot") {
  const SmallDisk disk("24m");
  KUBEDR_NEEDS_RIGHT(disk.mounted(), "mount a tmpfs");
  EtcdServer etcd;
  etcd.fill("/registry/configmaps/default/c", 100, 2000);
  const std::filesystem::path folder = disk.repository();
  const BareRepository repository(folder.string());
  const DiskManifests manifests(folder, etcd.endpoint());
  REQUIRE(manifests.kubedr({"init"}).ok());
  REQUIRE(manifests.kubedr({"backup"}).ok());
  const std::vector<std::string> good = repository.snapshot_ids();
  const TempDir aside;
  const auto copy = [](const std::filesystem::path& from, const std::filesystem::path& to) {
    std::filesystem::remove_all(to);
    std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
  };
  copy(folder, aside / "good");
  etcd.put("/registry/configmaps/default/new", "something that is to be stored");

  constexpr std::uint64_t kPage = 4096;
  std::map<std::string, int> points;
  bool fits = false;
  for (std::uint64_t left = 0; !fits; left += kPage) {
    CAPTURE(left);
    REQUIRE(left < 256 * kPage);
    disk.leave(left);
    const RunResult backup = manifests.kubedr({"backup"});
    disk.free_all();
    fits = backup.ok();
    if (!fits) {
      check_failed(backup, 1, "No space left on device");
      CHECK(repository.snapshot_ids() == good);
    }
    check_no_leftovers(folder);
    const std::string place = fits ? "none" : full_at(backup.err, folder);
    if (++points[place] == 1 && !fits) {
      const RunResult next = manifests.kubedr({"backup"});
      CHECK_MESSAGE(next.ok(), next.err);
      CHECK(repository.snapshot_ids().size() == good.size() + 1);
      repository.check_repository();
    }
    if (!fits) copy(aside / "good", folder);
  }
  CHECK(repository.snapshot_ids().size() == good.size() + 1);
  repository.check_repository();
  for (const char* kind : {"locks", "data", "index", "snapshots"}) {
    CAPTURE(kind);
    CHECK(points[fmt::format("/{}/..: write", kind)] > 0);
  }
  CHECK(points.size() == 5);
}

// Room runs out as pages, which files need, and as files, which folders need too.
TEST_CASE("faults: an init that finds no room under file://, wherever, can be done again") {
  const SmallDisk disk("4m", 4000);
  KUBEDR_NEEDS_RIGHT(disk.mounted(), "mount a tmpfs");
  KUBEDR_NEEDS("restic-0.18");
  InitsWithoutRoom inits(disk);
  constexpr std::uint64_t kPage = 4096;
  std::optional<std::filesystem::path> whole;
  for (std::uint64_t left = 0; !whole; left += kPage) {
    CAPTURE(left);
    REQUIRE(left < 16 * kPage);
    disk.leave(left);
    whole = inits.attempt();
  }
  const std::filesystem::recursive_directory_iterator below(*whole);
  const auto needed = static_cast<std::uint64_t>(1 + std::distance(begin(below), end(below)));
  std::set<std::uint64_t> rooms = {needed / 2};  // between them is one folder of packs like another
  for (std::uint64_t files = 0; files < 8; ++files) rooms.insert({files, needed - 1 - files});
  for (const std::uint64_t files : rooms) {
    CAPTURE(files);
    disk.leave_files(files);
    CHECK_FALSE(inits.attempt());
  }
  const std::set<std::string> expected = {": make folder",           "/data: make folder",
                                          "/keys: make folder",      "/index: make folder",
                                          "/snapshots: make folder", "/locks: make folder",
                                          "/data/..: make folder",   "/config: open",
                                          "/config: write",          "/config: link into place",
                                          "/keys/..: write"};
  const std::set<std::string> met = inits.places();
  for (const std::string& place : met) CHECK_MESSAGE(expected.count(place) == 1, place);
  for (const std::string& place : expected) CHECK_MESSAGE(met.count(place) == 1, place);
  inits.check_all_work_again();
}

TEST_CASE(
    "faults: a restore onto a full disk leaves whole files only, and ends once there is room") {
  const SmallDisk disk("32m");
  KUBEDR_NEEDS_RIGHT(disk.mounted(), "mount a tmpfs");
  const TempDir folder;
  folder.write("pki/ca.crt", "a certificate");
  folder.write("pki/ca.key", "its key");
  const std::filesystem::path db = save_database(plain_etcd(), folder / "db");
  const BareRepository repository((folder / "repository").string());
  REQUIRE(repository.run({"init"}).ok());
  REQUIRE(repository.run({"backup", "--etcd-snapshot", db, "--certs-dir", folder / "pki"}).ok());
  const std::map<std::string, std::string> certificates = {
      {"data/certificates/ca.crt", "a certificate"}, {"data/certificates/ca.key", "its key"}};
  std::map<std::string, std::string> whole = certificates;
  whole["data/etcd-snapshot.db"] = read_text(db);

  const std::filesystem::path target = disk / "target";
  const std::vector<std::string> restore = {"restore", "latest", "--target", target.string()};
  std::vector<std::string> finish = restore;
  finish.insert(finish.end(), {"--overwrite", "if-changed"});
  const auto check_no_room = [&](const std::vector<std::string>& args,
                                 const std::map<std::string, std::string>& left) {
    check_failed(repository.run(args), 1, "No space left on device");
    const std::map<std::string, std::string> there = files_below(target);
    CHECK(there == left);
    for (const auto& [name, content] : there) CHECK_MESSAGE(left.count(name) == 1, name);
    CHECK(files_below(folder / "repository/locks").empty());
  };
  disk.leave(0);
  check_no_room(restore, {});
  disk.leave(1UL << 20);  // enough for the certificates, which come first
  check_no_room(finish, certificates);

  disk.free_all();
  const RunResult unasked = repository.run(restore);
  check_failed(unasked, 2, "is not an empty folder");
  CHECK(has(unasked.err, "if-changed finishes a restore that was broken off"));
  finish.insert(finish.end(), {"-o", "json"});
  const Json report = parsed(repository.run(finish));
  CHECK(report.at("unchanged") == certificates.size());
  CHECK(report.at("files") == 1);
  CHECK(report.at("database").is_object());  // proven by its digest
  CHECK(files_below(target) == whole);
}

// As operator mode stores it, which looks at nothing.
TEST_CASE("faults: a database that was damaged before it was stored is no restore") {
  KUBEDR_NEEDS("restic-0.18");
  const TempDir folder;
  const BareRepository repository((folder / "repository").string());
  REQUIRE(repository.run({"init"}).ok());
  folder.write("data/certificates/ca.crt", "a certificate");
  const std::filesystem::path db = save_database(plain_etcd(), folder / "data/etcd-snapshot.db");
  ProcessOptions options;
  options.env = repository.restic_env();
  options.env["HOME"] = folder.path().string();
  options.cwd = folder.path();
  const auto store = [&] {
    const RunResult stored = run({find_server("restic-0.18").string(), "backup", "data"}, options);
    REQUIRE_MESSAGE(stored.ok(), stored.err);
  };
  const std::string sound = read_text(db);
  store();
  CHECK(repository.run({"restore", "latest", "--target", folder / "sound"}).ok());

  const std::string target = folder / "target";
  const auto check_refused = [&](std::string_view why) {
    store();
    const RunResult restored = repository.run({"restore", "latest", "--target", target});
    check_failed(restored, 22, "data/etcd-snapshot.db: " + std::string(why));
    CHECK_MESSAGE(has(restored.err, "an older snapshot may be whole"), restored.err);
    CHECK_MESSAGE(has(restored.err, target + " holds it"), restored.err);
    CHECK(files_below(target) ==
          std::map<std::string, std::string>{{"data/certificates/ca.crt", "a certificate"},
                                             {"data/etcd-snapshot.db", read_text(db)}});
    CHECK(files_below(folder / "repository/locks").empty());
    std::filesystem::remove_all(target);
  };
  flip_a_bit(db);
  check_refused("sha-256 digest does not match: etcd sent ");
  folder.write("data/etcd-snapshot.db", sound.substr(0, sound.size() - 32));
  check_refused(fmt::format("{} bytes are not a db and a digest", sound.size() - 32));
  repository.check_repository();
}

TEST_CASE("faults: a backup killed before or after any request harms nothing") {
  KUBEDR_NEEDS("minio");
  const S3Server s3;
  const BareRepository repository(s3, "killed");
  REQUIRE(repository.run({"init"}).ok());
  REQUIRE(repository.run({"backup"}).ok());
  ByteProxy proxy(s3.port());
  const std::string url = fmt::format("s3:http://127.0.0.1:{}/killed", proxy.port());

  // Every backup has something new to store.
  auto change_something = [number = 0]() mutable {
    plain_etcd().put("/registry/configmaps/default/changing", fmt::format("value {}", ++number));
  };
  change_something();
  REQUIRE(repository.run({"backup"}, url).ok());
  const int requests = static_cast<int>(proxy.requests().size());
  REQUIRE(requests > 8);

  std::size_t snapshots = repository.snapshot_ids().size();
  int kills = 0;
  int survivors = 0;
  for (int k = 1; k <= requests; ++k) {
    for (const bool before : {true, false}) {
      CAPTURE(k);
      CAPTURE(before);
      if (k % 3 != 0 && k < requests - 6) continue;  // the last ones are those that commit
      // Killed after a request it leaves what it leaves when killed before the next one.
      if (!before && k < requests - 3) continue;
      change_something();
      ProxyRules rules;
      (before ? rules.kill_before_request : rules.kill_after_request) = k;
      proxy.set(rules);
      Process victim = repository.start({"backup"}, url);
      proxy.set_victim(victim.pid());
      const auto end = victim.wait(std::chrono::seconds(60));
      REQUIRE(end);
      if (end->signal == SIGKILL) {
        ++kills;
      } else {
        CHECK_MESSAGE(end->code == 0, victim.err());  // it needed fewer requests this time
        ++survivors;
      }
      proxy.set({});
      proxy.set_victim(0);
      const std::size_t now = repository.snapshot_ids().size();
      CHECK(now >= snapshots);
      check_left_sound(repository.restic_env());
      const RunResult next = repository.run({"backup", "--retry-lock", "0"});
      CHECK_MESSAGE(next.ok(), next.err);
      snapshots = repository.snapshot_ids().size();
      CHECK(snapshots == now + 1);
    }
  }
  CHECK(kills > 8);
  CHECK(survivors <= 2);
  // Their locks tell restic that who made them is dead.
  REQUIRE(restic("0.18", {"unlock"}, repository.restic_env()).ok());
  CHECK(restic("0.18", {"list", "locks", "--no-lock"}, repository.restic_env()).out == "");
  repository.check_repository();
}

TEST_CASE(
    "faults: a backup killed while it writes a pack into a folder leaves what prune removes") {
  KUBEDR_NEEDS("restic-0.18");
  const TempDir folder;
  const std::filesystem::path first = save_database(plain_etcd(), folder / "first.db");
  const BareRepository sound((folder / "sound").string());
  REQUIRE(sound.run({"init"}).ok());
  REQUIRE(sound.run({"backup", "--no-certs", "--etcd-snapshot", first}).ok());
  plain_etcd().fill("/registry/configmaps/default/d", 1500, 8000);  // more than a pack
  const std::filesystem::path db = save_database(plain_etcd(), folder / "second.db");
  const std::vector<std::string> backup = {"backup",    "--no-certs",   "--etcd-snapshot",
                                           db.string(), "--retry-lock", "0"};

  // Until the kill comes before the file has its name.
  constexpr int kTries = 20;
  std::filesystem::path root;
  std::vector<std::filesystem::path> left;
  for (int number = 1; left.empty() && number <= kTries; ++number) {
    CAPTURE(number);
    root = folder / fmt::format("killed-{}", number);
    std::filesystem::copy(folder / "sound", root, std::filesystem::copy_options::recursive);
    const PackWatch watch(root);
    Process victim = BareRepository(root.string()).start(backup);
    REQUIRE_MESSAGE(watch.wait(std::chrono::seconds(60)), ("no pack: " + victim.err()));
    victim.kill(SIGKILL);
    const auto end = victim.wait(std::chrono::seconds(30));
    REQUIRE(end);
    left = half_written(root);
    const bool was_faster = end->code == 0 && left.empty();
    CHECK_MESSAGE((end->signal == SIGKILL || was_faster), victim.err());
  }
  REQUIRE_MESSAGE(!left.empty(), "each pack had its name before the kill came");
  for (const auto& path : left) CHECK(has(path.string(), "/data/"));

  const BareRepository repository(root.string());
  check_left_sound(repository.restic_env());
  CHECK(repository.snapshot_ids() == sound.snapshot_ids());
  const RunResult next = repository.run(backup);
  CHECK_MESSAGE(next.ok(), next.err);
  CHECK(repository.snapshot_ids().size() == 2);
  const RunResult restored = repository.run({"restore", "latest", "--target", folder / "target"});
  CHECK_MESSAGE(restored.ok(), restored.err);
  CHECK((read_text(folder / "target/data/etcd-snapshot.db") == read_text(db)));

  const std::string name = left.front().filename().string();
  const std::filesystem::path young =
      left.front().parent_path() / (name.substr(0, 64) + "-tmp-4711");
  std::filesystem::copy_file(left.front(), young);
  for (const auto& path : left) {
    std::filesystem::last_write_time(
        path, std::filesystem::file_time_type::clock::now() - std::chrono::hours(7));
  }
  CHECK(has(repository.run({"unlock"}).out, "removed 1 lock"));
  REQUIRE(repository.run({"forget", "--keep-last", "1", "--yes"}).ok());
  CHECK(half_written(root).size() == left.size() + 1);
  const RunResult pruned = repository.run({"prune", "--max-unused", "0", "--yes"});
  CHECK_MESSAGE(pruned.ok(), pruned.err);
  CHECK(half_written(root) == std::vector{young});
  repository.check_repository();
}

TEST_CASE("faults: an init killed before or after any request can be done again") {
  KUBEDR_NEEDS("minio");
  const S3Server s3;
  ByteProxy proxy(s3.port());
  const BareRepository sample(s3, "sample");
  REQUIRE(sample.run({"init"}, fmt::format("s3:http://127.0.0.1:{}/sample", proxy.port())).ok());
  const int requests = static_cast<int>(proxy.requests().size());
  REQUIRE(requests > 4);
  for (int k = 1; k <= requests; ++k) {
    for (const bool before : {true, false}) {
      if (!before && k < requests) continue;  // the same as before the next one
      CAPTURE(k);
      CAPTURE(before);
      const std::string bucket = fmt::format("init-{}-{}", k, before);
      const BareRepository repository(s3, bucket);
      ProxyRules rules;
      (before ? rules.kill_before_request : rules.kill_after_request) = k;
      proxy.set(rules);
      Process victim = repository.start(
          {"init"}, fmt::format("s3:http://127.0.0.1:{}/{}", proxy.port(), bucket));
      proxy.set_victim(victim.pid());
      const auto end = victim.wait(std::chrono::seconds(60));
      REQUIRE(end);
      CHECK_MESSAGE(end->signal == SIGKILL, victim.err());
      proxy.set({});
      proxy.set_victim(0);
      const RunResult again = repository.run({"init", "--if-needed"});
      CHECK_MESSAGE(again.ok(), again.err);
      CHECK(repository.snapshot_ids().empty());
      const RunResult theirs = restic("0.18", {"snapshots"}, repository.restic_env());
      CHECK_MESSAGE(theirs.ok(), theirs.err);
    }
  }
}
