#include "kube/kubeconfig.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "base/yaml.h"
#include "http/url.h"

namespace kubedr::kube {
namespace {

namespace fs = std::filesystem;

constexpr char kMend[] = "correct the kubeconfig, or name another one with --kubeconfig";

[[noreturn]] void fail(const std::string& text, const std::string& hint = kMend) {
  throw Error(ErrorKind::usage, text, hint);
}

std::string read_text(const fs::path& path, const std::string& what) {
  try {
    const WipedBytes file(read_file(path, limits::kSecretBytes));
    return std::string(as_text(file.bytes));
  } catch (const Error& error) {
    fail(fmt::format("unable to read {}: {}", what, error.what()));
  }
}

// One named entry of a kubeconfig, with the file that it came from: relative paths in it start
// there.
class Entry {
 public:
  Entry() = default;

  Entry(const char* kind, std::string name, Json fields, fs::path file)
      : kind_(kind), name_(std::move(name)), fields_(std::move(fields)), file_(std::move(file)) {}

  const std::string& name() const { return name_; }

  // `cluster "kind"`, for messages.
  std::string label() const { return fmt::format("{} \"{}\"", kind_, name_); }

  bool has(const char* field) const {
    const Json* value = find(fields_, {field});
    return value != nullptr && !value->is_null();
  }

  std::string text(const char* field) const {
    if (!has(field)) return {};
    if (auto text = find_string(fields_, {field})) return *text;
    malformed(field, "must be a string (in quotes)");
  }

  bool flag(const char* field) const {
    if (!has(field)) return false;
    if (auto flag = find_bool(fields_, {field})) return *flag;
    malformed(field, "must be true or false");
  }

  std::vector<std::string> texts(const char* field) const {
    std::vector<std::string> texts;
    if (!has(field)) return texts;
    const Json& values = *find(fields_, {field});
    if (!values.is_array()) malformed(field, "must be a list of strings");
    for (const Json& value : values) {
      if (!value.is_string()) malformed(field, "must be a list of strings");
      texts.push_back(value.get<std::string>());
    }
    return texts;
  }

  std::map<std::string, std::vector<std::string>> text_lists(const char* field) const {
    std::map<std::string, std::vector<std::string>> lists;
    if (!has(field)) return lists;
    const Json& values = *find(fields_, {field});
    if (!values.is_object()) malformed(field, "must be a map of lists of strings");
    const Entry entry(field, name_, values, file_);
    for (const auto& [key, list] : values.items()) lists[key] = entry.texts(key.c_str());
    return lists;
  }

  // A map in the map; nullptr when it is not there.
  const Json* fields(const char* field) const {
    if (!has(field)) return nullptr;
    const Json* fields = find(fields_, {field});
    if (!fields->is_object()) malformed(field, "must be a map");
    return fields;
  }

  // The content of an extension, as a cluster may have it for plugins; null when it is not there.
  Json extension(const char* name) const {
    if (!has("extensions")) return nullptr;
    const Json& list = *find(fields_, {"extensions"});
    if (!list.is_array()) malformed("extensions", "must be a list");
    for (const Json& extension : list) {
      if (find_string(extension, {"name"}) != name) continue;
      const Json* content = find(extension, {"extension"});
      return content == nullptr ? Json() : *content;
    }
    return nullptr;
  }

  const fs::path& origin() const { return file_; }

  fs::path folder() const { return file_.parent_path(); }

  fs::path file(const char* field) const {
    const std::string path = text(field);
    return path.empty() ? fs::path() : folder() / path;
  }

