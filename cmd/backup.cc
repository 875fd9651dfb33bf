#include "workflow/backup.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/metrics_target.h"
#include "cmd/print.h"
#include "cmd/push.h"
#include "cmd/wire.h"
#include "workflow/in_cluster.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::BackupRequest request;
  std::vector<std::string> endpoints;
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
  std::string certs_dir;
  bool no_certs = false;
  std::string chunker = "auto";
  std::string retention = "auto";
  std::string timeout = "0";
  std::string spool_limit = "4GiB";
  MetricsTarget metrics;
  bool in_cluster = false;
  bool wait = false;
  std::string image;
};

std::string read_pem(const std::string& file) {
  if (file.empty()) return "";
  return std::string(as_text(read_file(file, limits::kSecretBytes)));
}

workflow::Retention retention_of(const std::string& name) {
  if (name == "always") return workflow::Retention::always;
  if (name == "never") return workflow::Retention::never;
  return workflow::Retention::automatic;
}

workflow::Chunker chunker_of(const std::string& name) {
  if (name == "pages") return workflow::Chunker::pages;
  if (name == "restic") return workflow::Chunker::restic;
  return workflow::Chunker::automatic;
}

// Flags win over etcdctl's environment, that over what a pod of operator mode is given, that over
// the policy.
void fill_database(Arguments& arguments, const Environment& environment) {
  workflow::DatabaseRequest& database = arguments.request.database;
  database.endpoints = arguments.endpoints;
  const std::string& folder = environment.get("ETCD_CREDS_DIR");
  const auto given = [&](const std::string& flag, const char* variable, const char* name) {
    if (!flag.empty()) return flag;
    const std::string& file = environment.get(variable);
    return file.empty() && !folder.empty() ? folder + "/" + name : file;
  };
  if (database.endpoints.empty()) {
    const std::string& list = environment.first({"ETCDCTL_ENDPOINTS", "ETCD_ENDPOINT"});
    if (!list.empty()) database.endpoints = {list};
  }
  database.ca_pem = read_pem(given(arguments.ca_file, "ETCDCTL_CACERT", "ca.crt"));
  const std::string certificate = given(arguments.certificate_file, "ETCDCTL_CERT", "client.crt");
  const std::string key = given(arguments.key_file, "ETCDCTL_KEY", "client.key");
  if (certificate.empty() != key.empty()) {
    throw Error(ErrorKind::usage, "--etcd-cert and --etcd-key go together",
                "give both, or leave both out: then the policy's Secret has them");
  }
  database.client_certificate_pem = read_pem(certificate);
  std::string key_pem = read_pem(key);
  database.client_key_pem = Secret(key_pem);
  wipe(key_pem.data(), key_pem.size());
}

Json result_json(const workflow::BackupReport& report, const std::vector<Json>& not_written) {
  const repo::Summary& summary = report.summary;
  Json result = {{"policy", report.policy},
                 {"namespace", report.name_space},
                 {"location", report.location},
                 {"repository", report.repository_url},
                 {"dryRun", report.dry_run},
                 {"snapshotId", report.snapshot_id},
                 {"parentId", report.parent_id},
                 {"record", report.record},
                 {"time", format_rfc3339_nano(report.time)},
                 {"etcd",
                  {{"endpoint", report.etcd},
                   {"clusterId", fmt::format("{:x}", report.etcd_cluster_id)},
                   {"revision", report.etcd_revision},
                   {"dbSize", report.db_size}}},
                 {"filesNew", summary.files_new},
                 {"filesChanged", summary.files_changed},
                 {"filesUnmodified", summary.files_unmodified},
                 {"dataAdded", summary.data_added},
                 {"dataAddedPacked", summary.data_added_packed},
                 {"totalBytesProcessed", summary.total_bytes_processed},
                 {"totalDurationSecs", std::chrono::duration<double>(report.duration).count()},
                 {"retention",
                  {{"removed", report.retention.removed},
                   {"leftToOperator", report.retention.left_to_operator},
                   {"doubt", report.retention.doubt}}},
                 {"failedSteps", to_json(report.failed_steps)}};
  if (const auto& pruned = report.retention.pruned) {
    result["retention"]["pruned"] = to_json(*pruned);
  }
  if (!not_written.empty()) result["notWritten"] = not_written;
  return result;
}

