#include "storage/store.h"

#include <algorithm>

#include "base/error.h"

namespace kubedr::storage {

bool is_id(std::string_view text) {
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return text.size() == 64 && std::all_of(text.begin(), text.end(), is_digit);
}

std::string folder_of(FileKind kind) {
  switch (kind) {
  case FileKind::config:
    return "";
  case FileKind::key:
    return "keys/";
  case FileKind::pack:
    return "data/";
  case FileKind::index:
    return "index/";
  case FileKind::snapshot:
    return "snapshots/";
  case FileKind::lock:
    return "locks/";
  }
  throw Error(ErrorKind::internal, "repository file: unknown kind");
}

std::string FileName::path() const {
  if (kind == FileKind::config) return "config";
  if (!is_id(id)) throw Error(ErrorKind::internal, "repository file: name that is no id");
  if (kind == FileKind::pack) return folder_of(kind) + id.substr(0, 2) + "/" + id;
  return folder_of(kind) + id;
}

std::vector<std::string> list_ids(const StoreReader& store, FileKind kind, const Call& call) {
  std::vector<std::string> ids;
  store.list(
      kind, [&](const FileInfo& info) { ids.push_back(info.id); }, call);
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace kubedr::storage
