#include "workflow/backup.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "crd/wording.h"
#include "workflow/certificates.h"
#include "workflow/identity.h"
#include "workflow/in_cluster.h"
#include "workflow/locks.h"
#include "workflow/open.h"
#include "workflow/totals.h"
#include "workflow/tree_builder.h"

namespace kubedr::workflow {
namespace {

constexpr char kDatabaseName[] = "etcd-snapshot.db";
constexpr char kDatabasePath[] = "/data/etcd-snapshot.db";
constexpr std::size_t kSmallestCut = 16 * 1024;
constexpr std::size_t kLargestCut = 128 * 1024;
constexpr std::size_t kMostChunks = 65'000;  // 32 bytes each in the tree of every snapshot
// A store that fell silent must not take the time of all that is to be told to the API server.
constexpr std::chrono::seconds kUnlockTakes{30};
constexpr std::uint32_t kFolderMode = 040700;
constexpr std::uint32_t kFileMode = 0100600;

// Bytes on their way to the writer, counted for the progress line.
class Watched final : public repo::Source {
 public:
  Watched(Database& database, Progress& progress) : database_(database), progress_(progress) {}

  std::size_t read(std::span<std::uint8_t> buffer, const Call& call) override {
    failed_ = true;
    const std::size_t got = database_.read(buffer, call);
    failed_ = false;
    progress_.advance(got);
    return got;
  }

  bool failed() const { return failed_; }

 private:
  Database& database_;
  Progress& progress_;
  bool failed_ = false;
};

const repo::SavedSnapshot* newest(const std::vector<repo::SavedSnapshot>& snapshots,
                                  const std::function<bool(const repo::Snapshot&)>& wanted) {
  const repo::SavedSnapshot* best = nullptr;
  for (const repo::SavedSnapshot& saved : snapshots) {
    if (wanted(saved.snapshot)) best = &saved;
  }
  return best;
}

bool is_kubedr_path(const repo::Snapshot& snapshot) {
  return snapshot.paths == std::vector<std::string>{"/data"};
}

// The snapshot that this one most resembles: the policy's last, else the last of operator mode,
// which has no tags.
const repo::SavedSnapshot* choose_parent(const std::vector<repo::SavedSnapshot>& snapshots,
                                         const crd::Policy& policy) {
  const std::string tag = policy_tag(policy);
  const auto* ours = newest(snapshots, [&](const repo::Snapshot& snapshot) {
    return is_kubedr_path(snapshot) && has_tag(snapshot, tag);
  });
  if (ours != nullptr) return ours;
  return newest(snapshots, [](const repo::Snapshot& snapshot) {
    return is_kubedr_path(snapshot) && snapshot.tags.empty();
  });
}

// Where restic backs up the same data into the same repository, only its own cuts deduplicate: its
// snapshot is the newest, or an operator runs that makes one soon.
Chunker choose_chunker(const Services& services, Chunker wanted,
                       const std::vector<repo::SavedSnapshot>& snapshots, const Call& call) {
  if (wanted != Chunker::automatic) return wanted;
  const auto* last = newest(snapshots, is_kubedr_path);
  const bool last_is_restics = last != nullptr && !has_tag(last->snapshot, kTag);
  return last_is_restics || services.cluster.operator_runs(call) == true ? Chunker::restic
                                                                         : Chunker::pages;
}

repo::Cut choose_cut(Chunker chunker, const TreeBuilder& trees, std::uint64_t db_size,
                     std::uint64_t polynomial) {
  if (chunker == Chunker::restic) return repo::Cut::rabin(polynomial);
  const repo::Node* before = trees.in_parent(kDatabasePath);
  return repo::Cut::fixed(page_cut_size(db_size, before == nullptr ? 0 : before->size,
                                        before == nullptr ? 0 : before->content.size()));
}

// Nodes that stand for no file on this machine.
repo::Node made_node(const std::string& name, repo::NodeType type, std::uint32_t st_mode,
                     WallTime time) {
  repo::Node node;
  node.name = name;
  node.type = type;
  node.mode = repo::go_mode(st_mode);
  node.mtime = node.atime = node.ctime = time;
  return node;
}

repo::Summary summarize(const TreeCounts& counts, const repo::WriterStats& stats,
                        std::uint64_t bytes, WallTime start, WallTime end) {
  repo::Summary summary;
  summary.backup_start = start;
  summary.backup_end = end;
  summary.files_new = counts.files_new;
  summary.files_changed = counts.files_changed;
  summary.files_unmodified = counts.files_unmodified;
  summary.dirs_new = counts.dirs_new;
  summary.dirs_changed = counts.dirs_changed;
  summary.dirs_unmodified = counts.dirs_unmodified;
  summary.data_blobs = stats.data_blobs;
  summary.tree_blobs = stats.tree_blobs;
  summary.data_added = stats.data_added;
  summary.data_added_packed = stats.data_added_packed;
  summary.total_files_processed = counts.files_new + counts.files_changed + counts.files_unmodified;
  summary.total_bytes_processed = bytes;
  return summary;
}

struct SavedDatabase {
  repo::Node node;
  etcd::Verified verified;
};

// One backup on its way: what was read of the cluster, and what is known so far.
class Run {
 public:
  Run(const Services& services, const BackupRequest& request, crd::Policy policy)
      : s_(services),
        request_(request),
        policy_(std::move(policy)),
        started_(services.clock.now()),
        started_steady_(services.clock.steady()) {
    report_.policy = policy_.ref.name;
    report_.name_space = policy_.ref.name_space;
    report_.location = policy_.destination;
    report_.dry_run = request.dry_run;
    report_.time = started_;
    pod_ = backup_pod_name(s_, policy_);
  }

