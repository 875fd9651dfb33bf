#include "kube/plugin_policy.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "base/yaml.h"
#include "kube/program.h"

namespace kubedr::kube {
namespace {

namespace fs = std::filesystem;

constexpr char kOff[] = "off";
constexpr char kKind[] = "Preference";
constexpr char kVersion[] = "kubectl.config.k8s.io/v1beta1";
constexpr char kOldVersion[] = "kubectl.config.k8s.io/v1alpha1";  // knows of no policy
constexpr char kDenyAll[] = "DenyAll";
constexpr char kAllowlist[] = "Allowlist";
constexpr char kHint[] = "kubectl kuberc view shows the policy";

[[noreturn]] void fail(const std::string& text, const std::string& hint = kHint) {
  throw Error(ErrorKind::usage, text, hint);
}

bool is_there(const fs::path& file) {
  std::error_code error;
  return fs::exists(file, error);
}

// As the file has it; nothing is judged yet.
struct Written {
  std::string type;
  std::optional<std::vector<std::string>> allowlist;
};

// The name is what the command was called before.
std::string command_of(const Json& entry) {
  const std::string command = find_string(entry, {"command"}).value_or("");
  const std::string name = find_string(entry, {"name"}).value_or("");
  if (!name.empty() && !command.empty() && name != command) {
    fail("both `Name` and `Command` were supplied with different values");
  }
  return command.empty() ? name : command;
}

Written written_in(const Json& document) {
  Written written;
  if (find_string(document, {"apiVersion"}) == kOldVersion) return written;
  if (const Json* type = find(document, {"credentialPluginPolicy"})) {
    if (!type->is_string()) fail("credentialPluginPolicy: must be a string");
    written.type = type->get<std::string>();
  }
  const Json* list = find(document, {"credentialPluginAllowlist"});
  if (list == nullptr || list->is_null()) return written;
  if (!list->is_array()) fail("credentialPluginAllowlist: must be a list");
  written.allowlist.emplace();
  for (const Json& entry : *list) written.allowlist->push_back(command_of(entry));
  return written;
}

// The first document that holds preferences counts.
Written read_preferences(const fs::path& file) {
  const Bytes bytes = read_file(file, limits::kYamlBytes);
  std::string problem;
  for (const Json& document : parse_yaml(as_text(bytes), file.string())) {
    const std::string version = find_string(document, {"apiVersion"}).value_or("");
    const bool known =
        find_string(document, {"kind"}) == kKind && (version == kVersion || version == kOldVersion);
    try {
      if (known) return written_in(document);
    } catch (const Error& error) {
      problem = fmt::format(": {}", error.what());
    }
  }
  if (trim(as_text(bytes)).empty()) return {};
  fail(fmt::format("no valid preferences found in {}{}", file.string(), problem));
}

void require_normal(const std::vector<std::string>& allowlist) {
  for (std::size_t i = 0; i < allowlist.size(); ++i) {
    const std::string& command = allowlist[i];
    if (command.empty()) {
      fail(fmt::format("misconfigured credential plugin allowlist: empty allowlist entry #{}",
                       i + 1));
    }
    fs::path clean = fs::path(command).lexically_normal();
    if (!clean.has_filename() && clean.has_relative_path()) clean = clean.parent_path();
    if (clean == command) continue;
    fail(fmt::format("non-normalized file path: \"{}\" vs \"{}\"", command, clean.string()));
  }
}

PluginPolicy judged(const Written& written) {
  const bool plain = written.type.empty() || written.type == "AllowAll";
  if (plain || written.type == kDenyAll) {
    if (written.allowlist) {
      fail(
          fmt::format("misconfigured credential plugin allowlist: plugin policy is \"{}\" but "
                      "allowlist is non-nil",
                      written.type));
    }
    return {plain ? PluginPolicy::Type::allow_all : PluginPolicy::Type::deny_all, {}};
  }
  if (written.type != kAllowlist) {
    fail(fmt::format("unknown plugin policy: \"{}\"", printable(written.type)));
  }
  if (!written.allowlist) {
    fail("credential plugin policy set to \"Allowlist\", but allowlist is unspecified");
  }
  if (written.allowlist->empty()) {
    fail(
        "credential plugin policy set to \"Allowlist\", but allowlist is empty; use \"DenyAll\" "
        "policy instead");
  }
  require_normal(*written.allowlist);
  return {PluginPolicy::Type::allowlist, *written.allowlist};
}

bool is_listed(const std::vector<std::string>& allowlist, const fs::path& program,
               const std::string& path_variable) {
  return std::any_of(allowlist.begin(), allowlist.end(), [&](const std::string& entry) {
    return entry == program || (fs::path(entry).filename() == program.filename() &&
                                find_program(entry, path_variable) == program);
  });
}

}  // namespace

PluginPolicy load_plugin_policy(const Preferences& preferences) {
  if (preferences.disabled) {
    if (!preferences.flag.empty()) fail("unknown flag: --kuberc", "KUBECTL_KUBERC is \"false\"");
    return {};
  }
  if (preferences.variable == kOff) {
    if (preferences.flag.empty()) return {};
    fail(
        "kuberc error disabling kuberc via KUBERC=off and passing kuberc flag are mutually "
        "exclusive",
        "do without one of them");
  }
  const std::string& named = preferences.flag.empty() ? preferences.variable : preferences.flag;
  const fs::path file = named.empty() ? preferences.home / ".kube/kuberc" : fs::path(named);
  if (named.empty() && !is_there(file)) return {};
  Written written;
  try {
    written = read_preferences(file);
  } catch (const Error& error) {
    if (!named.empty()) fail(fmt::format("kuberc error kuberc: {}", error.what()));
    log::warn("kuberc: no preferences loaded from {}: {}", file.string(), error.what());
    return {};
  }
  return judged(written);
}

void require_allowed(const PluginPolicy& policy, const std::string& command,
                     const std::string& path_variable) {
  if (policy.type == PluginPolicy::Type::allow_all) return;
  if (policy.type == PluginPolicy::Type::deny_all) {
    fail(fmt::format("plugin \"{}\" not allowed: policy set to \"{}\"", command, kDenyAll));
  }
  const std::vector<std::string>& list = policy.allowlist;
  if (std::find(list.begin(), list.end(), command) != list.end()) return;
  const fs::path program = find_program(command, path_variable);
  if (program.empty()) {
    fail(fmt::format("plugin path \"{}\" cannot be resolved for credential plugin allowlist check",
                     command));
  }
  if (is_listed(list, program, path_variable)) return;
  fail(fmt::format("plugin path \"{}\" is not permitted by the credential plugin allowlist",
                   program.string()));
}

}  // namespace kubedr::kube
