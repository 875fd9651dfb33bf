#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

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
  FilterFlags filter;
  std::string sort = "name";
  bool reverse = false;
  bool is_long = false;
  bool human_readable = false;
};

struct Listed {
  std::string path;
  repo::Node node;
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

Json node_json(const Listed& listed) {
  const repo::Node& node = listed.node;
  Json json = {{"path", listed.path},
               {"type", type_name(node.type)},
               {"mode", fmt::format("{:04o}", repo::permissions_of(node.mode))},
               {"uid", node.uid},
               {"gid", node.gid},
               {"size", node.size},
               {"mtime", format_rfc3339_nano(node.mtime)}};
  if (!node.link_target.empty()) json["linkTarget"] = node.link_target;
  return json;
}

std::string node_text(const Listed& listed, bool is_long, bool human_readable) {
  const repo::Node& node = listed.node;
  std::string name = printable(listed.path);
  if (!is_long) return name + "\n";
  if (!node.link_target.empty()) name += " -> " + printable(node.link_target);
  const std::string size = human_readable ? human_size(node.size) : std::to_string(node.size);
  return fmt::format("{:<8} {:04o} {:>5} {:>5} {:>12} {} {}\n", type_name(node.type),
                     repo::permissions_of(node.mode), node.uid, node.gid, size,
                     format_table_time(node.mtime), name);
}

// ".db"; of ".profile" all of it, as restic sees it.
std::string extension_of(const std::string& path) {
  const std::string name = path.substr(path.find_last_of('/') + 1);
  const std::size_t dot = name.find_last_of('.');
  return dot == std::string::npos ? "" : name.substr(dot);
}

// By name they are in the order of the trees.
//
// source   restic cmd/restic/cmd_ls.go
void sort_by(const std::string& mode, std::vector<Listed>& nodes) {
  const auto sort = [&](const auto& key) {
    std::sort(nodes.begin(), nodes.end(), [&](const Listed& a, const Listed& b) {
      return std::tuple(key(a), a.path) < std::tuple(key(b), b.path);
    });
  };
  if (mode == "size") sort([](const Listed& listed) { return listed.node.size; });
  if (mode == "mtime" || mode == "time") {
    sort([](const Listed& listed) { return listed.node.mtime; });
  }
  if (mode == "atime") sort([](const Listed& listed) { return listed.node.atime; });
  if (mode == "ctime") sort([](const Listed& listed) { return listed.node.ctime; });
  if (mode == "extension") sort([](const Listed& listed) { return extension_of(listed.path); });
}

int run(Arguments arguments, const Context& context) {
  arguments.request.choice.filter = filter_of(arguments.filter);
  const Wired wired(context);
  std::vector<Listed> nodes;
  const workflow::Listing listing = workflow::list_files(
      wired.services(), arguments.request,
      [&](const std::string& path, const repo::Node& node) {
        nodes.push_back({path, node});
        nodes.back().node.content = {};  // of a large file that is much
      },
      context.call);
  sort_by(arguments.sort, nodes);
  if (arguments.reverse) std::reverse(nodes.begin(), nodes.end());
  if (context.as_document()) {
    Json list = Json::array();
    for (const Listed& listed : nodes) list.push_back(node_json(listed));
    context.print(document({{"repository", listing.repository_url},
                            {"snapshotId", listing.snapshot.saved.id.hex()},
                            {"nodes", list}},
                           context.flags.output));
    return 0;
  }
  const repo::SavedSnapshot& saved = listing.snapshot.saved;
  context.remark(fmt::format("snapshot {} of {} UTC:\n", saved.id.short_hex(),
                             format_table_time(saved.snapshot.time)));
  const bool is_long = arguments.is_long || context.flags.output == "wide";
  std::string text;
  for (const Listed& listed : nodes) text += node_text(listed, is_long, arguments.human_readable);
  context.print(text);
  return 0;
}

}  // namespace

void add_ls(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand("ls", "List the files in a snapshot");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  workflow::ListRequest& request = arguments->request;
  verb->add_option("SNAPSHOT", request.choice.snapshot,
                   "A record's name, a snapshot's id or the start of one, or latest")
      ->required();
  verb->add_option("PATH", request.paths, "Only these and what is directly in them");
  verb->add_flag("--recursive", request.recursive, "What is in the folders of PATH too");
  verb->add_flag("-l,--long", arguments->is_long, "With mode, owner, size and time, as -o wide");
  verb->add_flag("--human-readable", arguments->human_readable, "With sizes such as 1.5 MiB");
  verb->add_option("--sort", arguments->sort,
                   "By name, size, time (or mtime), atime, ctime or extension; name if nothing is "
                   "said")
      ->check(CLI::IsMember({"name", "size", "time", "mtime", "atime", "ctime", "extension"}));
  verb->add_flag("--reverse", arguments->reverse, "The last one first");
  add_whose_flags(*verb, request.choice.whose);
  add_filter_flags(*verb, arguments->filter, Filtered::latest);
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr ls latest --policy nightly\n"
      "  kubectl kubedr ls mbr-83a71b2c /data/certificates --recursive -l\n"
      "  kubectl kubedr ls latest --long --human-readable --sort size --reverse");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
