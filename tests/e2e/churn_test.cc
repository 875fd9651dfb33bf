// What an hourly backup costs in storage, beside restic on the same two databases.
//
// The hour is that of a cluster of two dozen nodes at work: 11,000 writes through the API server,
// most of them heartbeats, and history compacted every five minutes. restic stores nearly all of
// the database again: its chunks are of a MiB, and there is a changed page in each.
//
// What costs us most is what was at rest for long and is edited or deleted: each such object
// rewrites a page of old neighbours. Here they are two in a hundred of the hour's writes. With one
// in ten the hour is half of restic's, and no other cut of the file changes that.
//
// KUBEDR_CHURN_OBJECTS and KUBEDR_CHURN_WRITES make cluster and hour larger or smaller.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <future>
#include <nlohmann/json.hpp>
#include <random>

#include "base/hex.h"
#include "e2e/world.h"
#include "http/client.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

int number_in(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::stoi(text);
}

struct Write {
  std::string method;
  std::string path;
  Json object;
};

// What lives in a cluster, and what an hour of its work writes, through the API server.
//
// threads  one thread
class Workload {
 public:
  explicit Workload(const KubeApi& api) : api_(api) {}

  void fill(int objects) {
    std::vector<Write> writes;
    for (int i = 0; i < kNodes; ++i) {
      writes.push_back(create("/api/v1/nodes", node(i)));
    }
    for (int i = 0; i < kLeaseHolders; ++i) writes.push_back(create(kLeases, lease(i)));
    while (jobs_.size() < kJobsAtATime) writes.push_back(new_pod(jobs_));
    for (int i = 0; i < objects; ++i) {
      const int kind = below(100);
      if (kind < 25) {
        writes.push_back(new_pod(pods_));
      } else if (kind < 70) {
        writes.push_back(create(kConfigMaps, config_map(config_maps_++)));
      } else if (kind < 97) {
        writes.push_back(create(kSecrets, secret("token", 500 + below(3000))));
      } else {
        writes.push_back(create(kSecrets, secret("sh.helm.release.v1", 8000 + below(30000))));
      }
    }
    send(writes);
  }

  // In each five minutes what is older than the last five is compacted, as the API server does.
  void hour(int writes, EtcdServer& etcd) {
    constexpr int kParts = 12;
    for (int part = 0; part < kParts; ++part) {
      const std::string before = revision(etcd);
      send(some_minutes(writes / kParts));
      etcd.gateway("/v3/kv/compaction", Json{{"revision", before}}.dump());
    }
  }

 private:
  static constexpr int kNodes = 24;
  static constexpr int kLeaseHolders = 30;  // them, and the leaders of what runs more than once
  // So many that what is written first is long there when it is changed or deleted.
  static constexpr std::size_t kEventsAtATime = 800;
  static constexpr std::size_t kJobsAtATime = 100;
  static constexpr char kLeases[] = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
  static constexpr char kConfigMaps[] = "/api/v1/namespaces/default/configmaps";
  static constexpr char kSecrets[] = "/api/v1/namespaces/default/secrets";
  static constexpr char kPods[] = "/api/v1/namespaces/default/pods";
  static constexpr char kEvents[] = "/api/v1/namespaces/default/events";

  // What changes in a cluster changes often, and most of it never: heartbeats, events that live for
  // an hour, the pods of jobs, a few config maps that programs keep their state in; beside them now
  // and then a pod that a rollout replaces, or a config map that somebody edits.
  std::vector<Write> some_minutes(int count) {
    std::vector<Write> writes;
    while (static_cast<int>(writes.size()) < count) {
      const int kind = below(1000);
      if (kind < 800) {
        writes.push_back(change(kLeases, lease(below(kLeaseHolders))));
      } else if (kind < 825) {
        const int i = below(kNodes);
        writes.push_back(status("/api/v1/nodes", node_name(i), node(i)));
      } else if (kind < 890) {
        writes.push_back(new_event());
        if (events_.size() > kEventsAtATime) writes.push_back(remove_first(kEvents, events_));
      } else if (kind < 910) {
        writes.push_back(new_pod(jobs_));
        if (jobs_.size() > kJobsAtATime) writes.push_back(remove_first(kPods, jobs_));
      } else if (kind < 940) {
        writes.push_back(status(kPods, jobs_[jobs_.size() / 2], pod_status()));
      } else if (kind < 945) {
        writes.push_back(new_pod(pods_));
        writes.push_back(remove_first(kPods, pods_));
      } else {
        const bool by_hand = kind >= 990;
        writes.push_back(change(kConfigMaps, config_map(below(by_hand ? config_maps_ : 12))));
      }
    }
    return writes;
  }

