#ifndef KUBEDR_E2E_KUBECTL_STAGE_H
#define KUBEDR_E2E_KUBECTL_STAGE_H

#include <map>
#include <string>
#include <vector>

#include "e2e/world.h"
#include "support/scripted_server.h"

// What the stories about logins happen on: scripted servers and proxies that note who came, and
// the two programs that come.
namespace kubedr::test {

// An empty list of anything.
std::string empty_list(const SeenRequest& request);

// Servers and proxies, and what stands in a kubeconfig for each of them:
//
// {server}      https, for api.kubedr.test and 127.0.0.1
// {named}       https, for named.kubedr.test only
// {plain}       http; {plain_host} without its scheme
// {proxy}       host and port of a proxy that takes everybody to {server}
// {tls_proxy}   the same with TLS
// {ca}          the authority of them all, {other_ca} another one, {cert} and {key} carol's: base64
// {dir}         a folder with ca.crt, other.crt, carol.crt, carol.key and token
class Stage {
 public:
  explicit Stage(const ScriptedServer::Script& script = empty_list);

  std::string fill(std::string text) const;

  const TempDir& folder() const { return folder_; }

  // A program for `exec`.
  void write_plugin(const std::string& name, const std::string& script) const;

  // Everything that was asked so far, one line each, as a person would sum it up: where it went,
  // and as whom.
  std::vector<std::string> told() const;
  std::vector<std::string> asked_of_proxies() const;

 private:
  ServerTls tls(const std::vector<std::string>& names) const;

  TempDir folder_;
  Certificates authority_;
  ScriptedServer server_;
  ScriptedServer named_;
  ScriptedServer plain_;
  ScriptedProxy proxy_;
  ScriptedProxy tls_proxy_;
  std::map<std::string, std::string> words_;
};

struct Case {
  std::string name;
  std::string kubeconfig;                  // passed with --kubeconfig; empty: none
  std::vector<std::string> flags;          // of both programs
  std::map<std::string, std::string> env;  // likewise
  const char* expected;   // served: in the first request; refused: in what kubectl says
  const char* ours = "";  // refused: in what we say, if it is not the same
};

// One cluster and one user with the given fields.
std::string single(const std::string& cluster, const std::string& user);

// The fields of a cluster that is {server}.
inline const std::string kServer = "server: '{server}', certificate-authority-data: '{ca}'";

// An `exec` that asks for no terminal.
std::string plugin(const std::string& more);

// kubectl and our binary on one stage, one after the other.
class Pair {
 public:
  // `one` must outlive it.
  explicit Pair(const Case& one, const ScriptedServer::Script& script = empty_list);

  Stage& stage() { return stage_; }

  struct Run {
    RunResult result;
    std::vector<std::string> told;
    std::vector<std::string> proxies;
  };

  Run kubectl();
  Run ours();

  // The words to start them with, and what they shall see.
  std::vector<std::string> kubectl_command() const;
  std::vector<std::string> our_command() const;
  ProcessOptions options() const;

 private:
  Run run(const std::vector<std::string>& argv);
  std::vector<std::string> with_flags(std::vector<std::string> argv) const;

  const Case& case_;
  Stage stage_;
};

}  // namespace kubedr::test

#endif  // KUBEDR_E2E_KUBECTL_STAGE_H
