// A location is initialized, a policy backed up twice, a snapshot restored; restic, etcdutl, etcd
// and kube-apiserver agree with what we say.

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/time.h"
#include "e2e/world.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

Json json_of(const RunResult& result) {
  REQUIRE_MESSAGE(result.ok(), result.err);
  return parse_json(result.out, "stdout");
}

std::map<std::string, std::string> environment_of(const EtcdServer& etcd) {
  return {{"RESTIC_PASSWORD", kPassword},
          {"ETCDCTL_CACERT", etcd.ca_file().string()},
          {"ETCDCTL_CERT", etcd.client_cert_file().string()},
          {"ETCDCTL_KEY", etcd.client_key_file().string()},
          {"ETCDCTL_ENDPOINTS", etcd.endpoint()}};
}

// Every key with its value and revisions, as etcd's own gateway tells.
Json all_keys(EtcdServer& etcd) {
  const std::string answer =
      etcd.gateway("/v3/kv/range", R"({"key":"AA==","range_end":"AA==","limit":"0"})");
  const Json parsed = parse_json(answer, "range");
  REQUIRE(parsed.at("kvs").size() >= 300);
  return parsed.at("kvs");
}

constexpr std::size_t kPage = 4096;

// A saved database without the digest behind it.
std::string pages_of(const std::string& saved) {
  REQUIRE(saved.size() % kPage == 32);
  return saved.substr(0, saved.size() - 32);
}

// Those that only the longer one has, too.
std::set<std::size_t> pages_that_differ(const std::string& one, const std::string& other) {
  std::set<std::size_t> pages;
  for (std::size_t at = 0; at < std::max(one.size(), other.size()); at += kPage) {
    const bool in_both = at < std::min(one.size(), other.size());
    if (!in_both || one.compare(at, kPage, other, at, kPage) != 0) pages.insert(at / kPage);
  }
  return pages;
}

std::uint64_t number_at(const std::string& text, std::size_t at) {
  std::uint64_t number = 0;
  REQUIRE(at + sizeof number <= text.size());
  std::memcpy(&number, text.data() + at, sizeof number);
  return number;
}

// By the newer of bbolt's two meta pages, whose fields begin behind a header of 16 bytes.
std::size_t root_page(const std::string& pages) {
  constexpr std::size_t kRoot = 16 + 16;
  constexpr std::size_t kFreelist = 16 + 32;
  constexpr std::size_t kTransaction = 16 + 48;
  const bool second_is_newer =
      number_at(pages, kPage + kTransaction) > number_at(pages, kTransaction);
  const std::size_t meta = second_is_newer ? kPage : 0;
  CHECK(number_at(pages, meta + kFreelist) == ~std::uint64_t{0});  // etcd keeps none on disk
  return number_at(pages, meta + kRoot);
}

// What stands in a leaf page: keys with their values. Behind a header of 16 bytes come as many for
// each element: flags, where its key is from here on, and the two sizes.
std::map<std::string, std::string> leaf_at(const std::string& pages, std::size_t page) {
  const auto begin = page * kPage;
  const auto half = [&](std::size_t at) { return number_at(pages, at) & 0xFFFFFFFF; };
  const std::size_t flags = half(begin + 8) & 0xFFFF;
  const std::size_t count = half(begin + 8) >> 16;
  REQUIRE(flags == 2);
  std::map<std::string, std::string> entries;
  for (std::size_t element = begin + 16; element < begin + 16 + 16 * count; element += 16) {
    const std::size_t key = element + half(element + 4);
    const std::size_t key_size = half(element + 8);
    entries[pages.substr(key, key_size)] = pages.substr(key + key_size, half(element + 12));
  }
  return entries;
}

// Takes the number of the last raft entry out of the bucket `meta`; returns its bytes.
std::string take_index(std::map<std::string, std::string>& root) {
  constexpr std::string_view kKey = "consistent_index";
  std::string& meta = root["meta"];
  const std::size_t at = meta.find(kKey);
  REQUIRE(at != std::string::npos);
  const std::string index = meta.substr(at + kKey.size(), 8);
  meta.erase(at, kKey.size() + index.size());
  return index;
}

enum class Index { same, moved };

