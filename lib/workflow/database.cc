#include "workflow/database.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "workflow/open.h"

namespace kubedr::workflow {
namespace {

constexpr char kCaKey[] = "ca.crt";
constexpr char kCertificateKey[] = "client.crt";
constexpr char kClientKeyKey[] = "client.key";

// Where API servers keep the namespace whose uid is the cluster's identity; the second is
// OpenShift's prefix.
constexpr const char* kIdentityKeys[] = {"/registry/namespaces/kube-system",
                                         "/kubernetes.io/namespaces/kube-system"};

constexpr std::chrono::seconds kStatusTimeout{10};

// What an encrypted value begins with.
constexpr char kEncrypted[] = "k8s:enc:";

http::Tls client_tls(const Services& services, const crd::Policy& policy,
                     const DatabaseRequest& request, const Call& call) {
  http::Tls tls;
  tls.ca_pem = request.ca_pem;
  tls.client_certificate_pem = request.client_certificate_pem;
  tls.client_key_pem = request.client_key_pem;
  if (!tls.ca_pem.empty() && !tls.client_certificate_pem.empty()) return tls;
  if (policy.etcd_creds.empty())
    return tls;  // bare: what is not given is not there, as with etcdctl
  const cluster::SecretData keys =
      services.cluster.secret(policy.etcd_creds, policy.ref.name_space, call);
  const auto value = [&](const char* key) {
    return std::string(require_key(keys, policy.etcd_creds, key).reveal());
  };
  if (tls.ca_pem.empty()) tls.ca_pem = value(kCaKey);
  if (tls.client_certificate_pem.empty()) {
    tls.client_certificate_pem = value(kCertificateKey);
    tls.client_key_pem = require_key(keys, policy.etcd_creds, kClientKeyKey);
  }
  return tls;
}

std::vector<etcd::Endpoint> endpoints_of(const Services& services, const crd::Policy& policy,
                                         const DatabaseRequest& request, const Call& call) {
  const bool of_policy = request.endpoints.empty();
  const std::string list = of_policy ? policy.etcd_endpoint : join(request.endpoints, ",");
  const bool tls_unless_said =
      of_policy ? crd::uses_tls(policy) : !request.client_certificate_pem.empty();
  const std::vector<std::string> urls = etcd::parse_endpoints(list, tls_unless_said);
  const bool any_tls = std::any_of(
      urls.begin(), urls.end(), [](const std::string& url) { return url.starts_with("https://"); });
  const http::Tls tls = any_tls ? client_tls(services, policy, request, call) : http::Tls{};
  std::vector<etcd::Endpoint> endpoints;
  for (const std::string& url : urls) endpoints.push_back({url, tls});
  return endpoints;
}

[[noreturn]] void fail_corrupt(const etcd::Client& client, std::uint64_t member) {
  throw Error(ErrorKind::corrupt,
              fmt::format("etcd: {}: alarm CORRUPT on member {:x}: its data differs from the other "
                          "members'",
                          client.url(), member),
              "back up another member, then replace this one");
}

// Whether "memberID:1234 alarm:CORRUPT " is about another member than that.
bool is_about_another(const std::string& text, std::uint64_t member) {
  constexpr std::string_view kMember = "memberID:";
  const std::size_t at = text.find(kMember);
  if (at == std::string::npos) return false;
  std::uint64_t number = 0;
  const char* begin = text.data() + at + kMember.size();
  std::from_chars(begin, text.data() + text.size(), number);
  return number != member;
}

// The status tells of alarms too, without a quorum, a raft entry and the root role.
void require_fit(const etcd::Client& client, const etcd::Status& status) {
  for (const std::string& text : status.errors) {
    const bool corrupt = text.find("CORRUPT") != std::string::npos;
    if (corrupt && !is_about_another(text, status.member_id)) {
      fail_corrupt(client, status.member_id);
    }
  }
  if (!status.is_learner) return;
  throw Error(ErrorKind::failed, fmt::format("etcd: {}: is a learner", client.url()),
              "name a voting member in spec.etcdEndpoint or --etcd-endpoint");
}

void require_no_corruption(etcd::Client& client, const etcd::Status& status, const Call& call) {
  for (const std::string& text : status.errors) log::warn("etcd: {}: {}", client.url(), text);
  std::vector<etcd::Alarm> alarms;
  try {
    alarms = client.alarms(call);
  } catch (const Error& error) {
    call.require_live();
    log::info("{}", error.what());  // older members want the root role for alarms
  }
  for (const etcd::Alarm& alarm : alarms) {
    const bool corrupt = alarm.kind == etcd::Alarm::Kind::corrupt;
    // Of whom is not always known: then it may be this one.
    if (corrupt && (alarm.member_id == status.member_id || alarm.member_id == 0)) {
      fail_corrupt(client, alarm.member_id);
    }
    if (corrupt) log::warn("etcd: alarm CORRUPT on member {:x}: replace it", alarm.member_id);
    if (alarm.kind != etcd::Alarm::Kind::no_space) continue;
    log::warn("etcd: {}: alarm NOSPACE on member {:x}: the database is at its quota", client.url(),
              alarm.member_id);
  }
}

bool better(const etcd::Status& a, const etcd::Status& b) {
  if ((a.leader != 0) != (b.leader != 0)) return a.leader != 0;
  return a.raft_applied_index > b.raft_applied_index;
}

// True: proven; false: could not be compared. Throws when it is another cluster's.
bool same_identity(const std::string& uid, etcd::Client& client, const Call& call) {
  for (const char* key : kIdentityKeys) {
    const std::optional<etcd::KeyValue> found = client.get(key, call);
    if (!found) continue;
    if (found->value.starts_with(kEncrypted)) return false;
    if (found->value.find(uid) != std::string::npos) return true;
    throw Error(ErrorKind::usage,
                fmt::format("etcd: {}: belongs to another cluster: its kube-system namespace is "
                            "not the one of this API server (uid {})",
                            client.url(), uid),
                "check the endpoint and the kubeconfig's context; --any-etcd backs it up all the "
                "same");
  }
  throw Error(ErrorKind::usage,
              fmt::format("etcd: {}: holds no Kubernetes cluster: there is no key {}", client.url(),
                          kIdentityKeys[0]),
              "check the endpoint; --any-etcd backs it up all the same");
}

// Where the namespace cannot be compared: the policy lies in the right etcd too, with its uid, or,
// encrypted, at the revision that the API server calls its resourceVersion.
void require_policy_in(const Services& services, const crd::Policy& policy, etcd::Client& client,
                       const Call& call) {
  constexpr int kTries = 5;  // somebody may write to it between the two looks
  for (int tries = 0; tries < kTries; ++tries) {
    const crd::ObjectRef seen = services.cluster.policy(policy.ref.name, call).ref;
    for (const char* prefix : {"/registry", "/kubernetes.io"}) {
      const auto found =
          client.get(fmt::format("{}/{}/{}/{}/{}", prefix, crd::kGroup,
                                 crd::plural_name(crd::Kind::policy), seen.name_space, seen.name),
                     call);
      if (!found) continue;
      if (found->value.find(seen.uid) != std::string::npos) return;
      if (std::to_string(found->mod_revision) == seen.resource_version) return;
    }
    call.sleep(std::chrono::milliseconds(200));
  }
  throw Error(ErrorKind::usage,
              fmt::format("etcd: {}: belongs to another cluster: it does not hold this API "
                          "server's {}",
                          client.url(), policy.ref.display()),
              "check the endpoint and the kubeconfig's context; --any-etcd backs it up all the "
              "same");
}

void require_this_cluster(const Services& services, const crd::Policy& policy, etcd::Client& client,
                          const Call& call) {
  if (!services.cluster.has_api_server()) return;  // nothing to compare with
  const std::optional<std::string> uid = services.cluster.identity(call);
  if (uid && same_identity(*uid, client, call)) return;
  require_policy_in(services, policy, client, call);
}

}  // namespace

// What the bytes are read from.
struct Database::Reader {
  virtual ~Reader() = default;
  virtual std::size_t read(std::span<std::uint8_t> buffer, const Call& call) = 0;
  virtual std::uint64_t expected_size() const = 0;
  virtual void require_still_fit(const Call& call) = 0;
};

namespace {

constexpr std::uint64_t kDigestSize = 32;

}  // namespace

struct StreamReader final : Database::Reader {
  StreamReader(ChosenMember chosen, const Call& call)
      : client(std::move(chosen.endpoint)),
        stream(client.snapshot(call)),
        estimate(static_cast<std::uint64_t>(std::max<std::int64_t>(chosen.status.db_size, 0))) {}

