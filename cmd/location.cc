#include "workflow/location.h"

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
  workflow::NewLocation location;
  std::string access_key_file;
  std::string secret_key_file;
  std::string password_file;
  std::string region;
  std::string bucket_lookup;
  std::string ca_file;
  std::string dry_run = "none";
  bool delete_secret = false;
};

Secret asked(const std::string& what, bool hidden, const char* otherwise, const Context& context) {
  std::optional<Secret> answer = ask(what + ": ", hidden, context.call);
  if (!answer) {
    throw Error(ErrorKind::usage, "there is no terminal to ask for the " + what, otherwise);
  }
  if (answer->empty()) throw Error(ErrorKind::usage, "an empty " + what + " is none", otherwise);
  return std::move(*answer);
}

Secret access_key(const Arguments& arguments, const Context& context) {
  if (!arguments.access_key_file.empty()) return read_secret(arguments.access_key_file);
  const std::string& given = context.environment.first({"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"});
  if (!given.empty()) return Secret(given);
  return asked("access key", false, "give it with --access-key-file or AWS_ACCESS_KEY_ID", context);
}

Secret secret_key(const Arguments& arguments, const Context& context) {
  if (!arguments.secret_key_file.empty()) return read_secret(arguments.secret_key_file);
  const std::string& given = context.environment.first({"AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"});
  if (!given.empty()) return Secret(given);
  return asked("secret key", true, "give it with --secret-key-file or AWS_SECRET_ACCESS_KEY",
               context);
}

Secret password(const Arguments& arguments, const Context& context) {
  const std::string& file = arguments.password_file.empty()
                                ? context.environment.get("RESTIC_PASSWORD_FILE")
                                : arguments.password_file;
  if (!file.empty()) return read_secret(file);
  const Secret given = context.environment.secret("RESTIC_PASSWORD");
  return given.empty() ? context.ask_new_password() : given;
}

cluster::SecretData keys_of(const Arguments& arguments, const Context& context) {
  cluster::SecretData keys;
  keys.emplace("access_key", access_key(arguments, context));
  keys.emplace("secret_key", secret_key(arguments, context));
  keys.emplace("restic_repo_password", password(arguments, context));
  const auto add = [&](const char* key, Secret value) {
    if (!value.empty()) keys.emplace(key, std::move(value));
  };
  add("session_token", context.environment.secret("AWS_SESSION_TOKEN"));
  add("region", Secret(arguments.region));
  add("bucket_lookup", Secret(arguments.bucket_lookup));
  if (!arguments.ca_file.empty()) add("ca.crt", read_secret(arguments.ca_file));
  return keys;
}

int create(Arguments arguments, const Context& context) {
  workflow::NewLocation& location = arguments.location;
  if (location.credentials.empty()) {
    location.credentials = location.name + "-credentials";
    location.keys = keys_of(arguments, context);
  }
  if (arguments.dry_run == "client") {
    context.print(objects_text(workflow::location_objects(name_space_of(context), location),
                               context.flags.output));
    return 0;
  }
  const Wired wired(context);
  require_cluster(wired.services(), "location create",
                  "--dry-run=client -o yaml prints the objects");
  const workflow::CreateReport report =
      workflow::create_location(wired.services(), location, context.call);
  const int code = print_created(report, context);
  if (!context.as_document()) {
    context.remark(fmt::format("next: kubectl kubedr init {}\n", location.name));
  }
  return code;
}

int remove(Arguments arguments, const Context& context) {
  const Wired wired(context);
  require_cluster(wired.services(), "location delete", "");
  return print_deleted(
      workflow::delete_location(wired.services(), arguments.location.name, arguments.delete_secret,
                                agree_to_delete(context, "the repository"), context.call),
      context);
}

void add_create(CLI::App& group, Action& action, const std::shared_ptr<Arguments>& arguments) {
  CLI::App* verb =
      group.add_subcommand("create", "Make a BackupLocation and the Secret with its keys");
  workflow::NewLocation& location = arguments->location;
  verb->add_option("NAME", location.name, "Name of the BackupLocation")->required();
  verb->add_option("--url", location.url, "S3 end point, e.g. https://minio:9000")->required();
  verb->add_option("--bucket", location.bucket, "Name of the bucket")->required();
  verb->add_option("--credentials", location.credentials,
                   "A Secret that is there already; else NAME-credentials is made");
  verb->add_option("--access-key-file", arguments->access_key_file,
                   "File with the access key (AWS_ACCESS_KEY_ID); else it is asked for")
      ->type_name("FILE");
  verb->add_option("--secret-key-file", arguments->secret_key_file,
                   "File with the secret key (AWS_SECRET_ACCESS_KEY); else it is asked for")
      ->type_name("FILE");
  verb->add_option("--new-password-file", arguments->password_file,
                   "File with the repository's password (RESTIC_PASSWORD, RESTIC_PASSWORD_FILE); "
                   "else it is asked for")
      ->type_name("FILE");
  verb->add_option("--region", arguments->region, "S3 region, where the end point wants one");
  verb->add_option("--bucket-lookup", arguments->bucket_lookup, "auto, path or dns")
      ->check(CLI::IsMember({"auto", "path", "dns"}));
  verb->add_option("--ca-file", arguments->ca_file, "File with the end point's CA")
      ->type_name("FILE");
  verb->add_option("--dry-run", arguments->dry_run, "client: print the objects and make nothing")
      ->check(CLI::IsMember({"none", "client"}));
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr location create offsite --url https://minio:9000 --bucket etcd\n"
      "  kubectl kubedr location create offsite --url https://minio:9000 --bucket etcd \\\n"
      "      --credentials minio-creds\n"
      "  kubectl kubedr location create offsite --url https://minio:9000 --bucket etcd \\\n"
      "      --new-password-file pw --dry-run=client -o yaml");
  on_parsed(*verb, action, arguments, create);
}

}  // namespace

void add_location(CLI::App& root, Action& action) {
  CLI::App* group = root.add_subcommand("location", "Make and delete BackupLocations");
  group->require_subcommand(1);
  group->footer(
      "Examples:\n"
      "  kubectl kubedr location create offsite --url https://minio:9000 --bucket etcd\n"
      "  kubectl kubedr location delete offsite");
  // Shared with the callbacks, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  add_create(*group, action, arguments);

  CLI::App* verb = group->add_subcommand(
      "delete", "Delete a BackupLocation; its repository and the records stay");
  verb->add_option("LOCATION", arguments->location.name, "Name of the BackupLocation")->required();
  verb->add_flag("--delete-secret", arguments->delete_secret,
                 "The Secret too: be sure that you have the repository's password elsewhere");
  verb->footer("Examples:\n  kubectl kubedr location delete offsite");
  on_parsed(*verb, action, arguments, remove);
}

}  // namespace kubedr::cmd
