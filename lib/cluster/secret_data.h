#ifndef KUBEDR_CLUSTER_SECRET_DATA_H
#define KUBEDR_CLUSTER_SECRET_DATA_H

#include "base/json.h"
#include "cluster/cluster.h"

namespace kubedr::cluster {

// The values of a Secret object: `data` decoded, `stringData` over it as the API server would do.
//
// errors   usage: `secret/NAME: data.KEY: not base64`; never with a value in it
SecretData parse_secret(const Json& object);

}  // namespace kubedr::cluster

#endif  // KUBEDR_CLUSTER_SECRET_DATA_H
