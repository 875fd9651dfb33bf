#ifndef KUBEDR_CMD_CONTEXT_H
#define KUBEDR_CMD_CONTEXT_H

#include <string>
#include <vector>

#include "base/call.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/secret.h"
#include "cmd/environment.h"
#include "cmd/flags.h"
#include "cmd/signals.h"
#include "cmd/terminal.h"
#include "workflow/steps.h"

namespace kubedr::cmd {

// What every verb is given; borrowed for the length of its run.
struct Context {
  const Flags& flags;
  const Environment& environment;
  const Terminal& terminal;
  const Clock& clock;
  Random& random;
  const Call& call;
  Signals& signals;

  bool as_document() const { return flags.output == "json" || flags.output == "yaml"; }

  // The result, to stdout; everything else goes to stderr. False where nobody reads it any more.
  //
  // errors   failed: stdout cannot be written to (a full disk); a closed pipe is no error
  bool print(const std::string& text) const;

  // The result of work that is safe, whoever may hear of it: a stdout that fails is a failed step.
  void print_committed(const std::string& text, const std::string& remedy,
                       std::vector<workflow::FailedStep>& failed) const;

  // Asks on the terminal; true with --yes. No answer for two minutes ends it: others may be waiting
  // for a lock that is held meanwhile.
  //
  // errors   usage: there is no terminal to ask on, and no --yes; unavailable: nobody answers
  bool confirm(const std::string& question) const;

  // A new password, asked for twice and not shown.
  //
  // errors   usage: no terminal, an empty one, or the two differ
  Secret ask_new_password() const;

  // Remarks for people: not with -q.
  void remark(const std::string& text) const;

  // What a question is about, to stderr, whatever -q says.
  void show(const std::string& text) const;
};

// A password or key from a file, as restic reads it: white space around it is no part of it, nor is
// a byte order mark before it.
//
// errors   not_found, denied
Secret read_secret(const std::string& file);

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_CONTEXT_H
