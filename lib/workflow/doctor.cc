#include "workflow/doctor.h"

#include <fmt/core.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/hex.h"
#include "base/sha256.h"
#include "base/text.h"
#include "base/time.h"
#include "health/findings.h"
#include "health/remedies.h"
#include "workflow/access.h"
#include "workflow/certificates.h"
#include "workflow/database.h"
#include "workflow/open.h"
#include "workflow/survey.h"

namespace kubedr::workflow {
namespace {

using std::chrono::seconds;

constexpr seconds kPatience{30};  // with each
constexpr std::size_t kScratchBytes = 4096;

// etcd stops taking writes at its quota; before 3.6 it does not tell which that is.
constexpr std::int64_t kDefaultQuota = std::int64_t{2} << 30;
constexpr int kQuotaPercent = 80;

// With less than some packs' worth a store that is slow for a moment stops the backup.
constexpr std::uint64_t kRoom = std::uint64_t{64} << 20;

// What the roles for backups grant, one by one.
std::vector<cluster::Permission> permissions_of(const Json& role) {
  std::vector<cluster::Permission> permissions;
  const std::string space = find_string(role, {"metadata", "namespace"}).value_or("");
  const Json everything = Json::array({""});
  for (const Json& rule : role.at("rules")) {
    for (const Json& resource : rule.at("resources")) {
      const std::string text = resource.get<std::string>();
      const std::size_t slash = text.find('/');
      const std::string below = slash == std::string::npos ? "" : text.substr(slash + 1);
      for (const Json& verb : rule.at("verbs")) {
        for (const Json& name : rule.value("resourceNames", everything)) {
          permissions.push_back({verb.get<std::string>(),
                                 rule.at("apiGroups")[0].get<std::string>(), text.substr(0, slash),
                                 below, space, name.get<std::string>()});
        }
      }
    }
  }
  return permissions;
}

// Without these nothing is backed up; without the others somebody does not hear of it, or older
// backups stay.
bool is_needed(const cluster::Permission& permission) {
  const bool reads = permission.verb == "get" || permission.verb == "list";
  return permission.resource == "secrets" || (reads && permission.group == crd::kGroup);
}

std::string display(const cluster::Permission& permission) {
  std::string text = permission.verb + " " + permission.resource;
  if (!permission.subresource.empty()) text += "/" + permission.subresource;
  if (!permission.name.empty()) text += " " + permission.name;
  return text;
}

// "cluster-backups/prefix" of "s3:https://minio:9000/cluster-backups/prefix"; empty for a folder.
std::string bucket_and_prefix(const std::string& url) {
  if (!url.starts_with("s3:")) return "";
  const std::size_t scheme = url.find("//");
  const std::size_t host = scheme == std::string::npos ? 3 : scheme + 2;
  const std::size_t slash = url.find('/', host);
  std::string place = slash == std::string::npos ? "" : url.substr(slash + 1);
  while (place.ends_with('/')) place.pop_back();
  return place;
}

// Every verb that a backup uses, and none besides; only `init` makes a bucket. A bucket's region is
// asked for where us-east-1 is refused: not every store names its own then.
std::vector<Json> iam_policy(const std::string& url) {
  const std::string place = bucket_and_prefix(url);
  if (place.empty()) return {};
  const std::string arn = "arn:aws:s3:::";
  const Json bucket = {{"Sid", "Bucket"},
                       {"Effect", "Allow"},
                       {"Action", Json::array({"s3:GetBucketLocation", "s3:ListBucket"})},
                       {"Resource", Json::array({arn + place.substr(0, place.find('/'))})}};
  const Json files = {{"Sid", "Repository"},
                      {"Effect", "Allow"},
                      {"Action", Json::array({"s3:GetObject", "s3:PutObject", "s3:DeleteObject"})},
                      {"Resource", Json::array({arn + place + "/*"})}};
  const Json policy = {{"Version", "2012-10-17"}, {"Statement", Json::array({bucket, files})}};
  return {policy};
}

std::uint64_t unsigned_of(std::int64_t bytes) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(bytes, 0));
}

