#ifndef KUBEDR_KUBE_PROGRAM_H
#define KUBEDR_KUBE_PROGRAM_H

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/call.h"

namespace kubedr::kube {

// Somebody else's program, to be run for what it writes to stdout.
struct Program {
  std::filesystem::path path;
  std::vector<std::string> arguments;    // without its own name
  std::vector<std::string> environment;  // "NAME=VALUE", all that it gets to see
  bool reads_input = false;              // it is given our stdin, else an empty one
};

struct ProgramEnd {
  int code = 0;  // -1: a signal ended it
  Bytes output;
};

// Runs the program to its end. It writes to our stderr and inherits no other descriptor. Its end is
// what is waited for: who still holds its stdout, a helper in the background, does not count.
//
// errors   failed: it cannot be started; corrupt: it writes more than `max_output` bytes;
//          what require_live throws: then it is ended first, with all of its process group. Where
//          we have a terminal it stays in our group, so that it may ask there and the terminal's
//          own Ctrl-C and Ctrl-Z reach all of it, as with kubectl
ProgramEnd run_program(const Program& program, std::size_t max_output, const Call& call);

// The file that a shell would run for that name; empty: none. A name with a slash is a path; only
// absolute folders of PATH count.
std::filesystem::path find_program(const std::string& name, const std::string& path_variable);

}  // namespace kubedr::kube

#endif  // KUBEDR_KUBE_PROGRAM_H
