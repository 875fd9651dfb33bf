// How much a check reads and a prune rewrites is as much as was said, beside restic 0.18 on a copy
// of the same repository; after a backup a prune runs when it pays, and one that fails is told.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "e2e/faults.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;
namespace fs = std::filesystem;

namespace {

using Args = std::vector<std::string>;

void must(const BareRepository& repository, const Args& args) {
  const RunResult result = repository.run(args);
  REQUIRE_MESSAGE(result.ok(), result.err);
}

Json told(const BareRepository& repository, Args args) {
  args.insert(args.end(), {"-o", "json"});
  return parsed(repository.run(args));
}

// The packs of a repository in a folder, sorted.
std::vector<fs::path> packs_of(const fs::path& repository) {
  std::vector<fs::path> packs;
  for (const auto& entry : fs::recursive_directory_iterator(repository / "data")) {
    if (entry.is_regular_file()) packs.push_back(entry.path());
  }
  std::sort(packs.begin(), packs.end());
  return packs;
}

std::uint64_t bytes_of(const std::vector<fs::path>& packs) {
  std::uint64_t bytes = 0;
  for (const fs::path& pack : packs) bytes += fs::file_size(pack);
  return bytes;
}

// An etcd at work, backed up every now and then into a folder.
class Grown {
 public:
  explicit Grown(int backups) {
    must(repository(), {"init"});
    for (int number = 0; number < backups; ++number) back_up();
  }

  BareRepository repository() const { return BareRepository(root().string()); }

  fs::path root() const { return folder_ / "repository"; }

  // The same again, for somebody else to work on.
  fs::path copy(const std::string& name) const {
    fs::copy(root(), folder_ / name, fs::copy_options::recursive);
    return folder_ / name;
  }

  void back_up() {
    etcd_.fill("/registry/events/", 60, 4000);
    save_database(etcd_, folder_ / "db");
    must(repository(), {"backup", "--no-certs", "--etcd-snapshot", folder_ / "db"});
  }

 private:
  TempDir folder_;
  EtcdServer etcd_;
};

void flip_a_byte(const fs::path& file) {
  fs::permissions(file, fs::perms::owner_all);
  std::string bytes = read_text(file);
  bytes[bytes.size() / 3] ^= 1;
  std::ofstream(file, std::ios::binary) << bytes;
}

// What restic says of how many packs it reads: "[0:00] 100.00%  4 / 4 packs", and of none "0
// packs".
std::uint64_t packs_read_by_restic(const BareRepository& repository, const std::string& subset) {
  const RunResult check =
      restic("0.18", {"check", "--read-data-subset", subset}, repository.restic_env());
  REQUIRE_MESSAGE(check.ok(), (check.out + check.err));
  const std::size_t end = check.out.rfind(" packs");
  const std::size_t space = check.out.rfind(' ', end - 1);
  REQUIRE(space < end);
  return std::stoull(check.out.substr(space + 1, end - space - 1));
}

// What `prune` would leave in a repository.
std::uint64_t unused_in(const BareRepository& repository) {
  return told(repository, {"stats"}).at("unusedBytes").get<std::uint64_t>();
}

}  // namespace

TEST_CASE("check --read-data-subset: n/m are the parts of the whole, and restic's parts") {
  const Grown grown(4);
  const BareRepository repository = grown.repository();
  const std::vector<fs::path> packs = packs_of(grown.root());
  REQUIRE(packs.size() == 8);
  std::uint64_t read = 0;
  for (const char* part : {"1/3", "2/3", "3/3"}) {
    CAPTURE(part);
    const std::uint64_t ours =
        told(repository, {"check", "--read-data-subset", part}).at("packsRead");
    CHECK(ours == packs_read_by_restic(repository, part));
    read += ours;
  }
  CHECK(read == packs.size());

  // One part finds the damage, and it is the part in which restic finds it.
  // In a pack of data, the larger one: trees are read whatever the part.
  flip_a_byte(*std::max_element(packs.begin(), packs.end(), [](const auto& a, const auto& b) {
    return fs::file_size(a) < fs::file_size(b);
  }));
  int found = 0;
  for (const char* part : {"1/4", "2/4", "3/4", "4/4"}) {
    CAPTURE(part);
    const RunResult check = repository.run({"check", "--read-data-subset", part});
    const RunResult theirs =
        restic("0.18", {"check", "--read-data-subset", part}, repository.restic_env());
    CHECK(check.exit.code == (theirs.ok() ? 0 : 5));
    if (check.exit.code == 5) ++found;
  }
  CHECK(found == 1);
}

