#ifndef KUBEDR_BASE_LIMITS_H
#define KUBEDR_BASE_LIMITS_H

#include <cstddef>
#include <cstdint>

// What bytes from outside may amount to. Each limit has a fuzz target or a unit test of its own.
namespace kubedr::limits {

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;

constexpr std::size_t kJsonDepth = 64;            // nesting of arrays and objects
constexpr std::size_t kKubeBody = 64 * kMiB;      // an answer of the API server
constexpr std::size_t kWatchLine = 2 * kMiB;      // of a watch, which asks for metadata only
constexpr std::size_t kS3Body = 16 * kMiB;        // an answer of S3 that is not an object
constexpr std::size_t kHeaderBytes = 256 * kKiB;  // all header lines of an answer
constexpr std::size_t kGrpcMessage = 4 * kMiB;    // etcd sends snapshot blobs of 32 KiB
constexpr std::uint64_t kDatabase = std::uint64_t{1} << 50;  // bytes; what etcd may announce
constexpr std::size_t kDatabasePage = 64 * kKiB;  // a kernel's, as etcd found it; of arm64, ppc64
constexpr std::size_t kDatabaseRun = 64 * kMiB;   // a page with those that it overflows to
constexpr int kDatabaseDepth = 64;                // levels of one of its trees
constexpr std::size_t kPackHeader = 16 * kMiB;    // restic's own limit
constexpr std::size_t kPackBytes = 256 * kMiB;    // 128 MiB target plus an oversized blob
constexpr std::size_t kBlobBytes =
    64 * kMiB;  // a plain blob; restic cuts at 8 MiB, trees may exceed
constexpr std::size_t kUnpackedBytes = 512 * kMiB;  // an index, snapshot or lock, decompressed
constexpr int kTreeDepth = 200;                     // of folders; a restore holds each level open
constexpr std::size_t kSmallFile = 64 * kKiB;       // a config or key
constexpr std::size_t kKeys = 20;                   // restic tries no more
constexpr std::uint64_t kKeyMemory = 256 * kMiB;    // of scrypt, which goes through it p times
constexpr std::uint64_t kKeyWork = 16384 * kMiB;    // of that product; restic's own is 224 MiB
constexpr std::size_t kYamlBytes = 4 * kMiB;        // a manifest or kubeconfig
constexpr std::size_t kYamlValues = 200'000;        // of it, each alias written out
constexpr std::size_t kYamlText = 16 * kMiB;        // all texts of these, keys among them
constexpr std::size_t kSecretBytes = 1 * kMiB;      // Kubernetes' own limit for a Secret
constexpr std::size_t kStatusMessage = 32 * kKiB;   // a text we put into a status or an event

}  // namespace kubedr::limits

#endif  // KUBEDR_BASE_LIMITS_H
