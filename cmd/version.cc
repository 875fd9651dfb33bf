#include "version.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/wire.h"
#include "workflow/versions.h"

namespace kubedr::cmd {
namespace {

using workflow::ServerVersion;

// The API server is asked first: where it does not answer, nobody knows of the others.
std::vector<ServerVersion> ask_servers(const Context& context) {
  const Wired wired(context);
  std::vector<ServerVersion> servers;
  if (wired.services().cluster.has_api_server()) servers.push_back(api_server_version(context));
  for (ServerVersion& one : workflow::server_versions(wired.services(), context.call)) {
    servers.push_back(std::move(one));
  }
  return servers;
}

Json result_json(const std::vector<ServerVersion>& servers, bool asked) {
  Json result = {{"version", kVersion}};
  if (!asked) return result;
  result["servers"] = Json::array();
  for (const ServerVersion& one : servers) {
    result["servers"].push_back({{"of", one.of},
                                 {"name", one.name},
                                 {"where", one.where},
                                 {"version", one.version},
                                 {"error", one.error}});
  }
  return result;
}

std::string result_text(const std::vector<ServerVersion>& servers, bool with_headers) {
  if (servers.empty()) return "";
  Table table({"SERVER", "NAME", "VERSION", "WHERE"});
  for (const ServerVersion& one : servers) {
    table.add({one.of, one.name.empty() ? "<none>" : one.name,
               one.version.empty() ? "<unknown>" : printable(one.version), printable(one.where)});
  }
  return "\n" + table.text(with_headers);
}

int run(bool server, const Context& context) {
  // Ours is known whoever answers.
  if (!context.as_document()) context.print(fmt::format("kubectl-kubedr {}\n", kVersion));
  const std::vector<ServerVersion> servers =
      server ? ask_servers(context) : std::vector<ServerVersion>();
  context.print(context.as_document() ? document(result_json(servers, server), context.flags.output)
                                      : result_text(servers, !context.flags.no_headers));
  std::string unanswered;
  for (const ServerVersion& one : servers) {
    if (!one.error.empty()) unanswered += fmt::format("warning: {}\n", printable(one.error));
  }
  context.remark(unanswered);
  return unanswered.empty() ? 0 : exit_code(ErrorKind::unavailable);
}

}  // namespace

void add_version(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand("version", "Print the version, and those of the servers");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto server = std::make_shared<bool>(false);
  verb->add_flag("--server", *server, "Ask the API server, every etcd and every repository too");
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr version\n"
      "  kubectl kubedr version --server -o json\n\n"
      "Exit codes: 0 done, 20 somebody did not answer, 21 the API server does not let us.");
  on_parsed(*verb, action, server, run);
}

}  // namespace kubedr::cmd