  static Write create(const std::string& path, Json object) {
    return {"POST", path, std::move(object)};
  }

  static Write change(const std::string& path, Json object) {
    const std::string name = find_string(object, {"metadata", "name"}).value_or("");
    return {"PATCH", path + "/" + name, std::move(object)};
  }

  static Write status(const std::string& path, const std::string& name, Json object) {
    return {"PATCH", path + "/" + name + "/status", std::move(object)};
  }

  static Write remove_first(const std::string& path, std::deque<std::string>& names) {
    Write write{"DELETE", path + "/" + names.front() + "?gracePeriodSeconds=0", {}};
    names.pop_front();
    return write;
  }

  // --- what the objects hold ---------------------------------------------------

  int below(int limit) { return static_cast<int>(random_() % static_cast<std::uint64_t>(limit)); }

  std::string hex(std::size_t digits) { return to_hex(noise(digits / 2)); }

  Bytes noise(std::size_t bytes) {
    Bytes raw(bytes);
    for (std::uint8_t& byte : raw) byte = static_cast<std::uint8_t>(random_());
    return raw;
  }

  // Settings as programs have them: words that come again, numbers that do not.
  std::string settings(int lines) {
    static constexpr std::array<const char*, 16> kWords = {
        "cache", "client",   "connection", "database", "debug", "endpoint", "interval", "level",
        "limit", "listener", "log",        "max",      "pool",  "retry",    "server",   "timeout"};
    const auto word = [&] { return kWords[static_cast<std::size_t>(below(16))]; };
    std::string text;
    for (int i = 0; i < lines; ++i) {
      text += fmt::format("{}.{}.{} = {}\n", word(), word(), word(), below(1000000));
    }
    return text;
  }

  std::string now() {
    return fmt::format("2026-11-{:02}T{:02}:{:02}:{:02}Z", 1 + below(28), below(24), below(60),
                       below(60));
  }

  static std::string node_name(int number) { return fmt::format("node-{:03}", number); }

  Json node(int number) {
    Json conditions = Json::array();
    for (const char* type : {"MemoryPressure", "DiskPressure", "PIDPressure", "Ready"}) {
      conditions.push_back({{"type", type},
                            {"status", "False"},
                            {"lastHeartbeatTime", now()},
                            {"reason", "KubeletIsFine"},
                            {"message", "kubelet has nothing to complain about"}});
    }
    if (images_.size() <= static_cast<std::size_t>(number)) {
      Json images = Json::array();
      for (int i = 0; i < 30; ++i) {
        images.push_back(
            {{"names",
              {fmt::format("registry.example.com/team-{}/service@sha256:{}", below(20), hex(64))}},
             {"sizeBytes", below(500000000)}});
      }
      images_.push_back(images);
    }
    return {{"apiVersion", "v1"},
            {"kind", "Node"},
            {"metadata", {{"name", node_name(number)}}},
            {"status",
             {{"capacity", {{"cpu", "8"}, {"memory", "32Gi"}, {"pods", "110"}}},
              {"conditions", conditions},
              {"images", images_[static_cast<std::size_t>(number)]}}}};
  }

