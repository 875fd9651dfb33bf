#include "workflow/restore.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "etcd/verdict.h"
#include "workflow/identity.h"
#include "workflow/open.h"
#include "workflow/snapshots.h"
#include "workflow/steps.h"

namespace kubedr::workflow {
namespace {

constexpr char kDatabaseInTarget[] = "data/etcd-snapshot.db";

// Nothing is written into what is there: a half-finished restore is told apart from a whole one by
// the target being new.
void make_target(const std::filesystem::path& target) {
  if (target.empty()) throw Error(ErrorKind::usage, "restore: --target is needed");
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::symlink_status(target, error))) {
    if (!std::filesystem::is_directory(target, error) ||
        !std::filesystem::is_empty(target, error) || error) {
      throw Error(ErrorKind::usage,
                  fmt::format("{}: is not an empty folder, nothing was restored", target.string()),
                  "name a folder that does not exist yet");
    }
    if (chmod(target.c_str(), 0700) != 0) throw_errno(target, "set mode 0700");
    return;
  }
  if (mkdir(target.c_str(), 0700) != 0) throw_errno(target, "create folder");
}

std::optional<crd::Record> find_record(const std::vector<crd::Record>& records,
                                       const std::string& name) {
  for (const crd::Record& record : records) {
    if (record.ref.name == name) return record;
  }
  return std::nullopt;
}

// "latest" across policies or clusters could bring back the wrong one.
const ListedSnapshot& require_latest(const std::vector<ListedSnapshot>& snapshots) {
  std::set<std::string> owners;
  for (const ListedSnapshot& listed : snapshots) {
    const std::string cluster = tag_value(listed.saved.snapshot, "cluster");
    owners.insert((listed.policy.empty() ? "(no policy)" : listed.policy) +
                  (cluster.empty() ? "" : " of cluster " + cluster));
  }
  if (owners.size() > 1) {
    throw Error(
        ErrorKind::usage,
        "restore: latest could mean more than one: " + join({owners.begin(), owners.end()}, ", "),
        "name the policy with --policy, or the snapshot by its id");
  }
  if (snapshots.empty()) {
    throw Error(ErrorKind::not_found, "restore: there is no snapshot",
                "kubectl kubedr snapshots lists what there is");
  }
  return snapshots.back();
}

void verify_database(RestoreReport& report, const Call& call) {
  const std::filesystem::path path = report.target / kDatabaseInTarget;
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return;
  const FileDescriptor file = open_file(path, O_RDONLY | O_NOFOLLOW);
  etcd::Verdict verdict(path.string());
  Bytes buffer(std::size_t{1} << 20);
  while (true) {
    call.require_live();
    const std::size_t got = read_full(file.get(), buffer, path);
    if (got == 0) break;
    verdict.update(ByteView(buffer).first(got));
  }
  const etcd::Verified verified = verdict.finish();
  report.database = path;
  report.database_size = verified.db_size();
  report.database_sha256 = to_hex(verified.digest());
  report.database_info = etcd::inspect_database(path);
  report.next_commands = restore_commands(path, *report.database_info);
}

std::string member_list(const std::vector<etcd::Member>& members) {
  std::vector<std::string> pairs;
  for (const etcd::Member& member : members) {
    for (const std::string& url : member.peer_urls) pairs.push_back(member.name + "=" + url);
  }
  return join(pairs, ",");
}

// Names and URLs come from a database that may not be ours: quoted for the shell they are shown
// for.
std::string shell_quote(const std::string& text) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_./:=,@%+[]").find(c) != std::string_view::npos;
  };
  if (!text.empty() && std::all_of(text.begin(), text.end(), plain)) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace

std::vector<std::string> restore_commands(const std::filesystem::path& database,
                                          const etcd::DatabaseInfo& info) {
  const std::string db = shell_quote(database.string());
  std::vector<etcd::Member> named;
  for (const etcd::Member& member : info.members) {
    if (!member.name.empty() && !member.peer_urls.empty()) named.push_back(member);
  }
  if (named.empty()) {
    return {fmt::format("etcdutl snapshot restore {} --data-dir /var/lib/etcd", db)};
  }
  std::vector<std::string> commands;
  for (const etcd::Member& member : named) {
    commands.push_back(
        fmt::format("etcdutl snapshot restore {} --data-dir /var/lib/etcd --name {} "
                    "--initial-cluster {} --initial-advertise-peer-urls {} "
                    "--bump-revision 1000000000 --mark-compacted",
                    db, shell_quote(member.name), shell_quote(member_list(named)),
                    shell_quote(join(member.peer_urls, ","))));
  }
  return commands;
}

RestoreReport restore(const Services& services, const RestoreRequest& request, const Call& call) {
  if (request.snapshot.empty()) {
    throw Error(ErrorKind::usage, "restore: which snapshot?",
                "kubectl kubedr snapshots lists what there is");
  }
  const std::vector<crd::Record> records = services.cluster.records(call).items;
  const std::optional<crd::Record> record = find_record(records, request.snapshot);
  const std::string& wanted_location =
      request.location.empty() && record ? record->location : request.location;
  const crd::Location location = location_for(services, wanted_location, request.policy, call);
  OpenedRepository opened = open_repository(services, location, call);
  repo::Repository& repository = opened.repository;
  repo::Lock lock = repository.lock_shared(services.owner, services.lock_retry, call);
  const Call held = lock.scope();

  SnapshotsRequest filter;
  filter.policy = request.policy;
  const std::vector<ListedSnapshot> listed =
      join_snapshots(repository.snapshots(held), records, location.ref.name, filter);
  RestoreReport report;
  repo::SavedSnapshot chosen;
  if (request.snapshot == "latest") {
    const ListedSnapshot& latest = require_latest(listed);
    chosen = latest.saved;
    report.policy = latest.policy;
  } else {
    std::vector<repo::SavedSnapshot> all;
    for (const ListedSnapshot& one : listed) all.push_back(one.saved);
    chosen = repo::find_snapshot(all, record ? record->snapshot_id : request.snapshot);
    report.policy = policy_of(chosen.snapshot).name;
  }
  report.snapshot_id = chosen.id.hex();
  report.repository_url = opened.store->location();
  report.time = chosen.snapshot.time;
  report.target = std::filesystem::absolute(request.target).lexically_normal();

  const repo::Index index = repository.load_index(lock, held);
  make_target(report.target);
  services.progress.begin(
      "restore", chosen.snapshot.summary ? chosen.snapshot.summary->total_bytes_processed : 0);
  report.tree = repo::restore_tree(repository, index, chosen.snapshot.tree, report.target,
                                   services.random, held);
  services.progress.end();
  verify_database(report, held);
  const Afterwards afterwards(call);
  try {
    lock.release(afterwards.call());
  } catch (const Error& error) {
    log::warn("the lock could not be removed: {}", error.what());
  }
  return report;
}

}  // namespace kubedr::workflow
