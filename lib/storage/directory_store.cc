#include "storage/directory_store.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/file.h"

namespace kubedr::storage {
namespace fs = std::filesystem;

namespace {

constexpr unsigned kFileMode = 0400;
constexpr unsigned kFolderMode = 0700;
constexpr std::string_view kTemporary = "-tmp-";  // behind the name, and then chance; as restic's
constexpr std::array kKinds = {FileKind::pack, FileKind::key, FileKind::index, FileKind::snapshot,
                               FileKind::lock};

// A repository is not there when its folder is not. Whatever else is wrong with the folder is told
// by the operation that follows.
void require_folder(const fs::path& root) {
  std::error_code error;
  if (fs::status(root, error).type() != fs::file_type::not_found) return;
  throw Error(ErrorKind::no_repository, root.string() + ": no such folder");
}

std::uint64_t size_of_open(int fd, const fs::path& path) {
  struct stat info {};

  if (::fstat(fd, &info) != 0) throw_errno(path, "stat");
  if (!S_ISREG(info.st_mode)) throw Error(ErrorKind::failed, path.string() + ": not a plain file");
  return static_cast<std::uint64_t>(info.st_size);
}

Bytes read_part(int fd, const Range& range, const fs::path& path) {
  if (::lseek(fd, static_cast<off_t>(range.offset), SEEK_SET) < 0) throw_errno(path, "seek");
  Bytes bytes(range.length);
  if (read_full(fd, bytes, path) != bytes.size()) {
    throw Error(ErrorKind::corrupt, path.string() + ": read: ended early");
  }
  return bytes;
}

// Every plain file of one folder whose name is an id that begins with `start`.
void list_folder(const fs::path& folder, std::string_view start,
                 const std::function<void(const FileInfo&)>& each) {
  std::error_code error;
  fs::directory_iterator at(folder, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!is_id(name) || name.compare(0, start.size(), start) != 0) continue;

    struct stat info {};

    if (::stat(at->path().c_str(), &info) != 0) {
      if (errno == ENOENT) continue;  // a lock may go between the two calls
      throw_errno(at->path(), "stat");
    }
    if (!S_ISREG(info.st_mode)) continue;
    const WallTime modified = WallTime(std::chrono::seconds(info.st_mtim.tv_sec));
    each({name, static_cast<std::uint64_t>(info.st_size), modified});
  }
  if (!error || error == std::errc::no_such_file_or_directory) return;
  errno = error.value();
  throw_errno(folder, "list");
}

// The file's name ends where that of the temporary one goes on.
bool is_temporary(const std::string& name) {
  const std::size_t end = name.find(kTemporary);
  if (end == std::string::npos) return false;
  const std::string_view of = std::string_view(name).substr(0, end);
  return is_id(of) || of == "config";
}

void remove_temporary(const fs::path& folder, WallTime before) {
  std::error_code error;
  bool removed = false;
  fs::directory_iterator at(folder, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    if (!is_temporary(at->path().filename().string())) continue;

    struct stat info {};

    if (::lstat(at->path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    if (WallTime(std::chrono::seconds(info.st_mtim.tv_sec)) >= before) continue;
    if (::unlink(at->path().c_str()) != 0 && errno != ENOENT) throw_errno(at->path(), "remove");
    removed = true;
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    errno = error.value();
    throw_errno(folder, "list");
  }
  if (removed) sync_directory(folder);
}

}  // namespace

DirectoryStore::DirectoryStore(fs::path root, Random& random)
    : root_(std::move(root)), location_(root_.string()), random_(random) {}

Bytes DirectoryStore::load(const FileName& name, std::size_t limit, const Call& call) const {
  call.require_live();
  require_folder(root_);
  const fs::path path = root_ / name.path();
  const FileDescriptor file = open_file(path, O_RDONLY);
  const std::uint64_t size = size_of_open(file.get(), path);
  if (size > limit) throw Error(ErrorKind::corrupt, path.string() + ": larger than it may be");
  return read_part(file.get(), {0, size}, path);
}

Bytes DirectoryStore::load_range(const FileName& name, const Range& range, const Call& call) const {
  call.require_live();
  require_folder(root_);
  const fs::path path = root_ / name.path();
  const FileDescriptor file = open_file(path, O_RDONLY);
  const std::uint64_t size = size_of_open(file.get(), path);
  if (range.offset > size || range.length > size - range.offset) {
    throw Error(ErrorKind::corrupt, path.string() + ": shorter than it must be");
  }
  return read_part(file.get(), range, path);
}

std::optional<std::uint64_t> DirectoryStore::size_of(const FileName& name, const Call& call) const {
  call.require_live();
  const fs::path path = root_ / name.path();

  struct stat info {};

  if (::stat(path.c_str(), &info) == 0) return static_cast<std::uint64_t>(info.st_size);
  if (errno == ENOENT) return std::nullopt;
  throw_errno(path, "stat");
}

void DirectoryStore::list(FileKind kind, const std::function<void(const FileInfo&)>& each,
                          const Call& call) const {
  call.require_live();
  require_folder(root_);
  if (kind == FileKind::config) return;
  const fs::path folder = root_ / folder_of(kind);
  if (kind != FileKind::pack) return list_folder(folder, "", each);
  for (unsigned shard = 0; shard < 256; ++shard) {
    call.require_live();
    const std::string start = fmt::format("{:02x}", shard);
    list_folder(folder / start, start, each);
  }
}

bool DirectoryStore::create(const Call& call) {
  call.require_live();
  bool made = make_folders(root_, kFolderMode);
  for (const FileKind kind : kKinds)
    made |= make_folders((root_ / folder_of(kind)).parent_path(), kFolderMode);
  const fs::path packs = (root_ / folder_of(FileKind::pack)).parent_path();
  for (unsigned shard = 0; shard < 256; ++shard)
    made |= make_folders(packs / fmt::format("{:02x}", shard), kFolderMode);
  if (!made) return false;
  sync_directory(packs);
  sync_directory(root_);
  return true;
}

void DirectoryStore::save(const FileName& name, ByteView bytes, const Digest& /*digest*/,
                          SaveMode mode, const Call& call) {
  call.require_live();
  require_folder(root_);
  const fs::path target = root_ / name.path();
  const fs::path folder = target.parent_path();
  if (make_folders(folder, kFolderMode)) sync_directory(folder.parent_path());
  const fs::path path = fmt::format("{}{}{:016x}", target.string(), kTemporary, random_.next());
  TemporaryFile file(path, kFileMode);
  file.write(bytes);
  if (mode == SaveMode::replace) {
    file.replace(target);
  } else {
    file.create(target);
  }
  sync_directory(folder);
}

void DirectoryStore::remove(const FileName& name, const Call& call) {
  call.require_live();
  const fs::path path = root_ / name.path();
  if (::unlink(path.c_str()) == 0) return sync_directory(path.parent_path());
  if (errno != ENOENT) throw_errno(path, "remove");
}

void DirectoryStore::remove_leftovers(WallTime before, const Call& call) {
  remove_temporary(root_, before);
  for (const FileKind kind : kKinds) {
    call.require_live();
    if (kind != FileKind::pack) remove_temporary(root_ / folder_of(kind), before);
  }
  for (unsigned shard = 0; shard < 256; ++shard) {
    call.require_live();
    remove_temporary(root_ / folder_of(FileKind::pack) / fmt::format("{:02x}", shard), before);
  }
}

}  // namespace kubedr::storage