TEST_CASE("check --read-data-subset: a share and a size are as much as was said") {
  const Grown grown(4);
  const BareRepository repository = grown.repository();
  const std::vector<fs::path> packs = packs_of(grown.root());
  const auto read = [&](const std::string& subset) {
    return told(repository, {"check", "--read-data-subset", subset});
  };
  for (const auto& [share, count] :
       {std::pair{"100%", 8}, {"50%", 4}, {"30%", 2}, {"25%", 2}, {"12.5%", 1}, {"0.5%", 1}}) {
    CAPTURE(share);
    CHECK(read(share).at("packsRead") == count);
    CHECK(packs_read_by_restic(repository, share) == static_cast<std::uint64_t>(count));
  }
  // By turns, each pack once in a while.
  std::set<std::uint64_t> sizes;
  for (int turn = 0; turn < 12; ++turn) {
    sizes.insert(read("12.5%").at("bytesRead").get<std::uint64_t>());
  }
  CHECK(sizes.size() > 1);

  const std::string half = fmt::format("{}K", bytes_of(packs) / 2048);
  const std::uint64_t packs_of_half = read(half).at("packsRead");
  CHECK(packs_of_half == packs_read_by_restic(repository, half));
  CHECK(packs_of_half > 0);
  CHECK(packs_of_half < packs.size());
  CHECK(read("1G").at("packsRead") == packs.size());
  for (const char* wrong : {"0/3", "4/3", "0%", "101%", "some"}) {
    CAPTURE(wrong);
    CHECK(repository.run({"check", "--read-data-subset", wrong}).exit.code == 2);
    CHECK_FALSE(
        restic("0.18", {"check", "--read-data-subset", wrong}, repository.restic_env()).ok());
  }
  CHECK(repository.run({"check", "--read-data", "--read-data-subset", "1/2"}).exit.code == 2);
}

TEST_CASE("prune --max-repack-size: rewrites no more than that, and the next one goes on") {
  const Grown grown(6);
  const BareRepository repository = grown.repository();
  must(repository, {"forget", "--keep-last", "1", "--yes"});
  const auto plan = [&](const BareRepository& of, const Args& flags) {
    Args args = {"prune", "--dry-run", "--max-unused", "0"};
    args.insert(args.end(), flags.begin(), flags.end());
    return told(of, args).at("plan");
  };
  const Json whole = plan(repository, {});
  const std::uint64_t all = whole.at("packsRepacked").at("bytes");
  const std::uint64_t limit = all * 2 / 3;
  const Json part = plan(repository, {"--max-repack-size", std::to_string(limit)});
  CHECK(part.at("packsRepacked").at("count") > 0);
  CHECK(part.at("packsRepacked").at("bytes") <= limit);
  CHECK(part.at("packsRepacked").at("count") < whole.at("packsRepacked").at("count"));
  CHECK(part.at("bytesUnusedAfter") > 0);

  const BareRepository theirs(grown.copy("theirs"));
  const Args flags = {"--max-unused", "0", "--max-repack-size", std::to_string(limit)};
  Args prune = {"prune"};
  prune.insert(prune.end(), flags.begin(), flags.end());
  REQUIRE(restic("0.18", prune, theirs.restic_env()).ok());
  prune.emplace_back("--yes");
  must(repository, prune);
  CHECK(unused_in(repository) == part.at("bytesUnusedAfter"));
  CHECK(unused_in(repository) == unused_in(theirs));
  repository.check_repository();
  must(repository, {"prune", "--max-unused", "0", "--yes"});
  CHECK(unused_in(repository) == 0);
  must(repository, {"check", "--read-data"});
  repository.check_repository();
}

// restic joins packs below its 16 MiB whatever the limit, ours among them: it may leave less.
TEST_CASE("prune --max-unused: no more is left than a share or a size says, by restic's too") {
  const Grown grown(8);
  must(grown.repository(), {"forget", "--keep-last", "2", "--yes"});
  const std::uint64_t waste = unused_in(grown.repository());
  const std::uint64_t half = waste / 2;

  struct Limit {
    std::string text;
    double share = 1;  // of the whole repository
    std::uint64_t bytes = UINT64_MAX;
  };

  std::set<std::uint64_t> left;
  for (const Limit& limit :
       {Limit{"0", 0, 0}, Limit{"0%", 0}, Limit{"4.5%", 0.045}, Limit{"10%", 0.1},
        Limit{std::to_string(half), 1, half}, Limit{fmt::format("{}k", half / 1024), 1, half},
        Limit{std::to_string(half / 2), 1, half / 2},
        Limit{std::to_string(waste - half / 2), 1, waste - half / 2}, Limit{"unlimited"}}) {
    CAPTURE(limit.text);
    const BareRepository ours(grown.copy("ours " + limit.text));
    const BareRepository theirs(grown.copy("theirs " + limit.text));
    must(ours, {"prune", "--max-unused", limit.text, "--yes"});
    const RunResult pruned =
        restic("0.18", {"prune", "--max-unused", limit.text}, theirs.restic_env());
    REQUIRE_MESSAGE(pruned.ok(), pruned.err);
    for (const BareRepository& repository : {ours, theirs}) {
      const Json stats = told(repository, {"stats"});
      const auto unused = stats.at("unusedBytes").get<std::uint64_t>();
      CHECK(unused <= limit.bytes);
      CHECK(static_cast<double>(unused) <= limit.share * stats.at("packBytes").get<double>());
      repository.check_repository();
    }
    CHECK(unused_in(theirs) <= unused_in(ours));
    left.insert(unused_in(ours));
  }
  CHECK(*left.begin() == 0);
  CHECK(left.size() >= 4);  // each limit is made use of
}

