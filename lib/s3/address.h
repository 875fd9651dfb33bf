#ifndef KUBEDR_S3_ADDRESS_H
#define KUBEDR_S3_ADDRESS_H

#include <string>
#include <string_view>

#include "http/url.h"

namespace kubedr::s3 {

enum class BucketLookup { automatic, path, dns };

// Where a repository is on S3.
struct Address {
  http::Url endpoint;  // scheme, host, port; a path of the endpoint itself is kept
  std::string bucket;
  std::string prefix;    // no slash at either end; may be empty
  std::string location;  // "s3:" and the URL as the user wrote it: restic's name of the repository

  // Host header and path of an object (escaped), or of the bucket when `key` is empty. Path style
  // unless dns is asked for; automatic takes dns for amazonaws.com hosts and bucket names that
  // are host names without dots.
  struct Target {
    std::string base;  // scheme://authority
    std::string host;  // authority
    std::string path;  // escaped, begins with '/'
  };

  Target target(std::string_view key, BucketLookup lookup) const;
};

// "s3:http://host:9000/bucket/prefix", "s3:host/bucket", "s3://host/bucket": restic's forms. The
// prefix is cleaned as path.Clean does.
//
// errors   usage: with restic's words, e.g. `s3: bucket name not found`
Address parse_address(std::string_view text);

// BackupLocation's two fields: location "s3:<url>/<bucket>", the bucket may carry a prefix
// ("bucket/some/prefix"). Trailing slashes of `url` are dropped.
Address make_address(std::string_view url, std::string_view bucket_name);

}  // namespace kubedr::s3

#endif  // KUBEDR_S3_ADDRESS_H
