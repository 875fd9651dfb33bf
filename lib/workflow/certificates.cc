#include "workflow/certificates.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace kubedr::workflow {
namespace {

constexpr int kMaxDepth =
    40;  // a folder of certificates has two levels; a circle of links has no end

constexpr char kTakeAway[] =
    "remove it from the certificates' folder, or name another folder in spec.certsDir";
constexpr char kCorrect[] = "correct spec.certsDir, or give --certs-dir DIR or --no-certs";

std::string user_name(uid_t id) {
  std::vector<char> buffer(16384);

  struct passwd entry {};
  struct passwd* found = nullptr;
  getpwuid_r(id, &entry, buffer.data(), buffer.size(), &found);
  return found != nullptr ? found->pw_name : "";
}

std::string group_name(gid_t id) {
  std::vector<char> buffer(16384);

  struct group entry {};
  struct group* found = nullptr;
  getgrgid_r(id, &entry, buffer.data(), buffer.size(), &found);
  return found != nullptr ? found->gr_name : "";
}

WallTime time_of(const timespec& time) {
  return WallTime(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

repo::Node node_of(const std::string& name, const struct stat& info) {
  repo::Node node;
  node.name = name;
  node.type = S_ISDIR(info.st_mode) ? repo::NodeType::dir : repo::NodeType::file;
  node.mode = repo::go_mode(info.st_mode);
  node.mtime = node.atime = time_of(info.st_mtim);
  node.ctime = time_of(info.st_ctim);
  node.uid = info.st_uid;
  node.gid = info.st_gid;
  node.user = user_name(info.st_uid);
  node.group = group_name(info.st_gid);
  node.inode = info.st_ino;
  node.device_id = info.st_dev;
  if (node.type == repo::NodeType::file) node.links = info.st_nlink;
  return node;
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> open(opendir(folder.c_str()), closedir);
  if (!open) throw_errno(folder, "open folder");
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(open.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
    errno = 0;
  }
  if (errno != 0) throw_errno(folder, "read folder");
  std::sort(names.begin(), names.end());
  return names;
}

class OpenFile final : public repo::Source {
 public:
  explicit OpenFile(const std::filesystem::path& path) : path_(path) {
    file_ = open_file(path, O_RDONLY | O_NONBLOCK);
    if (fstat(file_.get(), &info_) != 0) throw_errno(path, "stat");
  }

  std::size_t read(std::span<std::uint8_t> buffer, const Call& call) override {
    call.require_live();
    return read_full(file_.get(), buffer, path_);
  }

  const struct stat& info() const { return info_; }

 private:
  std::filesystem::path path_;
  FileDescriptor file_;

  struct stat info_ {};
};

class Walk {
 public:
  Walk(repo::Writer& writer, const std::filesystem::path& root, TreeBuilder& trees,
       const repo::Cut& cut, const Call& call)
      : writer_(writer),
        root_(std::filesystem::canonical(root)),
        trees_(trees),
        cut_(cut),
        call_(call) {}

  repo::Node folder(const std::filesystem::path& folder, const std::string& name,
                    const std::string& path, int depth) {
    if (depth > kMaxDepth) {
      throw Error(ErrorKind::failed, fmt::format("{}: links lead in a circle", folder.string()),
                  kTakeAway);
    }

    struct stat info {};

    if (stat(folder.c_str(), &info) != 0) throw_errno(folder, "stat");
    repo::Node node = node_of(name, info);
    std::vector<repo::Node> children;
    for (const std::string& child : names_in(folder)) {
      children.push_back(entry(folder / child, child, path + "/" + child, depth + 1));
    }
    trees_.finish_folder(path, std::move(children), node, call_);
    return node;
  }

  std::uint64_t bytes() const { return bytes_; }

 private:
  repo::Node entry(const std::filesystem::path& from, const std::string& name,
                   const std::string& path, int depth) {
    struct stat info {};

    if (lstat(from.c_str(), &info) != 0) throw_errno(from, "stat");
    if (S_ISLNK(info.st_mode)) {
      warn_of_way_out(from);
      if (stat(from.c_str(), &info) != 0) fail_link(from);
    }
    if (S_ISDIR(info.st_mode)) return folder(from, name, path, depth);
    if (S_ISREG(info.st_mode)) return file(from, name, path);
    throw Error(ErrorKind::failed,
                fmt::format("{}: neither a file nor a folder, cannot be backed up", from.string()),
                kTakeAway);
  }

  repo::Node file(const std::filesystem::path& from, const std::string& name,
                  const std::string& path) {
    OpenFile source(from);
    if (!S_ISREG(source.info().st_mode)) {
      throw Error(ErrorKind::failed, fmt::format("{}: changed while it was read", from.string()),
                  "run the backup again once nothing writes to the certificates' folder");
    }
    repo::Node node = node_of(name, source.info());
    repo::SavedFile saved = writer_.save_file(source, cut_, call_);
    node.size = saved.size;
    bytes_ += saved.size;
    node.content = std::move(saved.content);
    trees_.count(path, node);
    return node;
  }

  // By errno.
  [[noreturn]] static void fail_link(const std::filesystem::path& link) {
    const int number = errno;
    if (number == EACCES) throw_errno(link, "follow link");
    throw Error(
        ErrorKind::failed,
        fmt::format("{}: follow link: {}", link.string(), std::generic_category().message(number)),
        "mend or remove the link: the folder is backed up whole or not at all");
  }

  void warn_of_way_out(const std::filesystem::path& link) {
    std::error_code error;
    const std::filesystem::path target = std::filesystem::canonical(link, error);
    if (error) return;  // stat says what is wrong
    const auto [end, ignored] =
        std::mismatch(root_.begin(), root_.end(), target.begin(), target.end());
    if (end == root_.end()) return;
    log::warn("{}: leads out of the certificates' folder, to {}; its content is backed up",
              link.string(), target.string());
  }

  repo::Writer& writer_;
  const std::filesystem::path root_;
  TreeBuilder& trees_;
  const repo::Cut cut_;
  const Call& call_;
  std::uint64_t bytes_ = 0;
};

}  // namespace

void require_certificates(const std::filesystem::path& folder) {
  struct stat info {};

  if (stat(folder.c_str(), &info) != 0) {
    const int number = errno;
    const ErrorKind kind = number == ENOENT   ? ErrorKind::not_found
                           : number == EACCES ? ErrorKind::denied
                                              : ErrorKind::failed;
    throw Error(kind,
                fmt::format("{}: certificates' folder: {}", folder.string(),
                            std::generic_category().message(number)),
                kCorrect);
  }
  if (!S_ISDIR(info.st_mode)) {
    throw Error(ErrorKind::failed, fmt::format("{}: certificates: not a folder", folder.string()),
                kCorrect);
  }
  names_in(folder);
}

SavedCertificates save_certificates(repo::Writer& writer, const std::filesystem::path& folder,
                                    TreeBuilder& trees, const repo::Cut& cut, const Call& call) {
  require_certificates(folder);
  Walk walk(writer, folder, trees, cut, call);
  SavedCertificates saved;
  saved.folder = walk.folder(folder, "certificates", "/data/certificates", 0);
  saved.bytes = walk.bytes();
  return saved;
}

}  // namespace kubedr::workflow
