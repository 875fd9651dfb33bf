#include "e2e/kubectl_stage.h"

#include <fmt/core.h>

#include <filesystem>

#include "base/hex.h"
#include "support/server.h"

namespace kubedr::test {
namespace {

constexpr char kPath[] =
    "/apis/kubedr.catalogicsoftware.com/v1alpha1/namespaces/kubedr-system/backuplocations";

std::string encoded(const std::string& text) {
  return to_base64(as_bytes(text));
}

// Everything that says where the request went, and as whom.
std::string sum_up(const char* name, const SeenRequest& request) {
  const std::size_t path = request.line.find("/apis/");
  std::string text = fmt::format("{} {}", name, request.line.substr(0, path));
  if (!request.server_name.empty()) text += " | called " + request.server_name;
  if (!request.client.empty()) text += " | certificate of " + request.client;
  for (const auto& [header, value] : request.headers) {
    const bool who = header == "authorization" || header.starts_with("impersonate-");
    if (who) text += fmt::format(" | {}: {}", header, value);
  }
  if (request.header("accept-encoding") == "gzip") text += " | gzip";
  const std::size_t timeout = request.line.find("timeout=");
  if (timeout != std::string::npos) text += " | " + request.line.substr(timeout);
  return text;
}

}  // namespace

std::string empty_list(const SeenRequest&) {
  return http_answer(200, R"({"kind":"List","metadata":{"resourceVersion":"1"},"items":[]})",
                     "Content-Type: application/json\r\n");
}

Stage::Stage(const ScriptedServer::Script& script)
    : server_(tls({"api.kubedr.test", "127.0.0.1"}), script),
      named_(tls({"named.kubedr.test"}), script),
      plain_(std::nullopt, script),
      proxy_(std::nullopt, server_.port()),
      tls_proxy_(tls({"127.0.0.1"}), server_.port()) {
  const Certificate carol = authority_.issue({"carol"});
  folder_.write("ca.crt", authority_.ca_pem());
  folder_.write("other.crt", Certificates().ca_pem());
  folder_.write("carol.crt", carol.certificate_pem);
  folder_.write("carol.key", carol.key_pem);
  folder_.write("token", "token-of-file\n");
  words_ = {{"{server}", fmt::format("https://127.0.0.1:{}", server_.port())},
            {"{named}", fmt::format("https://127.0.0.1:{}", named_.port())},
            {"{plain}", fmt::format("http://127.0.0.1:{}", plain_.port())},
            {"{plain_host}", fmt::format("127.0.0.1:{}", plain_.port())},
            {"{proxy}", fmt::format("127.0.0.1:{}", proxy_.port())},
            {"{tls_proxy}", fmt::format("127.0.0.1:{}", tls_proxy_.port())},
            {"{ca}", encoded(authority_.ca_pem())},
            {"{other_ca}", encoded(read_text(folder_ / "other.crt"))},
            {"{cert}", encoded(carol.certificate_pem)},
            {"{key}", encoded(carol.key_pem)},
            {"{dir}", folder_.path().string()}};
}

std::string Stage::fill(std::string text) const {
  for (const auto& [word, value] : words_) {
    for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at)) {
      text.replace(at, word.size(), value);
    }
  }
  return text;
}

void Stage::write_plugin(const std::string& name, const std::string& script) const {
  const auto path = folder_.write(name, "#!/bin/sh\n" + script);
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
}

std::vector<std::string> Stage::told() const {
  std::vector<std::string> lines;
  const auto add = [&](const char* name, const ScriptedServer& server) {
    for (const SeenRequest& request : server.requests()) lines.push_back(sum_up(name, request));
  };
  add("server", server_);
  add("named", named_);
  add("plain", plain_);
  return lines;
}

std::vector<std::string> Stage::asked_of_proxies() const {
  std::vector<std::string> asked;
  for (const std::string& text : proxy_.asked()) asked.push_back("by the proxy: " + text);
  for (const std::string& text : tls_proxy_.asked()) asked.push_back("by the TLS proxy: " + text);
  return asked;
}

ServerTls Stage::tls(const std::vector<std::string>& names) const {
  return {authority_.issue({"api", names}), authority_.ca_pem()};
}

std::string single(const std::string& cluster, const std::string& user) {
  return "current-context: x\n"
         "clusters: [{name: c, cluster: {" +
         cluster +
         "}}]\n"
         "contexts: [{name: x, context: {cluster: c, user: u}}]\n"
         "users: [{name: u, user: {" +
         user + "}}]\n";
}

std::string plugin(const std::string& more) {
  return "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, " + more +
         "}";
}

Pair::Pair(const Case& one, const ScriptedServer::Script& script) : case_(one), stage_(script) {}

Pair::Run Pair::kubectl() {
  return run(kubectl_command());
}

Pair::Run Pair::ours() {
  return run(our_command());
}

std::vector<std::string> Pair::kubectl_command() const {
  return with_flags({find_server("kubectl").string(), "get", "--raw", kPath});
}

std::vector<std::string> Pair::our_command() const {
  return with_flags({KUBEDR_BINARY, "status"});
}

std::vector<std::string> Pair::with_flags(std::vector<std::string> argv) const {
  if (!case_.kubeconfig.empty()) {
    const std::string text = stage_.fill(case_.kubeconfig);
    argv.insert(argv.end(), {"--kubeconfig", stage_.folder().write("config", text).string()});
  }
  for (const std::string& flag : case_.flags) argv.push_back(stage_.fill(flag));
  return argv;
}

ProcessOptions Pair::options() const {
  ProcessOptions options;
  for (const auto& [name, value] : case_.env) options.env[name] = stage_.fill(value);
  options.env.try_emplace("HOME", stage_.folder().path().string());
  return options;
}

Pair::Run Pair::run(const std::vector<std::string>& argv) {
  const auto told = static_cast<std::ptrdiff_t>(stage_.told().size());
  const auto asked = static_cast<std::ptrdiff_t>(stage_.asked_of_proxies().size());
  Run run{test::run(argv, options()), stage_.told(), stage_.asked_of_proxies()};
  run.told.erase(run.told.begin(), run.told.begin() + told);
  run.proxies.erase(run.proxies.begin(), run.proxies.begin() + asked);
  return run;
}

}  // namespace kubedr::test
