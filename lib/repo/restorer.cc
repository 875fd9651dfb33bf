#include "repo/restorer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <mutex>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/text.h"
#include "repo/content_reader.h"
#include "repo/tree.h"
#include "repo/walk.h"

namespace kubedr::repo {

namespace {

using storage::FileKind;
using storage::FileName;
using storage::Range;
namespace fs = std::filesystem;

constexpr std::size_t kSparseBlock = 4 * limits::kKiB;
constexpr unsigned kOpenFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

bool is_zero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

timespec to_timespec(WallTime time) {
  const auto since = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  timespec spec{};
  spec.tv_sec = seconds.count();
  spec.tv_nsec = std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds).count();
  return spec;
}

constexpr std::string_view kTemporaryPrefix = ".kubedr-";
constexpr std::string_view kTemporarySuffix = ".part";

// What is damaged, each once: who looks for `include` meets a damaged folder before the restore
// does.
class Damage {
 public:
  void add(const std::string& text) {
    if (met_.insert(text).second) texts_.push_back(text);
  }

  // Runs what may meet damage; anything else ends it.
  template <class Work>
  void collect(const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      add(error.what());
    }
  }

  bool empty() const { return texts_.empty(); }

  std::vector<std::string> take() { return std::move(texts_); }

 private:
  std::vector<std::string> texts_;
  std::set<std::string> met_;
};

// Damage that `work` meets is at that path of the snapshot.
template <class Work>
auto with_path(const std::string& path, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) throw;
    throw Error(ErrorKind::corrupt, path + ": " + error.what(), error.hint());
  }
}

// The paths that `include` means, with the folders that lead to them; nullopt: all.
using Chosen = std::optional<std::set<std::string>>;

Chosen choose_paths(const Repository& repository, const Index& index, const BlobId& root,
                    const Patterns& include, Damage& damage, const Call& call) {
  if (include.empty()) return std::nullopt;
  std::set<std::string> chosen;
  walk_tree(
      repository, index, root,
      [&](const std::string& path, const Node&) {
        if (!include.match(path)) return;
        for (std::size_t end = path.size(); end != 0 && end != std::string::npos;
             end = path.rfind('/', end - 1)) {
          if (!chosen.insert(path.substr(0, end)).second) break;
        }
      },
      call, [&](const std::string& text) { damage.add(text); });
  const std::string wanted = join(include.all(), ", ");
  if (chosen.empty() && !damage.empty()) {
    throw Error(ErrorKind::corrupt, "nothing that can be read of the snapshot matches " + wanted +
                                        ": " + join(damage.take(), "; "));
  }
  if (chosen.empty()) {
    throw Error(ErrorKind::not_found, "nothing in the snapshot matches " + wanted,
                "`ls` shows what is in it");
  }
  return chosen;
}

// An excluded folder is not looked into: what is damaged in it is not missed.
bool is_wanted(const Chosen& chosen, const RestoreOptions& options, const std::string& path) {
  return (!chosen || chosen->count(path) != 0) && !options.exclude.match(path);
}

WallTime mtime_of(const struct stat& file) {
  return WallTime(std::chrono::seconds(file.st_mtim.tv_sec) +
                  std::chrono::nanoseconds(file.st_mtim.tv_nsec));
}

// Whether a file that is there stays as it is.
bool stays(const struct stat& there, const Node& node, Overwrite overwrite) {
  switch (overwrite) {
  case Overwrite::refuse:
  case Overwrite::always:
    return false;
  case Overwrite::if_changed:
    return S_ISREG(there.st_mode) && static_cast<std::uint64_t>(there.st_size) == node.size &&
           mtime_of(there) == node.mtime;
  case Overwrite::if_newer:
    return mtime_of(there) >= node.mtime;
  case Overwrite::never:
    return true;
  }
  return false;
}

[[noreturn]] void refuse_name(const std::string& path) {
  throw Error(ErrorKind::corrupt, path + ": refused: such a name leads out of the target",
              "whoever wrote this snapshot was not restic and not this program");
}

