#include "base/file.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include <string>

#include "base/error.h"
#include "support/temp_dir.h"

namespace kubedr {
namespace {

namespace fs = std::filesystem;

using test::TempDir;

void write_text(const fs::path& path, std::string_view text) {
  FileDescriptor file = open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
  write_full(file.get(), as_bytes(text), path);
  sync_file(file.get(), path);
  file.close(path);
  CHECK_FALSE(file.valid());
}

template <class Function>
ErrorKind kind_of(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::internal;  // none at all
}

TEST_CASE("file: a file is read whole, up to the limit and not beyond") {
  const TempDir folder;
  const fs::path path = folder / "file";
  write_text(path, "0123456789");
  CHECK(as_text(read_file(path, 10)) == "0123456789");
  CHECK(as_text(read_file(path, 1000)) == "0123456789");
  CHECK(kind_of([&] { read_file(path, 9); }) == ErrorKind::usage);
  write_text(path, "");
  CHECK(read_file(path, 0).empty());
}

TEST_CASE("file: bytes at an offset are written and read wherever the file stands") {
  const TempDir folder;
  const fs::path path = folder / "file";
  const FileDescriptor file = open_file(path, O_RDWR | O_CREAT);
  write_full_at(file.get(), as_bytes("world"), 6, path);
  write_full_at(file.get(), as_bytes("hello "), 0, path);
  Bytes bytes(5);
  CHECK(read_full_at(file.get(), bytes, 6, path) == 5);
  CHECK(as_text(bytes) == "world");
  CHECK(read_full_at(file.get(), bytes, 8, path) == 3);
  CHECK(read_full_at(file.get(), bytes, 100, path) == 0);
  CHECK(as_text(read_file(path, 100)) == "hello world");
  CHECK(kind_of([&] { read_full_at(-1, bytes, 0, path); }) == ErrorKind::failed);
  CHECK(kind_of([&] { write_full_at(-1, bytes, 0, path); }) == ErrorKind::failed);
}

TEST_CASE("file: one that does not tell its size is read all the same") {
  CHECK(read_file("/proc/self/status", 1 << 20).size() > 100);
  CHECK(kind_of([] { read_file("/dev/zero", 1000); }) == ErrorKind::usage);
}

TEST_CASE("file: a missing file is not_found and the error names it") {
  const TempDir folder;
  const fs::path path = folder / "missing";
  try {
    open_file(path, O_RDONLY);
    FAIL("it is not there");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::not_found);
    CHECK(std::string(error.what()) == path.string() + ": open: No such file or directory");
  }
  CHECK(kind_of([&] { read_file(folder.path(), 100); }) == ErrorKind::usage);
}

TEST_CASE("file: reading stops at the end and says how much there was") {
  const TempDir folder;
  const fs::path path = folder / "file";
  write_text(path, "abc");
  const FileDescriptor file = open_file(path, O_RDONLY);
  Bytes buffer(10);
  CHECK(read_full(file.get(), buffer, path) == 3);
  CHECK(read_full(file.get(), buffer, path) == 0);
}

TEST_CASE("file: a descriptor is closed once, by its last owner") {
  const TempDir folder;
  FileDescriptor first = open_file(folder / "file", O_WRONLY | O_CREAT);
  const int number = first.get();
  {
    const FileDescriptor second(std::move(first));
    CHECK_FALSE(first.valid());  // NOLINT(bugprone-use-after-move): that is what is tested
    CHECK(::fcntl(number, F_GETFD) == FD_CLOEXEC);
  }
  CHECK(::fcntl(number, F_GETFD) == -1);
}

TEST_CASE("file: a write that fails says why") {
  const FileDescriptor full = open_file("/dev/full", O_WRONLY);
  CHECK(kind_of([&] { write_full(full.get(), as_bytes("x"), "/dev/full"); }) == ErrorKind::failed);
}

}  // namespace
}  // namespace kubedr