  std::size_t read(std::span<std::uint8_t> buffer, const Call& call) override {
    return stream->read(buffer, call);
  }

  std::uint64_t expected_size() const override {
    return stream->db_size().value_or(estimate) + kDigestSize;
  }

  // A check of the cluster may have found the corruption while the snapshot was streamed. A member
  // that is gone by now has sent a database that its digest proves.
  void require_still_fit(const Call& call) override {
    std::optional<etcd::Status> status;
    try {
      status = client.status(call.within(kStatusTimeout));
    } catch (const Error& error) {
      call.require_live();
      log::warn("{}; whether it is sound could not be asked again after its snapshot",
                error.what());
      return;
    }
    require_fit(client, *status);
  }

  etcd::Client client;
  std::unique_ptr<etcd::Client::SnapshotStream> stream;
  std::uint64_t estimate;
};

struct FileReader final : Database::Reader {
  explicit FileReader(const std::string& path) : name(path), file(open_file(path, O_RDONLY)) {
    struct stat info {};

    if (fstat(file.get(), &info) != 0) throw_errno(name, "stat");
    size = static_cast<std::uint64_t>(info.st_size);
  }

  std::size_t read(std::span<std::uint8_t> buffer, const Call& call) override {
    call.require_live();
    return read_full(file.get(), buffer, name);
  }