std::string result_text(const workflow::BackupReport& report) {
  if (report.dry_run) {
    return fmt::format("metadatabackuppolicy/{} can be backed up: {} from {} to {} (dry run)\n",
                       report.policy, human_size(report.db_size), report.etcd,
                       report.repository_url);
  }
  std::string text = fmt::format(
      "metadatabackuppolicy/{} backed up: snapshot {} in {}\n"
      "  {} processed, {} new ({} stored) in {:.1f} s",
      report.policy, report.short_id(), report.repository_url,
      human_size(report.summary.total_bytes_processed), human_size(report.summary.data_added),
      human_size(report.summary.data_added_packed),
      std::chrono::duration<double>(report.duration).count());
  // A file of a snapshot does not tell.
  if (report.etcd_revision != 0) text += fmt::format(", etcd revision {}", report.etcd_revision);
  text += '\n';
  if (const std::size_t removed = report.retention.removed.size(); removed > 0) {
    text += "  " + number_of(removed, "older backup") + " removed\n";
  }
  return text;
}

std::string retention_remark(const workflow::RetentionReport& retention) {
  if (retention.doubt.empty()) return "";
  return fmt::format("warning: no older backup was removed: {}\n  {}\n", retention.doubt,
                     retention.remedy);
}

std::string result_of(const workflow::BackupReport& report, const std::vector<Json>& not_written,
                      const Context& context) {
  if (context.as_document()) {
    return document(result_json(report, not_written), context.flags.output);
  }
  if (context.flags.output == "name") return "metadatabackuprecord/" + report.record + "\n";
  return result_text(report);
}

// Whoever watches the metrics hears of a failure too.
workflow::BackupReport back_up(const Arguments& arguments, const Wired& wired,
                               const workflow::Services& services, const Context& context,
                               const Call& call) {
  const bool tell = arguments.metrics.any() && !arguments.request.dry_run;
  if (!arguments.metrics.push.empty()) push_address(arguments.metrics.push);  // or it is refused
  workflow::Steps steps;
  try {
    workflow::BackupReport report = workflow::backup(services, arguments.request, call);
    if (tell) deliver_after_backup(arguments.metrics, wired, context, steps);
    report.failed_steps.insert(report.failed_steps.end(), steps.failed().begin(),
                               steps.failed().end());
    return report;
  } catch (const Error&) {
    if (tell) deliver_after_backup(arguments.metrics, wired, context, steps);
    context.show(describe(steps.failed()));
    throw;
  }
}

void fill_certificates(Arguments& arguments, const Environment& environment) {
  if (arguments.no_certs && !arguments.certs_dir.empty()) {
    throw Error(ErrorKind::usage, "--certs-dir and --no-certs cannot be given together",
                "leave one of them out");
  }
  if (arguments.certs_dir.empty()) arguments.certs_dir = environment.get("CERTS_SRC_DIR");
  if (!arguments.certs_dir.empty()) arguments.request.certs_dir = arguments.certs_dir;
  if (arguments.no_certs) arguments.request.certs_dir = "";
}

std::string job_text(const workflow::InClusterReport& report) {
  const std::string job = "job.batch/" + report.job;
  if (!report.exit_code) return job + " created\n";
  if (report.snapshot_id.empty()) return fmt::format("{} ended with {}\n", job, *report.exit_code);
  return fmt::format("metadatabackuppolicy/{} backed up: snapshot {}, by {}\n", report.policy,
                     report.snapshot_id, job);
}

