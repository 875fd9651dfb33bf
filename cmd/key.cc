#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "base/time.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"
#include "workflow/maintain.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::Whose whose;
  std::string id;
  std::string password_file;
  std::string user;
  std::string host;
};

Secret new_password(const Arguments& arguments, const Context& context) {
  return arguments.password_file.empty() ? context.ask_new_password()
                                         : read_secret(arguments.password_file);
}

Json key_json(const repo::SavedKey& key) {
  return {{"id", key.id.hex()},
          {"current", key.current},
          {"userName", key.username},
          {"hostName", key.hostname},
          {"created", format_rfc3339_nano(key.created)}};
}

int list(const Arguments& arguments, const Context& context) {
  const Wired wired(context);
  const workflow::KeysReport report =
      workflow::list_keys(wired.services(), arguments.whose, context.call);
  context.remark(join(report.damaged, "\n") + (report.damaged.empty() ? "" : "\n"));
  if (context.as_document()) {
    Json keys = Json::array();
    for (const repo::SavedKey& key : report.keys) keys.push_back(key_json(key));
    context.print(document(
        {{"repository", report.repository_url}, {"keys", keys}, {"damaged", report.damaged}},
        context.flags.output));
    return 0;
  }
  Table table({"ID", "USER", "HOST", "CREATED"});
  for (const repo::SavedKey& key : report.keys) {
    table.add({(key.current ? "*" : " ") + key.id.short_hex(), printable(key.username),
               printable(key.hostname), format_table_time(key.created)});
  }
  context.print(table.text(!context.flags.no_headers));
  if (report.keys.size() == 1) {
    context.remark("one key only: add another with `key add`, and keep its password in a safe\n");
  }
  return 0;
}

int report_key(const char* what, const repo::KeyId& id, const Context& context) {
  if (context.as_document()) {
    context.print(document({{what, id.hex()}}, context.flags.output));
  } else {
    context.print(fmt::format("{} key {}\n", what, id.short_hex()));
  }
  return 0;
}

int add(const Arguments& arguments, const Context& context) {
  const Wired wired(context);
  const Secret password = new_password(arguments, context);
  return report_key("saved",
                    workflow::add_key(wired.services(), arguments.whose, password, arguments.user,
                                      arguments.host, context.call),
                    context);
}

int remove(const Arguments& arguments, const Context& context) {
  const Wired wired(context);
  if (!context.confirm(
          fmt::format("Remove key {}? Its password will open nothing any more.", arguments.id))) {
    context.print("nothing was changed\n");
    return 0;
  }
  return report_key(
      "removed",
      workflow::remove_key(wired.services(), arguments.whose, arguments.id, context.call), context);
}

using Work = int (*)(const Arguments&, const Context&);

void act(CLI::App& verb, Action& action, const std::shared_ptr<Arguments>& arguments, Work work) {
  add_whose_flags(verb, arguments->whose);
  on_parsed(verb, action, arguments, work);
}

}  // namespace

void add_key(CLI::App& root, Action& action) {
  CLI::App* group = root.add_subcommand("key", "The passwords that open a repository");
  group->require_subcommand(1);
  group->footer(
      "Examples:\n"
      "  kubectl kubedr key list\n"
      "  kubectl kubedr key add --new-password-file escrow.txt");
  // Shared with the callbacks, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* list_verb = group->add_subcommand("list", "List the keys");
  list_verb->footer("Examples:\n  kubectl kubedr key list --location local-minio");
  act(*list_verb, action, arguments, list);

  CLI::App* add_verb = group->add_subcommand("add", "Add a key with a password of its own");
  add_verb->add_option("--new-password-file", arguments->password_file,
                       "File with the new password; else it is asked for");
  // As restic's; kubectl's of that name is had before the verb: `kubedr --user admin key add`.
  add_verb
      ->add_option("--user", arguments->user,
                   "Name in the key file instead of yours (kubectl's --user goes before the verb)")
      ->type_name("NAME");
  add_verb->add_option("--host", arguments->host, "Host in the key file instead of this one");
  add_verb->footer(
      "Examples:\n"
      "  kubectl kubedr key add --location local-minio\n"
      "  kubectl kubedr key add --new-password-file escrow.txt");
  act(*add_verb, action, arguments, add);

  CLI::App* remove_verb = group->add_subcommand("remove", "Remove a key");
  remove_verb->add_option("ID", arguments->id, "The key's id, or the start of it")
      ->type_name("KEY")
      ->required();
  remove_verb->footer("Examples:\n  kubectl kubedr key remove 3f2a91c0");
  act(*remove_verb, action, arguments, remove);
}

}  // namespace kubedr::cmd
