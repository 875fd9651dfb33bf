#include "base/file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace kubedr {
namespace {

ErrorKind kind_of_errno(int number) {
  if (number == ENOENT || number == ENOTDIR) return ErrorKind::not_found;
  if (number == EACCES || number == EPERM) return ErrorKind::denied;
  return ErrorKind::failed;
}

const char* hint_of_errno(int number) {
  if (number == ENOSPC || number == EDQUOT) return "make room there, then start again";
  if (number == EACCES || number == EPERM) return "check who owns it, and its mode";
  if (number == EEXIST) return "something else is there already: name another path";
  if (number == ENOTDIR) return "a file stands where a folder must be: name another path";
  if (number == EROFS) return "that file system is read-only: name another path";
  return "";
}

}  // namespace

void throw_errno(const std::filesystem::path& path, const std::string& what) {
  const int number = errno;
  throw Error(
      kind_of_errno(number),
      fmt::format("{}: {}: {}", path.string(), what, std::generic_category().message(number)),
      hint_of_errno(number));
}

FileDescriptor::FileDescriptor(FileDescriptor&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this == &other) return *this;
  if (fd_ >= 0) ::close(fd_);
  fd_ = std::exchange(other.fd_, -1);
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

void FileDescriptor::close(const std::filesystem::path& name) {
  if (::close(std::exchange(fd_, -1)) != 0) throw_errno(name, "close");
}

FileDescriptor open_file(const std::filesystem::path& path, int flags, unsigned mode) {
  FileDescriptor file(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!file.valid()) throw_errno(path, "open");
  return file;
}

Bytes read_file(const std::filesystem::path& path, std::size_t limit) {
  const FileDescriptor file = open_file(path, O_RDONLY);

  struct stat info {};

  if (fstat(file.get(), &info) != 0) throw_errno(path, "stat");
  if (S_ISDIR(info.st_mode)) {
    throw Error(ErrorKind::usage, path.string() + ": is a directory, a file is needed");
  }
  // A pipe or a file of /proc says it is empty: the size is only where to start.
  Bytes bytes(std::min<std::size_t>(limit, static_cast<std::size_t>(info.st_size)) + 1);
  std::size_t have = 0;
  while (true) {
    const std::size_t got =
        read_full(file.get(), std::span(bytes.data() + have, bytes.size() - have), path);
    have += got;
    if (have < bytes.size()) break;
    if (have > limit) {
      throw Error(ErrorKind::usage,
                  fmt::format("{}: larger than the {} bytes allowed", path.string(), limit));
    }
    bytes.resize(std::min(limit + 1, bytes.size() * 2 + 4096));
  }
  bytes.resize(have);
  return bytes;
}

std::size_t read_full(int fd, std::span<std::uint8_t> buffer, const std::filesystem::path& name) {
  std::size_t have = 0;
  while (have < buffer.size()) {
    const ssize_t got = ::read(fd, buffer.data() + have, buffer.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_errno(name, "read");
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  return have;
}

void write_full(int fd, ByteView bytes, const std::filesystem::path& name) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw_errno(name, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

std::size_t read_full_at(int fd, std::span<std::uint8_t> buffer, std::uint64_t offset,
                         const std::filesystem::path& name) {
  std::size_t have = 0;
  while (have < buffer.size()) {
    const ssize_t got =
        ::pread(fd, buffer.data() + have, buffer.size() - have, static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_errno(name, "read");
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  return have;
}

void write_full_at(int fd, ByteView bytes, std::uint64_t offset,
                   const std::filesystem::path& name) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw_errno(name, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
}

void sync_file(int fd, const std::filesystem::path& name) {
  if (::fsync(fd) != 0) throw_errno(name, "fsync");
}

TemporaryFile::TemporaryFile(std::filesystem::path path, unsigned mode)
    : path_(std::move(path)), fd_(open_file(path_, O_WRONLY | O_CREAT | O_EXCL, mode)) {}

TemporaryFile::~TemporaryFile() {
  if (!renamed_) static_cast<void>(::unlink(path_.c_str()));
}

void TemporaryFile::set_mode(unsigned mode) {
  if (::fchmod(fd_.get(), mode) != 0) throw_errno(path_, "set mode");
}

bool TemporaryFile::take_rights(const std::filesystem::path& of) {
  struct stat theirs {};

  struct stat ours {};

  if (::stat(of.c_str(), &theirs) != 0) throw_errno(of, "stat");
  if (::fstat(fd_.get(), &ours) != 0) throw_errno(path_, "stat");
  const bool same = theirs.st_uid == ours.st_uid && theirs.st_gid == ours.st_gid;
  if (!same && ::fchown(fd_.get(), theirs.st_uid, theirs.st_gid) != 0) return false;
  set_mode(theirs.st_mode & 07777);
  return true;
}

void TemporaryFile::append(ByteView bytes) {
  write_full(fd_.get(), bytes, path_);
}

void TemporaryFile::finish() {
  sync_file(fd_.get(), path_);
  fd_.close(path_);
}

void TemporaryFile::write(ByteView bytes) {
  append(bytes);
  finish();
}

void TemporaryFile::replace(const std::filesystem::path& target) {
  if (::rename(path_.c_str(), target.c_str()) != 0) throw_errno(target, "rename into place");
  renamed_ = true;
}

// A link fails where the name is taken, also over NFS; a file system without links may have a
// rename that does.
void TemporaryFile::create(const std::filesystem::path& target) {
  if (::link(path_.c_str(), target.c_str()) == 0) return;
  if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS) {
    renamed_ =
        ::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) == 0;
    if (renamed_) return;
  }
  if (errno == EEXIST) throw Error(ErrorKind::exists, target.string() + ": already there");
  throw_errno(target, "link into place");
}

bool make_folders(const std::filesystem::path& folder, unsigned mode) {
  if (::mkdir(folder.c_str(), mode) == 0) return true;
  if (errno == ENOENT && folder.has_parent_path() && folder.parent_path() != folder) {
    make_folders(folder.parent_path(), mode);
    if (::mkdir(folder.c_str(), mode) == 0) return true;
  }
  std::error_code ignored;
  const int number = errno;
  if (number == EEXIST && std::filesystem::is_directory(folder, ignored)) return false;
  errno = number;
  throw_errno(folder, "make folder");
}

void sync_directory(const std::filesystem::path& path) {
  const FileDescriptor folder = open_file(path.empty() ? "." : path, O_RDONLY | O_DIRECTORY);
  // Some network file systems cannot sync a folder and say so; nothing more can be done there.
  if (::fsync(folder.get()) != 0 && errno != EINVAL && errno != ENOTSUP) throw_errno(path, "fsync");
}

}  // namespace kubedr