// The later one has its metas and its root page of its own, and in that what the earlier one has.
void check_differ_by_a_commit(const std::string& earlier, const std::string& later, Index index) {
  const std::size_t before = root_page(earlier);
  const std::size_t after = root_page(later);
  CHECK(before != after);
  const std::set<std::size_t> pages = pages_that_differ(earlier, later);
  for (const std::size_t page : pages) {
    CHECK_MESSAGE((page < 2 || page == after), "page ", page);
  }
  auto had = leaf_at(earlier, before);
  auto has = leaf_at(later, after);
  CHECK((take_index(had) == take_index(has)) == (index == Index::same));
  CHECK(had.size() > 5);  // etcd's buckets
  CHECK(had == has);
}

std::string host_name() {
  std::array<char, 256> name{};
  REQUIRE(gethostname(name.data(), name.size() - 1) == 0);
  return name.data();
}

// What restic lists of a backup equals what we said of it.
void check_listed(const Json& listed, const Json& backup, const std::string& cluster_uid) {
  CAPTURE(listed.dump(2));
  CHECK(listed.at("id") == backup.at("snapshotId"));
  CHECK(listed.value("parent", "") == backup.at("parentId"));
  CHECK(listed.at("tree").get<std::string>().size() == 64);
  CHECK(listed.at("paths") == Json{"/data"});
  CHECK(listed.at("hostname") == host_name());
  const Json& etcd = backup.at("etcd");
  CHECK(listed.at("tags") == Json{"kubedr", "policy=kubedr-system/story", "cluster=" + cluster_uid,
                                  "etcd=" + etcd.at("clusterId").get<std::string>(),
                                  fmt::format("revision={}", etcd.at("revision").get<int>())});
  const Json& summary = listed.at("summary");
  for (const auto& [theirs, ours] : {std::pair{"files_new", "filesNew"},
                                     {"files_changed", "filesChanged"},
                                     {"files_unmodified", "filesUnmodified"},
                                     {"data_added", "dataAdded"},
                                     {"data_added_packed", "dataAddedPacked"},
                                     {"total_bytes_processed", "totalBytesProcessed"}}) {
    CHECK_MESSAGE(summary.at(theirs) == backup.at(ours), theirs);
  }
  CHECK(summary.at("total_files_processed") == 6);
  CHECK(summary.at("backup_start") == listed.at("time"));
  CHECK(parse_time(summary.at("backup_end").get<std::string>()) >=
        parse_time(summary.at("backup_start").get<std::string>()));
}

std::string revision_of(EtcdServer& etcd) {
  const Json answer = parse_json(etcd.gateway("/v3/kv/range", R"({"key":"AA=="})"), "range");
  return answer.at("header").at("revision").get<std::string>();
}

}  // namespace

TEST_CASE("backup: what it stores is restored byte for byte, by us and by restic") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("story");
  REQUIRE(plane.api()
              .kubectl({"create", "secret", "generic", "precious", "--from-literal=answer=42"})
              .ok());

  const RunResult init = plane.kubedr({"init", "story"});
  REQUIRE_MESSAGE(init.ok(), init.err);
  const Json first = json_of(plane.kubedr({"backup", "story", "-o", "json"}));
  const Json second = json_of(plane.kubedr({"backup", "story", "-o", "json"}));
  CHECK(first.at("filesNew") == 6);
  CHECK(first.at("parentId") == "");
  CHECK(second.at("filesNew") == 0);
  CHECK(second.at("filesChanged") == 1);  // the certificates did not change
  CHECK(second.at("parentId") == first.at("snapshotId"));
  CHECK(first.at("failedSteps").empty());

  const TempDir folder;
  const std::string ours = (folder / "ours").string();
  const RunResult restored =
      plane.kubedr({"restore", second.at("record").get<std::string>(), "--target", ours});
  REQUIRE_MESSAGE(restored.ok(), restored.err);
  CHECK(restored.out.find("etcdutl snapshot restore") != std::string::npos);
  CHECK(restored.out.find("--name default") != std::string::npos);

  struct stat info {};

  REQUIRE(stat(ours.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0700);

  // Links in the certificates' folder arrive as the files they point to.
  std::map<std::string, std::string> certificates = files_below(plane.certs());
  certificates["current.crt"] = certificates["apiserver.crt"];
  CHECK(files_below(ours + "/data/certificates") == certificates);

  const std::string snapshot = second.at("snapshotId").get<std::string>();
  for (const char* version : {"0.14", "0.18"}) {
    CAPTURE(version);
    const auto env = plane.restic_env("story");
    const RunResult check = restic(version, {"check", "--read-data"}, env);
    CHECK_MESSAGE(check.ok(), (check.out + check.err));
    CHECK(check.out.find("no errors were found") != std::string::npos);
    const std::string theirs = (folder / (std::string("restic-") + version)).string();
    REQUIRE(restic(version, {"restore", snapshot, "--target", theirs}, env).ok());
    CHECK(files_below(theirs) == files_below(ours));
  }

  const RunResult list = restic("0.18", {"snapshots", "--json"}, plane.restic_env("story"));
  REQUIRE_MESSAGE(list.ok(), list.err);
  const Json listed = parse_json(list.out, "restic");
  REQUIRE(listed.size() == 2);
  const RunResult uid =
      plane.api().kubectl({"get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"});
  REQUIRE(uid.ok());
  check_listed(listed.at(0), first, uid.out);
  check_listed(listed.at(1), second, uid.out);

  const std::string db = ours + "/data/etcd-snapshot.db";
  const std::string etcdutl = find_server("etcdutl").string();
  const RunResult status = run({etcdutl, "snapshot", "status", db, "-w", "json"});
  REQUIRE_MESSAGE(status.ok(), status.err);
  CHECK(parse_json(status.out, "etcdutl").at("revision").get<std::int64_t>() >=
        second.at("etcd").at("revision").get<std::int64_t>());

  const std::string data = (folder / "new-etcd").string();
  REQUIRE(run({etcdutl, "snapshot", "restore", db, "--data-dir", data}).ok());
  EtcdOptions options;
  options.data = data;
  const EtcdServer again(options);
  const KubeApi api(again);
  const RunResult secret =
      api.kubectl({"get", "secret", "precious", "-o", "jsonpath={.data.answer}"});
  CHECK(secret.out == "NDI=");
}

