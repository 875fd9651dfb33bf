#include "cluster/manifest_cluster.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/time.h"
#include "base/yaml.h"
#include "cluster/missing.h"
#include "cluster/secret_data.h"

namespace kubedr::cluster {
namespace {

namespace fs = std::filesystem;

constexpr char kSecret[] = "Secret";
constexpr char kShape[] = "a manifest holds objects as `kubectl get -o yaml` prints them";

std::string text_at(const Json& object, std::initializer_list<const char*> path) {
  return find_string(object, path).value_or("");
}

std::string name_of(const Json& object) {
  return text_at(object, {"metadata", "name"});
}

std::string space_of(const Json& object) {
  return text_at(object, {"metadata", "namespace"});
}

std::string kind_of(const Json& object) {
  return text_at(object, {"kind"});
}

bool is_manifest(const fs::path& path) {
  const std::string extension = to_lower(path.extension().string());
  return extension == ".yaml" || extension == ".yml" || extension == ".json";
}

// The files of a folder in order of name, or the path itself.
std::vector<fs::path> files_of(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {path};
  std::vector<fs::path> files;
  fs::directory_iterator entries(path, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    std::error_code ignored;
    if (is_manifest(entries->path()) && !fs::is_directory(entries->path(), ignored)) {
      files.push_back(entries->path());
    }
  }
  if (error) {
    throw Error(ErrorKind::failed,
                fmt::format("{}: read folder: {}", path.string(), error.message()));
  }
  if (files.empty()) {
    throw Error(ErrorKind::not_found, path.string() + ": no *.yaml, *.yml or *.json in this folder",
                "folders in it are not looked into: name the file, or the folder that holds it");
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Whether this object is one of those that a backup needs. Helm values and other files may lie in
// the same folder, so what is of another group is none of our business.
bool is_ours(const Json& object, const std::string& where) {
  const std::string version = text_at(object, {"apiVersion"});
  const std::string kind = kind_of(object);
  if (kind == kSecret) return version == "v1";
  if (version == crd::kApiVersion) return true;
  if (!version.starts_with(std::string(crd::kGroup) + "/")) return false;
  throw Error(ErrorKind::usage, fmt::format("{}: apiVersion: {} is not known", where, version),
              std::string("write apiVersion: ") + crd::kApiVersion);
}

template <class T, class Parse>
Listed<T> parse_all(const std::vector<Json>& objects, const std::string& name_space, crd::Kind kind,
                    const Parse& parse) {
  Listed<T> listed;
  for (const Json& object : objects) {
    if (kind_of(object) != crd::kind_name(kind) || space_of(object) != name_space) continue;
    try {
      listed.items.push_back(parse(object));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::usage) throw;
      listed.malformed.push_back(crd::make_malformed(kind, object, error.what()));
    }
  }
  return listed;
}

}  // namespace

// Which file each object came from, to name both when one is there twice.
struct ManifestCluster::Origins {
  std::map<std::string, fs::path> files;
};

ManifestCluster::ManifestCluster(const std::vector<fs::path>& paths, std::string name_space,
                                 const Clock& clock)
    : name_space_(std::move(name_space)), clock_(clock) {
  Origins origins;
  for (const fs::path& path : paths) {
    for (const fs::path& file : files_of(path)) read(file, origins);
  }
}

ManifestCluster::~ManifestCluster() = default;

void ManifestCluster::read(const fs::path& file, Origins& origins) {
  const WipedBytes text(read_file(file, limits::kYamlBytes));
  std::vector<Json> documents = parse_yaml(as_text(text.bytes), file.string());
  for (std::size_t i = 0; i < documents.size(); ++i) {
    Json& object = documents[i];
    const std::string where = fmt::format("{}: object {}", file.string(), i + 1);
    if (!object.is_object()) {
      throw Error(ErrorKind::usage, where + ": is no Kubernetes object", kShape);
    }
    if (kind_of(object).empty()) throw Error(ErrorKind::usage, where + ": kind: required", kShape);
    if (!is_ours(object, where)) continue;
    if (name_of(object).empty()) {
      throw Error(ErrorKind::usage,
                  fmt::format("{}: {}: metadata.name: required", where, to_lower(kind_of(object))),
                  kShape);
    }
    if (space_of(object).empty()) object["metadata"]["namespace"] = name_space_;
    const std::string id = to_lower(kind_of(object)) + "/" + name_of(object);
    const auto [first, added] = origins.files.emplace(space_of(object) + "/" + id, file);
    if (!added) {
      throw Error(
          ErrorKind::usage,
          fmt::format("{}: {} is there already, in {}", file.string(), id, first->second.string()),
          "remove one of the two, or leave one of the files out");
    }
    objects_.push_back(std::move(object));
  }
}

Json* ManifestCluster::find(const std::string& kind, const std::string& name) {
  const auto found = std::find_if(objects_.begin(), objects_.end(), [&](const Json& object) {
    return kind_of(object) == kind && name_of(object) == name && space_of(object) == name_space_;
  });
  return found == objects_.end() ? nullptr : &*found;
}

Json& ManifestCluster::require(const std::string& kind, const std::string& name) {
  if (Json* object = find(kind, name)) return *object;
  std::vector<std::string> names;
  std::string elsewhere;
  for (const Json& object : objects_) {
    if (kind_of(object) != kind) continue;
    if (space_of(object) == name_space_) names.push_back(name_of(object));
    if (name_of(object) == name) elsewhere = space_of(object);
  }
  const Error error = missing(to_lower(kind), name, name_space_, names);
  if (elsewhere.empty()) throw error;
  throw Error(error.kind(), error.what(),
              fmt::format("it is in namespace \"{0}\"; add -n {0}", elsewhere));
}

crd::Location ManifestCluster::location(const std::string& name, const Call&) {
  return crd::parse_location(require(crd::kind_name(crd::Kind::location), name));
}

crd::Policy ManifestCluster::policy(const std::string& name, const Call&) {
  return crd::parse_policy(require(crd::kind_name(crd::Kind::policy), name));
}

Listed<crd::Location> ManifestCluster::locations(const Call&) {
  return parse_all<crd::Location>(objects_, name_space_, crd::Kind::location, crd::parse_location);
}

Listed<crd::Policy> ManifestCluster::policies(const Call&) {
  return parse_all<crd::Policy>(objects_, name_space_, crd::Kind::policy, crd::parse_policy);
}

Listed<crd::Record> ManifestCluster::records(const Call&) {
  return parse_all<crd::Record>(objects_, name_space_, crd::Kind::record, crd::parse_record);
}

crd::Restore ManifestCluster::restore(const std::string& name, const Call&) {
  return crd::parse_restore(require("MetadataRestore", name));
}

SecretData ManifestCluster::secret(const std::string& name, const std::string&, const Call&) {
  return parse_secret(require(kSecret, name));
}

// The document that says what would be patched in an object, begun when the first patch comes.
Json& ManifestCluster::written(const crd::ObjectRef& ref) {
  for (Json& document : written_) {
    if (kind_of(document) == crd::kind_name(ref.kind) && name_of(document) == ref.name) {
      return document;
    }
  }
  written_.push_back({{"apiVersion", crd::kApiVersion},
                      {"kind", crd::kind_name(ref.kind)},
                      {"metadata", {{"name", ref.name}, {"namespace", name_space_}}}});
  return written_.back();
}

void ManifestCluster::patch_status(const crd::ObjectRef& ref, const Json& status, const Call&) {
  const Json patch = {{"status", status}};
  require(crd::kind_name(ref.kind), ref.name).merge_patch(patch);
  written(ref).merge_patch(patch);
}

void ManifestCluster::annotate(const crd::ObjectRef& ref, const std::string& key,
                               const std::string& value, const Call&) {
  const Json content = value.empty() ? Json(nullptr) : Json(value);
  const Json patch = {{"metadata", {{"annotations", {{key, content}}}}}};
  require(crd::kind_name(ref.kind), ref.name).merge_patch(patch);
  written(ref).merge_patch(patch);
}

// Nobody else has these objects.
void ManifestCluster::annotate_unchanged(const crd::ObjectRef& ref, const std::string& key,
                                         const std::string& value, const Call& call) {
  annotate(ref, key, value, call);
}

void ManifestCluster::create_record(const std::string& policy, const std::string& location,
                                    const std::string& snapshot_id, const Call&) {
  Json record = crd::make_record(name_space_, policy, location, snapshot_id);
  if (const Json* there = find(kind_of(record), name_of(record))) {
    if (there->value("spec", Json()) == record["spec"]) return;
    throw Error(ErrorKind::conflict,
                fmt::format("metadatabackuprecord/{}: create: it is there with another content",
                            name_of(record)));
  }
  written_.push_back(record);
  record["metadata"]["creationTimestamp"] = format_rfc3339(clock_.now());
  objects_.push_back(std::move(record));
}

// What is read from files cannot be taken out of them: later reads no longer see it.
void ManifestCluster::delete_record(const crd::ObjectRef& ref, const Call& call) {
  delete_object({crd::kind_name(ref.kind), ref.name}, call);
}

void ManifestCluster::post_event(const crd::ObjectRef& ref, const crd::EventText& text,
                                 const std::string& component, const Call&) {
  written_.push_back(crd::make_event(ref, text, component, clock_.now()));
}

Applied ManifestCluster::apply(const Json& object, const Call&) {
  written_.push_back(object);
  return Applied::configured;
}

std::optional<Json> ManifestCluster::find_object(const ObjectName& object, const Call&) {
  const Json* found = find(object.kind, object.name);
  return found == nullptr ? std::nullopt : std::optional<Json>(*found);
}

// By their labels nothing is read from files.
std::vector<Json> ManifestCluster::list_objects(const std::string& kind, const std::string& labels,
                                                Reach reach, const Call&) {
  std::vector<Json> listed;
  for (const Json& object : objects_) {
    const bool reached = reach == Reach::everywhere || space_of(object) == name_space_;
    if (labels.empty() && reached && kind_of(object) == kind) listed.push_back(object);
  }
  return listed;
}

void ManifestCluster::create_object(const Json& object, const Call&) {
  if (find(kind_of(object), name_of(object)) != nullptr) {
    throw Error(ErrorKind::exists, fmt::format("{}/{}: create: it is there already",
                                               to_lower(kind_of(object)), name_of(object)));
  }
  written_.push_back(object);
  objects_.push_back(object);
  if (space_of(object).empty()) objects_.back()["metadata"]["namespace"] = name_space_;
}

void ManifestCluster::patch_object(const ObjectName& object, const Json& patch, const Call&) {
  Json& there = require(object.kind, object.name);
  there.merge_patch(patch);
  Json document = {{"apiVersion", there.value("apiVersion", "")},
                   {"kind", object.kind},
                   {"metadata", {{"name", object.name}, {"namespace", name_space_}}}};
  document.merge_patch(patch);
  written_.push_back(std::move(document));
}

bool ManifestCluster::delete_object(const ObjectName& object, const Call&) {
  const auto is_it = [&](const Json& one) {
    const std::string space = space_of(one);  // what is to be written may leave it out
    return kind_of(one) == object.kind && name_of(one) == object.name &&
           (space.empty() || space == name_space_);
  };
  std::erase_if(written_, is_it);
  return std::erase_if(objects_, is_it) > 0;
}

std::vector<Json> ManifestCluster::collected() const {
  return written_;
}

}  // namespace kubedr::cluster
