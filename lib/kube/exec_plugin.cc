#include "kube/exec_plugin.h"

#include <fmt/core.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "kube/program.h"

namespace kubedr::kube {
namespace {

namespace fs = std::filesystem;

constexpr char kV1[] = "client.authentication.k8s.io/v1";
constexpr char kV1Beta1[] = "client.authentication.k8s.io/v1beta1";
constexpr char kKind[] = "ExecCredential";

// A program that an interrupt of the terminal ended may be gone before we heard of that.
constexpr std::chrono::milliseconds kHearSignal{100};

[[noreturn]] void refuse(const std::string& text, const std::string& hint = {}) {
  throw Error(ErrorKind::usage, text, hint);
}

[[noreturn]] void fail(ErrorKind kind, const std::string& text, const std::string& hint = {}) {
  throw Error(kind, "getting credentials: " + text, hint);
}

[[noreturn]] void fail_output(const std::string& text) {
  fail(ErrorKind::denied, text, "the plugin is at fault: try another version of it");
}

std::string text_of(const Json& object, const char* field) {
  return find_string(object, {field}).value_or("");
}

// The entries of a list; a list that is not there has none.
Json::array_t list_of(const Json& object, const char* field, const std::string& user) {
  const Json* list = find(object, {field});
  if (list == nullptr || list->is_null()) return {};
  if (!list->is_array()) refuse(fmt::format("user \"{}\": exec.{}: must be a list", user, field));
  return list->get<Json::array_t>();
}

ExecConfig::InteractiveMode parse_mode(const Json& exec, const std::string& api_version,
                                       const std::string& user) {
  const std::string mode = text_of(exec, "interactiveMode");
  if (mode == "Never") return ExecConfig::InteractiveMode::never;
  if (mode == "IfAvailable") return ExecConfig::InteractiveMode::if_available;
  if (mode == "Always") return ExecConfig::InteractiveMode::always;
  if (!mode.empty()) {
    refuse(fmt::format("invalid configuration: invalid interactiveMode for {}: \"{}\"", user,
                       printable(mode)),
           "Never, IfAvailable or Always");
  }
  if (api_version == kV1Beta1) return ExecConfig::InteractiveMode::if_available;
  refuse(fmt::format("invalid configuration: interactiveMode must be specified for {} to use exec "
                     "authentication plugin",
                     user),
         "Never, IfAvailable or Always");
}

std::string path_variable(const ExecConfig& config) {
  constexpr std::string_view kPath = "PATH=";
  for (const std::string& line : config.environment) {
    if (line.starts_with(kPath)) return line.substr(kPath.size());
  }
  return "";
}

void require_allowed(const ExecConfig& config) {
  try {
    require_allowed(config.policy, config.command, path_variable(config));
  } catch (const Error& error) {
    fail(error.kind(), error.what(), error.hint());
  }
}

fs::path program_of(const ExecConfig& config) {
  if (config.command.find('/') != std::string::npos) return config.command;
  const fs::path program = find_program(config.command, path_variable(config));
  if (!program.empty()) return program;
  fail(ErrorKind::usage, fmt::format("exec: executable {} not found", config.command),
       config.install_hint.empty()
           ? "install this client-go credential plugin: "
             "https://kubernetes.io/docs/reference/access-authn-authz/authentication/"
             "#client-go-credential-plugins"
           : config.install_hint);
}

// One line, as the protocol wants it.
std::string exec_info(const ExecConfig& config, bool interactive) {
  Json spec = {{"interactive", interactive}};
  if (!config.cluster_info.empty()) spec["cluster"] = Json::parse(config.cluster_info);
  const Json info = {{"kind", kKind}, {"apiVersion", config.api_version}, {"spec", spec}};
  return info.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Of two lines for one name the later counts, to us; to a program it is the first it finds.
std::vector<std::string> environment_for(const ExecConfig& config, bool interactive) {
  std::map<std::string, std::string> values;
  for (const std::string& line : config.environment) {
    values[line.substr(0, line.find('='))] = line.substr(line.find('=') + 1);
  }
  for (const auto& [name, value] : config.variables) values[name] = value;
  values["KUBERNETES_EXEC_INFO"] = exec_info(config, interactive);
  std::vector<std::string> lines;
  for (const auto& [name, value] : values) lines.push_back(name + "=" + value);
  return lines;
}

bool is_interactive(const ExecConfig& config) {
  using Mode = ExecConfig::InteractiveMode;
  if (config.interactive_mode == Mode::always && !config.terminal) {
    fail(ErrorKind::usage,
         "exec plugin cannot support interactive mode: standard input is not a terminal",
         "log in on a terminal first, or use credentials that need none");
  }
  return config.interactive_mode != Mode::never && config.terminal;
}

ProgramEnd run(const Program& program, const ExecConfig& config, const Call& call) {
  ProgramEnd end;
  try {
    end = run_program(program, limits::kSecretBytes, call);
  } catch (const Error& error) {
    call.require_live();
    const bool started = error.kind() != ErrorKind::failed;
    fail(started ? ErrorKind::denied : ErrorKind::usage, fmt::format("exec: {}", error.what()),
         config.install_hint);
  }
  if (end.code == 0) return end;
  wipe(end.output.data(), end.output.size());
  call.sleep(kHearSignal);
  fail(ErrorKind::denied,
       fmt::format("exec: executable {} failed with exit code {}", config.command, end.code),
       "what it says stands above; kubectl would fail the same way");
}

Json parse_output(Bytes output) {
  const WipedBytes held(std::move(output));
  try {
    return parse_json(as_text(held.bytes), "");
  } catch (const Error&) {  // its text would repeat a part of the output
    fail_output("decoding stdout: not valid JSON");
  }
}

// errors   denied, in kubectl's words
ExecPlugin::Credentials parse_credentials(const Json& document, const std::string& api_version) {
  if (text_of(document, "kind") != kKind) {
    fail_output(fmt::format("decoding stdout: no {} in it", kKind));
  }
  const std::string version = text_of(document, "apiVersion");
  if (version != api_version) {
    fail_output(
        fmt::format("exec plugin is configured to use API version {}, plugin returned version {}",
                    api_version, printable(version)));
  }
  const Json* status = find(document, {"status"});
  if (status == nullptr || !status->is_object()) {
    fail_output("exec plugin didn't return a status field");
  }
  ExecPlugin::Credentials credentials;
  credentials.token = Secret(text_of(*status, "token"));
  credentials.certificate_pem = text_of(*status, "clientCertificateData");
  credentials.key_pem = Secret(text_of(*status, "clientKeyData"));
  const bool has_certificate = !credentials.certificate_pem.empty();
  if (has_certificate != !credentials.key_pem.empty()) {
    fail_output("exec plugin returned only certificate or key, not both");
  }
  if (credentials.token.empty() && !has_certificate) {
    fail_output("exec plugin didn't return a token or cert/key pair");
  }
  const std::string expires = text_of(*status, "expirationTimestamp");
  if (expires.empty()) return credentials;
  credentials.expires = parse_time(expires);
  if (!credentials.expires) fail_output("decoding stdout: expirationTimestamp is no RFC 3339 time");
  return credentials;
}

ExecPlugin::Credentials log_in(const ExecConfig& config, const Call& call) {
  Program program;
  program.reads_input = is_interactive(config);
  program.environment = environment_for(config, program.reads_input);
  require_allowed(config);
  program.path = program_of(config);
  program.arguments = config.arguments;
  return parse_credentials(parse_output(run(program, config, call).output), config.api_version);
}

}  // namespace

ExecConfig parse_exec_config(const Json& exec, const std::string& user, const fs::path& folder) {
  const auto require = [&](const std::string& value, const char* what) {
    if (!value.empty()) return;
    refuse(
        fmt::format("invalid configuration: {} must be specified for {} to use exec "
                    "authentication plugin",
                    what, user));
  };
  ExecConfig config;
  config.command = text_of(exec, "command");
  config.api_version = text_of(exec, "apiVersion");
  config.install_hint = printable(trim(text_of(exec, "installHint")));
  config.provide_cluster_info = find_bool(exec, {"provideClusterInfo"}).value_or(false);
  require(config.command, "command");
  require(config.api_version, "apiVersion");
  for (const Json& argument : list_of(exec, "args", user)) {
    if (!argument.is_string()) {
      refuse(fmt::format("user \"{}\": exec.args: must be strings (in quotes)", user));
    }
    config.arguments.push_back(argument.get<std::string>());
  }
  for (const Json& variable : list_of(exec, "env", user)) {
    config.variables.emplace_back(text_of(variable, "name"), text_of(variable, "value"));
    require(config.variables.back().first, "env variable name");
  }
  if (config.api_version != kV1 && config.api_version != kV1Beta1) {
    refuse(fmt::format("exec plugin: invalid apiVersion \"{}\"", printable(config.api_version)),
           fmt::format("{}: a newer version of the plugin knows it", kV1));
  }
  config.interactive_mode = parse_mode(exec, config.api_version, user);
  if (config.command.find('/') != std::string::npos) {
    config.command = fs::absolute(folder / config.command).lexically_normal().string();
  }
  return config;
}

ExecPlugin::ExecPlugin(ExecConfig config, const Clock& clock)
    : config_(std::move(config)), clock_(clock) {}

const ExecPlugin::Credentials& ExecPlugin::credentials(const Call& call) {
  const bool expired =
      credentials_ && credentials_->expires && clock_.now() > *credentials_->expires;
  if (!credentials_ || expired) credentials_ = log_in(config_, call);
  return *credentials_;
}

bool ExecPlugin::renew(const Call& call) {
  Credentials fresh = log_in(config_, call);
  const bool same = credentials_ && fresh.token == credentials_->token &&
                    fresh.certificate_pem == credentials_->certificate_pem;
  credentials_ = std::move(fresh);
  return !same;
}

}  // namespace kubedr::kube