class Doctor {
 public:
  Doctor(const Services& services, const std::string& policy, const Call& call)
      : s_(services), call_(call), policy_(choose_policy(services, policy, call)) {}

  DoctorReport run() {
    report_.policy = policy_.ref.name;
    report_.location = policy_.destination;
    std::optional<crd::Location> location;
    attempt("location", "backuplocation/" + policy_.destination, [&](const Call& call) {
      location = s_.cluster.location(policy_.destination, call);
      report_.repository_url = s_.repository_url(*location);
      return "its repository is " + report_.repository_url;
    });
    examine_rights(location ? location->credentials : "");
    examine_clock("clock-apiserver", "apiserver", "the API server's clock",
                  s_.cluster.clock_offset());
    if (location) examine_store(*location);
    examine_keys();
    examine_etcd();
    examine_folder();
    examine_room();
    return std::move(report_);
  }

 private:
  void add(Grade grade, const std::string& code, const std::string& object,
           const std::string& message, const std::string& remedy = "") {
    report_.examined.push_back({grade, code, object, message, remedy});
  }

  // Notes what `work` says of its success, or why it failed. True: it did not.
  bool attempt(const std::string& code, const std::string& object,
               const std::function<std::string(const Call&)>& work) {
    try {
      const std::string message = work(call_.within(kPatience));
      add(Grade::good, code, object, message);
      return true;
    } catch (const Error& error) {
      call_.require_live();
      add(Grade::error, code, object, error.what(), remedy_of(error, object));
      return false;
    }
  }

  // A store says that it refuses, and not what it would have to be told to allow.
  std::string remedy_of(const Error& error, const std::string& object) const {
    const bool by_store = object.starts_with("backuplocation/") && !report_.iam.empty();
    if (!by_store || error.kind() != ErrorKind::denied) return error.hint();
    const std::string iam =
        fmt::format("`kubectl kubedr doctor {} --print iam` prints what its keys must be allowed",
                    policy_.ref.name);
    return error.hint().empty() ? iam : error.hint() + "; " + iam;
  }

  // Of the roles that `install` makes, those that a backup uses.
  void examine_rights(const std::string& location_secret) {
    if (!s_.cluster.has_api_server()) return;
    const std::vector<std::string> secrets = {location_secret, policy_.etcd_creds};
    for (Json& object : access_objects(policy_.ref.name_space, secrets)) {
      const std::string kind = object.at("kind").get<std::string>();
      const std::string name = object.at("metadata").at("name").get<std::string>();
      const bool used = (kind == "Role" && name == kBackupRole) ||
                        (kind == "ClusterRole" && name == kIdentityRole);
      if (used) report_.rbac.push_back(std::move(object));
    }
    attempt("rbac", "apiserver", [&](const Call&) {
      std::size_t asked = 0;
      std::size_t granted = 0;
      for (const Json& role : report_.rbac) {
        const std::string remedy = binding_command(role);
        for (const cluster::Permission& permission : permissions_of(role)) {
          const bool foreign =
              permission.resource == "secrets" &&
              std::find(secrets.begin(), secrets.end(), permission.name) == secrets.end();
          // What `status --watch` goes without as well.
          const bool spared = permission.verb == "watch";
          if (foreign || spared) continue;
          ++asked;
          granted += is_granted(permission, remedy) ? 1U : 0U;
        }
      }
      return fmt::format("{} of {} rights that a backup uses are granted", granted, asked);
    });
  }

  // For who may give rights: the role as it is now, then who holds it.
  std::string binding_command(const Json& role) const {
    const std::string name = role.at("metadata").at("name").get<std::string>();
    const bool everywhere = role.at("kind") == "ClusterRole";
    const std::string space = "-n " + policy_.ref.name_space;
    return fmt::format(
        "kubectl kubedr doctor {0} --print rbac {1} | kubectl apply -f - && "
        "kubectl {2}create {3}binding {4}-USER --{3}={4} --user=USER",
        policy_.ref.name, space, everywhere ? "" : space + " ", everywhere ? "clusterrole" : "role",
        name);
  }

