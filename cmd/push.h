#ifndef KUBEDR_CMD_PUSH_H
#define KUBEDR_CMD_PUSH_H

#include <string>

#include "base/call.h"
#include "cmd/environment.h"

namespace kubedr::cmd {

// Where a Pushgateway takes metrics: "http://gateway:9091" means its job kubedr.
//
// errors   usage: no URL, or one with a password
std::string push_address(const std::string& url);

// Puts metrics, in the text format, to a Pushgateway: in place of all that was pushed before under
// the same job, `kubedr` where the URL names none.
//
// errors   usage: a URL that is none, or with a password in it; denied, unavailable; failed: the
//          gateway's own words
void push(const std::string& url, const std::string& metrics, const Environment& environment,
          const Call& call);

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_PUSH_H
