#ifndef KUBEDR_WORKFLOW_OPEN_H
#define KUBEDR_WORKFLOW_OPEN_H

#include <memory>
#include <string>

#include "base/secret.h"
#include "repo/repository.h"
#include "workflow/services.h"

namespace kubedr::workflow {

// A location's store, and the password of the repository in it.
struct OpenedStore {
  std::unique_ptr<storage::Store> store;
  Secret password;
};

// The Secret of a location, or what was given in its place.
cluster::SecretData location_keys(const Services& services, const crd::Location& location,
                                  const Call& call);

// errors   not_found: the Secret, or one of its keys; what opening the store throws
OpenedStore open_store(const Services& services, const crd::Location& location, const Call& call,
                       Caching caching = Caching::off);
OpenedStore open_store(const Services& services, const crd::Location& location,
                       const cluster::SecretData& keys, Caching caching);

// The repository together with the store it lives in.
struct OpenedRepository {
  std::unique_ptr<storage::Store> store;
  repo::Repository repository;
};

// The one in a store that outlives it: the store can be asked though the repository does not open.
repo::Repository open_repository_in(const OpenedStore& opened, const Services& services,
                                    const crd::Location& location, const Call& call);

OpenedRepository open_repository(const Services& services, const crd::Location& location,
                                 const Call& call, Caching caching = Caching::on);
OpenedRepository open_repository(const Services& services, const crd::Location& location,
                                 const cluster::SecretData& keys, const Call& call,
                                 Caching caching = Caching::on);

// What keeps a prune away from somebody who only reads: a shared lock, unless none is wanted.
repo::Lock lock_for_reading(const Services& services, repo::Repository& repository,
                            const Call& call);

// All that can be read of the index, for who writes nothing: on the day of need a damaged index
// file must not stand in the way of what the others know. It is named in the log.
repo::Index load_index_to_read(const repo::Repository& repository, const repo::Lock& lock,
                               const Call& call);
repo::Index load_index_to_read(const OpenedRepository& opened, const repo::Lock& lock,
                               const Call& call);

// The one that is meant: by name, or the only one there is.
//
// errors   not_found; usage: none given and more than one there, with their names
crd::Location choose_location(const Services& services, const std::string& name, const Call& call);
crd::Policy choose_policy(const Services& services, const std::string& name, const Call& call);

// A value of a Secret.
//
// errors   not_found: `secret "x" has no key "y"`, with the keys there are
const Secret& require_key(const cluster::SecretData& keys, const std::string& secret,
                          const std::string& key);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_OPEN_H
