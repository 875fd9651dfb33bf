#ifndef KUBEDR_KUBE_PLUGIN_POLICY_H
#define KUBEDR_KUBE_PLUGIN_POLICY_H

#include <filesystem>
#include <string>
#include <vector>

namespace kubedr::kube {

// Which credential plugins a user lets run, in kubectl's own preferences.
struct PluginPolicy {
  enum class Type { allow_all, deny_all, allowlist };

  Type type = Type::allow_all;
  std::vector<std::string> allowlist;  // paths, or names to look for in PATH
};

// Where kubectl looks for its preferences.
struct Preferences {
  std::string flag;            // --kuberc
  std::string variable;        // $KUBERC; "off": there are none
  std::filesystem::path home;  // $HOME, where .kube/kuberc is
  bool disabled = false;       // $KUBECTL_KUBERC is "false"
};

// kubectl's rules: a file that was named must be there and readable, ~/.kube/kuberc need not. Only
// the policy for plugins is taken, not aliases and defaults: those are for kubectl's own verbs.
//
// errors   usage, in kubectl's words: `unknown plugin policy: "X"`
// source   kubectl 1.36 pkg/kuberc, kubectl.config.k8s.io/v1beta1
PluginPolicy load_plugin_policy(const Preferences& preferences);

// Whether the policy lets a kubeconfig's command run: one that is listed as it stands, or that is
// the same file in PATH as an entry.
//
// errors   usage, in kubectl's words: `plugin "X" not allowed: policy set to "DenyAll"`
// source   client-go 1.36 plugin/pkg/client/auth/exec
void require_allowed(const PluginPolicy& policy, const std::string& command,
                     const std::string& path_variable);

}  // namespace kubedr::kube

#endif  // KUBEDR_KUBE_PLUGIN_POLICY_H
