#include <fcntl.h>
#include <fmt/core.h>
#include <malloc.h>
#include <nss.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>

#include "base/error.h"
#include "base/log.h"
#include "cmd/context.h"
#include "cmd/environment.h"
#include "cmd/flags.h"
#include "cmd/print.h"
#include "cmd/signals.h"
#include "cmd/terminal.h"

namespace {

using namespace kubedr;

// Passwords and keys are in memory: no core dump, and no look into it by others of our user.
void protect_memory() {
  prctl(PR_SET_DUMPABLE, 0);
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
}

// The number of a stream that is closed would go to the next file that is opened: a log line would
// end up in a repository's file or in a connection.
void open_closed_streams() {
  for (int stream = 0; stream <= 2; ++stream) {
    if (fcntl(stream, F_GETFD) < 0) static_cast<void>(open("/dev/null", O_RDWR));
  }
}

void report(const Error& error, bool as_json) {
  const std::string text = as_json ? cmd::error_json(error) : cmd::describe(error);
  std::fputs(text.c_str(), stderr);
}

Error bug(const std::exception& error) {
  return Error(ErrorKind::internal, fmt::format("internal error: {}", error.what()),
               "this is a bug: please report it with the output of -v=2");
}

int run(const cmd::Flags& flags, const cmd::Environment& environment, const cmd::Terminal& terminal,
        const cmd::Action& action) {
  const SystemClock clock;
  SystemRandom random;
  CallScope scope{Call(clock)};
  cmd::Signals signals(scope);
  const cmd::Context context{flags, environment, terminal, clock, random, scope.call(), signals};
  return action(context);
}

int parse_and_run(int argc, char** argv) {
  CLI::App root;
  cmd::Flags flags;
  cmd::Action action;
  cmd::describe_command_line(root, flags, action);
  std::vector<std::string> arguments = cmd::normalize_arguments(argc, argv);
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants it
    root.parse(reversed);
  } catch (const CLI::CallForHelp& help) {
    return root.exit(help);
  } catch (const CLI::ParseError& error) {
    report(cmd::explain_parse_error(root, error, arguments), cmd::asks_for_json(arguments));
    return exit_code(ErrorKind::usage);
  }
  flags.kube.token = Secret(flags.token);
  flags.kube.password = Secret(flags.password);
  wipe(flags.token.data(), flags.token.size());
  wipe(flags.password.data(), flags.password.size());
  const cmd::Environment environment(environ);
  const bool no_color = flags.no_color || !environment.get("NO_COLOR").empty();
  const cmd::Terminal terminal(flags.quiet, no_color, environment.get("TERM") == "dumb");
  log::start(flags.verbosity, flags.quiet, terminal.stderr_is_terminal());
  try {
    return run(flags, environment, terminal, action);
  } catch (const Error& error) {
    report(error, flags.output == "json");
    return exit_code(error.kind());
  } catch (const std::exception& error) {
    report(bug(error), flags.output == "json");
    return exit_code(ErrorKind::internal);
  }
}

// glibc raises this limit as large blocks are freed, and then keeps them: buffers of packs would
// stay with the process long after their pack is stored.
void return_large_blocks() {
  constexpr int kMiB = 1 << 20;
  mallopt(M_MMAP_THRESHOLD, kMiB);
}

// The static program has a C library of its own, which the machine's modules for names (of sssd,
// of systemd) were not made for: it asks files and DNS, and loads none.
void load_no_modules() {
#ifdef KUBEDR_STATIC
  for (const char* kind : {"passwd", "group", "services"}) __nss_configure_lookup(kind, "files");
  __nss_configure_lookup("hosts", "files dns");
#endif
}

}  // namespace

int main(int argc, char** argv) {
  open_closed_streams();
  return_large_blocks();
  load_no_modules();
  protect_memory();
  try {
    return parse_and_run(argc, argv);
  } catch (const Error& error) {
    report(error, false);
    return exit_code(error.kind());
  } catch (const std::exception& error) {
    report(bug(error), false);
    return exit_code(ErrorKind::internal);
  }
}