  Json lease(int number) {
    return {{"apiVersion", "coordination.k8s.io/v1"},
            {"kind", "Lease"},
            {"metadata", {{"name", node_name(number)}}},
            {"spec",
             {{"holderIdentity", node_name(number)},
              {"leaseDurationSeconds", 40},
              {"renewTime", fmt::format("2026-11-28T{:02}:{:02}:{:02}.{:06}Z", below(24), below(60),
                                        below(60), below(1000000))}}}};
  }

  Json config_map(int number) {
    return {{"apiVersion", "v1"},
            {"kind", "ConfigMap"},
            {"metadata",
             {{"name", fmt::format("settings-{:06}", number)},
              {"labels", {{"app", fmt::format("shop-{}", number % 40)}, {"tier", "backend"}}}}},
            {"data", {{"application.properties", settings(20 + below(100))}}}};
  }

  Json secret(const std::string& kind, int bytes) {
    return {{"apiVersion", "v1"},
            {"kind", "Secret"},
            {"metadata", {{"name", fmt::format("{}.{}", kind, hex(16))}}},
            {"data", {{"value", to_base64(noise(static_cast<std::size_t>(bytes)))}}}};
  }

  Json pod_status() {
    return {
        {"status",
         {{"phase", "Running"},
          {"podIP", fmt::format("10.{}.{}.{}", below(256), below(256), below(256))},
          {"startTime", now()},
          {"conditions", {{{"type", "Ready"}, {"status", "True"}, {"lastTransitionTime", now()}}}},
          {"containerStatuses",
           {{{"name", "service"},
             {"image", "registry.example.com/shop/service:1.0"},
             {"imageID", "registry.example.com/shop/service@sha256:" + hex(64)},
             {"containerID", "containerd://" + hex(64)},
             {"ready", true},
             {"restartCount", below(5)},
             {"state", {{"running", {{"startedAt", now()}}}}}}}}}}};
  }

  Write new_pod(std::deque<std::string>& pods) {
    pods.push_back(fmt::format("shop-{}-{}", below(40), hex(16)));
    Json variables = Json::array();
    for (int i = 0; i < 15; ++i) {
      variables.push_back({{"name", fmt::format("SHOP_SETTING_{}", i)},
                           {"value", fmt::format("value-{}", below(1000000))}});
    }
    return create(
        kPods,
        {{"apiVersion", "v1"},
         {"kind", "Pod"},
         {"metadata",
          {{"name", pods.back()}, {"labels", {{"app", "shop"}, {"pod-template-hash", hex(10)}}}}},
         {"spec",
          {{"nodeName", node_name(below(kNodes))},
           {"containers",
            {{{"name", "service"},
              {"image", "registry.example.com/shop/service:1.0"},
              {"env", variables},
              {"resources", {{"requests", {{"cpu", "100m"}, {"memory", "128Mi"}}}}}}}}}}});
  }

  Write new_event() {
    events_.push_back("shop." + hex(16));
    return create(kEvents,
                  {{"apiVersion", "v1"},
                   {"kind", "Event"},
                   {"metadata", {{"name", events_.back()}}},
                   {"involvedObject",
                    {{"kind", "Pod"}, {"namespace", "default"}, {"name", "shop-" + hex(16)}}},
                   {"reason", "Pulled"},
                   {"message", fmt::format("Container image was pulled in {} ms", below(100000))},
                   {"type", "Normal"},
                   {"source", {{"component", "kubelet"}, {"host", node_name(below(kNodes))}}},
                   {"firstTimestamp", now()},
                   {"lastTimestamp", now()},
                   {"count", 1}});
  }

  // --- how they are written ----------------------------------------------------

  void send(const std::vector<Write>& writes) const {
    std::atomic<std::size_t> next{0};
    const auto some = [&] {
      http::Options options;
      options.tls.ca_pem = api_.ca_pem();
      http::Client client(options);
      for (std::size_t i = next++; i < writes.size(); i = next++) send(client, writes[i]);
    };
    std::vector<std::future<void>> threads;
    for (int i = 0; i < 4; ++i) threads.push_back(std::async(std::launch::async, some));
    for (std::future<void>& thread : threads) thread.get();
  }

