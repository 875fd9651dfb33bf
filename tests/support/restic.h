#ifndef KUBEDR_SUPPORT_RESTIC_H
#define KUBEDR_SUPPORT_RESTIC_H

#include <map>
#include <string>
#include <vector>

#include "support/process.h"

namespace kubedr::test {

// Runs the real restic, version "0.11", "0.14" or "0.18", with a home and cache of this test
// process. The repository comes with `env` (RESTIC_REPOSITORY, RESTIC_PASSWORD, AWS_...) or `-r`.
RunResult restic(const std::string& version, const std::vector<std::string>& args,
                 const std::map<std::string, std::string>& env = {}, const std::string& input = {});

// Its `check --read-data`: nothing wrong, and nothing that it would rather have otherwise.
void check_restic_finds_nothing(const std::string& version,
                                const std::map<std::string, std::string>& env);

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_RESTIC_H
