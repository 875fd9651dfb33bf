#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "base/time.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"
#include "workflow/browse.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::ListRequest request;
  bool is_long = false;
};

const char* type_name(repo::NodeType type) {
  switch (type) {
  case repo::NodeType::file:
    return "file";
  case repo::NodeType::dir:
    return "dir";
  case repo::NodeType::symlink:
    return "symlink";
  case repo::NodeType::dev:
    return "dev";
  case repo::NodeType::chardev:
    return "chardev";
  case repo::NodeType::fifo:
    return "fifo";
  case repo::NodeType::socket:
    return "socket";
  case repo::NodeType::irregular:
    return "irregular";
  }
  return "irregular";
}

Json node_json(const std::string& path, const repo::Node& node) {
  Json json = {{"path", path},
               {"type", type_name(node.type)},
               {"mode", fmt::format("{:04o}", repo::permissions_of(node.mode))},
               {"uid", node.uid},
               {"gid", node.gid},
               {"size", node.size},
               {"mtime", format_rfc3339_nano(node.mtime)}};
  if (!node.link_target.empty()) json["linkTarget"] = node.link_target;
  return json;
}

std::string node_text(const std::string& path, const repo::Node& node, bool is_long) {
  std::string name = printable(path);
  if (!is_long) return name + "\n";
  if (!node.link_target.empty()) name += " -> " + printable(node.link_target);
  return fmt::format("{:<8} {:04o} {:>5} {:>5} {:>12} {} {}\n", type_name(node.type),
                     repo::permissions_of(node.mode), node.uid, node.gid, node.size,
                     format_table_time(node.mtime), name);
}

int run(const Arguments& arguments, const Context& context) {
  const Wired wired(context);
  Json nodes = Json::array();
  std::string text;
  const bool is_long = arguments.is_long || context.flags.output == "wide";
  const workflow::Listing listing = workflow::list_files(
      wired.services(), arguments.request,
      [&](const std::string& path, const repo::Node& node) {
        if (context.as_document()) {
          nodes.push_back(node_json(path, node));
        } else {
          text += node_text(path, node, is_long);
        }
      },
      context.call);
  if (context.as_document()) {
    context.print(document({{"repository", listing.repository_url},
                            {"snapshotId", listing.snapshot.saved.id.hex()},
                            {"nodes", nodes}},
                           context.flags.output));
    return 0;
  }
  const repo::SavedSnapshot& saved = listing.snapshot.saved;
  context.remark(fmt::format("snapshot {} of {} UTC:\n", saved.id.short_hex(),
                             format_table_time(saved.snapshot.time)));
  context.print(text);
  return 0;
}

}  // namespace

void add_ls(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand("ls", "List the files in a snapshot");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  workflow::ListRequest& request = arguments->request;
  verb->add_option("SNAPSHOT", request.browse.snapshot,
                   "A record's name, a snapshot's id or the start of one, or latest")
      ->required();
  verb->add_option("PATH", request.paths, "Only these and what is directly in them");
  verb->add_flag("--recursive", request.recursive, "What is in the folders of PATH too");
  verb->add_flag("-l,--long", arguments->is_long, "With mode, owner, size and time, as -o wide");
  add_whose_flags(*verb, request.browse.whose);
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr ls latest --policy nightly\n"
      "  kubectl kubedr ls mbr-83a71b2c /data/certificates --recursive -l");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
