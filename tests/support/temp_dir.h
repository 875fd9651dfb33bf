#ifndef KUBEDR_SUPPORT_TEMP_DIR_H
#define KUBEDR_SUPPORT_TEMP_DIR_H

#include <filesystem>
#include <string>
#include <string_view>

namespace kubedr::test {

// A folder of its own, gone with everything in it when this goes.
class TempDir {
 public:
  TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();

  const std::filesystem::path& path() const { return path_; }

  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

  // Writes a file (mode 0600) and says where; `name` may name folders, which are made.
  std::filesystem::path write(const std::string& name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

// A whole file as text; empty when it is not there.
std::string read_text(const std::filesystem::path& path);

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_TEMP_DIR_H
