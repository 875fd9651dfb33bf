#include "base/error.h"

#include <utility>

namespace kubedr {

Error::Error(ErrorKind kind, const std::string& what, std::string hint)
    : std::runtime_error(what), kind_(kind), hint_(std::move(hint)) {}

Error& Error::with(const Transport& transport) {
  transport_ = transport;
  return *this;
}

int exit_code(ErrorKind kind) noexcept {
  switch (kind) {
  case ErrorKind::usage:
    return 2;
  case ErrorKind::not_found:
    return 4;
  case ErrorKind::findings:
    return 5;
  case ErrorKind::no_repository:
    return 10;
  case ErrorKind::locked:
    return 11;
  case ErrorKind::wrong_password:
    return 12;
  case ErrorKind::unavailable:
    return 20;
  case ErrorKind::denied:
    return 21;
  case ErrorKind::corrupt:
    return 22;
  case ErrorKind::interrupted:
    return 130;
  case ErrorKind::terminated:
    return 143;
  case ErrorKind::exists:
  case ErrorKind::conflict:
  case ErrorKind::failed:
  case ErrorKind::internal:
    return 1;
  }
  return 1;
}

const char* to_string(ErrorKind kind) noexcept {
  switch (kind) {
  case ErrorKind::usage:
    return "usage";
  case ErrorKind::not_found:
    return "not_found";
  case ErrorKind::exists:
    return "exists";
  case ErrorKind::conflict:
    return "conflict";
  case ErrorKind::denied:
    return "denied";
  case ErrorKind::unavailable:
    return "unavailable";
  case ErrorKind::corrupt:
    return "corrupt";
  case ErrorKind::failed:
    return "failed";
  case ErrorKind::no_repository:
    return "no_repository";
  case ErrorKind::locked:
    return "locked";
  case ErrorKind::wrong_password:
    return "wrong_password";
  case ErrorKind::findings:
    return "findings";
  case ErrorKind::interrupted:
    return "interrupted";
  case ErrorKind::terminated:
    return "terminated";
  case ErrorKind::internal:
    return "internal";
  }
  return "internal";
}

bool may_retry(const Error& error, bool idempotent) noexcept {
  if (!error.transport().transient) return false;
  return idempotent || !error.transport().may_have_arrived;
}

}  // namespace kubedr