  void send(http::Client& client, const Write& write) const {
    const std::string body = write.object.is_null() ? "" : write.object.dump();
    http::Request request;
    request.method = write.method;
    request.url = api_.url() + write.path;
    request.headers = {{"Content-Type", write.method == "PATCH" ? "application/merge-patch+json"
                                                                : "application/json"}};
    request.authorization = Secret("Bearer " + KubeApi::token("admin"));
    request.body = as_bytes(body);
    const http::Response response = client.send(request, call_for());
    if (response.status / 100 != 2) {
      throw std::runtime_error(fmt::format("{} {}: {}", write.method, write.path, response.text()));
    }
  }

  static std::string revision(EtcdServer& etcd) {
    const Json answer = parse_json(etcd.gateway("/v3/kv/range", R"({"key":"eA=="})"), "range");
    return find_string(answer, {"header", "revision"}).value_or("");
  }

  const KubeApi& api_;
  std::mt19937_64 random_{2026};
  std::vector<Json> images_;      // of each node
  std::deque<std::string> pods_;  // oldest first, as all of these
  std::deque<std::string> jobs_;
  std::deque<std::string> events_;
  int config_maps_ = 0;
};

// All files of a repository: indexes and headers of packs, too, which small chunks need most.
std::uint64_t stored_bytes(const std::filesystem::path& repository) {
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(repository)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return bytes;
}

}  // namespace

TEST_CASE("backup: an hour of churn stores at most 0.3 of what restic stores") {
  KUBEDR_NEEDS("kube-apiserver");
  EtcdServer etcd;
  const KubeApi api(etcd);
  const TempDir folder;
  std::map<std::string, std::string> ours = {{"RESTIC_PASSWORD", kPassword},
                                             {"RESTIC_REPOSITORY", (folder / "ours").string()}};
  std::map<std::string, std::string> theirs = {{"RESTIC_PASSWORD", kPassword},
                                               {"RESTIC_REPOSITORY", (folder / "theirs").string()}};
  REQUIRE(test::kubedr({"init", "--repo", ours["RESTIC_REPOSITORY"]}, ours).ok());
  REQUIRE(restic("0.18", {"init"}, theirs).ok());
  const std::string database = (folder / "etcd-snapshot.db").string();
  const auto both_back_up = [&] {
    REQUIRE(run({find_server("etcdctl").string(), "--endpoints", etcd.endpoint(), "snapshot",
                 "save", database})
                .ok());
    REQUIRE(restic("0.18", {"backup", database}, theirs).ok());
    REQUIRE(test::kubedr({"backup", "--repo", ours["RESTIC_REPOSITORY"], "--chunker", "pages",
                          "--etcd-snapshot", database},
                         ours)
                .ok());
  };
  const auto stored = [&] {
    return std::pair(stored_bytes(folder / "ours"), stored_bytes(folder / "theirs"));
  };
  Workload workload(api);
  workload.fill(number_in("KUBEDR_CHURN_OBJECTS", 12000));
  both_back_up();
  // A database fresh from its filling has no free pages: the first hour lays new ones down at its
  // end. A cluster at work has had that hour long ago; the bound is that of both.
  const auto filled = stored();
  const int writes = number_in("KUBEDR_CHURN_WRITES", 11000);
  workload.hour(writes, etcd);
  both_back_up();
  const auto begun = stored();
  workload.hour(writes, etcd);
  both_back_up();
  const auto ended = stored();
  const auto ratio = [](const auto& before, const auto& after) {
    return static_cast<double>(after.first - before.first) /
           static_cast<double>(after.second - before.second);
  };
  MESSAGE("database " << std::filesystem::file_size(database) << " bytes; an hour: ours "
                      << ended.first - begun.first << ", restic " << ended.second - begun.second
                      << ", ratio " << ratio(begun, ended) << "; the hour before "
                      << ratio(filled, begun));
  CHECK(ratio(filled, begun) <= 0.3);
  CHECK(ratio(begun, ended) <= 0.3);
}