  // What `field` names as a file or `field`-data holds; both is an error, as for kubectl.
  std::string pem(const char* field) const {
    const std::string data_field = std::string(field) + "-data";
    const Secret data(text(data_field.c_str()));
    const fs::path path = file(field);
    if (data.empty()) {
      return path.empty() ? "" : read_text(path, fmt::format("{} for {}", field, label()));
    }
    if (!path.empty()) {
      fail(fmt::format("invalid configuration: {} and {} are both specified for {}", data_field,
                       field, label()),
           "leave one of them");
    }
    std::optional<Bytes> bytes = from_base64(data.reveal());
    if (!bytes) malformed(data_field.c_str(), "not base64");
    const WipedBytes decoded(std::move(*bytes));
    return std::string(as_text(decoded.bytes));
  }

 private:
  [[noreturn]] void malformed(const char* field, const char* why) const {
    fail(fmt::format("error loading config file \"{}\": {}: {}: {}", file_.string(), label(), field,
                     why));
  }

  std::string kind_;
  std::string name_;
  Json fields_ = Json::object();
  fs::path file_;
};

using Entries = std::map<std::string, Entry>;

// All files as one: the first that defines a name wins, with its whole entry.
struct Merged {
  Entries clusters;
  Entries users;
  Entries contexts;
  std::string current_context;

