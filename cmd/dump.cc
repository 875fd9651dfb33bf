#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "base/error.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/wire.h"
#include "workflow/browse.h"

namespace kubedr::cmd {
namespace {

struct Arguments {
  workflow::BrowseRequest request;
  std::string path;
};

void write_out(ByteView bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size()) return;
  throw Error(ErrorKind::failed, "stdout: write: " + std::generic_category().message(errno));
}

int run(const Arguments& arguments, const Context& context) {
  if (isatty(STDOUT_FILENO) == 1) {
    throw Error(ErrorKind::usage, "dump: stdout is a terminal, and the file may not be text",
                "pipe it, or send it to a file with >");
  }
  const Wired wired(context);
  workflow::dump_file(wired.services(), arguments.request, arguments.path, write_out, context.call);
  if (std::fflush(stdout) != 0) {
    throw Error(ErrorKind::failed, "stdout: write: " + std::generic_category().message(errno));
  }
  return 0;
}

}  // namespace

void add_dump(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand("dump", "Write one file of a snapshot to stdout");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  verb->add_option("SNAPSHOT", arguments->request.snapshot,
                   "A record's name, a snapshot's id or the start of one, or latest")
      ->required();
  verb->add_option("PATH", arguments->path, "The file's path in the snapshot")->required();
  add_whose_flags(*verb, arguments->request.whose);
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr dump latest /data/etcd-snapshot.db > etcd.db\n"
      "  kubectl kubedr dump mbr-83a71b2c /data/etcd-snapshot.db | gzip > etcd.db.gz");
  verb->callback([&action, arguments] {
    action = [arguments](const Context& context) { return run(*arguments, context); };
  });
}

}  // namespace kubedr::cmd
