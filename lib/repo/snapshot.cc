#include "repo/snapshot.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/time.h"
#include "repo/json_text.h"

namespace kubedr::repo {
namespace {

// restic's counters in restic's order.
struct Counter {
  const char* key;
  std::uint64_t Summary::*value;
};

constexpr Counter kCounters[] = {{"files_new", &Summary::files_new},
                                 {"files_changed", &Summary::files_changed},
                                 {"files_unmodified", &Summary::files_unmodified},
                                 {"dirs_new", &Summary::dirs_new},
                                 {"dirs_changed", &Summary::dirs_changed},
                                 {"dirs_unmodified", &Summary::dirs_unmodified},
                                 {"data_blobs", &Summary::data_blobs},
                                 {"tree_blobs", &Summary::tree_blobs},
                                 {"data_added", &Summary::data_added},
                                 {"data_added_packed", &Summary::data_added_packed},
                                 {"total_files_processed", &Summary::total_files_processed},
                                 {"total_bytes_processed", &Summary::total_bytes_processed}};

std::string list_json(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) {
    if (&text != texts.data()) out += ',';
    out += go_json_string(text);
  }
  return out += ']';
}

std::string summary_json(const Summary& summary) {
  std::string out = fmt::format(R"({{"backup_start":"{}","backup_end":"{}")",
                                format_rfc3339_nano(summary.backup_start),
                                format_rfc3339_nano(summary.backup_end));
  for (const Counter& counter : kCounters) {
    fmt::format_to(std::back_inserter(out), R"(,"{}":{})", counter.key, summary.*counter.value);
  }
  return out += '}';
}

// Reads the keys of an object; each function throws for a value of another type, and treats null
// as absent, as Go does.
class Reader {
 public:
  Reader(const Json& object, const std::string& where) : object_(object), where_(where) {
    if (!object.is_object()) fail("it is no object");
  }

  std::string text(const char* key) const {
    const Json* value = find_value(key);
    if (value == nullptr) return {};
    if (!value->is_string()) fail(key);
    return value->get<std::string>();
  }

  std::vector<std::string> texts(const char* key) const {
    std::vector<std::string> list;
    const Json* value = find_value(key);
    if (value == nullptr) return list;
    if (!value->is_array()) fail(key);
    for (const Json& item : *value) {
      if (!item.is_string()) fail(key);
      list.push_back(item.get<std::string>());
    }
    return list;
  }

  std::uint64_t number(const char* key, std::uint64_t limit = UINT64_MAX) const {
    const Json* value = find_value(key);
    if (value == nullptr) return 0;
    if (!value->is_number_unsigned() || value->get<std::uint64_t>() > limit) fail(key);
    return value->get<std::uint64_t>();
  }

  WallTime time(const char* key) const {
    const std::optional<WallTime> time = parse_time(text(key));
    if (!time) fail(key);
    return *time;
  }

  template <class AnyId>
  std::optional<AnyId> id(const char* key) const {
    if (find_value(key) == nullptr) return std::nullopt;
    const std::optional<AnyId> id = AnyId::parse(text(key));
    if (!id) fail(key);
    return id;
  }

  const Json* find_value(const char* key) const {
    const Json* value = find(object_, {key});
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  [[noreturn]] void fail(const std::string& key) const {
    throw Error(ErrorKind::corrupt, where_ + ": not a snapshot: " + key);
  }

 private:
  const Json& object_;
  const std::string& where_;
};

// What stands at the end of a time as restic writes it: "Z", "+02:00". Nothing else is an offset.
std::chrono::minutes offset_of(std::string_view time) {
  constexpr std::size_t kSize = 6;
  if (time.size() < kSize) return {};
  const std::string_view offset = time.substr(time.size() - kSize);
  if ((offset[0] != '+' && offset[0] != '-') || offset[3] != ':') return {};
  int hours = 0;
  int minutes = 0;
  std::from_chars(offset.data() + 1, offset.data() + 3, hours);
  std::from_chars(offset.data() + 4, offset.data() + 6, minutes);
  return std::chrono::minutes((hours * 60 + minutes) * (offset[0] == '-' ? -1 : 1));
}

Summary parse_summary(const Json& value, const std::string& where) {
  const Reader reader(value, where);
  Summary summary;
  summary.backup_start = reader.time("backup_start");
  summary.backup_end = reader.time("backup_end");
  for (const Counter& counter : kCounters) summary.*counter.value = reader.number(counter.key);
  return summary;
}

}  // namespace

bool has_all_tags(const Snapshot& snapshot, const std::vector<std::string>& tags) {
  for (const std::string& tag : tags) {
    if (tag.empty() && snapshot.tags.empty()) return true;
    if (std::find(snapshot.tags.begin(), snapshot.tags.end(), tag) == snapshot.tags.end()) {
      return false;
    }
  }
  return true;
}

std::string to_json(const Snapshot& snapshot) {
  std::string out = fmt::format(R"({{"time":"{}")", format_rfc3339_nano(snapshot.time));
  const auto add = [&out](const char* key, const std::string& json) {
    fmt::format_to(std::back_inserter(out), R"(,"{}":{})", key, json);
  };
  const auto add_text = [&add](const char* key, const std::string& text) {
    if (!text.empty()) add(key, go_json_string(text));
  };
  if (snapshot.parent) add_text("parent", snapshot.parent->hex());
  add_text("tree", snapshot.tree.hex());
  add("paths", list_json(snapshot.paths));
  add_text("hostname", snapshot.hostname);
  add_text("username", snapshot.username);
  if (snapshot.uid != 0) add("uid", std::to_string(snapshot.uid));
  if (snapshot.gid != 0) add("gid", std::to_string(snapshot.gid));
  if (!snapshot.tags.empty()) add("tags", list_json(snapshot.tags));
  if (snapshot.original) add_text("original", snapshot.original->hex());
  add_text("program_version", snapshot.program_version);
  if (snapshot.summary) add("summary", summary_json(*snapshot.summary));
  return out += '}';
}

Snapshot parse_snapshot(std::string_view json, const std::string& where) {
  const Json value = parse_json(json, where);
  const Reader reader(value, where);
  Snapshot snapshot;
  snapshot.time = reader.time("time");
  snapshot.utc_offset = offset_of(reader.text("time"));
  snapshot.parent = reader.id<SnapshotId>("parent");
  const std::optional<BlobId> tree = reader.id<BlobId>("tree");
  if (!tree) reader.fail("no tree");
  snapshot.tree = *tree;
  snapshot.paths = reader.texts("paths");
  snapshot.hostname = reader.text("hostname");
  snapshot.username = reader.text("username");
  snapshot.uid = static_cast<std::uint32_t>(reader.number("uid", UINT32_MAX));
  snapshot.gid = static_cast<std::uint32_t>(reader.number("gid", UINT32_MAX));
  snapshot.tags = reader.texts("tags");
  snapshot.original = reader.id<SnapshotId>("original");
  snapshot.program_version = reader.text("program_version");
  const Json* summary = reader.find_value("summary");
  if (summary != nullptr) snapshot.summary = parse_summary(*summary, where);
  return snapshot;
}

}  // namespace kubedr::repo