// A file under its temporary name; gone unless it was given its own.
class NewFile {
 public:
  NewFile(int folder, std::string name, const fs::path& path, Random& random)
      : folder_(folder), name_(std::move(name)), path_(path) {
    std::array<std::uint8_t, 8> noise{};
    random.fill(noise);
    temporary_ = std::string(kTemporaryPrefix) + to_hex(noise) + std::string(kTemporarySuffix);
    file_ = FileDescriptor(::openat(folder_, temporary_.c_str(),
                                    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file_.valid()) throw_errno(path_, "create");
  }

  ~NewFile() {
    if (!temporary_.empty()) ::unlinkat(folder_, temporary_.c_str(), 0);
  }

  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  int fd() const { return file_.get(); }

  // Holes are what is not written.
  void set_size(std::uint64_t size) {
    if (::ftruncate(fd(), static_cast<off_t>(size)) != 0) throw_errno(path_, "set the size");
  }

  // Blocks of zeros stay holes. May be called by several threads.
  void write(ByteView bytes, std::uint64_t offset) const {
    while (!bytes.empty()) {
      const std::size_t to_border = kSparseBlock - offset % kSparseBlock;
      std::size_t run = std::min(bytes.size(), to_border);
      if (is_zero(bytes.first(run))) {
        bytes = bytes.subspan(run);
        offset += run;
        continue;
      }
      while (run < bytes.size()) {
        const std::size_t block = std::min(bytes.size() - run, kSparseBlock);
        if (is_zero(bytes.subspan(run, block))) break;
        run += block;
      }
      write_full_at(fd(), bytes.first(run), offset, path_);
      bytes = bytes.subspan(run);
      offset += run;
    }
  }

  // Compares what the disk gives back with the blobs that were written.
  void verify(const Index& index, const std::vector<BlobId>& content, const Call& call) const {
    sync_file(fd(), path_);
    // Else memory would answer for the disk.
    static_cast<void>(::posix_fadvise(fd(), 0, 0, POSIX_FADV_DONTNEED));
    if (::lseek(fd(), 0, SEEK_SET) != 0) throw_errno(path_, "seek");
    Bytes bytes;
    for (const BlobId& id : content) {
      call.require_live();
      bytes.resize(index.find({BlobType::data, id})->entry.plain_size());
      if (read_full(fd(), bytes, path_) == bytes.size() && sha256(bytes) == id.digest()) continue;
      throw Error(ErrorKind::failed,
                  path_.string() + ": the disk does not give back what was written to it",
                  "restore to another disk");
    }
  }

  void commit(bool replace) {
    sync_file(fd(), path_);
    file_.close(path_);
    if (replace) {
      if (::renameat(folder_, temporary_.c_str(), folder_, name_.c_str()) != 0) {
        throw_errno(path_, "replace");
      }
    } else {
      rename();
    }
    temporary_.clear();
  }

 private:
  void rename() const {
    // Two nodes of one name are damage; the first must not be lost.
    if (::renameat2(folder_, temporary_.c_str(), folder_, name_.c_str(), RENAME_NOREPLACE) == 0) {
      return;
    }
    if (errno != EINVAL && errno != ENOSYS) throw_errno(path_, "rename");

    struct stat there {};

    if (::fstatat(folder_, name_.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0) {
      errno = EEXIST;
      throw_errno(path_, "rename");
    }
    if (::renameat(folder_, temporary_.c_str(), folder_, name_.c_str()) != 0) {
      throw_errno(path_, "rename");
    }
  }

  const int folder_;
  const std::string name_;
  const fs::path path_;
  std::string temporary_;
  FileDescriptor file_;
};

// An open folder of the target.
struct Folder {
  const FileDescriptor& fd;
  const fs::path& path;       // on the disk, for the disk's errors
  const std::string& inside;  // in the snapshot, for the repository's
};

class Restorer {
 public:
  Restorer(const Repository& repository, const Index& index, const RestoreOptions& options,
           Random& random, const Call& call)
      : repository_(repository), index_(index), options_(options), random_(random), call_(call) {}

  RestoredTree run(const BlobId& root, const fs::path& target) {
    const FileDescriptor fd = open_file(target, O_RDONLY | O_DIRECTORY);
    if (options_.overwrite == Overwrite::refuse && !holds_nothing(target)) {
      throw Error(ErrorKind::usage, target.string() + ": is not empty",
                  "restore into a new or empty folder");
    }
    chosen_ = choose_paths(repository_, index_, root, options_.include, damage_, call_);
    restore_entries(root, {fd, target, {}}, 0);
    result_.damaged = damage_.take();
    if (owners_not_set_ != 0) {
      result_.warnings.push_back(std::to_string(owners_not_set_) +
                                 " owners could not be set, the first of " + first_owner_ +
                                 ": only root may do that");
    }
    return std::move(result_);
  }

 private:
  void restore_entries(const BlobId& tree, const Folder& folder, int depth) {
    if (options_.overwrite != Overwrite::refuse) remove_leftovers(folder);
    damage_.collect([&] {
      const std::string where = shown(folder.inside);
      if (depth > limits::kTreeDepth) {
        throw Error(ErrorKind::corrupt, where + ": nested too deeply");
      }
      const Bytes json = load_tree(tree, where);
      parse_tree(as_text(json), where,
                 [&](Node&& node) { damage_.collect([&] { restore_node(node, folder, depth); }); });
    });
    sync_file(folder.fd.get(), folder.path);
  }

  // A path of the snapshot as `ls` prints it.
  static std::string shown(const std::string& inside) { return "/" + printable(inside); }

  // What a restore that was killed had in work.
  void remove_leftovers(const Folder& folder) const {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder.path)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with(kTemporaryPrefix) || !name.ends_with(kTemporarySuffix)) continue;
      if (::unlinkat(folder.fd.get(), name.c_str(), 0) != 0) throw_errno(entry.path(), "remove");
    }
  }

  // The file of that name in the target; nullopt when there is none, or none counts.
  std::optional<struct stat> find_there(const Folder& folder, const std::string& name) const {
    struct stat there {};

    if (options_.overwrite == Overwrite::refuse) return std::nullopt;
    if (::fstatat(folder.fd.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) {
      return std::nullopt;
    }
    return there;
  }

  Bytes load_tree(const BlobId& tree, const std::string& where) const {
    return with_path(where, [&] {
      return repository_.load_blob(index_, {BlobType::tree, tree}, call_);
    });
  }

  void restore_node(const Node& node, const Folder& folder, int depth) {
    call_.require_live();
    const std::string inside = folder.inside.empty() ? node.name : folder.inside + "/" + node.name;
    if (!is_safe_name(node.name)) refuse_name(shown(inside));
    const fs::path path = folder.path / node.name;
    if (!is_wanted(chosen_, options_, "/" + inside)) return;
    switch (node.type) {
    case NodeType::dir:
      return restore_folder(node, folder, path, inside, depth);
    case NodeType::file:
      return restore_file(node, folder, path, inside);
    case NodeType::symlink:
      return restore_symlink(node, folder, path, inside);
    case NodeType::dev:
    case NodeType::chardev:
    case NodeType::fifo:
    case NodeType::socket:
    case NodeType::irregular:
      result_.skipped.push_back(printable(inside) + ": " + type_name(node.type));
      return;
    }
  }

  static const char* type_name(NodeType type) {
    switch (type) {
    case NodeType::dev:
      return "block device";
    case NodeType::chardev:
      return "character device";
    case NodeType::fifo:
      return "fifo";
    case NodeType::socket:
      return "socket";
    case NodeType::file:
    case NodeType::dir:
    case NodeType::symlink:
    case NodeType::irregular:
      return "irregular file";
    }
    return "irregular file";
  }

  void restore_folder(const Node& node, const Folder& parent, const fs::path& path,
                      const std::string& inside, int depth) {
    if (!node.subtree) {
      throw Error(ErrorKind::corrupt, shown(inside) + ": a folder without a tree");
    }
    const bool is_new = ::mkdirat(parent.fd.get(), node.name.c_str(), 0700) == 0;
    if (!is_new && (errno != EEXIST || options_.overwrite == Overwrite::refuse)) {
      throw_errno(path, "make folder");
    }
    const FileDescriptor fd(
        ::openat(parent.fd.get(), node.name.c_str(), static_cast<int>(kOpenFolder)));
    if (!fd.valid()) throw_errno(path, "open");
    restore_entries(*node.subtree, {fd, path, inside}, depth + 1);
    if (is_new || options_.overwrite != Overwrite::never) set_metadata(fd.get(), node, inside);
  }

  void restore_file(const Node& node, const Folder& folder, const fs::path& path,
                    const std::string& inside) {
    const std::optional<struct stat> there = find_there(folder, node.name);
    if (there && stays(*there, node, options_.overwrite)) {
      ++result_.unchanged;
      tell(node.size);
      return;
    }
    NewFile file(folder.fd.get(), node.name, path, random_);
    const std::uint64_t size = with_path(shown(inside), [&] { return write_content(node, file); });
    if (size != node.size) {
      result_.warnings.push_back(printable(inside) + ": holds " + std::to_string(size) +
                                 " bytes, its entry says " + std::to_string(node.size));
    }
    if (options_.verify) {
      file.verify(index_, node.content, call_);
      ++result_.verified;
    }
    set_metadata(file.fd(), node, inside);
    file.commit(there.has_value());
    if (options_.restored) options_.restored(inside);
    ++result_.files;
    result_.bytes += size;
  }

  std::uint64_t write_content(const Node& node, NewFile& file) {
    const ContentReader content(repository_, index_, node.content);
    file.set_size(content.size());
    content.read(
        [&](ByteView bytes, std::uint64_t offset) {
          file.write(bytes, offset);
          tell(bytes.size());
        },
        call_);
    return content.size();
  }

  void tell(std::uint64_t bytes) const {
    if (options_.progress) options_.progress(bytes);
  }

  void restore_symlink(const Node& node, const Folder& folder, const fs::path& path,
                       const std::string& inside) {
    const int at = folder.fd.get();
    const char* name = node.name.c_str();
    if (const std::optional<struct stat> there = find_there(folder, node.name)) {
      if (stays(*there, node, options_.overwrite)) {
        ++result_.unchanged;
        return;
      }
      if (::unlinkat(at, name, 0) != 0) throw_errno(path, "replace");
    }
    if (::symlinkat(node.link_target.c_str(), at, name) != 0) throw_errno(path, "make link");
    if (::fchownat(at, name, node.uid, node.gid, AT_SYMLINK_NOFOLLOW) != 0) note_owner(inside);
    const timespec times[2] = {to_timespec(node.atime), to_timespec(node.mtime)};
    if (::utimensat(at, name, times, AT_SYMLINK_NOFOLLOW) != 0) note(inside, "times");
  }

  // The owner before the mode: a change of the owner drops setuid bits, and nobody else's file may
  // get them.
  void set_metadata(int fd, const Node& node, const std::string& inside) {
    mode_t mode = permissions_of(node.mode);
    if (::fchown(fd, node.uid, node.gid) != 0) {
      note_owner(inside);
      mode &= static_cast<mode_t>(~(S_ISUID | S_ISGID));
    }
    if (::fchmod(fd, mode) != 0) note(inside, "mode");
    const timespec times[2] = {to_timespec(node.atime), to_timespec(node.mtime)};
    if (::futimens(fd, times) != 0) note(inside, "times");
  }

  void note(const std::string& inside, const char* what) {
    const std::error_code why(errno, std::generic_category());
    result_.warnings.push_back(printable(inside) + ": " + what + " not set: " + why.message());
  }

  void note_owner(const std::string& inside) {
    if (owners_not_set_++ == 0) first_owner_ = printable(inside);
  }

  const Repository& repository_;
  const Index& index_;
  const RestoreOptions& options_;
  Random& random_;
  const Call& call_;
  Chosen chosen_;
  Damage damage_;
  RestoredTree result_;
  std::uint64_t owners_not_set_ = 0;
  std::string first_owner_;
};

}  // namespace