// restic wants ten of them, of both kinds together, to begin at all.
TEST_CASE("prune --repack-small: joins small packs, which a prune leaves alone while few") {
  const Grown grown(6);
  const BareRepository repository = grown.repository();
  REQUIRE(packs_of(grown.root()).size() == 12);
  const BareRepository theirs(grown.copy("theirs"));
  must(repository, {"prune", "--yes"});
  CHECK(packs_of(grown.root()).size() == 12);
  const Args joining = {"prune", "--repack-small"};
  Args rehearsal = joining;
  rehearsal.emplace_back("--dry-run");
  CHECK(told(repository, rehearsal).at("plan").at("packsRepacked").at("count") == 12);
  CHECK(packs_of(grown.root()).size() == 12);
  Args now = joining;
  now.emplace_back("--yes");
  must(repository, now);
  CHECK(packs_of(grown.root()).size() == 2);
  REQUIRE(restic("0.18", joining, theirs.restic_env()).ok());
  CHECK(packs_of(theirs.url()).size() == 2);
  CHECK(repository.snapshot_ids().size() == 6);
  must(repository, {"check", "--read-data"});
  repository.check_repository();
}

TEST_CASE("prune --repack-smaller-than: joins packs below that size, as restic does") {
  const Grown grown(6);
  for (const auto& [size, left] : {std::pair{"1K", 12}, {"8M", 2}}) {
    CAPTURE(size);
    const BareRepository ours(grown.copy(fmt::format("ours {}", size)));
    const BareRepository theirs(grown.copy(fmt::format("theirs {}", size)));
    must(ours, {"prune", "--repack-smaller-than", size, "--yes"});
    CHECK(packs_of(ours.url()).size() == left);
    REQUIRE(restic("0.18", {"prune", "--repack-smaller-than", size}, theirs.restic_env()).ok());
    CHECK(packs_of(theirs.url()).size() == left);
    must(ours, {"check", "--read-data"});
    ours.check_repository();
  }
}

TEST_CASE("prune --repack-cacheable-only: leaves data where it is, as restic does") {
  const Grown grown(6);
  must(grown.repository(), {"forget", "--keep-last", "1", "--yes"});
  const BareRepository ours(grown.copy("ours"));
  const BareRepository theirs(grown.copy("theirs"));
  const Args prune = {"prune", "--max-unused", "0", "--repack-cacheable-only"};
  Args now = prune;
  now.emplace_back("--yes");
  const std::uint64_t waste = unused_in(ours);
  must(ours, now);
  REQUIRE(restic("0.18", prune, theirs.restic_env()).ok());
  CHECK(unused_in(ours) > 0);
  CHECK(unused_in(ours) < waste);  // what was in packs of waste alone is gone
  CHECK(unused_in(ours) == unused_in(theirs));
  CHECK(packs_of(ours.url()).size() == packs_of(theirs.url()).size());
  ours.check_repository();
  must(ours, {"prune", "--max-unused", "0", "--yes"});
  CHECK(unused_in(ours) == 0);
}

