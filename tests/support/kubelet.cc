#include "support/kubelet.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "base/clock.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/text.h"
#include "base/time.h"
#include "support/server.h"
#include "support/tls_server.h"

namespace kubedr::test {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kLook{150};

std::string text_at(const Json& object, std::initializer_list<const char*> path) {
  return find_string(object, path).value_or("");
}

Json list_at(const Json& object, std::initializer_list<const char*> path) {
  const Json* found = find(object, path);
  return found == nullptr ? Json::array() : *found;
}

std::string now_text() {
  return format_rfc3339(SystemClock().now());
}

// The API as a kubelet uses it, allowed everything.
class Api {
 public:
  explicit Api(const KubeApi& api)
      : url_(api.url()), authorization_("Bearer " + KubeApi::token("admin")), client_([&] {
          http::Tls tls;
          tls.ca_pem = api.ca_pem();
          return local_client(tls);
        }()) {}

  // Null when it is not there.
  Json get(const std::string& path) { return send("GET", path, Json(), "application/json"); }

  Json post(const std::string& path, const Json& body) {
    return send("POST", path, body, "application/json");
  }

  // At once: nothing of it runs.
  void remove(const std::string& path) {
    send("DELETE", path, {{"gracePeriodSeconds", 0}}, "application/json");
  }

  Json patch(const std::string& path, const Json& body) {
    return send("PATCH", path, body, "application/merge-patch+json");
  }

 private:
  Json send(const std::string& method, const std::string& path, const Json& body,
            const std::string& type) {
    const std::string text = body.is_null() ? "" : body.dump();
    http::Request request;
    request.method = method;
    request.url = url_ + path;
    request.headers = {{"Content-Type", type}};
    request.authorization = authorization_;
    request.body = as_bytes(text);
    const http::Response response = client_.send(request, call_for());
    if (response.status == 404) return {};
    if (response.status >= 300) {
      throw std::runtime_error(
          fmt::format("kubelet: {} {}: {} {}", method, path, response.status, response.text()));
    }
    return parse_json(response.text(), path);
  }

  const std::string url_;
  const Secret authorization_;
  http::Client client_;
};

bool has_label(const NodeOptions& node, const Json& expression) {
  const std::string operation = text_at(expression, {"operator"});
  const bool there = node.labels.count(text_at(expression, {"key"})) > 0;
  if (operation == "Exists") return there;
  if (operation == "DoesNotExist") return !there;
  throw std::runtime_error("kubelet: affinity: operator " + operation + " is not known here");
}

// Terms are alternatives, the expressions of one all count.
bool wants(const Json& pod, const NodeOptions& node) {
  const Json terms =
      list_at(pod, {"spec", "affinity", "nodeAffinity",
                    "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"});
  return terms.empty() || std::any_of(terms.begin(), terms.end(), [&](const Json& term) {
           const Json expressions = list_at(term, {"matchExpressions"});
           return std::all_of(expressions.begin(), expressions.end(),
                              [&](const Json& expression) { return has_label(node, expression); });
         });
}

bool tolerates(const Json& pod, const NodeOptions& node) {
  const Json tolerations = list_at(pod, {"spec", "tolerations"});
  return std::all_of(node.taints.begin(), node.taints.end(), [&](const std::string& taint) {
    return std::any_of(tolerations.begin(), tolerations.end(), [&](const Json& toleration) {
      const std::string effect = text_at(toleration, {"effect"});
      const std::string key = text_at(toleration, {"key"});
      return (effect.empty() || effect == "NoSchedule") && (key.empty() || key == taint);
    });
  });
}

// Why a pod waits, as its status says it; thrown.
struct Waiting {
  std::string reason;
  std::string message;
};

// A pod that runs here: its root, made of the image and of what it mounts, and its process.
class Pod {
 public:
  // Throws a Waiting when it cannot be started yet.
  Pod(Api& api, const Json& object, const fs::path& image, int api_port)
      : api_(api),
        object_(object),
        container_(object.at("spec").at("containers").at(0)),
        api_port_(api_port) {
    run_tool({"cp", "-a", image.string(), root().string()});
    for (const Json& mount : list_at(container_, {"volumeMounts"})) make_mount(mount);
    protect_root();
    start();
  }