  bool empty() const {
    return clusters.empty() && users.empty() && contexts.empty() && current_context.empty();
  }
};

void merge_entries(Entries& into, const Json& config, const char* list, const char* kind,
                   const fs::path& file) {
  const std::string where =
      fmt::format("error loading config file \"{}\": {}", file.string(), list);
  const Json* entries = find(config, {list});
  if (entries == nullptr || entries->is_null()) return;
  if (!entries->is_array()) fail(where + ": must be a list");
  Entries here;
  for (const Json& entry : *entries) {
    const std::string name = find_string(entry, {"name"}).value_or("");
    if (name.empty()) fail(where + ": an entry has no name");
    const Json* found = find(entry, {kind});
    Json fields = found == nullptr || found->is_null() ? Json::object() : *found;
    if (!fields.is_object()) fail(fmt::format("{}: \"{}\" must be a map", where, name));
    Entry value(kind, name, std::move(fields), file);
    if (!here.emplace(name, std::move(value)).second) {
      fail(fmt::format("{}: duplicate name \"{}\" in list", where, name));
    }
  }
  into.merge(here);
}

void merge_file(Merged& merged, const fs::path& file) {
  const std::string where = fmt::format("error loading config file \"{}\"", file.string());
  WipedBytes text;
  try {
    text.bytes = read_file(file, limits::kYamlBytes);
  } catch (const Error& error) {
    fail(fmt::format("{}: {}", where, error.what()));
  }
  const std::vector<Json> documents = parse_yaml(as_text(text.bytes), where);
  if (documents.empty()) return;
  const Json& config = documents.front();
  if (!config.is_object()) fail(where + ": is no kubeconfig: must be a map");
  merge_entries(merged.clusters, config, "clusters", "cluster", file);
  merge_entries(merged.users, config, "users", "user", file);
  merge_entries(merged.contexts, config, "contexts", "context", file);
  if (merged.current_context.empty()) {
    merged.current_context = find_string(config, {"current-context"}).value_or("");
  }
}

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// The files that kubectl would read, those that are missing left out.
std::vector<fs::path> config_files(const Flags& flags, const Surroundings& surroundings) {
  if (!flags.kubeconfig.empty()) {
    if (!is_there(flags.kubeconfig)) {
      fail(fmt::format("stat {}: no such file or directory", flags.kubeconfig),
           "--kubeconfig must name a file that exists");
    }
    return {flags.kubeconfig};
  }
  std::vector<fs::path> candidates;
  if (surroundings.kubeconfig.empty()) {
    if (!surroundings.home.empty()) candidates.push_back(surroundings.home / ".kube" / "config");
  } else {
    for (const std::string& part : split(surroundings.kubeconfig, ':')) {
      if (!part.empty()) candidates.emplace_back(part);
    }
  }
  std::vector<fs::path> files;
  for (const fs::path& path : candidates) {
    const bool repeated = std::find(files.begin(), files.end(), path) != files.end();
    if (!repeated && is_there(path)) files.push_back(path);
  }
  if (files.empty() && !surroundings.kubeconfig.empty()) {
    log::warn("Config not found: {}", surroundings.kubeconfig);
  }
  return files;
}

Merged load_files(const Flags& flags, const Surroundings& surroundings) {
  Merged merged;
  for (const fs::path& file : config_files(flags, surroundings)) merge_file(merged, file);
  return merged;
}

std::vector<std::string> names(const Entries& entries) {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries) names.push_back(name);
  return names;
}

std::string there_are(const char* what, const Entries& entries) {
  if (entries.empty()) return fmt::format("the kubeconfig has no {}", what);
  return fmt::format("{} there are: {}", what, join(names(entries), ", "));
}

// What a context, or the flags in its place, chose.
struct Choice {
  std::string context;
  Entry cluster;
  Entry user;
};

Entry choose_context(const Merged& merged, const Flags& flags, Choice& choice) {
  choice.context = flags.context.empty() ? merged.current_context : flags.context;
  if (choice.context.empty()) return {};
  const auto found = merged.contexts.find(choice.context);
  if (found != merged.contexts.end()) return found->second;
  const std::string text = flags.context.empty()
                               ? "context was not found for specified context: " + choice.context
                               : fmt::format("context \"{}\" does not exist", choice.context);
  fail(text, there_are("contexts", merged.contexts));
}

// Whether the flags alone say who we are.
bool identify(const Flags& flags) {
  return !flags.token.empty() || !flags.client_certificate.empty() || !flags.username.empty();
}

Choice choose(const Merged& merged, const Flags& flags) {
  Choice choice;
  const Entry context = choose_context(merged, flags, choice);
  const std::string cluster = flags.cluster.empty() ? context.text("cluster") : flags.cluster;
  const std::string user = flags.user.empty() ? context.text("user") : flags.user;

  const auto found_cluster = merged.clusters.find(cluster);
  if (found_cluster != merged.clusters.end()) {
    choice.cluster = found_cluster->second;
  } else if (!flags.cluster.empty()) {
    fail(fmt::format("cluster \"{}\" does not exist", cluster),
         there_are("clusters", merged.clusters));
  } else if (flags.server.empty()) {
    if (cluster.empty()) {
      fail("invalid configuration: no context is chosen",
           "kubectl config use-context NAME, or --context; " +
               there_are("contexts", merged.contexts));
    }
    fail(fmt::format("no server found for cluster \"{}\"", cluster),
         there_are("clusters", merged.clusters));
  }

  const auto found_user = merged.users.find(user);
  if (found_user != merged.users.end()) {
    choice.user = found_user->second;
  } else if (!flags.user.empty() || (!user.empty() && !identify(flags))) {
    fail(fmt::format("auth info \"{}\" does not exist", user), there_are("users", merged.users));
  }
  return choice;
}

void take_cluster(Config& config, const Entry& cluster, const Flags& flags) {
  config.server = cluster.text("server");
  config.proxy_url = cluster.text("proxy-url");
  config.tls.server_name = cluster.text("tls-server-name");
  config.compression = !cluster.flag("disable-compression");
  // Either flag stands for all that the file says about trust.
  if (!flags.certificate_authority.empty() || flags.insecure_skip_tls_verify) return;
  config.tls.ca_pem = cluster.pem("certificate-authority");
  config.tls.verify = !cluster.flag("insecure-skip-tls-verify");
  if (!config.tls.verify && !config.tls.ca_pem.empty()) {
    fail(fmt::format("invalid configuration: {}: specifying a root certificates file with the "
                     "insecure flag is not allowed",
                     cluster.label()),
         "remove insecure-skip-tls-verify");
  }
}

void take_user(Config& config, const Entry& user, const Flags& flags) {
  if (flags.client_certificate.empty()) {
    config.tls.client_certificate_pem = user.pem("client-certificate");
  }
  if (flags.client_key.empty()) config.tls.client_key_pem = Secret(user.pem("client-key"));
  config.token = Secret(user.text("token"));
  config.token_file = user.file("tokenFile");
  config.username = user.text("username");
  config.password = Secret(user.text("password"));
  config.impersonation = {user.text("as"), user.text("as-uid"), user.texts("as-groups"),
                          user.text_lists("as-user-extra")};
  if (const Json* exec = user.fields("exec")) {
    if (user.has("auth-provider")) {
      fail(
          fmt::format("invalid configuration: authProvider cannot be provided in combination with "
                      "an exec plugin for {}",
                      user.name()));
    }
    config.exec = parse_exec_config(*exec, user.name(), user.folder());
  }
}

std::string issuer_ca(const Entry& provider) {
  const std::string data = provider.text("idp-certificate-authority-data");
  if (data.empty()) {
    const std::string path = provider.text("idp-certificate-authority");
    return path.empty() ? "" : read_text(path, "idp-certificate-authority");
  }
  const std::optional<Bytes> bytes = from_base64(data);
  if (!bytes) fail("idp-certificate-authority-data: not base64");
  return std::string(as_text(*bytes));
}

OidcConfig parse_oidc_config(const Entry& user, const Entry& provider) {
  OidcConfig config;
  config.issuer = provider.text("idp-issuer-url");
  config.client_id = provider.text("client-id");
  if (config.issuer.empty()) fail("Must provide idp-issuer-url");
  if (config.client_id.empty()) fail("Must provide client-id");
  config.client_secret = Secret(provider.text("client-secret"));
  config.ca_pem = issuer_ca(provider);
  config.tokens.id = Secret(provider.text("id-token"));
  config.tokens.refresh = Secret(provider.text("refresh-token"));
  config.file = user.origin();
  config.user = user.name();
  return config;
}

OidcConfig parse_auth_provider(const Entry& user, const Json& provider) {
  const std::string name = find_string(provider, {"name"}).value_or("");
  if (name == "gcp" || name == "azure") {
    const char* plugin = name == "gcp" ? "gke-gcloud-auth-plugin" : "kubelogin";
    fail(
        fmt::format("The {} auth plugin has been removed. Please use the \"{}\" kubectl/client-go "
                    "credential plugin instead",
                    name, plugin));
  }
  if (name != "oidc") fail(fmt::format("no Auth Provider found for name \"{}\"", printable(name)));
  const Json* fields = find(provider, {"config"});
  const bool is_map = fields != nullptr && fields->is_object();
  return parse_oidc_config(
      user, Entry("auth-provider", name, is_map ? *fields : Json::object(), user.origin()));
}

void take_flags(Config& config, const Flags& flags) {
  if (!flags.server.empty()) {
    config.server = flags.server;
    config.tls.server_name.clear();  // it belonged to the file's server
  }
  if (!flags.tls_server_name.empty()) config.tls.server_name = flags.tls_server_name;
  if (flags.insecure_skip_tls_verify) config.tls.verify = false;
  if (!flags.certificate_authority.empty()) {
    if (flags.insecure_skip_tls_verify) {
      fail("--certificate-authority and --insecure-skip-tls-verify exclude each other",
           "leave one of them out");
    }
    config.tls.ca_pem = read_text(flags.certificate_authority, "--certificate-authority");
  }
  if (!flags.client_certificate.empty()) {
    config.tls.client_certificate_pem = read_text(flags.client_certificate, "--client-certificate");
  }
  if (!flags.client_key.empty()) {
    config.tls.client_key_pem = Secret(read_text(flags.client_key, "--client-key"));
  }
  if (!flags.token.empty()) config.token = flags.token;
  if (!flags.username.empty()) config.username = flags.username;
  if (!flags.password.empty()) config.password = flags.password;
  if (flags.disable_compression) config.compression = false;
}

void take_impersonation_flags(Impersonation& impersonation, const Flags& flags) {
  if (!flags.as.empty()) impersonation.user = flags.as;
  if (!flags.as_uid.empty()) impersonation.uid = flags.as_uid;
  if (!flags.as_groups.empty()) impersonation.groups = flags.as_groups;
  std::map<std::string, std::vector<std::string>> extra;
  for (const std::string& pair : flags.as_user_extra) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos) {
      fail(fmt::format("--as-user-extra: \"{}\" is no key=value", printable(pair)),
           "write --as-user-extra KEY=VALUE");
    }
    extra[pair.substr(0, equals)].push_back(pair.substr(equals + 1));
  }
  for (auto& [key, values] : extra) impersonation.extra[key] = std::move(values);
}

