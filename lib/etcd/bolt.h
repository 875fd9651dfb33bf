#ifndef KUBEDR_ETCD_BOLT_H
#define KUBEDR_ETCD_BOLT_H

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "etcd/client.h"

namespace kubedr::etcd {

// One meta page of a bbolt file.
struct Meta {
  std::uint32_t page_size = 0;
  std::uint64_t root = 0;        // page of the root bucket
  std::uint64_t high_water = 0;  // pages in the file
  std::uint64_t txid = 0;
};

// A meta page at the start of `page`, nullopt when magic, version or checksum are wrong.
std::optional<Meta> parse_meta(ByteView page);

// What a restored database says of its cluster.
struct DatabaseInfo {
  std::int64_t revision = 0;
  std::vector<Member> members;  // of the members bucket, without peers that were removed
  std::string cluster_version;  // "3.6.0"; empty when not stored
};

// Reads a restored db. Every page number, offset and length is checked before use.
//
// errors   corrupt: `PATH: page N: ...`; not_found, denied, failed
// threads  any; opens the file itself
DatabaseInfo inspect_database(const std::filesystem::path& path);

}  // namespace kubedr::etcd

#endif  // KUBEDR_ETCD_BOLT_H