  std::optional<Exit> ended() { return process_->wait(std::chrono::milliseconds(0)); }

  void stop() { process_->stop(); }

  fs::path log() const { return folder_ / "log"; }

 private:
  fs::path root() const { return folder_ / "root"; }

  std::string name_space() const { return text_at(object_, {"metadata", "namespace"}); }

  static void run_tool(const std::vector<std::string>& argv) {
    const RunResult result = test::run(argv);
    if (!result.ok()) throw std::runtime_error(argv.front() + ": " + result.err);
  }

  Json volume(const std::string& name) const {
    for (const Json& one : list_at(object_, {"spec", "volumes"})) {
      if (text_at(one, {"name"}) == name) return one;
    }
    throw Waiting{"CreateContainerConfigError", "no volume " + name};
  }

  Json secret(const std::string& name) const {
    const Json object =
        api_.get(fmt::format("/api/v1/namespaces/{}/secrets/{}", name_space(), name));
    if (object.is_null()) {
      throw Waiting{"CreateContainerConfigError", fmt::format("secret \"{}\" not found", name)};
    }
    return object;
  }

  std::string field(const std::string& path) const {
    const std::vector<std::string> keys = split(path, '.');
    const Json* value = &object_;
    for (const std::string& key : keys) value = &value->at(key);
    return *value;
  }

  void make_mount(const Json& mount) {
    const fs::path target = root() / fs::path(text_at(mount, {"mountPath"})).relative_path();
    const Json source = volume(text_at(mount, {"name"}));
    fs::create_directories(target);
    if (source.contains("emptyDir")) {
      writable_.push_back(target);
    } else if (source.contains("secret")) {
      const Json data = secret(source["secret"].at("secretName")).value("data", Json::object());
      for (const auto& [key, value] : data.items()) write(target / key, decoded(value));
    } else if (source.contains("hostPath")) {
      const fs::path host = text_at(source, {"hostPath", "path"});
      if (!fs::is_directory(host)) {
        throw Waiting{"ContainerCreating", fmt::format("hostPath type check failed: {} is not a "
                                                       "directory",
                                                       host.string())};
      }
      run_tool({"cp", "-a", host.string() + "/.", target.string()});
    } else if (source.contains("projected")) {
      for (const Json& one : source["projected"].at("sources")) project(one, target);
    } else {
      throw std::runtime_error("kubelet: a volume that is not known here: " + source.dump());
    }
  }

  void project(const Json& source, const fs::path& target) {
    if (source.contains("serviceAccountToken")) {
      const std::string account = text_at(object_, {"spec", "serviceAccountName"});
      const Json answer = api_.post(
          fmt::format("/api/v1/namespaces/{}/serviceaccounts/{}/token", name_space(), account),
          {{"apiVersion", "authentication.k8s.io/v1"},
           {"kind", "TokenRequest"},
           {"spec", {{"expirationSeconds", 3600}}}});
      write(target / text_at(source, {"serviceAccountToken", "path"}),
            answer.at("status").at("token"));
    } else if (source.contains("configMap")) {
      const Json map = api_.get(fmt::format("/api/v1/namespaces/{}/configmaps/{}", name_space(),
                                            text_at(source, {"configMap", "name"})));
      if (map.is_null()) throw Waiting{"ContainerCreating", "configmap not found"};
      for (const auto& [key, value] : map.at("data").items()) write(target / key, value);
    } else {
      for (const Json& item : list_at(source, {"downwardAPI", "items"})) {
        write(target / text_at(item, {"path"}), field(text_at(item, {"fieldRef", "fieldPath"})));
      }
    }
  }

  static std::string decoded(const std::string& base64) {
    return std::string(as_text(from_base64(base64).value()));
  }

  void write(const fs::path& file, const std::string& content) const {
    folder_.write(file.lexically_relative(folder_.path()).string(), content);
  }

  // Without capabilities root is bound by modes like anybody else.
  void protect_root() const {
    if (!find_bool(container_, {"securityContext", "readOnlyRootFilesystem"}).value_or(false))
      return;
    run_tool({"chmod", "-R", "a-w", root().string()});
    for (const fs::path& folder : writable_) fs::permissions(folder, fs::perms::owner_all);
  }