bool holds_nothing(const fs::path& folder) {
  std::error_code error;
  const fs::directory_iterator entries(folder, error);
  return !error && std::all_of(begin(entries), end(entries), [](const auto& entry) {
    return entry.path().filename() == "lost+found";
  });
}

RestoredTree restore_tree(const Repository& repository, const Index& index, const BlobId& root,
                          const fs::path& target, const RestoreOptions& options, Random& random,
                          const Call& call) {
  return Restorer(repository, index, options, random, call).run(root, target);
}

RestoredTree rehearse_restore(const Repository& repository, const Index& index, const BlobId& root,
                              const fs::path& target, const RestoreOptions& options,
                              const Call& call) {
  RestoredTree result;
  Damage damage;
  const Chosen chosen = choose_paths(repository, index, root, options.include, damage, call);
  walk_tree(
      repository, index, root,
      [&](const std::string& path, const Node& node) {
        if (!is_safe_name(node.name)) {
          damage.collect([&] { refuse_name(printable(path)); });
          return;
        }
        if (node.type != NodeType::file || !is_wanted(chosen, options, path)) return;

        struct stat there {};

        const bool is_there = ::lstat((target / path.substr(1)).c_str(), &there) == 0;
        if (is_there && stays(there, node, options.overwrite)) {
          ++result.unchanged;
          return;
        }
        damage.collect([&] {
          const std::uint64_t size = with_path(printable(path), [&] {
            return ContentReader(repository, index, node.content).size();
          });
          ++result.files;
          result.bytes += size;
        });
      },
      call, [&](const std::string& text) { damage.add(text); },
      [&](const std::string& path, const Node& folder) {
        return is_safe_name(folder.name) && !options.exclude.match(path);
      });
  result.damaged = damage.take();
  return result;
}

}  // namespace kubedr::repo