  std::uint64_t expected_size() const override { return size; }

  void require_still_fit(const Call& /*call*/) override {}  // there is nobody to ask

  std::string name;
  FileDescriptor file;
  std::uint64_t size = 0;
};

Database::Database(ChosenMember member, const Call& call)
    : origin_(member.endpoint.url),
      reader_(std::make_unique<StreamReader>(std::move(member), call)) {}

Database::Database(const std::string& snapshot_file)
    : origin_(snapshot_file), reader_(std::make_unique<FileReader>(snapshot_file)) {}

Database::~Database() = default;

std::size_t Database::read(std::span<std::uint8_t> buffer, const Call& call) {
  const std::size_t got = reader_->read(buffer, call);
  verdict_.update(buffer.first(got));
  return got;
}

std::uint64_t Database::expected_size() const {
  return reader_->expected_size();
}

etcd::Verified Database::finish(const Call& call) {
  const etcd::Verified verified = verdict_.finish();
  reader_->require_still_fit(call);
  return verified;
}

ChosenMember choose_member(const Services& services, const crd::Policy& policy,
                           const DatabaseRequest& request, const Call& call) {
  std::optional<ChosenMember> best;
  std::optional<Error> first_error;
  for (const etcd::Endpoint& endpoint : endpoints_of(services, policy, request, call)) {
    try {
      etcd::Client client(endpoint);
      const Call limited = call.within(kStatusTimeout);
      const etcd::Status status = client.status(limited);
      require_fit(client, status);
      require_no_corruption(client, status, limited);
      if (best && best->status.cluster_id != status.cluster_id) {
        throw Error(ErrorKind::usage,
                    fmt::format("etcd: {} and {} are members of different clusters",
                                best->endpoint.url, endpoint.url),
                    "name members of one etcd in spec.etcdEndpoint or --etcd-endpoint");
      }
      if (!best || better(status, best->status)) best = ChosenMember{endpoint, status};
    } catch (const Error& error) {
      call.require_live();
      if (error.kind() == ErrorKind::usage) throw;
      if (!first_error) first_error = error;
      log::info("{}", error.what());
    }
  }
  if (!best) throw *first_error;
  if (!request.any_etcd) {
    etcd::Client client(best->endpoint);
    require_this_cluster(services, policy, client, call.within(std::chrono::seconds(30)));
  }
  return *best;
}

bool encrypts_secrets(const ChosenMember& member, const crd::Policy& policy, const Call& call) {
  try {
    etcd::Client client(member.endpoint);
    for (const char* prefix : {"/registry", "/kubernetes.io"}) {
      const auto found = client.get(
          fmt::format("{}/secrets/{}/{}", prefix, policy.ref.name_space, policy.etcd_creds), call);
      if (found) return found->value.starts_with(kEncrypted);
    }
  } catch (const Error& error) {
    call.require_live();
    log::info("{}", error.what());
  }
  return false;
}

}  // namespace kubedr::workflow