void drop_credentials(Config& config) {
  config.tls.client_certificate_pem.clear();
  config.tls.client_key_pem = Secret();
  config.token = Secret();
  config.token_file.clear();
  config.username.clear();
  config.password = Secret();
  config.exec.reset();
}

bool has_token(const Config& config) {
  return !config.token.empty() || !config.token_file.empty();
}

void require_one_method(const Config& config, const Entry& user) {
  const bool certificate = !config.tls.client_certificate_pem.empty();
  if (certificate != !config.tls.client_key_pem.empty()) {
    fail(
        fmt::format("invalid configuration: {} must be specified for {} to use the clientCert "
                    "authentication method",
                    certificate ? "client-key-data or client-key"
                                : "client-certificate-data or client-certificate",
                    user.name()));
  }
  if (has_token(config) && !config.username.empty()) {
    fail(
        fmt::format("more than one authentication method found for {}; found [token basicAuth], "
                    "only one is allowed",
                    user.name()));
  }
}

// A plugin, or another provider, only where nothing else says who we are.
void choose_method(Config& config, const Entry& user) {
  const bool certificate = !config.tls.client_certificate_pem.empty();
  if (certificate || has_token(config) || !config.username.empty()) {
    config.exec.reset();
  } else if (const Json* provider = user.fields("auth-provider")) {
    config.oidc = parse_auth_provider(user, *provider);
    config.oidc->proxies = config.proxies;
    config.oidc->authorities = config.authorities;
  }
}

