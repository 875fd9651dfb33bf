#ifndef KUBEDR_KUBE_EXEC_PLUGIN_H
#define KUBEDR_KUBE_EXEC_PLUGIN_H

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/call.h"
#include "base/json.h"
#include "base/secret.h"
#include "kube/plugin_policy.h"

namespace kubedr::kube {

// A credential plugin as a kubeconfig's user names it: a program that logs in and prints who we
// are then.
struct ExecConfig {
  enum class InteractiveMode { never, if_available, always };

  std::string command;  // a path, or a name to look for in PATH
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> variables;
  std::string api_version;
  std::string install_hint;
  InteractiveMode interactive_mode = InteractiveMode::if_available;
  bool provide_cluster_info = false;

  // Set by load_config:
  PluginPolicy policy;
  std::string cluster_info;              // spec.cluster as JSON; empty: it is told nothing
  std::vector<std::string> environment;  // ours, "NAME=VALUE", as far as it may see it
  bool terminal = false;                 // our stdin is one
};

// `user` is for messages, `folder` the kubeconfig's: a command with a slash starts there.
//
// errors   usage, in kubectl's words: `interactiveMode must be specified for u to use exec
//          authentication plugin`
ExecConfig parse_exec_config(const Json& exec, const std::string& user,
                             const std::filesystem::path& folder);

// Runs a plugin when there are no credentials yet, or those there are have expired.
//
// errors   usage: the program is not there (with its install hint), needs a terminal, or the user's
//          policy does not let it run;
//          denied: it failed, or printed no credentials; what require_live throws. All begin with
//          kubectl's `getting credentials: `
// threads  one thread
// source   client.authentication.k8s.io/v1 and v1beta1
class ExecPlugin {
 public:
  struct Credentials {
    Secret token;                 // may be empty
    std::string certificate_pem;  // may be empty, then so is the key
    Secret key_pem;
    std::optional<WallTime> expires;
  };

  ExecPlugin(ExecConfig config, const Clock& clock);

  const Credentials& credentials(const Call& call);

  // Runs it whatever the credentials' time. True if it gave others than before.
  bool renew(const Call& call);

 private:
  const ExecConfig config_;
  const Clock& clock_;
  std::optional<Credentials> credentials_;
};

}  // namespace kubedr::kube

#endif  // KUBEDR_KUBE_EXEC_PLUGIN_H