  bool is_granted(const cluster::Permission& permission, const std::string& remedy) {
    if (s_.cluster.may(permission, call_.within(kPatience)).value_or(true)) return true;
    const bool needed = is_needed(permission);
    add(needed ? Grade::error : Grade::warning, "rbac", "apiserver",
        fmt::format("may not {}: {}", display(permission),
                    needed ? "no backup is possible"
                           : "a backup is taken without it, and says what is missing"),
        remedy);
    return false;
  }

  void examine_store(const crd::Location& location) {
    const std::string object = location.ref.display();
    report_.iam = iam_policy(report_.repository_url);
    std::optional<OpenedStore> opened;
    if (!attempt("credentials", object, [&](const Call& call) {
          opened = open_store(s_, location, call);
          return fmt::format("secret \"{}\" has the keys", location.credentials);
        })) {
      return;
    }
    std::optional<repo::Repository> repository;
    attempt("repository", object, [&](const Call& call) {
      repository.emplace(open_repository_in(*opened, s_, location, call));
      return fmt::format("the password opens it, format version {}", repository->config().version);
    });
    if (repository) use_repository(*repository, *opened->store, object);
    // Whoever refuses us for our clock says what time it is.
    examine_clock("clock-store", object, "the store's clock", opened->store->clock_offset());
  }

  void use_repository(repo::Repository& repository, storage::Store& store,
                      const std::string& object) {
    use_verbs(store, object);
    attempt("lock", object, [&](const Call& call) {
      repository.lock_shared(s_.owner, {}, call).release(call);
      return "a lock can be taken and removed";
    });
  }

  // On a pack that no index names: who meets it before it is gone takes it for the leftover of a
  // killed backup, and the next prune removes it.
  void use_verbs(storage::Store& store, const std::string& object) {
    Bytes bytes(kScratchBytes);
    s_.random.fill(bytes);
    const Digest digest = sha256(bytes);
    const storage::FileName name{storage::FileKind::pack, to_hex(digest)};
    const bool put = attempt("store-put", object, [&](const Call& call) {
      store.save(name, bytes, digest, storage::SaveMode::replace, call);
      return "a file can be put";
    });
    if (!put) return;
    attempt("store-get", object, [&](const Call& call) {
      const Bytes whole = store.load(name, kScratchBytes, call);
      const Bytes part = store.load_range(name, {16, 100}, call);
      const bool same = whole == bytes && std::equal(part.begin(), part.end(), bytes.begin() + 16);
      if (!same || store.size_of(name, call) != kScratchBytes) {
        throw Error(ErrorKind::corrupt, "store: a file comes back as another one");
      }
      return "it comes back as it was, whole and in part";
    });
    attempt("store-list", object, [&](const Call& call) {
      bool listed = false;
      store.list(
          storage::FileKind::pack,
          [&](const storage::FileInfo& info) { listed = listed || info.id == name.id; }, call);
      if (!listed) throw Error(ErrorKind::failed, "store: a list lacks what was just put");
      return "it is listed";
    });
    attempt("store-create", object, [&](const Call& call) -> std::string {
      try {
        store.save(name, bytes, digest, storage::SaveMode::create_only, call);
      } catch (const Error& error) {
        if (error.kind() == ErrorKind::exists) return "it is not written over unasked";
        throw;
      }
      throw Error(ErrorKind::failed,
                  "store: a file that was there was written over: two inits at once are not kept "
                  "apart");
    });
    attempt("store-delete", object, [&](const Call& call) {
      store.remove(name, call);
      if (store.size_of(name, call)) {
        throw Error(ErrorKind::failed, "store: a deleted file is still there");
      }
      return "it can be deleted";
    });
  }

  void examine_keys() {
    const std::string object = "secret/" + policy_.etcd_creds;
    const SeenKeys keys = survey_keys(s_, policy_, call_.within(kPatience));
    for (const health::SeenProblem& problem : keys.problems) {
      add(Grade::error, "etcd-credentials", object, problem.text);
    }
    for (const health::SeenCertificate& seen : keys.certificates) {
      const auto left = std::chrono::floor<seconds>(seen.not_after - s_.clock.now());
      const bool expired = left < seconds(0);
      add(expired ? Grade::error : Grade::good, "etcd-certificate", object,
          expired ? seen.name + " has expired"
                  : fmt::format("{} is good for {}", seen.name, human_duration(left)),
          expired ? "renew it, and put it into the Secret" : "");
    }
  }

