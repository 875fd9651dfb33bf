#include "workflow/open.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "workflow/locks.h"

namespace kubedr::workflow {
namespace {

constexpr char kPasswordKey[] = "restic_repo_password";

template <class T>
T only_one(const cluster::Listed<T>& listed, const char* kind, const char* verb,
           const std::string& name_space) {
  if (listed.items.size() == 1) return listed.items.front();
  if (listed.items.empty()) {
    std::string malformed;
    for (const crd::Malformed& one : listed.malformed) malformed += "; unreadable: " + one.text;
    throw Error(
        ErrorKind::not_found,
        fmt::format("no {} in namespace \"{}\"{}", kind, name_space, malformed),
        fmt::format("kubectl kubedr {} create makes one; -n names another namespace", verb));
  }
  std::vector<std::string> names;
  for (const T& item : listed.items) names.push_back(item.ref.name);
  throw Error(ErrorKind::usage,
              fmt::format("more than one {}: say which: {}", kind, join(names, ", ")),
              fmt::format("give its name, or --{} NAME", verb));
}

// What helps, by the names of what somebody has to look at: whoever opens a repository knows none.
std::string named_hint(const Error& error, const crd::Location& location) {
  const std::string secret =
      fmt::format("secret {} of namespace {}", location.credentials, location.ref.name_space);
  const std::string& hint = error.hint();
  switch (error.kind()) {
  case ErrorKind::wrong_password:
    return fmt::format("check {} in {}{}{}", kPasswordKey, secret, hint.empty() ? "" : "; ", hint);
  case ErrorKind::denied:
    return hint.empty() ? fmt::format("check the keys in {}, and what they may do", secret)
                        : fmt::format("{}; the keys are in {}", hint, secret);
  case ErrorKind::no_repository:
    return fmt::format(
        "kubectl kubedr init {0} makes one; if there was one, check url and bucketName of "
        "backuplocation/{0}",
        location.ref.name);
  default:
    return error.hint();
  }
}

}  // namespace

const Secret& require_key(const cluster::SecretData& keys, const std::string& secret,
                          const std::string& key) {
  const auto found = keys.find(key);
  if (found != keys.end() && !found->second.empty()) return found->second;
  std::vector<std::string> names;
  for (const auto& [name, value] : keys) names.push_back(name);
  throw Error(ErrorKind::not_found,
              fmt::format("secret \"{}\" has no {}key \"{}\"{}", secret,
                          found == keys.end() ? "" : "value for its ", key,
                          names.empty() ? "" : "; it has: " + join(names, ", ")),
              fmt::format("add the key {} to the Secret {}", key, secret));
}

// Keys go to no repository but the one they are for.
cluster::SecretData location_keys(const Services& services, const crd::Location& location,
                                  const Call& call) {
  if (!services.given)
    return services.cluster.secret(location.credentials, location.ref.name_space, call);
  const std::string url = services.repository_url(location);
  if (services.given->repository_url == url) return services.given->keys;
  throw Error(ErrorKind::usage,
              fmt::format("backuplocation/{}: is at {}, and this pod was made for {}",
                          location.ref.name, url, services.given->repository_url),
              "kubectl kubedr schedule makes the CronJob of its policy anew");
}

OpenedStore open_store(const Services& services, const crd::Location& location, const Call& call,
                       Caching caching) {
  return open_store(services, location, location_keys(services, location, call), caching);
}

OpenedStore open_store(const Services& services, const crd::Location& location,
                       const cluster::SecretData& keys, Caching caching) {
  const Secret& password = require_key(keys, location.credentials, kPasswordKey);
  return {services.open_store(location, keys, caching), password};
}

OpenedRepository open_repository(const Services& services, const crd::Location& location,
                                 const Call& call, Caching caching) {
  return open_repository(services, location, location_keys(services, location, call), call,
                         caching);
}

OpenedRepository open_repository(const Services& services, const crd::Location& location,
                                 const cluster::SecretData& keys, const Call& call,
                                 Caching caching) {
  OpenedStore opened = open_store(services, location, keys, caching);
  repo::Repository repository = open_repository_in(opened, services, location, call);
  return {std::move(opened.store), std::move(repository)};
}

repo::Repository open_repository_in(const OpenedStore& opened, const Services& services,
                                    const crd::Location& location, const Call& call) {
  try {
    return repo::Repository::open(*opened.store, opened.password, services.random, call);
  } catch (const Error& error) {
    if (!services.cluster.has_resources()) throw;  // there is nothing with a name
    throw Error(error.kind(), error.what(), named_hint(error, location)).with(error.transport());
  }
}

repo::Lock lock_for_reading(const Services& services, repo::Repository& repository,
                            const Call& call) {
  if (services.no_lock) return repository.unlocked(call);
  return lock_shared(services, repository, call);
}

repo::Index load_index_to_read(const OpenedRepository& opened, const repo::Lock& lock,
                               const Call& call) {
  return load_index_to_read(opened.repository, lock, call);
}

repo::Index load_index_to_read(const repo::Repository& repository, const repo::Lock& lock,
                               const Call& call) {
  std::vector<std::string> damaged;
  repo::Index index = repository.load_index(lock, call, &damaged);
  for (const std::string& text : damaged) {
    log::warn("{}; what only this index knows is not found, `repair index` makes it anew", text);
  }
  return index;
}

crd::Location choose_location(const Services& services, const std::string& name, const Call& call) {
  if (!name.empty()) return services.cluster.location(name, call);
  return only_one(services.cluster.locations(call), "backuplocation", "location",
                  services.cluster.name_space());
}

crd::Policy choose_policy(const Services& services, const std::string& name, const Call& call) {
  if (!name.empty()) return services.cluster.policy(name, call);
  return only_one(services.cluster.policies(call), "metadatabackuppolicy", "policy",
                  services.cluster.name_space());
}

}  // namespace kubedr::workflow
