#ifndef KUBEDR_BASE_FILE_H
#define KUBEDR_BASE_FILE_H

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/bytes.h"

namespace kubedr {

// An open file descriptor, closed when it goes.
class FileDescriptor {
 public:
  FileDescriptor() = default;

  explicit FileDescriptor(int fd) : fd_(fd) {}

  FileDescriptor(FileDescriptor&& other) noexcept;
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor();

  int get() const { return fd_; }

  bool valid() const { return fd_ >= 0; }

  // Closes now and reports what close() says; the destructor cannot.
  void close(const std::filesystem::path& name);

 private:
  int fd_ = -1;
};

// open(2) with O_CLOEXEC.
//
// errors   not_found, denied, failed: `PATH: what failed: why`
FileDescriptor open_file(const std::filesystem::path& path, int flags, unsigned mode = 0600);

// The whole file, at most `limit` bytes.
//
// errors   not_found, denied, failed; usage when it is larger
Bytes read_file(const std::filesystem::path& path, std::size_t limit);

// Bytes read, fewer than asked only at the end of the file.
std::size_t read_full(int fd, std::span<std::uint8_t> buffer, const std::filesystem::path& name);
void write_full(int fd, ByteView bytes, const std::filesystem::path& name);

// The same at an offset of the file, whatever its position.
std::size_t read_full_at(int fd, std::span<std::uint8_t> buffer, std::uint64_t offset,
                         const std::filesystem::path& name);
void write_full_at(int fd, ByteView bytes, std::uint64_t offset, const std::filesystem::path& name);

void sync_file(int fd, const std::filesystem::path& name);

// A file on its way to its name: whole when it gets there, and gone with this if it does not.
class TemporaryFile {
 public:
  // errors   as open_file; failed when the path is taken
  TemporaryFile(std::filesystem::path path, unsigned mode);
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile();

  // Whatever the umask.
  void set_mode(unsigned mode);

  // Mode, owner and group of another file. False if they are not ours to give: then the mode is
  // what it was made with.
  bool take_rights(const std::filesystem::path& of);

  void append(ByteView bytes);

  // What was appended, onto stable storage. Once, before it gets its name.
  void finish();

  // Both, for all of its bytes.
  void write(ByteView bytes);

  // Gives it its name, on the same file system. sync_directory then makes that last.
  //
  // errors   create: exists, when the name is taken
  void replace(const std::filesystem::path& target);
  void create(const std::filesystem::path& target);

 private:
  const std::filesystem::path path_;
  FileDescriptor fd_;
  bool renamed_ = false;
};

// mkdir(2) of a folder and of those above it that are missing. True if anything was made.
//
// errors   denied, not_found, failed: something else is in the way
bool make_folders(const std::filesystem::path& folder, unsigned mode);

// Makes a rename or unlink in this folder last; empty, as the parent of a bare name is, it is the
// current one.
void sync_directory(const std::filesystem::path& path);

// Error of the errno of a failed call: not_found for ENOENT, denied for EACCES and EPERM, else
// failed. The text is `PATH: WHAT: strerror`.
[[noreturn]] void throw_errno(const std::filesystem::path& path, const std::string& what);

}  // namespace kubedr

#endif  // KUBEDR_BASE_FILE_H
