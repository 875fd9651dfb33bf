#ifndef KUBEDR_HEALTH_FLEET_H
#define KUBEDR_HEALTH_FLEET_H

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "crd/resources.h"

// What was seen of a cluster and its repositories: plain values, built by a survey or by hand.
namespace kubedr::health {

// A snapshot as far as health is concerned.
struct SeenSnapshot {
  std::string id;  // 64 hex digits
  WallTime time{};
  std::string name_space;  // of its policy; empty when unknown
  std::string policy;      // from its tag; empty when it has none
  std::uint64_t size = 0;  // bytes processed; 0: not told
  std::uint64_t added = 0;
};

// What a look into a location's repository gave; only where one was taken.
struct SeenRepository {
  std::vector<SeenSnapshot> snapshots;  // by time
  std::string problem;          // why it could not be opened; empty: it could
  std::string remedy;
  std::size_t keys = 0;
  std::size_t stale_locks = 0;  // whose holders are gone
};

struct SeenLocation {
  crd::Location location;
  std::string repository_url;  // "s3:http://..."
  std::optional<SeenRepository> repository;
};

struct Fleet {
  WallTime now{};
  std::vector<SeenLocation> locations;
  std::vector<crd::Policy> policies;
  std::vector<crd::Record> records;
  std::vector<std::string> malformed;           // objects nobody can read, with the reason
  std::optional<std::chrono::seconds> max_age;  // instead of each policy's schedule
  // Nothing but the repositories tells of past backups: there is no API server.
  bool without_cluster = false;
};

}  // namespace kubedr::health

#endif  // KUBEDR_HEALTH_FLEET_H
