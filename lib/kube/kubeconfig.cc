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
#include "base/text.h"
#include "base/yaml.h"
#include "http/url.h"

namespace kubedr::kube {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& text, const std::string& hint = {}) {
  throw Error(ErrorKind::usage, text, hint);
}

std::string read_text(const fs::path& path, const std::string& what) {
  try {
    const Bytes bytes = read_file(path, limits::kSecretBytes);
    return std::string(as_text(bytes));
  } catch (const Error& error) {
    fail(fmt::format("unable to read {}: {}", what, error.what()));
  }
}

// One named entry of a kubeconfig, with the file that it came from: relative paths in it start
// there.
class Entry {
 public:
  Entry() = default;

  Entry(std::string label, Json fields, fs::path file)
      : label_(std::move(label)), fields_(std::move(fields)), file_(std::move(file)) {}

  // `cluster "kind"`, for messages.
  const std::string& label() const { return label_; }

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

  fs::path file(const char* field) const {
    const std::string path = text(field);
    return path.empty() ? fs::path() : file_.parent_path() / path;
  }

  // What `field` names as a file or `field`-data holds; both is an error, as for kubectl.
  std::string pem(const char* field) const {
    const std::string data_field = std::string(field) + "-data";
    const std::string data = text(data_field.c_str());
    const fs::path path = file(field);
    if (data.empty()) {
      return path.empty() ? "" : read_text(path, fmt::format("{} for {}", field, label_));
    }
    if (!path.empty()) {
      fail(fmt::format("invalid configuration: {} and {} are both specified for {}", data_field,
                       field, label_),
           "leave one of them");
    }
    const std::optional<Bytes> bytes = from_base64(data);
    if (!bytes) malformed(data_field.c_str(), "not base64");
    return std::string(as_text(*bytes));
  }

 private:
  [[noreturn]] void malformed(const char* field, const char* why) const {
    fail(fmt::format("error loading config file \"{}\": {}: {}: {}", file_.string(), label_, field,
                     why));
  }

  std::string label_;
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
    Entry value(fmt::format("{} \"{}\"", kind, name), std::move(fields), file);
    if (!here.emplace(name, std::move(value)).second) {
      fail(fmt::format("{}: duplicate name \"{}\" in list", where, name));
    }
  }
  into.merge(here);
}

void merge_file(Merged& merged, const fs::path& file) {
  const std::string where = fmt::format("error loading config file \"{}\"", file.string());
  Bytes bytes;
  try {
    bytes = read_file(file, limits::kYamlBytes);
  } catch (const Error& error) {
    fail(fmt::format("{}: {}", where, error.what()));
  }
  const std::vector<Json> documents = parse_yaml(as_text(bytes), where);
  wipe(bytes.data(), bytes.size());
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
  return files;
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
  if (found == merged.contexts.end()) {
    fail("context was not found for specified context: " + choice.context,
         there_are("contexts", merged.contexts));
  }
  return found->second;
}

Choice choose(const Merged& merged, const Flags& flags) {
  Choice choice;
  const Entry context = choose_context(merged, flags, choice);
  const std::string cluster = flags.cluster.empty() ? context.text("cluster") : flags.cluster;
  const std::string user = flags.user.empty() ? context.text("user") : flags.user;

  const auto found_cluster = merged.clusters.find(cluster);
  if (found_cluster != merged.clusters.end()) {
    choice.cluster = found_cluster->second;
  } else if (!cluster.empty()) {
    fail(fmt::format("no server found for cluster \"{}\"", cluster),
         there_are("clusters", merged.clusters));
  } else if (flags.server.empty()) {
    fail(
        "invalid configuration: no context is chosen",
        "kubectl config use-context NAME, or --context; " + there_are("contexts", merged.contexts));
  }

  const auto found_user = merged.users.find(user);
  if (found_user != merged.users.end()) {
    choice.user = found_user->second;
  } else if (!user.empty()) {
    fail(fmt::format("auth info \"{}\" does not exist", user), there_are("users", merged.users));
  }
  return choice;
}