// The operator's metrics count a backup by this name.
TEST_CASE("backup: in a pod too, each has a backupPod of its own") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("in-a-pod");
  REQUIRE(plane.kubedr({"init", "in-a-pod"}).ok());
  std::set<std::string> pods;
  for (int number = 1; number <= 3; ++number) {
    CAPTURE(number);
    const RunResult backup =
        plane.kubedr({"backup", "in-a-pod"}, "admin", {{"MY_POD_NAME", "nightly-28-x7k2p"}});
    REQUIRE_MESSAGE(backup.ok(), backup.err);
    const std::string pod = plane.get("metadatabackuppolicy", "in-a-pod")
                                .at("status")
                                .at("backupPod")
                                .get<std::string>();
    CHECK(pod.starts_with("nightly-28-x7k2p"));
    CHECK_MESSAGE(pods.insert(pod).second, pod);
  }
  CHECK(pods.count("nightly-28-x7k2p") == 1);
  std::set<std::string> tellers;
  for (const Json& event : plane.events_of("in-a-pod")) {
    if (event.at("reason") != "BackupSucceeded") continue;
    tellers.insert(event.at("source").at("component").get<std::string>());
  }
  CHECK(tellers == pods);
}

TEST_CASE("restore: writes nothing into a folder that holds something") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("full-target");
  REQUIRE(plane.kubedr({"init", "full-target"}).ok());
  REQUIRE(plane.kubedr({"backup", "full-target"}).ok());
  const TempDir folder;
  folder.write("target/mine", "keep");
  const RunResult result = plane.kubedr(
      {"restore", "latest", "--policy", "full-target", "--target", (folder / "target").string()});
  CHECK(result.exit.code == 2);
  CHECK(files_below(folder / "target") == std::map<std::string, std::string>{{"mine", "keep"}});
}

