#include "workflow/init.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::InitRequest request;
  std::string version = "auto";
};

Json result_json(const workflow::InitReport& report, const std::vector<Json>& not_written) {
  Json result = {
      {"location", report.location},          {"repository", report.repository_url},
      {"repositoryId", report.repository_id}, {"keyId", report.key_id},
      {"repositoryVersion", report.version},  {"created", report.created},
      {"byOperator", report.by_operator},     {"failedSteps", to_json(report.failed_steps)}};
  if (!not_written.empty()) result["notWritten"] = not_written;
  return result;
}

// What somebody needs on the day when only the bucket is left.
std::string recovery_sheet(const workflow::InitReport& report) {
  const bool s3 = report.repository_url.starts_with("s3:");
  return fmt::format(
      "\nKeep this outside the cluster, together with the repository's password{0}:\n"
      "  repository   {1}\n"
      "  key          {2}\n"
      "  environment  {3}\n"
      "  list         kubectl-kubedr --repo {4} snapshots\n"
      "  restore      kubectl-kubedr --repo {4} restore latest --target DIR\n"
      "Without the password nobody can read these backups, you included.\n",
      s3 ? " and the S3 keys" : "", report.repository_url, report.key_id,
      s3 ? "RESTIC_PASSWORD, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY; RESTIC_CACERT for a private "
           "authority"
         : "RESTIC_PASSWORD",
      shell_word(report.repository_url));
}

std::string result_of(const workflow::InitReport& report, const std::vector<Json>& not_written,
                      const Context& context) {
  if (context.as_document()) {
    return document(result_json(report, not_written), context.flags.output);
  }
  if (context.flags.output == "name") return "backuplocation/" + report.location + "\n";
  if (report.by_operator) {
    return fmt::format("backuplocation/{} was initialized by the operator: {}\n", report.location,
                       report.repository_url);
  }
  if (!report.created) {
    return fmt::format("backuplocation/{} is already initialized at {}\n", report.location,
                       report.repository_url);
  }
  return fmt::format("backuplocation/{} initialized: repository {} (version {}) at {}\n{}",
                     report.location, report.repository_id.substr(0, 10), report.version,
                     report.repository_url, recovery_sheet(report));
}

int run(Arguments arguments, const Context& context) {
  workflow::InitRequest& request = arguments.request;
  request.version = arguments.version == "auto" ? 0 : arguments.version == "1" ? 1 : 2;
  // In an operator's own pod the work is ours.
  if (const std::string& mine = context.environment.get("KDR_BACKUPLOC_NAME"); !mine.empty()) {
    request.force = true;
    if (request.location.empty()) request.location = mine;
  }
  const Wired wired(context);
  workflow::InitReport report;
  try {
    report = workflow::init(wired.services(), request, context.call);
  } catch (const std::exception&) {
    // Status and event of a failure are news, too.
    context.remark(describe_not_written(wired.collected()));
    throw;
  }
  const std::vector<Json> not_written = wired.collected();
  context.print_committed(result_of(report, not_written, context),
                          "kubectl kubedr init --if-needed shows it again", report.failed_steps);
  if (!context.as_document()) context.remark(describe_not_written(not_written));
  context.show(describe(report.failed_steps));
  return report.failed_steps.empty() ? 0 : 3;
}

}  // namespace

void add_init(CLI::App& root, Action& action) {
  CLI::App* verb =
      root.add_subcommand("init", "Create the bucket and the repository of a BackupLocation");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  workflow::InitRequest& request = arguments->request;
  verb->add_option("LOCATION", request.location,
                   "Name of the BackupLocation; may be left out where there is just one");
  verb->add_flag("--if-needed", request.if_needed,
                 "A repository that is there and opens is a success");
  verb->add_option("--repository-version", arguments->version,
                   "auto, 1 or 2; auto is 1 for an operator or a server older than 1.22, else 2")
      ->check(CLI::IsMember({"auto", "1", "2"}));
  verb->add_flag("--force", request.force, "Do what a running operator would do itself");
  verb->add_option("--url", request.url, "Create the BackupLocation first: its S3 endpoint");
  verb->add_option("--bucket", request.bucket, "Its bucket");
  verb->add_option("--credentials", request.credentials, "The Secret with its keys");
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr init local-minio\n"
      "  kubectl kubedr init offsite --url https://minio:9000 --bucket etcd \\\n"
      "      --credentials minio-creds\n"
      "  RESTIC_PASSWORD_FILE=pw kubectl kubedr init --repo /mnt/backups\n\n"
      "Exit codes: 0 done, 1 there is a repository already, 3 done but not published.");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
