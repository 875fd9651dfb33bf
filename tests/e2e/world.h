#ifndef KUBEDR_E2E_WORLD_H
#define KUBEDR_E2E_WORLD_H

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "support/etcd_server.h"
#include "support/kube_api.h"
#include "support/process.h"
#include "support/s3_server.h"
#include "support/temp_dir.h"

// What the stories of the shipped binary happen in.
namespace kubedr::test {

inline constexpr char kNamespace[] = "kubedr-system";
inline constexpr char kPassword[] = "correct horse battery staple";

// A certificates' folder as kubeadm has it: five files, one of them a link.
std::filesystem::path make_certificates(const TempDir& folder);

// The binary with these arguments. It sees no environment but PATH, a HOME of its own and `env`.
RunResult kubedr(const std::vector<std::string>& args,
                 const std::map<std::string, std::string>& env = {},
                 std::chrono::milliseconds timeout = std::chrono::seconds(120));

// A control plane: etcd with mutual TLS, a kube-apiserver on that very etcd, an S3. Shared by the
// stories of a test binary, which keep apart by the names of their resources and buckets.
class ControlPlane {
 public:
  static ControlPlane& shared();

  // `users` besides "reader" and "backup-only", who may do nothing; `flags` for the API server.
  explicit ControlPlane(std::vector<KubeUser> users = {},
                        const std::vector<std::string>& flags = {});

  EtcdServer& etcd() { return etcd_; }

  KubeApi& api() { return api_; }

  S3Server& s3() { return s3_; }

  const std::filesystem::path& certs() const { return certs_; }

  // Runs the binary against this cluster as `user`.
  RunResult kubedr(std::vector<std::string> args, const std::string& user = "admin",
                   const std::map<std::string, std::string>& env = {});

  // A BackupLocation NAME on bucket NAME with Secret NAME-creds, and nothing else.
  void add_location(const std::string& name, const std::string& url = "");

  // The same with a policy of that name, and the Secret of etcd.
  void add_policy(const std::string& name, const std::map<std::string, std::string>& spec = {});

  Json get(const std::string& kind, const std::string& name);
  Json list(const std::string& kind);  // the items, an array
  std::vector<Json> events_of(const std::string& object_name);
  void apply(const std::string& yaml);

  // restic's environment for that bucket.
  std::map<std::string, std::string> restic_env(const std::string& bucket) const;

 private:
  EtcdServer etcd_;
  KubeApi api_;
  S3Server s3_;
  TempDir folder_;
  std::filesystem::path certs_;
};

// A tmpfs on a folder, as a volume is in a pod; gone with this value.
class TmpfsMount {
 public:
  explicit TmpfsMount(std::filesystem::path folder, const std::string& size = "64m");
  TmpfsMount(const TmpfsMount&) = delete;
  TmpfsMount& operator=(const TmpfsMount&) = delete;
  ~TmpfsMount();

  bool mounted() const { return mounted_; }

 private:
  const std::filesystem::path folder_;
  const bool mounted_;
};

// What a run that must have gone well wrote to stdout, as JSON.
Json parsed(const RunResult& result);

// etcdctl's environment for that server; ours too.
std::map<std::string, std::string> etcdctl_env(const EtcdServer& etcd);

// What `etcdctl snapshot save` makes of that server now; returns `file`.
std::filesystem::path save_database(const EtcdServer& etcd, const std::filesystem::path& file);

// What is in a file tree, by path relative to it: content of files, "-> target" of links.
std::map<std::string, std::string> files_below(const std::filesystem::path& folder);

}  // namespace kubedr::test

#endif  // KUBEDR_E2E_WORLD_H
