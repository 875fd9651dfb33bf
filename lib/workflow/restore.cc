#include "workflow/restore.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "crd/wording.h"
#include "etcd/verdict.h"
#include "repo/walk.h"
#include "workflow/identity.h"
#include "workflow/locks.h"
#include "workflow/open.h"
#include "workflow/steps.h"

namespace kubedr::workflow {
namespace {

constexpr char kDatabaseInTarget[] = "data/etcd-snapshot.db";

// Nothing is written into what is there unless that is asked for: a half-finished restore is told
// apart from a whole one by the target being new. Says whether there is a target.
bool require_free(const std::filesystem::path& target, repo::Overwrite overwrite) {
  if (target.empty()) {
    throw Error(ErrorKind::usage, "restore: --target is needed",
                "name a folder that does not exist yet with --target DIR");
  }
  std::error_code error;
  if (!std::filesystem::exists(std::filesystem::symlink_status(target, error))) return false;
  const bool is_free = overwrite != repo::Overwrite::refuse || repo::holds_nothing(target);
  if (std::filesystem::is_directory(target, error) && is_free) return true;
  throw Error(ErrorKind::usage,
              fmt::format("{}: is not an empty folder, nothing was restored", target.string()),
              "name a folder that does not exist yet, or say what becomes of what is there with "
              "--overwrite; if-changed finishes a restore that was broken off");
}

void make_target(const std::filesystem::path& target, repo::Overwrite overwrite) {
  if (!require_free(target, overwrite)) {
    make_folders(target, 0700);
  } else if (overwrite == repo::Overwrite::refuse && chmod(target.c_str(), 0700) != 0) {
    throw_errno(target, "set mode 0700");
  }
}

std::optional<repo::Node> find_database(const repo::Repository& repository,
                                        const repo::Index& index, const repo::BlobId& tree,
                                        const Call& call) {
  std::optional<repo::Node> found;
  const std::string wanted = std::string("/") + kDatabaseInTarget;
  repo::walk_tree(
      repository, index, tree,
      [&](const std::string& path, const repo::Node& node) {
        if (path == wanted && node.type == repo::NodeType::file) found = node;
      },
      call, [](const std::string&) {});  // what is damaged, the restore has told already
  return found;
}

// Whether a file that was not written by this restore is the snapshot's all the same: one that an
// earlier restore, which was broken off, has left.
bool is_of_snapshot(const std::filesystem::path& path, const repo::Node& node) {
  struct stat info {};

  if (lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  const WallTime time(std::chrono::seconds(info.st_mtim.tv_sec) +
                      std::chrono::nanoseconds(info.st_mtim.tv_nsec));
  return static_cast<std::uint64_t>(info.st_size) == node.size && time == node.mtime;
}

// Its blobs are what was backed up, so that no second restore would bring anything else.
etcd::Verified require_sound(etcd::Verdict& verdict, const std::filesystem::path& target) {
  try {
    return verdict.finish();
  } catch (const Error& error) {
    throw Error(error.kind(), error.what(),
                fmt::format("it was backed up like that: no etcd can be restored from it, an older "
                            "snapshot may be whole; {} holds it and what else was restored",
                            target.string()));
  }
}

void verify_database(RestoreReport& report, const repo::Node& node, Progress& progress,
                     const Call& call) {
  const std::filesystem::path path = report.target / kDatabaseInTarget;
  const Step step(progress, "verify", node.size);
  const FileDescriptor file = open_file(path, O_RDONLY | O_NOFOLLOW);
  etcd::Verdict verdict(path.string());
  Bytes buffer(std::size_t{1} << 20);
  while (true) {
    call.require_live();
    const std::size_t got = read_full(file.get(), buffer, path);
    if (got == 0) break;
    verdict.update(ByteView(buffer).first(got));
    progress.advance(got);
  }
  const etcd::Verified verified = require_sound(verdict, report.target);
  report.database = path;
  report.database_size = verified.db_size();
  report.database_sha256 = to_hex(verified.digest());
  try {
    report.database_info = etcd::inspect_database(path);
  } catch (const Error& error) {
    // The digest has proven the database; what cannot be read of it are names for the next command.
    log::warn("members' names could not be read: {}", error.what());
  }
  report.next_commands = restore_commands(path, report.database_info);
}

// All that could be restored is in the target by now; that it is not all must not be overlooked.
void require_whole(const RestoreReport& report) {
  constexpr std::size_t kShown = 20;
  const std::vector<std::string>& damaged = report.tree.damaged;
  if (damaged.empty()) return;
  std::vector<std::string> lines = damaged;
  if (lines.size() > kShown) lines.resize(kShown);
  if (damaged.size() > kShown) lines.push_back(fmt::format("{} more", damaged.size() - kShown));
  std::string hint =
      "`check --read-data` tells what else is damaged, and an older snapshot may be whole; what is "
      "not named here";
  if (report.dry_run) {
    hint += " would be restored";
  } else if (report.database.empty()) {
    hint += " was restored";
  } else {
    hint += fmt::format(" was restored, and {} is whole: `etcdutl snapshot restore` comes next",
                        report.database.string());
  }
  throw Error(
      ErrorKind::corrupt,
      fmt::format("restore: {} damaged in snapshot {}: {}",
                  damaged.size() == 1 ? "a file or folder is"
                                      : fmt::format("{} files and folders are", damaged.size()),
                  report.snapshot_id.substr(0, 8), join(lines, "; ")),
      hint);
}

std::string member_list(const std::vector<etcd::Member>& members) {
  std::vector<std::string> pairs;
  for (const etcd::Member& member : members) {
    for (const std::string& url : member.peer_urls) pairs.push_back(member.name + "=" + url);
  }
  return join(pairs, ",");
}

}  // namespace

std::vector<std::string> restore_commands(const std::filesystem::path& database,
                                          const etcd::DatabaseInfo& info) {
  // etcd 3.4 has no etcdutl, and only the last of its etcdctl can lift the revision.
  const bool is_34 = info.cluster_version.starts_with("3.4.");
  const std::string restore =
      fmt::format("{} snapshot restore {} --data-dir /var/lib/etcd", is_34 ? "etcdctl" : "etcdutl",
                  shell_word(database.string()));
  const char* lift = is_34 ? "" : " --bump-revision 1000000000 --mark-compacted";
  std::vector<etcd::Member> named;
  for (const etcd::Member& member : info.members) {
    if (!member.name.empty() && !member.peer_urls.empty()) named.push_back(member);
  }
  if (named.empty()) return {restore + lift};
  // The database has them by their ids, which say nothing.
  std::sort(named.begin(), named.end(), [](const etcd::Member& a, const etcd::Member& b) {
    return std::tie(a.name, a.peer_urls) < std::tie(b.name, b.peer_urls);
  });
  std::vector<std::string> commands;
  for (const etcd::Member& member : named) {
    commands.push_back(
        fmt::format("{} --name {} --initial-cluster {} --initial-advertise-peer-urls {}{}", restore,
                    shell_word(member.name), shell_word(member_list(named)),
                    shell_word(join(member.peer_urls, ",")), lift));
  }
  return commands;
}

std::string restore_remark(const etcd::DatabaseInfo& info) {
  if (info.cluster_version.starts_with("3.4.")) {
    return "with etcdctl 3.4.27 or later add --bump-revision 1000000000 --mark-compacted, so that "
           "clients list anew what they watch";
  }
  if (info.cluster_version.starts_with("3.5.")) {
    return "etcdutl before 3.5.10 does not know --bump-revision and --mark-compacted: leave them "
           "out";
  }
  return "";
}

RestoreReport restore(const Services& services, const RestoreRequest& request, const Call& call) {
  if (request.choice.snapshot.empty()) {
    throw Error(ErrorKind::usage, "restore: which snapshot?",
                "kubectl kubedr snapshots lists what there is");
  }
  const std::vector<crd::Record> records = services.cluster.records(call).items;
  const crd::Location location = location_of_snapshot(services, request.choice, records, call);
  OpenedRepository opened = open_repository(services, location, call);
  repo::Repository& repository = opened.repository;
  repo::Lock lock = lock_for_reading(services, repository, call);
  const Call held = lock.scope();

  const ListedSnapshot listed =
      find_snapshot(repository, records, location.ref.name, request.choice, held);
  const repo::SavedSnapshot& chosen = listed.saved;
  RestoreReport report;
  report.policy = listed.policy;
  report.snapshot_id = chosen.id.hex();
  report.repository_url = opened.store->location();
  report.time = chosen.snapshot.time;
  report.target = std::filesystem::absolute(request.target).lexically_normal();

  const repo::Index index = load_index_to_read(opened, lock, held);
  report.dry_run = request.dry_run;
  if (request.dry_run) {
    require_free(report.target, request.options.overwrite);
    report.tree = repo::rehearse_restore(repository, index, chosen.snapshot.tree, report.target,
                                         request.options, held);
    require_whole(report);
    return report;
  }
  make_target(report.target, request.options.overwrite);
  repo::RestoreOptions options = request.options;
  options.progress = [&](std::uint64_t bytes) { services.progress.advance(bytes); };
  // Not asked of the file's time: many file systems keep it less exactly than the snapshot does.
  bool wrote_database = false;
  options.restored = [&](const std::string& path) { wrote_database |= path == kDatabaseInTarget; };
  report.tree = [&] {
    const bool all = request.options.include.empty() && request.options.exclude.empty() &&
                     chosen.snapshot.summary.has_value();
    const Step step(services.progress, "restore",
                    all ? chosen.snapshot.summary->total_bytes_processed : 0);
    return repo::restore_tree(repository, index, chosen.snapshot.tree, report.target, options,
                              services.random, held);
  }();
  if (const auto node = find_database(repository, index, chosen.snapshot.tree, held)) {
    if (wrote_database || is_of_snapshot(report.target / kDatabaseInTarget, *node)) {
      verify_database(report, *node, services.progress, held);
    }
  }
  release(lock, call);
  require_whole(report);
  return report;
}

namespace {

// Completed says that the volume holds all of the snapshot, and nothing older in its place.
void require_all_of_it(const repo::RestoreOptions& options) {
  const bool keeps_old =
      options.overwrite == repo::Overwrite::never || options.overwrite == repo::Overwrite::if_newer;
  if (options.include.empty() && options.exclude.empty() && !keeps_old) return;
  throw Error(ErrorKind::usage, "restore: a MetadataRestore brings back all of its snapshot",
              "leave --include and --exclude out, and choose --overwrite if-changed or always");
}

// The mount that a path is on; the path itself where the kernel (before 5.8) does not tell.
std::filesystem::path mount_point_of(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path at = std::filesystem::weakly_canonical(path, error);
  for (; !error && at.has_relative_path(); at = at.parent_path()) {
    struct statx info {};

    if (statx(AT_FDCWD, at.c_str(), AT_SYMLINK_NOFOLLOW, 0, &info) != 0) continue;  // not there yet
    if ((info.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) == 0) return path;
    if ((info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) return at;
  }
  return at;
}

// Only there is it true that the volume holds what was restored. What the pod says of its mounts is
// compared with what is mounted: another container of the pod, a link in the target, or a mount
// further down would lead elsewhere.
void require_claim(const Services& services, const crd::Restore& resource,
                   const std::filesystem::path& target, const Call& call) {
  const std::string what = resource.ref.display();
  if (services.pod_name.empty()) {
    throw Error(ErrorKind::usage,
                fmt::format("{}: only a pod that mounts the claim {} can restore into it", what,
                            resource.claim),
                "run this in such a pod with MY_POD_NAME set to its name, or leave --resource out "
                "and restore into a folder here");
  }
  const std::filesystem::path mount = mount_point_of(target);
  for (const auto& [path, claim] : services.cluster.claims_of_pod(services.pod_name, call)) {
    std::error_code error;
    if (claim == resource.claim && std::filesystem::weakly_canonical(path, error) == mount) return;
  }
  throw Error(ErrorKind::usage,
              fmt::format("{}: pod {} does not have the claim {} mounted at {}", what,
                          services.pod_name, resource.claim, target.string()),
              "name the folder where the pod mounts it with --target");
}

class Publishing {
 public:
  Publishing(const Services& services, const crd::Restore& resource, const Call& call)
      : s_(services), resource_(resource), call_(call) {}

  std::vector<FailedStep> success(const std::string& snapshot_id) const {
    const Afterwards afterwards(call_);
    Steps steps;
    publish(crd::restore_completed_status(resource_.generation, s_.clock.now()),
            crd::restore_succeeded(snapshot_id), steps, afterwards.call());
    steps.attempt("annotation", "nothing depends on it", [&] {
      s_.cluster.annotate(resource_.ref, crd::kRestoredAnnotation, "true", afterwards.call());
    });
    return steps.failed();
  }

  void failure(const Error& error) const {
    const Afterwards afterwards(call_);
    Steps steps;
    publish(crd::restore_failed_status(resource_.generation, error.what(), s_.clock.now()),
            crd::restore_failed(error.what()), steps, afterwards.call());
    steps.warn();
  }

 private:
  void publish(const Json& status, const crd::EventText& event, Steps& steps,
               const Call& after) const {
    steps.attempt("status", "run the same command again",
                  [&] { s_.cluster.patch_status(resource_.ref, status, after); });
    steps.attempt("event", "nothing depends on it",
                  [&] { s_.cluster.post_event(resource_.ref, event, s_.pod_name, after); });
  }

  const Services& s_;
  const crd::Restore& resource_;
  const Call& call_;
};

}  // namespace

ResourceRestore restore_resource(const Services& services, const std::string& name,
                                 RestoreRequest request, const Call& call) {
  require_all_of_it(request.options);
  const crd::Restore resource = services.cluster.restore(name, call);
  require_claim(services, resource, std::filesystem::absolute(request.target), call);
  request.choice.snapshot = resource.record;
  const Publishing publishing(services, resource, call);
  ResourceRestore result;
  try {
    result.report = restore(services, request, call);
  } catch (const Error& error) {
    if (!request.dry_run) publishing.failure(error);
    throw;
  } catch (const std::exception& error) {
    if (!request.dry_run) publishing.failure(Error(ErrorKind::internal, error.what()));
    throw;
  }
  if (request.dry_run) return result;
  result.failed_steps = publishing.success(result.report.snapshot_id.substr(0, 8));
  return result;
}

}  // namespace kubedr::workflow