  BackupReport run(const Call& call);
  void publish_failure(const Error& error, const Call& call) const;

 private:
  std::string certs_dir() const { return request_.certs_dir.value_or(policy_.certs_dir); }

  void rehearse(const Call& call);
  std::unique_ptr<Database> open_database(const Call& call);
  SavedDatabase save_database(repo::Writer& writer,
                              const std::vector<repo::SavedSnapshot>& snapshots,
                              const repo::Config& config, TreeBuilder& trees, const Call& call);
  repo::Written upload(repo::Writer& writer, const Call& call);
  SavedDatabase save_stream(repo::Writer& writer, Database& database, repo::Source& source,
                            const repo::Cut& cut, TreeBuilder& trees, const Call& call);
  repo::Snapshot describe(const repo::BlobId& root, const etcd::Verified& verified,
                          const repo::SavedSnapshot* parent,
                          const std::vector<repo::SavedSnapshot>& snapshots);
  bool is_adopted(const repo::Snapshot& snapshot,
                  const std::vector<repo::SavedSnapshot>& snapshots) const;
  void publish_success(repo::Lock& lock, const std::vector<repo::SavedSnapshot>& before,
                       const repo::SavedSnapshot& own, Steps& steps, const Call& call);
  void count(const std::vector<repo::SavedSnapshot>& before, const repo::SavedSnapshot& own,
             const Call& call) const;
  void retain_backups(OpenedRepository& opened, const crd::Location& location, Steps& steps,
                      const Call& call);