Json job_json(const workflow::InClusterReport& report) {
  return {{"policy", report.policy},
          {"job", report.job},
          {"pod", report.pod},
          {"exitCode", report.exit_code ? Json(*report.exit_code) : Json(nullptr)},
          {"snapshotId", report.snapshot_id}};
}

// Codes that a program of ours does not end with are the runtime's.
int code_of(const workflow::InClusterReport& report) {
  constexpr int kLastOfOurs = 22;
  if (!report.exit_code) return 0;
  const int code = *report.exit_code;
  const bool is_ours = code <= kLastOfOurs || code == exit_code(ErrorKind::interrupted) ||
                       code == exit_code(ErrorKind::terminated);
  return is_ours ? code : exit_code(ErrorKind::failed);
}

int run_in_cluster(const Arguments& arguments, const Context& context) {
  const Wired wired(context);
  require_cluster(wired.services(), "backup --in-cluster", "");
  const auto timeout = parse_flag_duration("--timeout", arguments.timeout);
  const Call call = timeout.count() > 0 ? context.call.within(timeout) : context.call;
  const workflow::JobWatch watch{
      [&](std::string_view text) { context.remark(printable(text)); },
      [&](const std::string& text) { context.remark(printable(text) + "\n"); }};
  const workflow::InClusterReport report = workflow::backup_in_cluster(
      wired.services(),
      {arguments.request.policy, arguments.image, arguments.wait, arguments.request.force}, watch,
      call);
  if (context.as_document()) {
    context.print(document(job_json(report), context.flags.output));
  } else {
    context.print(context.flags.output == "name" ? "job.batch/" + report.job + "\n"
                                                 : job_text(report));
    if (!arguments.wait) {
      context.remark(fmt::format("  kubectl -n {} logs -f job/{}\n",
                                 wired.services().cluster.name_space(), report.job));
    }
  }
  return code_of(report);
}

int run(Arguments arguments, const Context& context) {
  workflow::BackupRequest& request = arguments.request;
  if (request.policy.empty()) request.policy = context.environment.get("KDR_POLICY_NAME");
  if (arguments.in_cluster) return run_in_cluster(arguments, context);
  fill_database(arguments, context.environment);
  fill_certificates(arguments, context.environment);
  request.chunker = chunker_of(arguments.chunker);
  request.retention = retention_of(arguments.retention);
  const auto timeout = parse_flag_duration("--timeout", arguments.timeout);
  const std::uint64_t spool = parse_flag_size("--spool-limit", arguments.spool_limit);

  const Wired wired(context);
  workflow::Services services = wired.services();
  services.writer.spool_bytes = spool;
  const Call call = timeout.count() > 0 ? context.call.within(timeout) : context.call;
  workflow::BackupReport report;
  try {
    report = back_up(arguments, wired, services, context, call);
  } catch (const std::exception&) {
    // Status and event of a failure are news, too.
    context.remark(describe_not_written(wired.collected()));
    throw;
  }
  const std::vector<Json> not_written = wired.collected();
  const std::string result = result_of(report, not_written, context);
  if (report.dry_run) {
    context.print(result);
    return 0;
  }
  context.print_committed(result, "kubectl kubedr snapshots lists it", report.failed_steps);
  if (!context.as_document()) context.remark(describe_not_written(not_written));
  context.remark(retention_remark(report.retention));
  context.show(describe(report.failed_steps));
  return report.failed_steps.empty() ? 0 : 3;
}

