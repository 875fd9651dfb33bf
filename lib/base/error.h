#ifndef KUBEDR_BASE_ERROR_H
#define KUBEDR_BASE_ERROR_H

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

namespace kubedr {

enum class ErrorKind {
  usage,           // flags, kubeconfig, a malformed resource, an ambiguous name
  not_found,       // the named thing does not exist
  exists,          // a create met something that is already there
  conflict,        // somebody else changed it in between
  denied,          // authentication or authorisation was refused
  unavailable,     // could not be reached, or no answer in time
  corrupt,         // bytes are not what they must be
  failed,          // anything that has no kind of its own
  no_repository,   // the store is there, a repository is not
  locked,          // somebody else holds a lock that excludes ours
  wrong_password,  // no key of the repository opens with it
  findings,        // the question was answered, and the answer is bad
  interrupted,     // SIGINT
  terminated,      // SIGTERM
  internal,        // a bug of ours
};

// The one exception type. The text says `where: what failed: why`; the hint what to do next.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& what, std::string hint = {});

  ErrorKind kind() const noexcept { return kind_; }

  // What the operator can do next; may be empty.
  const std::string& hint() const noexcept { return hint_; }

  // How the failure arrived over a network. A request that may have arrived may have been carried
  // out; only an idempotent one is safe to send again.
  struct Transport {
    bool transient = false;
    bool may_have_arrived = true;
    std::optional<std::chrono::seconds> retry_after = std::nullopt;
  };

  const Transport& transport() const noexcept { return transport_; }

  Error& with(const Transport& transport);

 private:
  ErrorKind kind_;
  std::string hint_;
  Transport transport_;
};

// The numbers of the exit code table; 3 (the backup is safe, a later step is not) is no error kind.
int exit_code(ErrorKind kind) noexcept;

// The kind's name as `-o json` prints it, e.g. "wrong_password".
const char* to_string(ErrorKind kind) noexcept;

// Whether sending the same request again is both promising and harmless.
bool may_retry(const Error& error, bool idempotent) noexcept;

}  // namespace kubedr

#endif  // KUBEDR_BASE_ERROR_H
