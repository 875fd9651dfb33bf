#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/wire.h"
#include "workflow/browse.h"

namespace kubedr::cmd {
namespace {

constexpr unsigned kPrivate = 0600;

struct Arguments {
  workflow::SnapshotChoice choice;
  FilterFlags filter;
  std::string path;
  std::string target;
};

void write_out(ByteView bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size()) return;
  throw Error(ErrorKind::failed, "stdout: write: " + std::generic_category().message(errno));
}

void dump_to_stdout(const Arguments& arguments, const Context& context) {
  if (isatty(STDOUT_FILENO) == 1) {
    throw Error(ErrorKind::usage, "dump: stdout is a terminal, and the file may not be text",
                "pipe it, send it to a file with >, or name one with --target");
  }
  const Wired wired(context);
  workflow::dump(wired.services(), arguments.choice, arguments.path, write_out, context.call);
  if (std::fflush(stdout) != 0) {
    throw Error(ErrorKind::failed, "stdout: write: " + std::generic_category().message(errno));
  }
}

void dump_to_file(const Arguments& arguments, const Context& context) {
  std::error_code error;
  const bool is_there = std::filesystem::exists(arguments.target, error);
  if (is_there && !std::filesystem::is_regular_file(arguments.target, error)) {
    throw Error(ErrorKind::usage, arguments.target + ": is no file",
                "name a file, or leave --target out and use >");
  }
  const Wired wired(context);
  // Under another name until it is whole: it may be a key or a database, and half of one looks like
  // one. By chance, and made anew: what somebody else has put there does not get it.
  TemporaryFile file(fmt::format("{}-tmp-{:016x}", arguments.target, context.random.next()),
                     kPrivate);
  workflow::dump(
      wired.services(), arguments.choice, arguments.path,
      [&](ByteView bytes) { file.append(bytes); }, context.call);
  file.finish();
  file.replace(arguments.target);
  sync_directory(std::filesystem::path(arguments.target).parent_path());
}

int run(Arguments arguments, const Context& context) {
  arguments.choice.filter = filter_of(arguments.filter);
  if (arguments.target.empty()) {
    dump_to_stdout(arguments, context);
  } else {
    dump_to_file(arguments, context);
  }
  return 0;
}

}  // namespace

void add_dump(CLI::App& root, Action& action) {
  CLI::App* verb =
      root.add_subcommand("dump", "Write a file of a snapshot to stdout, or a folder as tar");
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto arguments = std::make_shared<Arguments>();
  verb->add_option("SNAPSHOT", arguments->choice.snapshot,
                   "A record's name, a snapshot's id or the start of one, or latest")
      ->required();
  verb->add_option("PATH", arguments->path, "Its path in the snapshot; / is all of it")->required();
  verb->add_option("-t,--target", arguments->target, "Write to this file instead");
  add_whose_flags(*verb, arguments->choice.whose);
  add_filter_flags(*verb, arguments->filter, Filtered::latest);
  verb->footer(
      "Examples:\n"
      "  kubectl kubedr dump latest /data/etcd-snapshot.db > etcd.db\n"
      "  kubectl kubedr dump mbr-83a71b2c /data/etcd-snapshot.db | gzip > etcd.db.gz\n"
      "  kubectl kubedr dump latest /data/certificates | tar -t\n"
      "  kubectl kubedr dump latest /data/etcd-snapshot.db --target etcd.db");
  on_parsed(*verb, action, arguments, run);
}

}  // namespace kubedr::cmd
