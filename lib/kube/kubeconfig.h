#ifndef KUBEDR_KUBE_KUBECONFIG_H
#define KUBEDR_KUBE_KUBECONFIG_H

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/secret.h"
#include "http/client.h"

namespace kubedr::kube {

// kubectl's own flags, as far as they choose the server and the identity; empty: not given.
struct Flags {
  std::string kubeconfig;
  std::string context;
  std::string cluster;
  std::string user;
  std::string server;
  Secret token;
  std::string as;
  std::vector<std::string> as_groups;
  std::string certificate_authority;
  std::string client_certificate;
  std::string client_key;
  std::string tls_server_name;
  bool insecure_skip_tls_verify = false;
};

// What of the process's environment counts; read once in cmd.
struct Surroundings {
  std::string kubeconfig;      // $KUBECONFIG
  std::filesystem::path home;  // $HOME
  std::string service_host;    // $KUBERNETES_SERVICE_HOST
  std::string service_port;    // $KUBERNETES_SERVICE_PORT
  std::filesystem::path service_account = "/var/run/secrets/kubernetes.io/serviceaccount";
  http::ProxyVariables proxies;
};

// Everything that is needed to talk to one API server as somebody.
struct Config {
  std::string server;  // with its path prefix, without a slash at the end
  http::Tls tls;
  std::string proxy_url;  // instead of the environment's proxies; may be empty
  http::ProxyVariables proxies;
  Secret token;
  std::filesystem::path token_file;  // read again as it ages; wins over `token`
  std::string username;              // basic auth
  Secret password;
  std::string impersonate_user;
  std::vector<std::string> impersonate_groups;
  std::string context;  // for messages; empty in a pod
  bool in_cluster = false;
};

// kubectl's rules: --kubeconfig alone, else $KUBECONFIG's files merged (the first that defines an
// entry wins), else ~/.kube/config, else a pod's service account. Credentials are dropped when the
// server is plain http, as kubectl does.
//
// errors   usage, in kubectl's words: `error loading config file "F": ...`, `context was not found
//          for specified context: nope`, `no server found for cluster "nope"`. A user that needs an
//          exec plugin or auth-provider is a usage error that says it is not supported yet.
Config load_config(const Flags& flags, const Surroundings& surroundings);

}  // namespace kubedr::kube

#endif  // KUBEDR_KUBE_KUBECONFIG_H