  void examine_etcd() {
    std::optional<ChosenMember> member;
    const bool fit = attempt("etcd-member", "etcd", [&](const Call& call) {
      member = choose_member(s_, policy_, {}, call);
      const bool compared = s_.cluster.has_api_server();
      return fmt::format("{} is etcd {}, no learner, not corrupt{}", member->endpoint.url,
                         member->status.version, compared ? ", and this API server's" : "");
    });
    if (fit) examine_member(member->status, "etcd");
  }

  void examine_member(const etcd::Status& status, const std::string& object) {
    if (status.leader == 0) {
      add(Grade::warning, "etcd-leader", object,
          "it has no leader: what it holds may be old, and nobody can write",
          "etcdctl endpoint status --cluster shows the members");
    } else {
      add(Grade::good, "etcd-leader", object, "it has a leader");
    }
    for (const std::string& text : status.errors) {
      add(Grade::warning, "etcd-alarm", object, text, "etcdctl alarm list");
    }
    if (status.errors.empty()) add(Grade::good, "etcd-alarm", object, "no alarm is raised");
    const bool told = status.db_size_quota > 0;
    const std::int64_t quota = told ? status.db_size_quota : kDefaultQuota;
    const bool nearly_full = status.db_size > quota / 100 * kQuotaPercent;
    add(nearly_full ? Grade::warning : Grade::good, "etcd-quota", object,
        fmt::format("its database has {} of {}, {}; {} are in use",
                    human_size(unsigned_of(status.db_size)), human_size(unsigned_of(quota)),
                    told ? "its quota" : "the default quota",
                    human_size(unsigned_of(status.db_size_in_use))),
        nearly_full ? "etcdctl compact and etcdctl defrag, or a larger --quota-backend-bytes" : "");
  }

  void examine_folder() {
    const std::string object = policy_.ref.display();
    if (policy_.certs_dir.empty()) {
      add(Grade::warning, "certificates", object,
          "spec.certsDir is empty: the cluster's certificates are in no backup",
          "name their folder there, as in /etc/kubernetes/pki");
      return;
    }
    attempt("certificates", object, [&](const Call&) {
      require_certificates(policy_.certs_dir);
      return policy_.certs_dir + " can be read on this machine";
    });
  }

  void examine_clock(const std::string& code, const std::string& object, const std::string& whose,
                     const std::optional<seconds>& offset) {
    if (!offset) return;
    if (const auto fault = health::clock_fault(whose, offset)) {
      add(Grade::warning, code, object, *fault, health::kSetClock);
      return;
    }
    add(Grade::good, code, object, whose + " and this machine's agree");
  }

  // Packs that the store cannot take at once wait in a file.
  void examine_room() {
    const std::string folder = s_.writer.spool_folder.string();
    attempt("room", folder, [&](const Call&) {
      struct statvfs info {};

      if (statvfs(folder.c_str(), &info) != 0) {
        throw Error(ErrorKind::not_found, folder + ": cannot be asked for its free space",
                    "set TMPDIR to a folder that is there");
      }
      const std::uint64_t free = std::uint64_t{info.f_bavail} * info.f_frsize;
      if (free < kRoom) {
        throw Error(ErrorKind::failed,
                    fmt::format("{}: only {} are free: a store that is slow for a moment stops "
                                "the backup",
                                folder, human_size(free)),
                    "make room, or set TMPDIR to another folder");
      }
      return human_size(free) + " are free for what a slow store cannot take at once";
    });
  }

  const Services& s_;
  const Call& call_;
  const crd::Policy policy_;
  DoctorReport report_;
};

}  // namespace

const char* to_string(Grade grade) {
  switch (grade) {
  case Grade::good:
    return "good";
  case Grade::warning:
    return "warning";
  case Grade::error:
    return "error";
  }
  return "error";
}

DoctorReport examine(const Services& services, const std::string& policy, const Call& call) {
  return Doctor(services, policy, call).run();
}

}  // namespace kubedr::workflow
