#ifndef KUBEDR_S3_S3_STORE_H
#define KUBEDR_S3_S3_STORE_H

#include <memory>
#include <string>

#include "base/clock.h"
#include "http/client.h"
#include "s3/address.h"
#include "s3/sign.h"
#include "storage/store.h"

namespace kubedr::s3 {

struct S3Options {
  Address address;
  Credentials credentials;
  std::string region;  // empty: us-east-1, or what the server says when it refuses that
  BucketLookup lookup = BucketLookup::automatic;
  std::string ca_pem;             // empty: `authorities`
  http::Authorities authorities;  // instead of the system's
  http::ProxyVariables proxies;
  std::string user_agent;
  int connections = 5;  // restic's number
};

// A repository on S3.
//
// errors   as storage::StoreReader; texts end in S3's own message, e.g. `s3: put data/3f/3fa2..:
//          503 SlowDown: Please reduce your request rate`. A clock that S3 refuses
//          (RequestTimeTooSkewed) is denied with a hint. InvalidAccessKeyId, SignatureDoesNotMatch
//          and AccessDenied are denied; NoSuchBucket is no_repository.
// threads  synchronised: a pool of clients, one borrowed by each request
class S3Store final : public storage::Store {
 public:
  // `clock` must outlive the store.
  S3Store(S3Options options, const Clock& clock);
  ~S3Store() override;

  const std::string& location() const override;
  Bytes load(const storage::FileName& name, std::size_t limit, const Call& call) const override;
  Bytes load_range(const storage::FileName& name, const storage::Range& range,
                   const Call& call) const override;
  std::optional<std::uint64_t> size_of(const storage::FileName& name,
                                       const Call& call) const override;
  void list(storage::FileKind kind, const std::function<void(const storage::FileInfo&)>& each,
            const Call& call) const override;
  bool create(const Call& call) override;

  // A bucket that asks for Content-MD5, as those with an object lock do, gets it from then on.
  // create_only sends If-None-Match: *; a server that does not know it (501 NotImplemented) is
  // asked with a HEAD first instead.
  void save(const storage::FileName& name, ByteView bytes, const Digest& digest,
            storage::SaveMode mode, const Call& call) override;
  void remove(const storage::FileName& name, const Call& call) override;
  int connections() const override;
  std::optional<std::chrono::seconds> clock_offset() const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kubedr::s3

#endif  // KUBEDR_S3_S3_STORE_H
