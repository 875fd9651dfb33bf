#include "cluster/bare_cluster.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "cluster/missing.h"

namespace kubedr::cluster {
namespace {

[[noreturn]] void throw_no_cluster(const char* verb) {
  throw Error(ErrorKind::usage,
              fmt::format("bare: {}: there is no cluster to {} anything in", verb, verb),
              "leave --repo out");
}

}  // namespace

BareCluster::BareCluster(Settings settings) : settings_(std::move(settings)) {}

crd::Location BareCluster::location(const std::string& name, const Call&) {
  if (name == settings_.location.ref.name) return settings_.location;
  throw missing("backuplocation", name, name_space(), {settings_.location.ref.name});
}

crd::Policy BareCluster::policy(const std::string& name, const Call&) {
  if (name == settings_.policy.ref.name) return settings_.policy;
  throw missing("metadatabackuppolicy", name, name_space(), {settings_.policy.ref.name});
}

Listed<crd::Location> BareCluster::locations(const Call&) {
  return {{settings_.location}, {}};
}

Listed<crd::Policy> BareCluster::policies(const Call&) {
  return {{settings_.policy}, {}};
}

Listed<crd::Record> BareCluster::records(const Call&) {
  return {};
}

crd::Restore BareCluster::restore(const std::string& name, const Call&) {
  throw missing("metadatarestore", name, name_space(), {});
}

SecretData BareCluster::secret(const std::string& name, const std::string&, const Call&) {
  const auto found = settings_.secrets.find(name);
  if (found != settings_.secrets.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [known, data] : settings_.secrets) names.push_back(known);
  throw missing("secret", name, name_space(), names);
}

void BareCluster::patch_status(const crd::ObjectRef& ref, const Json& status, const Call&) {
  if (ref.kind == crd::Kind::policy) settings_.policy.status = crd::parse_policy_status(status);
}

void BareCluster::annotate(const crd::ObjectRef& ref, const std::string& key,
                           const std::string& value, const Call&) {
  const bool is_totals = ref.kind == crd::Kind::policy && key == crd::kTotalsAnnotation;
  if (is_totals) settings_.policy.totals = crd::parse_totals(value);
}

void BareCluster::annotate_unchanged(const crd::ObjectRef& ref, const std::string& key,
                                     const std::string& value, const Call& call) {
  annotate(ref, key, value, call);
}

std::optional<Json> BareCluster::find_object(const ObjectName&, const Call&) {
  return std::nullopt;
}

std::vector<Json> BareCluster::list_objects(const std::string&, const std::string&, Reach,
                                            const Call&) {
  return {};
}

Applied BareCluster::apply(const Json&, const Call&) {
  throw_no_cluster("apply");
}

void BareCluster::create_object(const Json&, const Call&) {
  throw_no_cluster("create");
}

void BareCluster::patch_object(const ObjectName&, const Json&, const Call&) {
  throw_no_cluster("patch");
}

bool BareCluster::delete_object(const ObjectName&, const Call&) {
  throw_no_cluster("delete");
}

std::vector<Json> BareCluster::collected() const {
  return {};
}

}  // namespace kubedr::cluster
