#ifndef KUBEDR_SUPPORT_IMAGE_H
#define KUBEDR_SUPPORT_IMAGE_H

#include <filesystem>

#include "base/json.h"
#include "support/temp_dir.h"

namespace kubedr::test {

// The container image that tests/release/image makes of a program, unpacked as a runtime does it,
// every digest compared on the way.
class Image {
 public:
  explicit Image(const std::filesystem::path& program);

  std::filesystem::path archive() const { return folder_ / "image.tar"; }

  // What a container sees as its root.
  std::filesystem::path root() const { return folder_ / "root"; }

  // "config" of the image's configuration: Env, Cmd.
  Json settings() const;

 private:
  // A blob of the archive by its digest ("sha256:..."), its content checked.
  std::filesystem::path blob(const std::string& digest) const;

  TempDir folder_;
};

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_IMAGE_H