  std::map<std::string, std::string> environment() const {
    std::map<std::string, std::string> variables = {
        {"PATH", "/usr/local/bin"},
        {"HOME", "/root"},
        {"KUBERNETES_SERVICE_HOST", "127.0.0.1"},
        {"KUBERNETES_SERVICE_PORT", std::to_string(api_port_)}};
    for (const Json& one : list_at(container_, {"env"})) {
      const std::string name = text_at(one, {"name"});
      if (const auto value = find_string(one, {"value"})) {
        variables[name] = *value;
      } else if (const Json* reference = find(one, {"valueFrom", "secretKeyRef"})) {
        const Json data = secret(reference->at("name")).value("data", Json::object());
        const std::string key = reference->at("key");
        if (data.contains(key)) {
          variables[name] = decoded(data[key]);
        } else if (!find_bool(*reference, {"optional"}).value_or(false)) {
          throw Waiting{"CreateContainerConfigError",
                        fmt::format("couldn't find key {} in Secret", key)};
        }
      } else {
        variables[name] = field(text_at(one, {"valueFrom", "fieldRef", "fieldPath"}));
      }
    }
    return variables;
  }

  // chroot needs its capability, which is the only one that is left.
  void start() {
    std::vector<std::string> argv = {"setpriv", "--no-new-privs", "--inh-caps=-all",
                                     "--bounding-set=-all,+sys_chroot"};
    if (::geteuid() != 0) argv = {"unshare", "--map-root-user"};
    argv.insert(argv.end(), {"/usr/sbin/chroot", root().string()});
    for (const char* part : {"command", "args"}) {
      for (const Json& word : list_at(container_, {part})) argv.push_back(word);
    }
    ProcessOptions options;
    options.env = environment();
    options.log = log();
    process_.emplace(argv, options);
  }

  Api& api_;
  const Json object_;
  const Json container_;
  const int api_port_;
  TempDir folder_;
  std::vector<fs::path> writable_;
  std::optional<Process> process_;
};

}  // namespace

struct Kubelet::Impl {
  Impl(const KubeApi& kube_api, NodeOptions with)
      : node(std::move(with)),
        api_port(kube_api.port()),
        api(kube_api),
        logs(kube_api.certificates().issue({node.name}),
             [this](const std::string& path) { return log_at(path); }) {
    register_node();
    thread = std::jthread([this](const std::stop_token& stop) { work(stop); });
  }

  void register_node() {
    Json taints = Json::array();
    for (const std::string& key : node.taints) {
      taints.push_back({{"key", key}, {"effect", "NoSchedule"}});
    }
    api.post("/api/v1/nodes", {{"apiVersion", "v1"},
                               {"kind", "Node"},
                               {"metadata", {{"name", node.name}, {"labels", node.labels}}},
                               {"spec", {{"taints", taints}}}});
    api.patch("/api/v1/nodes/" + node.name + "/status",
              {{"status",
                {{"addresses", Json::array({{{"type", "InternalIP"}, {"address", "127.0.0.1"}}})},
                 {"daemonEndpoints", {{"kubeletEndpoint", {{"Port", logs.port()}}}}},
                 {"conditions", Json::array({{{"type", "Ready"},
                                              {"status", "True"},
                                              {"reason", "KubeletReady"},
                                              {"lastHeartbeatTime", now_text()},
                                              {"lastTransitionTime", now_text()}}})}}}});
  }