TEST_CASE("retention: prunes when that pays, and not after each backup") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  plane.add_policy("paying", {{"retainNumBackups", "1"}});
  REQUIRE(plane.kubedr({"init", "paying"}).ok());
  const TempDir folder;
  EtcdServer etcd;
  const auto back_up = [&] {
    const fs::path db = save_database(etcd, folder / "db");
    const Json report = parsed(plane.kubedr(
        {"backup", "paying", "--no-certs", "--etcd-snapshot", db.string(), "-o", "json"}));
    CHECK(report.at("failedSteps").empty());
    return report.at("retention");
  };
  const auto unused = [&] {
    return parsed(plane.kubedr({"stats", "--location", "paying", "-o", "json"}))
        .at("unusedBytes")
        .get<std::uint64_t>();
  };
  etcd.fill("/registry/pods/", 1500, 4000);
  back_up();
  etcd.fill("/registry/leases/", 20, 500);
  const Json little = back_up();
  CHECK(little.at("removed").size() == 1);
  CHECK_FALSE(little.contains("pruned"));
  const std::uint64_t waste = unused();
  CHECK(waste > 0);

  // Another database altogether: what is left of the old one is more than half of the new.
  EtcdServer other;
  other.fill("/registry/configmaps/", 500, 4000);
  const fs::path db = save_database(other, folder / "other");
  const Json much =
      parsed(plane.kubedr({"backup", "paying", "--no-certs", "--etcd-snapshot", db, "-o", "json"}))
          .at("retention");
  CHECK(much.at("removed").size() == 1);
  REQUIRE(much.contains("pruned"));
  CHECK(much.at("pruned").at("bytesFreed") > 4'000'000);
  CHECK(unused() < waste);
  CHECK(plane.kubedr({"check", "--location", "paying", "--read-data"}).ok());
}

TEST_CASE("retention: a prune that fails is a finding until one works; backups stay green") {
  KUBEDR_NEEDS("kube-apiserver");
  ControlPlane& plane = ControlPlane::shared();
  const std::string name = "unpruned";
  plane.add_policy(name, {{"retainNumBackups", "1"}});
  REQUIRE(plane.kubedr({"init", name}).ok());
  const auto back_up = [&] { return plane.kubedr({"backup", name, "-o", "json"}); };
  const auto codes = [&] {
    std::set<std::string> found;
    const RunResult status = plane.kubedr({"status", "backuplocation/" + name, "-o", "json"});
    CHECK(status.exit.code == 0);  // a warning
    const Json findings = parse_json(status.out, "status").at("findings");
    for (const Json& finding : findings) found.insert(finding.at("code").get<std::string>());
    return found;
  };
  REQUIRE(back_up().ok());
  CHECK(codes().count("prune-failing") == 0);

  // Somebody else's backup that lost its tree: whoever cannot see all that is needed prunes
  // nothing.
  const auto env = plane.restic_env(name);
  const SystemClock clock;
  const Call call = Call(clock).within(std::chrono::minutes(5));
  const auto store = open_bucket(plane.s3(), name, clock);
  const auto packs = [&] {
    std::set<std::string> ids;
    store->list(
        storage::FileKind::pack, [&](const storage::FileInfo& file) { ids.insert(file.id); }, call);
    return ids;
  };
  const std::set<std::string> before = packs();
  REQUIRE(restic("0.18", {"backup", "/etc/hostname", "--tag", "mine"}, env).ok());
  std::vector<std::string> lost;
  for (const std::string& id : packs()) {
    if (before.count(id) != 0) continue;
    store->remove({storage::FileKind::pack, id}, call);
    lost.push_back(id);
  }

  for (int number = 0; number < 2; ++number) {
    plane.etcd().fill("/kubedr-test/unpruned/", 20, 3000);
    const RunResult backup = back_up();
    CHECK(backup.exit.code == 3);
    const Json report = parse_json(backup.out, "backup");
    REQUIRE(report.at("failedSteps").size() == 1);
    CHECK(report.at("failedSteps")[0].at("step") == "prune");
    CHECK(report.at("retention").at("removed").size() == 1);
    CHECK(plane.get("metadatabackuppolicy", name).at("status").at("backupStatus") == "Completed");
    CHECK(codes().count("prune-failing") == 1);
  }
  const RunResult shown = plane.kubedr({"status", "backuplocation/" + name});
  CHECK(has(shown.out, "a prune after a backup failed: "));
  CHECK(has(shown.out, "what snapshots need is not all there: tree "));
  CHECK(std::any_of(lost.begin(), lost.end(),
                    [&](const std::string& pack) { return has(shown.out, pack); }));
  CHECK(has(shown.out, "kubectl kubedr prune --location " + name));

  // The remedy says itself what is in its way.
  const Args prune = {"prune", "--location", name, "--yes"};
  check_failed(plane.kubedr(prune), 22, "");
  CHECK(codes().count("prune-failing") == 1);
  REQUIRE(restic("0.18", {"forget", "--tag", "mine", "--unsafe-allow-remove-all"}, env).ok());
  const RunResult pruned = plane.kubedr(prune);
  CHECK_MESSAGE(pruned.ok(), pruned.err);
  CHECK(codes().count("prune-failing") == 0);
  CHECK(back_up().ok());
  CHECK(plane.kubedr({"check", "--location", name, "--read-data"}).ok());
}