void take_cluster(Config& config, const Entry& cluster, const Flags& flags) {
  config.server = cluster.text("server");
  config.proxy_url = cluster.text("proxy-url");
  config.tls.server_name = cluster.text("tls-server-name");
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
  config.impersonate_user = user.text("as");
  config.impersonate_groups = user.texts("as-groups");
  for (const char* field : {"as-uid", "as-user-extra"}) {
    if (user.has(field)) fail(fmt::format("{}: {} is not supported yet", user.label(), field));
  }
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
      fail("--certificate-authority and --insecure-skip-tls-verify exclude each other");
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
  if (!flags.as.empty()) config.impersonate_user = flags.as;
  if (!flags.as_groups.empty()) config.impersonate_groups = flags.as_groups;
}

void drop_credentials(Config& config) {
  config.tls.client_certificate_pem.clear();
  config.tls.client_key_pem = Secret();
  config.token = Secret();
  config.token_file.clear();
  config.username.clear();
  config.password = Secret();
}

bool has_token(const Config& config) {
  return !config.token.empty() || !config.token_file.empty();
}

void require_one_method(const Config& config, const Entry& user) {
  const bool certificate = !config.tls.client_certificate_pem.empty();
  if (certificate != !config.tls.client_key_pem.empty()) {
    fail(fmt::format("invalid configuration: {}: {} must be specified too", user.label(),
                     certificate ? "client-key-data or client-key"
                                 : "client-certificate-data or client-certificate"));
  }
  if (has_token(config) && !config.username.empty()) {
    fail(
        fmt::format("more than one authentication method found for {}; found [token basicAuth], "
                    "only one is allowed",
                    user.label()));
  }
  if (certificate || has_token(config) || !config.username.empty()) return;
  for (const char* field : {"exec", "auth-provider"}) {
    if (!user.has(field)) continue;
    fail(fmt::format("{}: credentials by {} are not supported yet", user.label(), field),
         "use --token, or a kubeconfig with a token or a client certificate");
  }
}

// Scheme, host, port and path; without a scheme it is https if anything here speaks of TLS.
std::string clean_server(const Config& config) {
  std::string server(trim(config.server));
  if (server.find("://") == std::string::npos) {
    const bool tls = !config.tls.ca_pem.empty() || !config.tls.verify ||
                     !config.tls.client_certificate_pem.empty();
    server = (tls ? "https://" : "http://") + server;
  }
  server = server.substr(0, server.find_first_of("?#"));
  const http::Url url = http::parse_url(server);
  if (url.scheme != "http" && url.scheme != "https") {
    fail(fmt::format("invalid configuration: server {}: scheme must be http or https", server));
  }
  server.erase(server.find_last_not_of('/') + 1);
  return server;
}

Config in_cluster(const Surroundings& surroundings) {
  Config config;
  const bool ipv6 = surroundings.service_host.find(':') != std::string::npos;
  const std::string& host = surroundings.service_host;
  config.server =
      fmt::format("https://{}:{}", ipv6 ? "[" + host + "]" : host, surroundings.service_port);
  config.token_file = surroundings.service_account / "token";
  const fs::path ca = surroundings.service_account / "ca.crt";
  if (is_there(ca)) config.tls.ca_pem = read_text(ca, "the service account's ca.crt");
  config.in_cluster = true;
  return config;
}

bool is_in_pod(const Surroundings& surroundings) {
  return !surroundings.service_host.empty() && !surroundings.service_port.empty() &&
         is_there(surroundings.service_account / "token");
}

Config finish(Config config, const Entry& user, const Flags& flags,
              const Surroundings& surroundings) {
  config.proxies = surroundings.proxies;
  take_flags(config, flags);
  config.server = clean_server(config);
  if (config.server.starts_with("http:")) {
    drop_credentials(config);
  } else {
    require_one_method(config, user);
  }
  if (config.impersonate_user.empty() && !config.impersonate_groups.empty()) {
    fail("requesting uid, groups or user-extra without impersonating a user", "add --as");
  }
  return config;
}

}  // namespace

Config load_config(const Flags& flags, const Surroundings& surroundings) {
  Merged merged;
  for (const fs::path& file : config_files(flags, surroundings)) merge_file(merged, file);

  const bool chosen = !flags.context.empty() || !flags.cluster.empty() || !flags.user.empty();
  if (merged.empty() && !chosen) {
    if (is_in_pod(surroundings)) {
      return finish(in_cluster(surroundings), Entry("the service account", Json::object(), {}),
                    flags, surroundings);
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
  return finish(std::move(config), choice.user, flags, surroundings);
}

}  // namespace kubedr::kube