  // The kernel ends a process with the thread that started it: all of them are this one's.
  void work(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      try {
        const Json list = api.get("/api/v1/pods");
        for (const Json& pod : list_at(list, {"items"})) look_at(pod);
      } catch (const std::exception& error) {
        // An API server that is away comes back, or the test says what is missing.
        fmt::print(stderr, "{}\n", error.what());
      }
      std::this_thread::sleep_for(kLook);
    }
    const std::lock_guard lock(mutex);
    running.clear();
  }

  static std::string path_of(const Json& pod) {
    return fmt::format("/api/v1/namespaces/{}/pods/{}", text_at(pod, {"metadata", "namespace"}),
                       text_at(pod, {"metadata", "name"}));
  }

  void look_at(const Json& pod) {
    const std::string phase = text_at(pod, {"status", "phase"});
    if (phase == "Succeeded" || phase == "Failed") return;
    const std::string on = text_at(pod, {"spec", "nodeName"});
    if (on.empty()) {
      schedule(pod);
    } else if (on == node.name) {
      drive(pod);
    }
  }

  void schedule(const Json& pod) {
    if (wants(pod, node) && tolerates(pod, node)) {
      api.post(path_of(pod) + "/binding",
               {{"apiVersion", "v1"},
                {"kind", "Binding"},
                {"metadata", {{"name", text_at(pod, {"metadata", "name"})}}},
                {"target", {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node.name}}}});
      return;
    }
    if (!list_at(pod, {"status", "conditions"}).empty()) return;
    const Json condition = {{"type", "PodScheduled"},
                            {"status", "False"},
                            {"reason", "Unschedulable"},
                            {"message", "0/1 nodes are available: 1 node(s) didn't match"}};
    api.patch(path_of(pod) + "/status", {{"status", {{"conditions", Json::array({condition})}}}});
  }

  void drive(const Json& pod) {
    const std::string path = path_of(pod);
    const bool deleted = pod.at("metadata").contains("deletionTimestamp");
    const auto found = running.find(path);
    if (found == running.end()) {
      if (deleted) return api.remove(path);
      start(pod, path);
    } else if (deleted) {
      found->second->stop();
    }
    if (running.count(path) == 0) return;
    const std::optional<Exit> exit = running.at(path)->ended();
    if (!exit) return;
    const int code = exit->signal != 0 ? 128 + exit->signal : exit->code;
    report(pod, code == 0 ? "Succeeded" : "Failed",
           {{"terminated",
             {{"exitCode", code},
              {"reason", code == 0 ? "Completed" : "Error"},
              {"startedAt", now_text()},
              {"finishedAt", now_text()}}}});
  }

  void start(const Json& pod, const std::string& path) {
    const std::string image = pod.at("spec").at("containers").at(0).at("image");
    try {
      const auto found = node.images.find(image);
      if (found == node.images.end()) {
        throw Waiting{"ErrImagePull", fmt::format("image {}: not found in the registry", image)};
      }
      auto started = std::make_unique<Pod>(api, pod, found->second, api_port);
      const std::lock_guard lock(mutex);
      running.emplace(path, std::move(started));
    } catch (const Waiting& waiting) {
      report(pod, "Pending",
             {{"waiting", {{"reason", waiting.reason}, {"message", waiting.message}}}});
      return;
    }
    report(pod, "Running", {{"running", {{"startedAt", now_text()}}}});
  }

  void report(const Json& pod, const std::string& phase, const Json& state) {
    const Json& container = pod.at("spec").at("containers").at(0);
    const Json status = {{"name", container.at("name")},
                         {"image", container.at("image")},
                         {"imageID", ""},
                         {"ready", phase == "Running"},
                         {"restartCount", 0},
                         {"state", state}};
    const Json ready = {{"type", "Ready"}, {"status", phase == "Running" ? "True" : "False"}};
    api.patch(path_of(pod) + "/status", {{"status",
                                          {{"phase", phase},
                                           {"conditions", Json::array({ready})},
                                           {"containerStatuses", Json::array({status})}}}});
  }

  // "/containerLogs/NAMESPACE/POD/CONTAINER", as the API server asks for it.
  std::string log_at(const std::string& path) {
    const std::vector<std::string> parts = split(path, '/');
    if (parts.size() != 5 || parts[1] != "containerLogs") return "";
    const std::lock_guard lock(mutex);
    const auto found =
        running.find(fmt::format("/api/v1/namespaces/{}/pods/{}", parts[2], parts[3]));
    return found == running.end() ? "" : read_text(found->second->log());
  }

  const NodeOptions node;
  const int api_port;
  Api api;
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<Pod>> running;  // by path; written under the mutex only
  TlsServer logs;
  std::jthread thread;  // the last: it works with all of these
};

Kubelet::Kubelet(const KubeApi& api, NodeOptions options)
    : impl_(std::make_unique<Impl>(api, std::move(options))) {}

Kubelet::~Kubelet() = default;

}  // namespace kubedr::test