// A job runs as its policy says: what would be said here goes without it.
void add_job_flags(CLI::App& verb, Arguments& arguments) {
  CLI::Option* in_cluster = verb.add_flag("--in-cluster", arguments.in_cluster,
                                          "Run the policy's job in the cluster, once");
  for (const char* flag :
       {"--etcd-endpoint", "--etcd-cacert", "--etcd-cert", "--etcd-key", "--etcd-snapshot",
        "--any-etcd", "--certs-dir", "--no-certs", "--chunker", "--host", "--tag", "--retention",
        "--adopt", "--spool-limit", "--textfile", "--push", "--dry-run"}) {
    in_cluster->excludes(verb.get_option(flag));
  }
  verb.add_flag("--wait", arguments.wait, "With --in-cluster: follow its log until it has ended")
      ->needs(in_cluster);
  verb.add_option("--image", arguments.image,
                  "With --in-cluster: the image with this program, for a policy without a CronJob")
      ->needs(in_cluster);
}

}  // namespace

void add_backup(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand("backup", "Take a backup now, verified before it counts");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  workflow::BackupRequest& request = arguments->request;
  verb->add_option("POLICY", request.policy,
                   "Name of the MetadataBackupPolicy; may be left out where there is just one");
  verb->add_option("--etcd-endpoint", arguments->endpoints,
                   "Instead of the policy's (ETCDCTL_ENDPOINTS); may be repeated")
      ->take_all()
      ->expected(1);
  verb->add_option("--etcd-cacert", arguments->ca_file, "File with etcd's CA (ETCDCTL_CACERT)")
      ->type_name("FILE");
  verb->add_option("--etcd-cert", arguments->certificate_file,
                   "File with the client certificate (ETCDCTL_CERT)")
      ->type_name("FILE");
  verb->add_option("--etcd-key", arguments->key_file, "File with its key (ETCDCTL_KEY)")
      ->type_name("FILE");
  verb->add_option("--etcd-snapshot", request.database.snapshot_file,
                   "Back up this file of `etcdctl snapshot save` instead")
      ->type_name("FILE");
  verb->add_flag("--any-etcd", request.database.any_etcd,
                 "Do not ask whether the etcd is this cluster's");
  verb->add_option("--certs-dir", arguments->certs_dir, "Folder of certificates to include");
  verb->add_flag("--no-certs", arguments->no_certs, "Leave the certificates out");
  verb->add_option("--chunker", arguments->chunker,
                   "Where the database is cut: auto, pages or restic")
      ->check(CLI::IsMember({"auto", "pages", "restic"}));
  verb->add_option("-H,--host", request.host, "Host name of the snapshot");
  verb->add_option("--tag", request.tags, "A tag of the snapshot; may be repeated")
      ->take_all()
      ->expected(1);
  verb->add_option("--timeout", arguments->timeout, "How long all of it may take; 0 is no limit");
  verb->add_option("--retention", arguments->retention,
                   "Remove what is beyond the policy's retainNumBackups: auto leaves that to an "
                   "operator where one runs")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  verb->add_flag("--adopt", request.adopt,
                 "The etcd is another one than before, and meant to be: go on with retention");
  verb->add_option("--spool-limit", arguments->spool_limit,
                   "Sealed data waiting on disk for a slow S3, at the most");
  add_target_flags(*verb, arguments->metrics);
  verb->add_flag("--dry-run", request.dry_run, "Try everything, store and publish nothing");
  verb->add_flag("--force", request.force, "Although a pod backs the policy up right now");
  add_job_flags(*verb, *arguments);
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr backup nightly\n"
      "  kubectl kubedr backup nightly --etcd-endpoint https://10.0.0.5:2379 -o json\n"
      "  kubectl kubedr backup nightly --in-cluster --wait  # for whoever cannot reach etcd\n"
      "  kubectl kubedr backup -f manifests/ nightly\n"
      "  kubectl kubedr backup --repo /mnt/backups --etcd-snapshot etcd.db\n\n"
      "Exit codes: 0 done, 3 the backup is safe but a later step failed, 2 usage or another\n"
      "cluster's etcd, 4 not found, 10 no repository, 11 locked, 12 wrong password,\n"
      "20 unavailable, 21 denied, 22 corrupt, 130 and 143 interrupted before it was safe.");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
