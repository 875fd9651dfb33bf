#ifndef KUBEDR_CLUSTER_SECRET_DATA_H
#define KUBEDR_CLUSTER_SECRET_DATA_H

#include <string>

#include "base/json.h"
#include "cluster/cluster.h"

namespace kubedr::cluster {

// The values of a Secret object: `data` decoded, `stringData` over it as the API server would do.
//
// errors   usage: `secret/NAME: data.KEY: not base64`; never with a value in it
SecretData parse_secret(const Json& object);

// The Secret object of these values, type Opaque. What it holds is plain to see: it goes to the API
// server, or to whoever asked for a manifest, and nowhere else.
Json make_secret(const std::string& name_space, const std::string& name, const SecretData& data);

}  // namespace kubedr::cluster

#endif  // KUBEDR_CLUSTER_SECRET_DATA_H
