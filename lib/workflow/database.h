#ifndef KUBEDR_WORKFLOW_DATABASE_H
#define KUBEDR_WORKFLOW_DATABASE_H

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "etcd/client.h"
#include "etcd/verdict.h"
#include "repo/writer.h"
#include "workflow/services.h"

namespace kubedr::workflow {

// Where the database of a backup comes from; what is empty is taken from the policy.
struct DatabaseRequest {
  std::vector<std::string> endpoints;  // instead of the policy's
  std::string ca_pem;                  // instead of the Secret's keys
  std::string client_certificate_pem;
  Secret client_key_pem;
  std::string snapshot_file;  // an existing db with its digest, instead of etcd
  bool any_etcd = false;      // do not ask whether it is this cluster's
};

// A member that was found fit, and proven to belong to this cluster.
struct ChosenMember {
  etcd::Endpoint endpoint;
  etcd::Status status;
};

// The database as bytes, judged while they pass.
//
// threads  one thread
class Database final : public repo::Source {
 public:
  // Streams the snapshot of a member.
  Database(ChosenMember member, const Call& call);

  // Reads a file that `etcdctl snapshot save` wrote.
  //
  // errors   not_found, denied
  explicit Database(const std::string& snapshot_file);

  ~Database() override;

  std::size_t read(std::span<std::uint8_t> buffer, const Call& call) override;

  // Bytes to come, with the digest; an estimate before the first byte; 0 when not known.
  std::uint64_t expected_size() const;

  // After the last byte; asks the member once more what it thinks of its data.
  //
  // errors   corrupt: what came is no whole, undamaged database, or the member says meanwhile that
  //          its data is corrupt; failed: it is a learner by now
  etcd::Verified finish(const Call& call);

  // "https://127.0.0.1:2379", or the file's name.
  const std::string& origin() const { return origin_; }

  struct Reader;  // a stream or a file; see database.cc

 private:
  std::string origin_;
  std::unique_ptr<Reader> reader_;
  etcd::Verdict verdict_;
};

// Asks every endpoint and takes the one to snapshot: no learner, no corruption, with a leader where
// there is one, the furthest applied; then proves that it is this API server's etcd.
//
// errors   usage: it is another cluster's, or the endpoints are of different clusters; unavailable
//          and denied: none could be asked; corrupt: all say their data is
ChosenMember choose_member(const Services& services, const crd::Policy& policy,
                           const DatabaseRequest& request, const Call& call);

// Whether the API server encrypts Secrets before they reach that etcd, by how it holds the policy's
// own. False where that cannot be read.
bool encrypts_secrets(const ChosenMember& member, const crd::Policy& policy, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_DATABASE_H
