#include "support/restic.h"

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

}  // namespace kubedr::test
