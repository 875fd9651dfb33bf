#include "support/restic.h"

#include <doctest/doctest.h>

#include "support/server.h"
#include "support/temp_dir.h"

namespace kubedr::test {

RunResult restic(const std::string& version, const std::vector<std::string>& args,
                 const std::map<std::string, std::string>& env, const std::string& input) {
  static const TempDir home;
  std::vector<std::string> argv = {find_server("restic-" + version)};
  argv.insert(argv.end(), args.begin(), args.end());
  ProcessOptions options;
  options.env = env;
  options.env.emplace("HOME", home.path());
  options.env.emplace("RESTIC_PROGRESS_FPS", "0");
  options.input = input;
  return run(argv, options, std::chrono::minutes(5));
}

void check_restic_finds_nothing(const std::string& version,
                                const std::map<std::string, std::string>& env) {
  const RunResult check = restic(version, {"check", "--read-data"}, env);
  const std::string said = check.out + check.err;
  CHECK_MESSAGE(check.ok(), said);
  CHECK_MESSAGE(said.find("no errors were found") != std::string::npos, said);
  for (const char* hint : {"mix", "not referenced", "several indexes", "additional files",
                           "rebuild-index", "repair", "prune", "duplicate", "arning"}) {
    CHECK_MESSAGE(said.find(hint) == std::string::npos, said);
  }
}

}  // namespace kubedr::test