void require_whole_impersonation(const Impersonation& impersonation, const Entry& user) {
  const bool details =
      !impersonation.uid.empty() || !impersonation.groups.empty() || !impersonation.extra.empty();
  if (!impersonation.user.empty() || !details) return;
  fail(fmt::format("invalid configuration: requesting uid, groups or user-extra for {} without "
                   "impersonating a user",
                   user.name()),
       "add --as");
}

// What a plugin that asks for it gets to know of the server.
std::string cluster_info(const Config& config, const Entry& cluster) {
  Json info = {{"server", config.server}};
  if (!config.tls.server_name.empty()) info["tls-server-name"] = config.tls.server_name;
  if (!config.tls.verify) info["insecure-skip-tls-verify"] = true;
  if (!config.tls.ca_pem.empty()) {
    info["certificate-authority-data"] = to_base64(as_bytes(config.tls.ca_pem));
  }
  if (!config.proxy_url.empty()) info["proxy-url"] = config.proxy_url;
  if (!config.compression) info["disable-compression"] = true;
  info["config"] = cluster.extension("client.authentication.k8s.io/exec");
  return info.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Scheme, host, port and path. Without a scheme kubectl takes http, whatever there is of TLS: it
// looks at the certificates only afterwards.
std::string clean_server(const Config& config) {
  std::string server(trim(config.server));
  if (server.find("://") == std::string::npos) server = "http://" + server;
  server = server.substr(0, server.find_first_of("?#"));
  const http::Url url = http::parse_url(server);
  if (url.scheme != "http" && url.scheme != "https") {
    fail(fmt::format("invalid configuration: server {}: scheme must be http or https", server));
  }
  server.erase(server.find_last_not_of('/') + 1);
  return server;
}

void require_proxy(const Config& config, const Entry& cluster) {
  try {
    http::parse_proxy(config.proxy_url);
  } catch (const Error& error) {
    fail(fmt::format("invalid configuration: invalid 'proxy-url' for cluster \"{}\": {}",
                     cluster.name(), error.what()));
  }
}

Config in_cluster(const Surroundings& surroundings, const Flags& flags) {
  Config config;
  const bool ipv6 = surroundings.service_host.find(':') != std::string::npos;
  const std::string& host = surroundings.service_host;
  config.server =
      fmt::format("https://{}:{}", ipv6 ? "[" + host + "]" : host, surroundings.service_port);
  if (flags.token.empty()) config.token_file = surroundings.service_account / "token";
  const fs::path ca = surroundings.service_account / "ca.crt";
  if (is_there(ca)) config.tls.ca_pem = read_text(ca, "the service account's ca.crt");
  config.in_cluster = true;
  return config;
}

bool is_in_pod(const Surroundings& surroundings) {
  return !surroundings.service_host.empty() && !surroundings.service_port.empty() &&
         is_there(surroundings.service_account / "token");
}

Config finish(Config config, const Choice& choice, const PluginPolicy& policy, const Flags& flags,
              const Surroundings& surroundings) {
  config.proxies = surroundings.proxies;
  config.authorities = surroundings.authorities;
  take_flags(config, flags);
  take_impersonation_flags(config.impersonation, flags);
  config.server = clean_server(config);
  if (!config.proxy_url.empty()) require_proxy(config, choice.cluster);
  require_one_method(config, choice.user);
  require_whole_impersonation(config.impersonation, choice.user);
  if (config.server.starts_with("http:")) {
    drop_credentials(config);
    return config;
  }
  choose_method(config, choice.user);
  if (config.exec) {
    config.exec->environment = surroundings.for_plugins;
    config.exec->terminal = surroundings.terminal;
    config.exec->policy = policy;
    if (config.exec->provide_cluster_info) {
      config.exec->cluster_info = cluster_info(config, choice.cluster);
    }
  }
  if (!config.tls.verify) {
    log::warn(
        "{}: the API server's certificate is not checked: whoever is on the way can read and "
        "change everything",
        config.server);
  }
  return config;
}

}  // namespace