  const Services& s_;
  const BackupRequest& request_;
  const crd::Policy policy_;
  const WallTime started_;
  const SteadyTime started_steady_;
  std::string pod_;
  std::optional<std::string> cluster_uid_;
  bool secrets_encrypted_ = false;  // and no certificates are stored beside them
  BackupReport report_;
};

std::unique_ptr<Database> Run::open_database(const Call& call) {
  const DatabaseRequest& wanted = request_.database;
  if (!wanted.snapshot_file.empty()) {
    auto database = std::make_unique<Database>(wanted.snapshot_file);
    report_.etcd = database->origin();
    return database;
  }
  ChosenMember member = choose_member(s_, policy_, wanted, call);
  report_.etcd = member.endpoint.url;
  report_.etcd_cluster_id = member.status.cluster_id;
  report_.etcd_revision = member.status.revision;
  if (certs_dir().empty()) secrets_encrypted_ = encrypts_secrets(member, policy_, call);
  return std::make_unique<Database>(std::move(member), call);
}

// A stream that broke off is begun anew, once: what it gave is stored already and found again.
SavedDatabase Run::save_database(repo::Writer& writer,
                                 const std::vector<repo::SavedSnapshot>& snapshots,
                                 const repo::Config& config, TreeBuilder& trees, const Call& call) {
  const Chunker chunker = choose_chunker(s_, request_.chunker, snapshots, call);
  for (bool again = false;; again = true) {
    const std::unique_ptr<Database> database = open_database(call);
    const repo::Cut cut = choose_cut(chunker, trees, database->expected_size(), config.polynomial);
    Watched source(*database, s_.progress);
    try {
      return save_stream(writer, *database, source, cut, trees, call);
    } catch (const Error& error) {
      if (call.stop_token().stop_requested()) call.require_live();
      if (again || call.stopped()) throw;  // the stream's error says where time ran out
      if (!source.failed() || error.kind() != ErrorKind::unavailable) throw;
      log::warn("{}; trying once more", error.what());
    }
  }
}

SavedDatabase Run::save_stream(repo::Writer& writer, Database& database, repo::Source& source,
                               const repo::Cut& cut, TreeBuilder& trees, const Call& call) {
  repo::SavedFile saved = [&] {
    const Step step(s_.progress, "etcd", database.expected_size());
    return writer.save_file(source, cut, call);
  }();
  const etcd::Verified verified = database.finish(call);
  repo::Node node = made_node(kDatabaseName, repo::NodeType::file, kFileMode, started_);
  node.size = saved.size;
  node.content = std::move(saved.content);
  node.links = 1;
  trees.count(kDatabasePath, node);
  return {std::move(node), verified};
}

// Once adopted, an etcd stays so: the mark goes from each of its backups to the next.
bool Run::is_adopted(const repo::Snapshot& snapshot,
                     const std::vector<repo::SavedSnapshot>& snapshots) const {
  if (request_.adopt) return true;
  const std::string tag = policy_tag(policy_);
  const auto* before = newest(snapshots, [&](const repo::Snapshot& other) {
    return has_tag(other, tag) && same_identity(other, snapshot);
  });
  return before != nullptr && has_tag(before->snapshot, kAdoptedTag);
}

// Only of a database that was proven is there a snapshot.
repo::Snapshot Run::describe(const repo::BlobId& root, const etcd::Verified& verified,
                             const repo::SavedSnapshot* parent,
                             const std::vector<repo::SavedSnapshot>& snapshots) {
  report_.db_size = verified.db_size();
  repo::Snapshot snapshot;
  snapshot.time = started_;
  if (parent != nullptr) snapshot.parent = parent->id;
  snapshot.tree = root;
  snapshot.paths = {"/data"};
  snapshot.hostname = request_.host.empty() ? s_.host : request_.host;
  snapshot.username = s_.owner.username;
  snapshot.uid = s_.owner.uid;
  snapshot.gid = s_.owner.gid;
  snapshot.tags = tags_of(policy_, cluster_uid_, report_.etcd_cluster_id, report_.etcd_revision);
  if (secrets_encrypted_) snapshot.tags.emplace_back(kSecretsEncryptedTag);
  if (is_adopted(snapshot, snapshots)) snapshot.tags.emplace_back(kAdoptedTag);
  snapshot.tags.insert(snapshot.tags.end(), request_.tags.begin(), request_.tags.end());
  snapshot.program_version = s_.program;
  snapshot.summary = report_.summary;
  return snapshot;
}

// Packs first, then the indexes that name them.
repo::Written Run::upload(repo::Writer& writer, const Call& call) {
  const Step step(s_.progress, "upload");
  return writer.finish(call, [&](std::uint64_t bytes, std::uint64_t total) {
    if (bytes == 0) s_.progress.begin("upload", total);
    s_.progress.advance(bytes);
  });
}

// A dry run opens and proves everything that a backup needs, and stores nothing.
void Run::rehearse(const Call& call) {
  const crd::Location location = s_.cluster.location(policy_.destination, call);
  const OpenedRepository opened = open_repository(s_, location, call);
  report_.repository_url = opened.store->location();
  if (!certs_dir().empty()) require_certificates(certs_dir());
  const std::unique_ptr<Database> database = open_database(call);
  report_.db_size = database->expected_size();
}

BackupReport Run::run(const Call& call) {
  if (request_.dry_run) {
    rehearse(call);
    return report_;
  }
  const crd::Location location = s_.cluster.location(policy_.destination, call);
  report_.repository_url = s_.repository_url(location);
  if (!certs_dir().empty()) require_certificates(certs_dir());
  OpenedRepository opened = open_repository(s_, location, call);
  repo::Repository& repository = opened.repository;
  cluster_uid_ = s_.cluster.identity(call);

  // The lock before the index: from here on no prune moves what the index names.
  repo::Lock lock = lock_shared(s_, repository, call);
  const Call held = lock.scope();
  repo::Index index = repository.load_index_for_writing(lock, held);
  const std::vector<repo::SavedSnapshot> snapshots = repository.snapshots(held);
  const repo::SavedSnapshot* parent = choose_parent(snapshots, policy_);

  repo::Writer writer(repository, lock, index, s_.writer);
  TreeBuilder trees(writer, parent == nullptr
                                ? TreeBuilder::Parent{}
                                : load_parent(repository, index, parent->snapshot.tree, held));
  // Certificates first: they fail early, and pin nothing in etcd.
  std::vector<repo::Node> children;
  std::uint64_t bytes = 0;
  if (!certs_dir().empty()) {
    const repo::Cut by_content = repo::Cut::rabin(repository.config().polynomial);
    SavedCertificates saved = save_certificates(writer, certs_dir(), trees, by_content, held);
    children.push_back(std::move(saved.folder));
    bytes += saved.bytes;
  }

  SavedDatabase database = save_database(writer, snapshots, repository.config(), trees, held);
  bytes += database.node.size;
  children.push_back(std::move(database.node));

  repo::Node data = made_node("data", repo::NodeType::dir, kFolderMode, started_);
  trees.finish_folder("/data", std::move(children), data, held);
  const repo::BlobId root = writer.save_tree(repo::tree_json({data}), held);
  const repo::Written written = upload(writer, held);

  report_.summary = summarize(trees.counts(), written.stats(), bytes, started_, s_.clock.now());
  repo::SavedSnapshot own{{}, describe(root, database.verified, parent, snapshots)};
  own.id = repository.save_snapshot(own.snapshot, written, lock, held);
  // The commit point: this backup can be restored. Nothing below turns success into failure.
  s_.commit();
  report_.snapshot_id = own.id.hex();
  if (parent != nullptr) report_.parent_id = parent->id.hex();
  report_.record = crd::record_name(report_.short_id());
  report_.duration = s_.clock.steady() - started_steady_;
  Steps steps;
  steps.attempt("publish", "kubectl kubedr sync",
                [&] { publish_success(lock, snapshots, own, steps, call); });
  steps.attempt("retention", "the next backup removes what this one left",
                [&] { retain_backups(opened, location, steps, call); });
  report_.failed_steps = steps.failed();
  return report_;
}

void Run::count(const std::vector<repo::SavedSnapshot>& before, const repo::SavedSnapshot& own,
                const Call& call) const {
  std::vector<health::SeenSnapshot> seen;
  for (const repo::SavedSnapshot& saved : before) seen.push_back(seen_of(saved, cluster_uid_));
  count_success(s_, policy_, seen, seen_of(own, cluster_uid_), call);
}

void Run::publish_success(repo::Lock& lock, const std::vector<repo::SavedSnapshot>& before,
                          const repo::SavedSnapshot& own, Steps& steps, const Call& call) {
  const Afterwards afterwards(call);
  const Call& after = afterwards.call();
  crd::BackupFigures figures;
  figures.backup_pod = pod_;
  figures.snapshot_id = report_.short_id();
  figures.files_new = static_cast<std::int64_t>(report_.summary.files_new);
  figures.files_changed = static_cast<std::int64_t>(report_.summary.files_changed);
  figures.data_added = static_cast<std::int64_t>(report_.summary.data_added);
  figures.total_bytes_processed = static_cast<std::int64_t>(report_.summary.total_bytes_processed);
  figures.duration = report_.duration;

  steps.attempt("unlock",
                "the lock ends by itself after 30 minutes; kubectl kubedr unlock removes it then",
                [&] { lock.release(after.within(kUnlockTakes)); });
  steps.attempt("record",
                fmt::format("kubectl -n {} create a MetadataBackupRecord {} for snapshot {}",
                            policy_.ref.name_space, report_.record, report_.short_id()),
                [&] {
                  s_.cluster.create_record(policy_.ref.name, policy_.destination,
                                           report_.short_id(), after);
                });
  steps.attempt("status", "the next backup writes it again", [&] {
    s_.cluster.patch_status(policy_.ref, crd::backup_completed_status(figures, s_.clock.now()),
                            after);
  });
  steps.attempt("totals", "kubectl kubedr sync counts it", [&] { count(before, own, after); });
  steps.attempt("event", "nothing depends on it", [&] {
    s_.cluster.post_event(policy_.ref, crd::backup_succeeded(report_.short_id()), pod_, after);
  });
}

// Not under Afterwards: it may wait for locks, and ends with the work's own call. Left to the next
// backup, which finishes it, when our own lock is in the way, when the records are not what they
// should be, and when somebody wants this process to end.
void Run::retain_backups(OpenedRepository& opened, const crd::Location& location, Steps& steps,
                         const Call& call) {
  const bool in_the_way =
      std::any_of(steps.failed().begin(), steps.failed().end(), [](const FailedStep& failed) {
        return failed.step == "unlock" || failed.step == "record" || failed.step == "publish";
      });
  if (in_the_way || call.stopped()) return;
  const RetentionRequest request{policy_, location, report_.snapshot_id, request_.retention};
  report_.retention = retain(s_, opened, request, steps, call);
}

void Run::publish_failure(const Error& error, const Call& call) const {
  if (request_.dry_run) return;
  const Afterwards afterwards(call);
  const std::string text = error.what();
  Steps steps;
  steps.attempt("status", "", [&] {
    s_.cluster.patch_status(policy_.ref, crd::backup_failed_status(text, s_.clock.now()),
                            afterwards.call());
  });
  steps.attempt("totals", "", [&] { count_failure(s_, policy_, pod_, afterwards.call()); });
  steps.attempt("event", "", [&] {
    s_.cluster.post_event(policy_.ref, crd::backup_failed(text), pod_, afterwards.call());
  });
  steps.warn();
}

}  // namespace

// Example: 84 MB make 5,100 chunks of 16 KiB; 2 GiB are 131,072 of them, so 32 KiB are taken. A
// database whose parent was cut at 16 KiB stays with that until it has twice the chunks wanted,
// since another size stores all of it once more.
std::size_t page_cut_size(std::uint64_t db_size, std::uint64_t parent_size,
                          std::size_t parent_chunks) {
  std::size_t wanted = kSmallestCut;
  while (wanted < kLargestCut && db_size / wanted > kMostChunks) wanted *= 2;
  for (std::size_t size = kSmallestCut; parent_chunks > 1 && size <= kLargestCut; size *= 2) {
    if ((parent_size + size - 1) / size != parent_chunks) continue;
    const bool too_many = db_size / size > 2 * kMostChunks && size < wanted;
    const bool too_coarse = size > wanted * 4;
    if (!too_many && !too_coarse) return size;
  }
  return wanted;
}

BackupReport backup(const Services& services, const BackupRequest& request, const Call& call) {
  for (const std::string& tag : request.tags) require_free_tag(tag);
  const crd::Policy policy = choose_policy(services, request.policy, call);
  if (!request.force) require_no_job(services, policy.ref.name, call);
  Run run(services, request, policy);
  try {
    return run.run(call);
  } catch (const Error& error) {
    run.publish_failure(error, call);
    throw;
  } catch (const std::exception& error) {
    run.publish_failure(Error(ErrorKind::internal, error.what()), call);
    throw;
  }
}

}  // namespace kubedr::workflow
