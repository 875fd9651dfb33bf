#include "workflow/restore.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "crd/wording.h"
#include "etcd/verdict.h"
#include "workflow/identity.h"
#include "workflow/open.h"
#include "workflow/snapshots.h"
#include "workflow/steps.h"

namespace kubedr::workflow {
namespace {

constexpr char kDatabaseInTarget[] = "data/etcd-snapshot.db";

// But for what a file system makes by itself at its top.
bool holds_nothing(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::directory_iterator entries(folder, error);
  return !error && std::all_of(begin(entries), end(entries), [](const auto& entry) {
    return entry.path().filename() == "lost+found";
  });
}

// Nothing is written into what is there unless that is asked for: a half-finished restore is told
// apart from a whole one by the target being new.
void make_target(const std::filesystem::path& target, repo::Overwrite overwrite) {
  if (target.empty()) throw Error(ErrorKind::usage, "restore: --target is needed");
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::symlink_status(target, error))) {
    if (overwrite != repo::Overwrite::refuse && std::filesystem::is_directory(target, error))
      return;
    if (!std::filesystem::is_directory(target, error) || !holds_nothing(target)) {
      throw Error(
          ErrorKind::usage,
          fmt::format("{}: is not an empty folder, nothing was restored", target.string()),
          "name a folder that does not exist yet, or say what becomes of what is there with "
          "--overwrite; if-changed finishes a restore that was broken off");
    }
    if (chmod(target.c_str(), 0700) != 0) throw_errno(target, "set mode 0700");
    return;
  }
  if (mkdir(target.c_str(), 0700) != 0) throw_errno(target, "create folder");
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
  const crd::Location location = location_of_snapshot(services, request.location, request.policy,
                                                      records, request.snapshot, call);
  OpenedRepository opened = open_repository(services, location, call);
  repo::Repository& repository = opened.repository;
  repo::Lock lock = repository.lock_shared(services.owner, services.lock_retry, call);
  const Call held = lock.scope();

  const ListedSnapshot listed = choose_snapshot(
      repository.snapshots(held), records, location.ref.name, request.policy, request.snapshot);
  const repo::SavedSnapshot& chosen = listed.saved;
  RestoreReport report;
  report.policy = listed.policy;
  report.snapshot_id = chosen.id.hex();
  report.repository_url = opened.store->location();
  report.time = chosen.snapshot.time;
  report.target = std::filesystem::absolute(request.target).lexically_normal();

  const repo::Index index = repository.load_index(lock, held);
  report.dry_run = request.dry_run;
  if (request.dry_run) {
    report.tree = repo::rehearse_restore(repository, index, chosen.snapshot.tree, report.target,
                                         request.options, held);
    return report;
  }
  make_target(report.target, request.options.overwrite);
  services.progress.begin(
      "restore", chosen.snapshot.summary ? chosen.snapshot.summary->total_bytes_processed : 0);
  report.tree = repo::restore_tree(repository, index, chosen.snapshot.tree, report.target,
                                   request.options, services.random, held);
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

namespace {

// Only there is it true that the volume holds what was restored.
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
  const std::string wanted = target.lexically_normal().string() + "/";
  for (const auto& [path, claim] : services.cluster.claims_of_pod(services.pod_name, call)) {
    const std::string mounted = std::filesystem::path(path).lexically_normal().string();
    const std::string above = mounted.ends_with('/') ? mounted : mounted + "/";
    if (claim == resource.claim && wanted.starts_with(above)) return;
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
    for (const FailedStep& step : steps.failed()) {
      log::warn("the failure could not be published ({}): {}", step.step, step.error);
    }
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
  const crd::Restore resource = services.cluster.restore(name, call);
  require_claim(services, resource, std::filesystem::absolute(request.target), call);
  request.snapshot = resource.record;
  const Publishing publishing(services, resource, call);
  ResourceRestore result;
  try {
    result.report = restore(services, request, call);
  } catch (const Error& error) {
    if (!request.dry_run) publishing.failure(error);
    throw;
  }
  if (request.dry_run) return result;
  result.failed_steps = publishing.success(result.report.snapshot_id.substr(0, 8));
  return result;
}

}  // namespace kubedr::workflow
