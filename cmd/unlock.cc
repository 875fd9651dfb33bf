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
  bool remove_all = false;
};

Json result_json(const workflow::UnlockReport& report) {
  Json removed = Json::array();
  for (const repo::LockId& id : report.removed) removed.push_back(id.hex());
  Json kept = Json::array();
  for (const repo::SavedLock& lock : report.kept) {
    kept.push_back({{"id", lock.id.hex()},
                    {"time", format_rfc3339_nano(lock.info.time)},
                    {"exclusive", lock.info.exclusive},
                    {"hostname", lock.info.hostname},
                    {"username", lock.info.username},
                    {"pid", lock.info.pid}});
  }
  return {{"repository", report.repository_url}, {"removed", removed}, {"kept", kept}};
}

std::string result_text(const workflow::UnlockReport& report, const Context& context) {
  std::string text;
  for (const repo::SavedLock& lock : report.kept) {
    text += fmt::format("kept {}: {}lock by PID {} on {}, {} old\n", lock.id.short_hex(),
                        lock.info.exclusive ? "exclusive " : "", lock.info.pid,
                        printable(lock.info.hostname), age(lock.info.time, context.clock.now()));
  }
  if (report.removed.empty()) return text + "no stale locks\n";
  return text + fmt::format("successfully removed {}\n", number_of(report.removed.size(), "lock"));
}

int run(const Arguments& arguments, const Context& context) {
  const Wired wired(context);
  const workflow::UnlockReport report =
      workflow::unlock(wired.services(), arguments.whose, arguments.remove_all, context.call);
  context.print(context.as_document() ? document(result_json(report), context.flags.output)
                                      : result_text(report, context));
  return 0;
}

}  // namespace

void add_unlock(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand("unlock", "Remove locks whose holders are gone");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  add_whose_flags(*verb, arguments->whose);
  verb->add_flag("--remove-all", arguments->remove_all,
                 "Every lock: only when surely nobody works on the repository");
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr unlock --location local-minio\n"
      "  kubectl kubedr unlock --remove-all");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
