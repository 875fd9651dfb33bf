#ifndef KUBEDR_KUBE_KUBECONFIG_H
#define KUBEDR_KUBE_KUBECONFIG_H

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/secret.h"
#include "http/client.h"
#include "kube/exec_plugin.h"
#include "kube/oidc.h"

namespace kubedr::kube {

// kubectl's own flags, as far as they choose the server and the identity; empty: not given.
struct Flags {
  std::string kubeconfig;
  std::string kuberc;
  std::string context;
  std::string cluster;
  std::string user;
  std::string server;
  Secret token;
  std::string username;
  Secret password;
  std::string as;
  std::string as_uid;
  std::vector<std::string> as_groups;
  std::vector<std::string> as_user_extra;  // "key=value"
  std::string certificate_authority;
  std::string client_certificate;
  std::string client_key;
  std::string tls_server_name;
  bool insecure_skip_tls_verify = false;
  bool disable_compression = false;
};

// What of the process's environment counts; read once in cmd.
struct Surroundings {
  std::string kubeconfig;      // $KUBECONFIG
  std::string kuberc;          // $KUBERC
  bool no_kuberc = false;      // $KUBECTL_KUBERC is "false"
  std::filesystem::path home;  // $HOME
  std::string service_host;    // $KUBERNETES_SERVICE_HOST
  std::string service_port;    // $KUBERNETES_SERVICE_PORT
  std::filesystem::path service_account = "/var/run/secrets/kubernetes.io/serviceaccount";
  http::ProxyVariables proxies;
  http::Authorities authorities;         // as the environment names them
  std::vector<std::string> for_plugins;  // "NAME=VALUE": what a credential plugin may see
  bool terminal = false;                 // stdin is one
};

// As whom to act, instead of as oneself; empty: as oneself.
struct Impersonation {
  std::string user;
  std::string uid;
  std::vector<std::string> groups;
  std::map<std::string, std::vector<std::string>> extra;
};

// Everything that is needed to talk to one API server as somebody.
struct Config {
  std::string server;  // with its path prefix, without a slash at the end
  http::Tls tls;
  std::string proxy_url;  // instead of the environment's proxies; may be empty
  http::ProxyVariables proxies;
  http::Authorities authorities;  // instead of the system's, where the cluster has no CA
  Secret token;
  std::filesystem::path token_file;  // read again as it ages; wins over `token`
  std::string username;              // basic auth
  Secret password;
  std::optional<ExecConfig> exec;  // only where nothing of the above is there
  std::optional<OidcConfig> oidc;  // likewise
  Impersonation impersonation;
  bool compression = true;
  std::string context;  // for messages; empty in a pod
  bool in_cluster = false;
};

// kubectl's rules: --kubeconfig alone, else $KUBECONFIG's files merged (the first that defines an
// entry wins), else ~/.kube/config, else a pod's service account. Credentials are dropped when the
// server is plain http, as kubectl does. Of the auth providers only oidc is left in kubectl.
//
// errors   usage, in kubectl's words: `error loading config file "F": ...`, `context "nope" does
//          not exist`, `cluster "nope" does not exist`
Config load_config(const Flags& flags, const Surroundings& surroundings);

// What --context, --cluster and --user can name.
struct ConfigNames {
  std::vector<std::string> contexts;
  std::vector<std::string> clusters;
  std::vector<std::string> users;
};

// errors   as load_config, of the files alone
ConfigNames config_names(const Flags& flags, const Surroundings& surroundings);

}  // namespace kubedr::kube

#endif  // KUBEDR_KUBE_KUBECONFIG_H