TEST_CASE("backup: an idle etcd's snapshot equals what etcdctl saves, and adds next to nothing") {
  // 3.4 only: of later members no two are equal, see below.
  KUBEDR_NEEDS("kube-apiserver");
  EtcdOptions options;
  options.program = "etcd-3.4";
  options.tls = true;
  EtcdServer etcd(options);
  KubeApi api(etcd);
  etcd.fill("/kubedr-test/c", 300, 2000);
  REQUIRE(api.kubectl({"create", "secret", "generic", "one", "--from-literal=a=b"}).ok());
  api.stop();  // nobody writes from here on
  const std::string revision = revision_of(etcd);
  const TempDir folder;
  const std::string repository = (folder / "repository").string();
  const auto env = environment_of(etcd);
  REQUIRE(test::kubedr({"init", "--repo", repository}, env).ok());
  REQUIRE(test::kubedr({"backup", "--repo", repository}, env).ok());
  const Json second = json_of(test::kubedr({"backup", "--repo", repository, "-o", "json"}, env));
  CHECK(second.at("dataAdded").get<std::int64_t>() < 20'000);
  const std::string saved = (folder / "saved.db").string();
  ProcessOptions process;
  process.env = env;
  process.env["ETCDCTL_API"] = "3";
  REQUIRE(run({find_server("etcdctl-3.4").string(), "snapshot", "save", saved}, process).ok());
  const std::string target = (folder / "target").string();
  REQUIRE(test::kubedr({"restore", "latest", "--repo", repository, "--target", target}, env).ok());
  CHECK(read_text(target + "/data/etcd-snapshot.db") == read_text(saved));
  CHECK(revision_of(etcd) == revision);
}

// Members after 3.4 commit at every snapshot, even if there is nothing to commit: that writes the
// root page anew, elsewhere, and a meta page that points to it.
TEST_CASE("backup: from an idle etcd 3.5 and 3.6, too, every page is what etcdctl saves") {
  for (const std::string version : {"-3.5", ""}) {
    KUBEDR_NEEDS("etcd" + version);
    CAPTURE(version);
    EtcdOptions options;
    options.program = "etcd" + version;
    options.tls = true;
    EtcdServer etcd(options);
    etcd.fill("/kubedr-test/c", 300, 2000);
    const TempDir folder;
    const std::string repository = (folder / "repository").string();
    const auto env = environment_of(etcd);
    const auto save = [&](const std::string& name) {
      ProcessOptions process;
      process.env = env;
      process.env["ETCDCTL_API"] = "3";
      const std::string file = (folder / name).string();
      const RunResult saved =
          run({find_server("etcdctl" + version).string(), "snapshot", "save", file}, process);
      REQUIRE_MESSAGE(saved.ok(), saved.err);
      return pages_of(read_text(file));
    };
    REQUIRE(test::kubedr({"init", "--repo", repository}, env).ok());
    const std::string revision = revision_of(etcd);
    const std::string first = save("first.db");
    const std::string second = save("second.db");
    REQUIRE(test::kubedr({"backup", "--repo", repository}, env).ok());
    const std::string third = save("third.db");
    CHECK(revision_of(etcd) == revision);
    const std::string target = (folder / "target").string();
    REQUIRE(
        test::kubedr({"restore", "latest", "--repo", repository, "--target", target}, env).ok());
    const std::string ours = pages_of(read_text(target + "/data/etcd-snapshot.db"));
    check_differ_by_a_commit(first, second, Index::same);  // as two of etcdctl's own do
    check_differ_by_a_commit(second, ours, Index::moved);  // our question for alarms is an entry
    check_differ_by_a_commit(ours, third, Index::same);

    etcd.put("/kubedr-test/c000000", "changed");  // which shows what a difference looks like
    CHECK(pages_that_differ(third, save("fourth.db")).size() > 3);
  }
}

TEST_CASE("backup: an etcd started from it answers the same keys, values and mod revisions") {
  EtcdOptions options;
  options.tls = true;
  EtcdServer etcd(options);
  etcd.fill("/registry/configmaps/default/c", 300, 2000);
  const TempDir folder;
  const std::string repository = (folder / "repository").string();
  const auto env = environment_of(etcd);
  REQUIRE(test::kubedr({"init", "--repo", repository}, env).ok());
  REQUIRE(test::kubedr({"backup", "--repo", repository}, env).ok());
  const std::string target = (folder / "target").string();
  REQUIRE(test::kubedr({"restore", "latest", "--repo", repository, "--target", target}, env).ok());
  EtcdOptions again;
  again.data = folder / "new-etcd";
  REQUIRE(run({find_server("etcdutl").string(), "snapshot", "restore",
               target + "/data/etcd-snapshot.db", "--data-dir", again.data.string()})
              .ok());
  EtcdServer restored(again);
  CHECK(all_keys(restored) == all_keys(etcd));
}

// A pod in the API server only: what it mounts is what the program asks about.
TEST_CASE("restore: a MetadataRestore is Completed only by the pod that mounts its claim") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("into-claim");
  REQUIRE(plane.kubedr({"init", "into-claim"}).ok());
  const Json backup = parsed(plane.kubedr({"backup", "into-claim", "-o", "json"}));
  const std::string id = backup.at("snapshotId").get<std::string>().substr(0, 8);
  const TempDir volume;
  const TmpfsMount mount(volume.path());
  KUBEDR_NEEDS_RIGHT(mount.mounted(), "mount a tmpfs");
  std::filesystem::create_directory(volume / "lost+found");
  plane.apply(Json{{"apiVersion", "kubedr.catalogicsoftware.com/v1alpha1"},
                   {"kind", "MetadataRestore"},
                   {"metadata", {{"name", "mr"}, {"namespace", kNamespace}}},
                   {"spec", {{"mbrName", "mbr-" + id}, {"pvcName", "rescue"}}}}
                  .dump());
  plane.apply(Json{
      {"apiVersion", "v1"},
      {"kind", "Pod"},
      {"metadata", {{"name", "mr-mr"}, {"namespace", kNamespace}}},
      {"spec",
       {{"automountServiceAccountToken", false},
        {"containers",
         {{{"name", "kubedr"},
           {"image", "kubedr"},
           {"volumeMounts", {{{"name", "rescue"}, {"mountPath", volume.path().string()}}}}}}},
        {"volumes", {{{"name", "rescue"}, {"persistentVolumeClaim", {{"claimName", "rescue"}}}}}}}}}
                  .dump());
  const auto status = [&] {
    return plane.get("metadatarestore", "mr").value("status", Json::object());
  };
  const auto restore = [&](std::vector<std::string> flags, std::map<std::string, std::string> env) {
    flags.insert(flags.begin(), "restore");
    return plane.kubedr(flags, "admin", env);
  };
  const std::string here = volume.path();

  const RunResult outside = restore({"--resource", "mr", "--target", here}, {});
  CHECK(outside.exit.code == 2);
  CHECK(outside.err.find("only a pod that mounts the claim rescue") != std::string::npos);
  const TempDir elsewhere;
  const RunResult aside =
      restore({"--resource", "mr", "--target", elsewhere / "it"}, {{"MY_POD_NAME", "mr-mr"}});
  CHECK(aside.exit.code == 2);
  CHECK(aside.err.find("does not have the claim rescue mounted") != std::string::npos);
  CHECK(status().empty());
  // The mount is what counts: a link or a mount further down leads elsewhere, whatever its path.
  std::filesystem::create_directory_symlink(elsewhere.path(), volume / "link");
  CHECK(restore({"--resource", "mr", "--target", here + "/link/it"}, {{"MY_POD_NAME", "mr-mr"}})
            .exit.code == 2);
  std::filesystem::remove(volume / "link");
  std::filesystem::create_directory(volume / "deeper");
  {
    const TmpfsMount other(volume / "deeper");
    CHECK(restore({"--resource", "mr", "--target", here + "/deeper"}, {{"MY_POD_NAME", "mr-mr"}})
              .exit.code == 2);
  }
  std::filesystem::remove(volume / "deeper");
  // Completed says that all of it is there.
  for (const std::vector<std::string>& part :
       {std::vector<std::string>{"--include", "/data/certificates"}, {"--overwrite", "never"}}) {
    std::vector<std::string> flags = {"--resource", "mr", "--target", here};
    flags.insert(flags.end(), part.begin(), part.end());
    CHECK(restore(flags, {{"MY_POD_NAME", "mr-mr"}}).exit.code == 2);
  }
  CHECK(status().empty());

  // As the operator's pod is told.
  const RunResult good =
      restore({}, {{"MY_POD_NAME", "mr-mr"}, {"KDR_MR_NAME", "mr"}, {"KDR_RESTORE_DEST", here}});
  CHECK_MESSAGE(good.ok(), good.err);
  CHECK(std::filesystem::exists(volume / "data/etcd-snapshot.db"));
  CHECK(status().at("restoreStatus") == "Completed");
  CHECK(status().at("restoreErrorMessage") == "");
  CHECK(status().at("observedGeneration") == 1);
  CHECK(plane.get("metadatarestore", "mr")
            .at("metadata")
            .at("annotations")
            .at("restored.annotations.kubedr.catalogicsoftware.com") == "true");
  const std::vector<Json> events = plane.events_of("mr");
  REQUIRE(events.size() == 1);
  CHECK(events[0].at("reason") == "RestoreSucceeded");
  CHECK(events[0].at("message") == "Restore from snapshot " + id + " completed");

  REQUIRE(plane.kubedr({"forget", "mbr-" + id, "--location", "into-claim", "--yes"}).ok());
  const RunResult gone = restore({"--resource", "mr", "--target", here, "--location", "into-claim"},
                                 {{"MY_POD_NAME", "mr-mr"}});
  CHECK(gone.exit.code == 4);
  CHECK(status().at("restoreStatus") == "Failed");
  CHECK(status().at("restoreErrorMessage") != "");
  CHECK(plane.events_of("mr").size() == 2);
}
