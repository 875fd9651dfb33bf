#include "workflow/policy.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cmd/changes.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::NewPolicy policy;
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
  std::string dry_run = "none";
  bool delete_secret = false;
};

// All three make a Secret, none names one that is there.
std::optional<cluster::SecretData> etcd_keys(const Arguments& arguments) {
  const int given = static_cast<int>(!arguments.ca_file.empty()) +
                    static_cast<int>(!arguments.certificate_file.empty()) +
                    static_cast<int>(!arguments.key_file.empty());
  if (given == 0) return std::nullopt;
  if (given < 3) {
    throw Error(ErrorKind::usage, "--etcd-cacert, --etcd-cert and --etcd-key go together",
                "give all three, or name a Secret that has them with --etcd-creds");
  }
  return cluster::SecretData{{"ca.crt", read_secret(arguments.ca_file)},
                             {"client.crt", read_secret(arguments.certificate_file)},
                             {"client.key", read_secret(arguments.key_file)}};
}

int create(Arguments arguments, const Context& context) {
  workflow::NewPolicy& policy = arguments.policy;
  policy.etcd_keys = etcd_keys(arguments);
  if (policy.etcd_keys && policy.etcd_creds.empty()) policy.etcd_creds = policy.name + "-etcd";
  if (arguments.dry_run == "client") {
    context.print(objects_text(workflow::policy_objects(name_space_of(context), policy),
                               context.flags.output));
    return 0;
  }
  const Wired wired(context);
  require_cluster(wired.services(), "policy create", "--dry-run=client -o yaml prints the objects");
  const workflow::CreateReport report =
      workflow::create_policy(wired.services(), policy, context.call);
  const int code = print_created(report, context);
  if (!context.as_document()) {
    context.remark(fmt::format("next: kubectl kubedr backup {0}, or kubectl kubedr schedule {0}\n",
                               policy.name));
  }
  return code;
}

int remove(Arguments arguments, const Context& context) {
  const Wired wired(context);
  require_cluster(wired.services(), "policy delete", "");
  return print_deleted(
      workflow::delete_policy(wired.services(), arguments.policy.name, arguments.delete_secret,
                              agree_to_delete(context, "its snapshots"), context.call),
      context);
}

void add_create(CLI::App& group, Action& action, const std::shared_ptr<Arguments>& arguments) {
  CLI::App* verb =
      group.add_subcommand("create", "Make a MetadataBackupPolicy and, from files, etcd's Secret");
  workflow::NewPolicy& policy = arguments->policy;
  verb->add_option("NAME", policy.name, "Name of the MetadataBackupPolicy")->required();
  verb->add_option("--location", policy.destination, "The BackupLocation to back up to")
      ->required();
  verb->add_option("--schedule", policy.schedule, "Cron line, UTC: \"0 3 * * *\"")->required();
  verb->add_option("--certs-dir", policy.certs_dir,
                   "Folder of certificates on the nodes, e.g. /etc/kubernetes/pki");
  verb->add_option("--etcd-endpoint", policy.etcd_endpoint,
                   "URL of etcd; https://127.0.0.1:2379 if nothing is said");
  verb->add_option("--etcd-creds", policy.etcd_creds,
                   "Secret of etcd; etcd-creds if nothing is said, NAME-etcd with files");
  verb->add_option("--etcd-cacert", arguments->ca_file, "File with etcd's CA, for the Secret")
      ->type_name("FILE");
  verb->add_option("--etcd-cert", arguments->certificate_file, "File with the client certificate")
      ->type_name("FILE");
  verb->add_option("--etcd-key", arguments->key_file, "File with its key")->type_name("FILE");
  verb->add_option("--retain", policy.retain, "How many backups to keep; 120 if nothing is said")
      ->check(CLI::PositiveNumber);
  verb->add_flag("--suspend", policy.suspend, "No scheduled backups for now");
  verb->add_option("--node-label", policy.node_label,
                   "Label of the nodes that run backups, instead of the control plane's");
  verb->add_option("--dry-run", arguments->dry_run, "client: print the objects and make nothing")
      ->check(CLI::IsMember({"none", "client"}));
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr policy create hourly --location local-minio --schedule \"0 * * * *\" \\\n"
      "      --certs-dir /etc/kubernetes/pki\n"
      "  cd /etc/kubernetes/pki/etcd && kubectl kubedr policy create hourly --location local-minio "
      "\\\n"
      "      --schedule \"0 * * * *\" --etcd-cacert ca.crt --etcd-cert healthcheck-client.crt \\\n"
      "      --etcd-key healthcheck-client.key");
  on_parsed(*verb, action, arguments, create);
}

}  // namespace

void add_policy(CLI::App& root, Action& action) {
  CLI::App* group = root.add_subcommand("policy", "Make and delete MetadataBackupPolicies");
  group->require_subcommand(1);
  group->footer(
      "Examples:\n"
      "  kubectl kubedr policy create hourly --location local-minio --schedule \"0 * * * *\"\n"
      "  kubectl kubedr policy delete hourly");
  // Shared with the callbacks, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  add_create(*group, action, arguments);

  CLI::App* verb = group->add_subcommand(
      "delete", "Delete a MetadataBackupPolicy and its CronJob; snapshots and records stay");
  verb->add_option("POLICY", arguments->policy.name, "Name of the MetadataBackupPolicy")
      ->required();
  verb->add_flag("--delete-secret", arguments->delete_secret, "The Secret of etcd too");
  verb->footer("Examples:\n  kubectl kubedr policy delete hourly");
  on_parsed(*verb, action, arguments, remove);
}

}  // namespace kubedr::cmd
