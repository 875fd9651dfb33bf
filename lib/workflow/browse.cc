#include "workflow/browse.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <span>

#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"
#include "repo/content_reader.h"
#include "repo/walk.h"
#include "workflow/open.h"
#include "workflow/tar.h"

namespace kubedr::workflow {
namespace {

constexpr std::uint64_t kWindow = 32 * limits::kMiB;  // of a file, in memory while it is dumped

// A snapshot with what is needed to read it. The lock keeps a prune away meanwhile.
class Reading {
 public:
  Reading(const Services& services, const SnapshotChoice& choice, const Call& call)
      : records_(services.cluster.records(call).items),
        location_(location_of_snapshot(services, choice, records_, call)),
        opened_(open_repository(services, location_, call)),
        lock_(lock_for_reading(services, opened_.repository, call)),
        index_(load_index_to_read(opened_, lock_, lock_.scope())),
        snapshot_(find_snapshot(opened_.repository, records_, location_.ref.name, choice,
                                lock_.scope())) {}

  const Call& call() const { return lock_.scope(); }

  const ListedSnapshot& snapshot() const { return snapshot_; }

  const repo::Repository& repository() const { return opened_.repository; }

  const repo::Index& index() const { return index_; }

  std::string repository_url() const { return opened_.store->location(); }

  void each_node(const repo::VisitNode& visit) const {
    repo::walk_tree(opened_.repository, index_, snapshot_.saved.snapshot.tree, visit, call());
  }

 private:
  const std::vector<crd::Record> records_;
  const crd::Location location_;
  OpenedRepository opened_;
  repo::Lock lock_;
  const repo::Index index_;
  const ListedSnapshot snapshot_;
};

// "/data" for "data/", "/data" and "data".
std::string normalized(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path.starts_with('/') ? path : "/" + path;
}

bool is_listed(const std::string& path, const std::string& wanted, bool recursive) {
  if (path == wanted) return true;
  const std::string folder = wanted == "/" ? wanted : wanted + "/";
  return path.starts_with(folder) &&
         (recursive || path.find('/', folder.size()) == std::string::npos);
}

using Write = std::function<void(ByteView bytes)>;

// How many of these blobs are brought at a time, one at least.
std::size_t window_of(const repo::Index& index, std::span<const repo::BlobId> blobs) {
  std::uint64_t bytes = 0;
  std::size_t count = 0;
  while (count < blobs.size()) {
    const auto place = index.find({repo::BlobType::data, blobs[count]});
    bytes += place ? place->entry.plain_size() : 0;
    if (count > 0 && bytes > kWindow) break;
    ++count;
  }
  return count;
}

void dump_content(const Reading& reading, const repo::Node& file, const Write& write) {
  std::span<const repo::BlobId> left(file.content);
  while (!left.empty()) {
    const std::size_t count = window_of(reading.index(), left);
    const repo::ContentReader part(reading.repository(), reading.index(), left.first(count));
    Bytes bytes(part.size());
    part.read(
        [&](ByteView piece, std::uint64_t offset) {
          std::copy(piece.begin(), piece.end(),
                    bytes.begin() + static_cast<std::ptrdiff_t>(offset));
        },
        reading.call());
    write(bytes);
    left = left.subspan(count);
  }
}

// By the index: what an entry says of its size may be wrong.
std::uint64_t content_size(const Reading& reading, const repo::Node& file) {
  std::uint64_t size = 0;
  for (const repo::BlobId& id : file.content) {
    const auto place = reading.index().find({repo::BlobType::data, id});
    if (place) size += place->entry.plain_size();
  }
  return size;
}

// What is in the folder, by its path in the snapshot, as restic does.
void dump_folder(const Reading& reading, const std::string& folder, const Write& write) {
  TarWriter tar(write);
  reading.each_node([&](const std::string& path, const repo::Node& node) {
    if (path == folder || !is_listed(path, folder, true)) return;
    if (!repo::is_safe_name(node.name)) {
      throw Error(ErrorKind::corrupt,
                  printable(path) + ": refused: such a name leads out of where it is unpacked");
    }
    tar.begin(path.substr(1), node, content_size(reading, node));
    if (node.type != repo::NodeType::file) return;
    dump_content(reading, node, [&](ByteView bytes) { tar.write(bytes); });
  });
  tar.finish();
}

}  // namespace

Listing list_files(const Services& services, const ListRequest& request,
                   const std::function<void(const std::string& path, const repo::Node& node)>& each,
                   const Call& call) {
  const Reading reading(services, request.choice, call);
  std::vector<std::string> paths;
  for (const std::string& path : request.paths) paths.push_back(normalized(path));
  reading.each_node([&](const std::string& path, const repo::Node& node) {
    const bool is_wanted = std::any_of(paths.begin(), paths.end(), [&](const std::string& wanted) {
      return is_listed(path, wanted, request.recursive);
    });
    if (paths.empty() || is_wanted) each(path, node);
  });
  return {reading.snapshot(), reading.repository_url()};
}

void dump(const Services& services, const SnapshotChoice& choice, const std::string& path,
          const std::function<void(ByteView bytes)>& write, const Call& call) {
  const Reading reading(services, choice, call);
  const std::string wanted = normalized(path);
  std::optional<repo::Node> found;
  if (wanted == "/") {
    found.emplace().type = repo::NodeType::dir;
  }
  reading.each_node([&](const std::string& at, const repo::Node& node) {
    if (at == wanted) found = node;
  });
  if (!found) {
    throw Error(ErrorKind::not_found,
                fmt::format("{}: not in snapshot {}", printable(wanted),
                            reading.snapshot().saved.id.short_hex()),
                "`kubectl kubedr ls` shows what is");
  }
  switch (found->type) {
  case repo::NodeType::file:
    return dump_content(reading, *found, write);
  case repo::NodeType::dir:
    return dump_folder(reading, wanted, write);
  case repo::NodeType::symlink:
  case repo::NodeType::dev:
  case repo::NodeType::chardev:
  case repo::NodeType::fifo:
  case repo::NodeType::socket:
  case repo::NodeType::irregular:
    throw Error(ErrorKind::usage, printable(wanted) + ": is neither a file nor a folder",
                "`ls` shows what the snapshot holds");
  }
}

}  // namespace kubedr::workflow