Config load_config(const Flags& flags, const Surroundings& surroundings) {
  const PluginPolicy policy = load_plugin_policy(
      {flags.kuberc, surroundings.kuberc, surroundings.home, surroundings.no_kuberc});
  const Merged merged = load_files(flags, surroundings);
  const bool chosen = !flags.context.empty() || !flags.cluster.empty() || !flags.user.empty();
  if (merged.empty() && !chosen) {
    if (is_in_pod(surroundings)) {
      return finish(in_cluster(surroundings, flags), Choice(), policy, flags, surroundings);
    }
    if (flags.server.empty()) {
      fail("invalid configuration: no configuration has been provided",
           "set KUBECONFIG or --kubeconfig, or do without an API server: -f FILE, or --repo");
    }
  }

  const Choice choice = choose(merged, flags);
  Config config;
  config.context = choice.context;
  take_cluster(config, choice.cluster, flags);
  take_user(config, choice.user, flags);
  if (config.server.empty() && flags.server.empty()) {
    fail("no server found for " + choice.cluster.label(), "the entry needs a server");
  }
  return finish(std::move(config), choice, policy, flags, surroundings);
}

ConfigNames config_names(const Flags& flags, const Surroundings& surroundings) {
  const Merged merged = load_files(flags, surroundings);
  return {names(merged.contexts), names(merged.clusters), names(merged.users)};
}

}  // namespace kubedr::kube
