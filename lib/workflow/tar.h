#ifndef KUBEDR_WORKFLOW_TAR_H
#define KUBEDR_WORKFLOW_TAR_H

#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.h"
#include "repo/tree.h"

namespace kubedr::workflow {

// Files, folders and links as a tar stream, as `restic dump` writes them: whole seconds, and a pax
// header in front of what the old fields cannot hold.
//
// shape    for each entry [pax header | its records] header | content, each in blocks of 512; two
//          blocks of zeros at the end
// errors   internal: more or less content than an entry said
// threads  one thread
// source   POSIX.1-2017, pax: "ustar Interchange Format", "pax Extended Header"
class TarWriter {
 public:
  explicit TarWriter(std::function<void(ByteView bytes)> write) : write_(std::move(write)) {}

  // `path` without '/' in front; of other kinds of nodes nothing is written. `size` is what of a
  // file's content will follow.
  void begin(const std::string& path, const repo::Node& node, std::uint64_t size);

  // Content of the file begun last.
  void write(ByteView bytes);

  void finish();

 private:
  void pad();

  const std::function<void(ByteView bytes)> write_;
  std::uint64_t left_ = 0;     // of the content
  std::uint64_t padding_ = 0;  // behind it
};

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_TAR_H
