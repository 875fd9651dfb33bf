#include "cmd/wire.h"

#include <fmt/core.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/text.h"
#include "base/time.h"
#include "cluster/api_cluster.h"
#include "cluster/bare_cluster.h"
#include "cluster/manifest_cluster.h"
#include "cmd/print.h"
#include "cmd/progress.h"
#include "kube/client.h"
#include "kube/kubeconfig.h"
#include "s3/s3_store.h"
#include "storage/cached_store.h"
#include "storage/directory_store.h"
#include "storage/retrying_store.h"
#include "version.h"

namespace kubedr::cmd {
namespace {

constexpr char kBareName[] = "bare";
constexpr char kFileScheme[] = "file://";

std::string value_or_empty(const cluster::SecretData& keys, const std::string& key) {
  const auto found = keys.find(key);
  return found == keys.end() ? std::string() : std::string(found->second.trimmed().reveal());
}

// One of S3's two keys, of a Secret or, with --repo, of the environment. Users make Secrets from
// files that end in a newline; no access key has one.
Secret access_key_of(const Context& context, const cluster::SecretData& keys,
                     const std::string& secret, const std::string& key) {
  const bool bare = !context.flags.repo.empty();
  const std::string owner = bare ? "--repo" : fmt::format("secret \"{}\"", secret);
  const auto found = keys.find(key);
  if (found == keys.end() || found->second.trimmed().empty()) {
    if (bare) {
      throw Error(ErrorKind::usage, fmt::format("{}: S3's {} is not given", owner, key),
                  "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    throw Error(ErrorKind::not_found, fmt::format("{} has no key \"{}\"", owner, key),
                fmt::format("add the key {} to the Secret {}", key, secret));
  }
  Secret trimmed = found->second.trimmed();
  if (!(trimmed == found->second)) {
    log::warn("{}: key {} ends in white space, which is left out", owner, key);
  }
  return trimmed;
}

bool is_folder_url(const std::string& url) {
  return url.starts_with(kFileScheme) || url.starts_with('/') || url.starts_with("./") ||
         url.starts_with("../");
}

std::filesystem::path folder_of(const crd::Location& location) {
  const bool has_scheme = location.url.starts_with(kFileScheme);
  std::filesystem::path folder =
      has_scheme ? location.url.substr(std::string_view(kFileScheme).size()) : location.url;
  // What stands there is a host, not a folder below the current one.
  if (has_scheme && folder.is_relative()) {
    throw Error(ErrorKind::usage,
                fmt::format("{}: a file:// URL names a folder of this machine by its whole path",
                            location.url),
                "write three slashes: file:///path/of/the/folder");
  }
  if (!location.bucket_name.empty()) folder /= location.bucket_name;
  return std::filesystem::absolute(folder).lexically_normal();
}

s3::Address address_of(const crd::Location& location) {
  if (location.bucket_name.empty()) return s3::parse_address(location.url);
  return s3::make_address(location.url, location.bucket_name);
}

std::string repository_url(const crd::Location& location) {
  try {
    return is_folder_url(location.url) ? folder_of(location).string()
                                       : address_of(location).location;
  } catch (const Error&) {
    // What cannot be parsed is refused when it is opened, by the name that restic would have used.
    if (is_folder_url(location.url) || location.bucket_name.empty()) return location.url;
    return "s3:" + location.url + "/" + location.bucket_name;
  }
}

s3::BucketLookup lookup_of(const std::string& text) {
  if (text.empty() || text == "auto") return s3::BucketLookup::automatic;
  if (text == "path") return s3::BucketLookup::path;
  if (text == "dns") return s3::BucketLookup::dns;
  throw Error(ErrorKind::usage,
              fmt::format("bucket_lookup: \"{}\" is none of auto, path, dns", text),
              "correct that key of the location's Secret, or remove it");
}

std::unique_ptr<storage::Store> open_s3(const crd::Location& location,
                                        const cluster::SecretData& keys, const Context& context) {
  s3::S3Options options;
  options.address = address_of(location);
  const std::string& secret = location.credentials;
  options.credentials.access_key =
      std::string(access_key_of(context, keys, secret, "access_key").reveal());
  options.credentials.secret_key = access_key_of(context, keys, secret, "secret_key");
  options.credentials.session_token = Secret(value_or_empty(keys, "session_token"));
  options.region = value_or_empty(keys, "region");
  options.ca_pem = value_or_empty(keys, "ca.crt");
  options.lookup = lookup_of(value_or_empty(keys, "bucket_lookup"));
  options.authorities = authorities_of(context.environment);
  options.proxies = proxies_of(context.environment);
  options.user_agent = user_agent();
  return std::make_unique<s3::S3Store>(std::move(options), context.clock);
}

// A folder for each repository; empty: none is wanted, or there is no place for it.
std::filesystem::path cache_folder(const Context& context, const std::string& location) {
  const Environment& environment = context.environment;
  if (context.flags.no_cache) return {};
  const std::string name = to_hex(sha256(as_bytes(location))).substr(0, 32);
  if (const std::string& folder = environment.get("XDG_CACHE_HOME"); folder.starts_with('/')) {
    return std::filesystem::path(folder) / "kubedr" / name;
  }
  const std::string& home = environment.get("HOME");
  if (!home.starts_with('/')) return {};
  return std::filesystem::path(home) / ".cache" / "kubedr" / name;
}

workflow::OpenStore store_opener(const Context& context, bool folders_allowed) {
  return [&context, folders_allowed](const crd::Location& location, const cluster::SecretData& keys,
                                     workflow::Caching caching) -> std::unique_ptr<storage::Store> {
    if (!is_folder_url(location.url)) {
      auto store = std::make_unique<storage::RetryingStore>(open_s3(location, keys, context),
                                                            context.random);
      const std::filesystem::path folder = cache_folder(context, store->location());
      if (caching == workflow::Caching::off || folder.empty()) return store;
      return std::make_unique<storage::CachedStore>(
          std::move(store), std::make_unique<storage::DirectoryStore>(folder, context.random));
    }
    if (!folders_allowed) {
      throw Error(ErrorKind::usage,
                  fmt::format("backuplocation/{}: spec.url: a folder is no place for a cluster's "
                              "backups",
                              location.ref.name),
                  "give an S3 endpoint, or use -f or --repo for a folder");
    }
    return std::make_unique<storage::DirectoryStore>(folder_of(location), context.random);
  };
}

kube::Surroundings surroundings(const Environment& environment) {
  kube::Surroundings around;
  around.kubeconfig = environment.get("KUBECONFIG");
  around.kuberc = environment.get("KUBERC");
  around.no_kuberc = to_lower(environment.get("KUBECTL_KUBERC")) == "false";
  around.home = environment.get("HOME");
  around.service_host = environment.get("KUBERNETES_SERVICE_HOST");
  around.service_port = environment.get("KUBERNETES_SERVICE_PORT");
  around.proxies = proxies_of(environment);
  around.authorities = authorities_of(environment);
  around.for_plugins = environment.for_programs();
  around.terminal = isatty(STDIN_FILENO) == 1;
  return around;
}

Secret bare_password(const Environment& environment) {
  const std::string& file = environment.get("RESTIC_PASSWORD_FILE");
  return file.empty() ? environment.secret("RESTIC_PASSWORD") : read_secret(file);
}

// As restic has it: what has no scheme is a folder.
std::string bare_url(const std::string& repo) {
  if (repo.find(':') != std::string::npos) return repo;
  return std::filesystem::absolute(repo).string();
}

// A location's keys as restic's variables give them, those of operator mode's pods among them.
cluster::SecretData environment_keys(const Environment& environment) {
  cluster::SecretData keys;
  const auto add = [&](const char* key, Secret value) {
    if (!value.empty()) keys.emplace(key, std::move(value));
  };
  add("restic_repo_password", bare_password(environment));
  add("access_key", Secret(environment.first({"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"})));
  add("secret_key", Secret(environment.first({"AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"})));
  add("session_token", environment.secret("AWS_SESSION_TOKEN"));
  add("region", environment.secret("AWS_DEFAULT_REGION"));
  add("ca.crt", environment.secret("KUBEDR_S3_CA"));
  add("bucket_lookup", environment.secret("KUBEDR_S3_BUCKET_LOOKUP"));
  return keys;
}

// The operator joins a URL that ends in a slash and a bucket by another one.
std::string without_double_slash(std::string url) {
  const std::size_t scheme = url.find("://");
  const std::size_t path = scheme == std::string::npos ? 0 : scheme + 3;
  for (auto at = url.find("//", path); at != std::string::npos; at = url.find("//", path)) {
    url.erase(at, 1);
  }
  return url;
}

// Pods of operator mode, and of our CronJobs, are told of whom they are and which repository is
// meant: then its keys are in the environment too.
std::optional<workflow::GivenKeys> given_keys(const Environment& environment) {
  const bool in_our_pod =
      !environment.first({"KDR_POLICY_NAME", "KDR_BACKUPLOC_NAME", "KDR_MR_NAME"}).empty();
  crd::Location location;
  location.url = without_double_slash(environment.get("RESTIC_REPO"));
  if (!in_our_pod || location.url.empty()) return std::nullopt;
  return workflow::GivenKeys{repository_url(location), environment_keys(environment)};
}

std::unique_ptr<cluster::Cluster> make_bare(const Context& context) {
  const Environment& environment = context.environment;
  cluster::BareCluster::Settings settings;
  settings.location.ref = {crd::Kind::location, kBareName, name_space_of(context), "", ""};
  settings.location.url = bare_url(context.flags.repo);
  settings.location.credentials = kBareName;
  settings.policy.ref = {crd::Kind::policy, kBareName, name_space_of(context), "", ""};
  settings.policy.destination = kBareName;
  settings.policy.etcd_creds.clear();  // its certificates are given by flags, or not at all
  // Nobody said how many to keep.
  settings.policy.retain_num_backups = std::numeric_limits<std::int64_t>::max();
  cluster::SecretData& keys = settings.secrets[kBareName];
  keys = environment_keys(environment);
  const std::string& ca = environment.first({"RESTIC_CACERT", "AWS_CA_BUNDLE"});
  if (!ca.empty()) {
    keys.insert_or_assign("ca.crt", Secret(as_text(read_file(ca, limits::kSecretBytes))));
  }
  if (keys.count("restic_repo_password") == 0) {
    throw Error(ErrorKind::usage, "--repo: the repository's password is not given",
                "set RESTIC_PASSWORD or RESTIC_PASSWORD_FILE");
  }
  return std::make_unique<cluster::BareCluster>(std::move(settings));
}

std::chrono::milliseconds request_timeout(const std::string& text) {
  if (const auto duration = parse_duration(text)) return *duration;
  throw Error(ErrorKind::usage,
              fmt::format("--request-timeout: Invalid timeout value: \"{}\"", text),
              "Timeout must be a single integer in seconds, or an integer followed by a "
              "corresponding time unit (e.g. 1s | 2m | 3h)");
}

kube::Client make_client(const Context& context) {
  const Flags& flags = context.flags;
  return {kube::load_config(flags.kube, surroundings(context.environment)), user_agent(),
          request_timeout(flags.request_timeout), context.clock};
}

std::unique_ptr<cluster::Cluster> make_cluster(const Context& context) {
  const Flags& flags = context.flags;
  if (!flags.repo.empty() && !flags.manifests.empty()) {
    throw Error(ErrorKind::usage, "--repo and -f cannot be given together",
                "leave one of them out: either says where the repository is");
  }
  if (!flags.repo.empty()) return make_bare(context);
  if (!flags.manifests.empty()) {
    return std::make_unique<cluster::ManifestCluster>(
        std::vector<std::filesystem::path>(flags.manifests.begin(), flags.manifests.end()),
        name_space_of(context), context.clock);
  }
  const std::string name_space = flags.all_namespaces ? "" : name_space_of(context);
  return std::make_unique<cluster::ApiCluster>(make_client(context), name_space, context.clock);
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

// The host name in our locks, by which others judge whether our pid is alive: the pod's in a pod,
// and in a container that has the node's name but pids of its own one that is nobody else's.
std::string lock_host(const std::string& pod, const std::string& host) {
  constexpr ino_t kFirstPidNamespace = 0xEFFFFFFC;  // PROC_PID_INIT_INO of the kernel
  if (!pod.empty()) return pod;

  struct stat info {};

  if (stat("/proc/self/ns/pid", &info) != 0 || info.st_ino == kFirstPidNamespace) return host;
  return fmt::format("{}-pidns-{}", host, info.st_ino);
}

std::string user_name() {
  std::array<char, 16384> buffer{};

  struct passwd entry {};
  struct passwd* found = nullptr;
  getpwuid_r(geteuid(), &entry, buffer.data(), buffer.size(), &found);
  return found != nullptr ? found->pw_name : std::to_string(geteuid());
}

}  // namespace

Wired::Wired(const Context& context)
    : cluster_(make_cluster(context)),
      progress_(std::make_unique<ProgressReport>(
          progress_style(context.flags.progress, context.flags.quiet,
                         context.terminal.stderr_is_terminal()),
          context.clock)) {
  const std::string& pod = context.environment.get("MY_POD_NAME");
  const bool folders_allowed = !cluster_->has_api_server();
  services_ = std::unique_ptr<workflow::Services>(
      new workflow::Services{*cluster_,
                             store_opener(context, folders_allowed),
                             repository_url,
                             context.clock,
                             context.random,
                             *progress_,
                             {},
                             host_name(),
                             pod,
                             fmt::format("kubectl-kubedr {}", kVersion),
                             {}});
  services_->owner.hostname = lock_host(pod, services_->host);
  services_->owner.username = user_name();
  services_->owner.pid = getpid();
  services_->owner.uid = geteuid();
  services_->owner.gid = getegid();
  services_->lock_retry = parse_flag_duration("--retry-lock", context.flags.retry_lock);
  services_->no_lock = context.flags.no_lock;
  services_->commit = [&context] { context.signals.commit(); };
  if (cluster_->has_api_server()) services_->given = given_keys(context.environment);
  if (const std::string& folder = context.environment.get("TMPDIR"); !folder.empty()) {
    services_->writer.spool_folder = folder;
  }
}

std::vector<Json> Wired::collected() const {
  return cluster_->collected();
}

void require_cluster(const workflow::Services& services, const std::string& verb,
                     const std::string& hint) {
  if (services.cluster.has_api_server()) return;
  throw Error(ErrorKind::usage, verb + ": works on a cluster, not on -f or --repo",
              hint.empty() ? "leave -f and --repo out" : hint);
}

http::ProxyVariables proxies_of(const Environment& environment) {
  return {environment.first({"HTTPS_PROXY", "https_proxy"}),
          environment.first({"HTTP_PROXY", "http_proxy"}),
          environment.first({"NO_PROXY", "no_proxy"})};
}

http::Authorities authorities_of(const Environment& environment) {
  return {environment.get("SSL_CERT_FILE"), environment.get("SSL_CERT_DIR")};
}

std::string user_agent() {
  return fmt::format("kubectl-kubedr/{}", kVersion);
}

workflow::ServerVersion api_server_version(const Context& context) {
  kube::Client client = make_client(context);
  const Json version = client.get("/version", {}, context.call);
  return {"kubernetes", client.config().context, client.config().server,
          find_string(version, {"gitVersion"}).value_or(""), ""};
}

kube::ConfigNames kubeconfig_names(const Context& context) {
  return kube::config_names(context.flags.kube, surroundings(context.environment));
}

std::string name_space_of(const Context& context) {
  if (!context.flags.name_space.empty()) return context.flags.name_space;
  const std::string& from_environment = context.environment.get("KUBEDR_NAMESPACE");
  return from_environment.empty() ? crd::kDefaultNamespace : from_environment;
}

}  // namespace kubedr::cmd
