#include "e2e/world.h"

#include <doctest/doctest.h>
#include <fmt/core.h>
#include <sys/mount.h>

#include <nlohmann/json.hpp>

#include "base/hex.h"
#include "base/yaml.h"
#include "support/server.h"

namespace kubedr::test {
namespace {

std::string encoded(const std::string& text) {
  return to_base64(as_bytes(text));
}

}  // namespace

std::filesystem::path make_certificates(const TempDir& folder) {
  const Certificates authority;
  const Certificate server = authority.issue({"kube-apiserver"});
  folder.write("pki/ca.crt", authority.ca_pem());
  folder.write("pki/apiserver.crt", server.certificate_pem);
  folder.write("pki/apiserver.key", server.key_pem);
  folder.write("pki/etcd/ca.crt", authority.ca_pem());
  std::filesystem::create_symlink("apiserver.crt", folder / "pki/current.crt");
  return folder / "pki";
}

RunResult kubedr(const std::vector<std::string>& args,
                 const std::map<std::string, std::string>& env, std::chrono::milliseconds timeout) {
  static const TempDir home;
  ProcessOptions options;
  options.env = env;
  options.env.try_emplace("HOME", home.path().string());
  std::vector<std::string> argv{KUBEDR_BINARY};
  argv.insert(argv.end(), args.begin(), args.end());
  return run(argv, options, timeout);
}

ControlPlane& ControlPlane::shared() {
  static ControlPlane plane;
  return plane;
}

namespace {

std::vector<KubeUser> with_powerless(std::vector<KubeUser> users) {
  users.push_back({"reader", {}});
  users.push_back({"backup-only", {}});
  return users;
}

}  // namespace

ControlPlane::ControlPlane(std::vector<KubeUser> users, const std::vector<std::string>& flags)
    : etcd_([] {
        EtcdOptions options;
        options.tls = true;
        return options;
      }()),
      api_(etcd_, with_powerless(std::move(users)), flags),
      certs_(make_certificates(folder_)) {
  const RunResult installed = kubedr({"install"});
  REQUIRE_MESSAGE(installed.ok(), installed.err);
}

RunResult ControlPlane::kubedr(std::vector<std::string> args, const std::string& user,
                               const std::map<std::string, std::string>& env) {
  args.push_back("--kubeconfig=" + api_.kubeconfig(user).string());
  return test::kubedr(args, env);
}

void ControlPlane::apply(const std::string& yaml) {
  const RunResult applied = api_.kubectl({"apply", "-f", "-"}, yaml);
  REQUIRE_MESSAGE(applied.ok(), applied.err);
}

void ControlPlane::add_location(const std::string& name, const std::string& url) {
  apply(fmt::format(R"(
apiVersion: v1
kind: Secret
metadata: {{name: {0}-creds, namespace: kubedr-system}}
data: {{access_key: {1}, secret_key: {2}, restic_repo_password: {3}}}
---
apiVersion: kubedr.catalogicsoftware.com/v1alpha1
kind: BackupLocation
metadata: {{name: {0}, namespace: kubedr-system}}
spec: {{url: "{4}", bucketName: {0}, credentials: {0}-creds}}
)",
                    name, encoded(s3_.access_key()), encoded(s3_.secret_key()), encoded(kPassword),
                    url.empty() ? s3_.url() : url));
}

void ControlPlane::add_policy(const std::string& name,
                              const std::map<std::string, std::string>& spec) {
  add_location(name);
  std::map<std::string, std::string> fields = {{"destination", name},
                                               {"schedule", "*/10 * * * *"},
                                               {"certsDir", certs_.string()},
                                               {"etcdEndpoint", etcd_.endpoint()},
                                               {"etcdCreds", name + "-etcd"}};
  for (const auto& [key, value] : spec) fields[key] = value;
  Json policy = {{"apiVersion", "kubedr.catalogicsoftware.com/v1alpha1"},
                 {"kind", "MetadataBackupPolicy"},
                 {"metadata", {{"name", name}, {"namespace", kNamespace}}},
                 {"spec", fields}};
  const auto retain = spec.find("retainNumBackups");
  policy["spec"]["retainNumBackups"] = retain == spec.end() ? 120 : std::stoi(retain->second);
  apply(policy.dump());
  apply(fmt::format(R"(
apiVersion: v1
kind: Secret
metadata: {{name: {0}-etcd, namespace: kubedr-system}}
data: {{ca.crt: {1}, client.crt: {2}, client.key: {3}}}
)",
                    name, encoded(etcd_.ca_pem()), encoded(etcd_.client_cert_pem()),
                    encoded(etcd_.client_key_pem())));
}

Json ControlPlane::get(const std::string& kind, const std::string& name) {
  const RunResult got = api_.kubectl({"-n", kNamespace, "get", kind, name, "-o", "json"});
  REQUIRE_MESSAGE(got.ok(), got.err);
  return parse_json(got.out, kind);
}

Json ControlPlane::list(const std::string& kind) {
  const RunResult got = api_.kubectl({"-n", kNamespace, "get", kind, "-o", "json"});
  REQUIRE_MESSAGE(got.ok(), got.err);
  return parse_json(got.out, kind).at("items");
}

std::vector<Json> ControlPlane::events_of(const std::string& object_name) {
  const RunResult got = api_.kubectl({"-n", kNamespace, "get", "event", "-o", "json",
                                      "--field-selector", "involvedObject.name=" + object_name});
  REQUIRE_MESSAGE(got.ok(), got.err);
  std::vector<Json> events;
  const Json list = parse_json(got.out, "events");
  for (const Json& item : list.at("items")) events.push_back(item);
  return events;
}

std::map<std::string, std::string> ControlPlane::restic_env(const std::string& bucket) const {
  return {{"RESTIC_REPOSITORY", fmt::format("s3:{}/{}", s3_.url(), bucket)},
          {"RESTIC_PASSWORD", kPassword},
          {"AWS_ACCESS_KEY_ID", s3_.access_key()},
          {"AWS_SECRET_ACCESS_KEY", s3_.secret_key()}};
}

TmpfsMount::TmpfsMount(std::filesystem::path folder, const std::string& size)
    : folder_(std::move(folder)),
      mounted_(mount("tmpfs", folder_.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0) {}

TmpfsMount::~TmpfsMount() {
  if (mounted_) umount2(folder_.c_str(), MNT_DETACH);
}

Json parsed(const RunResult& result) {
  REQUIRE_MESSAGE(result.ok(), result.err);
  return parse_json(result.out, "stdout");
}

std::map<std::string, std::string> etcdctl_env(const EtcdServer& etcd) {
  std::map<std::string, std::string> env = {{"ETCDCTL_ENDPOINTS", etcd.endpoint()},
                                            {"ETCDCTL_API", "3"}};
  if (!etcd.tls()) return env;
  env["ETCDCTL_CACERT"] = etcd.ca_file().string();
  env["ETCDCTL_CERT"] = etcd.client_cert_file().string();
  env["ETCDCTL_KEY"] = etcd.client_key_file().string();
  return env;
}

std::filesystem::path save_database(const EtcdServer& etcd, const std::filesystem::path& file) {
  ProcessOptions options;
  options.env = etcdctl_env(etcd);
  const RunResult saved =
      run({find_server("etcdctl").string(), "snapshot", "save", file.string()}, options);
  REQUIRE_MESSAGE(saved.ok(), saved.err);
  return file;
}

std::map<std::string, std::string> files_below(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().lexically_relative(folder).string();
    if (entry.is_symlink()) {
      files[name] = "-> " + std::filesystem::read_symlink(entry.path()).string();
    } else if (entry.is_regular_file()) {
      files[name] = read_text(entry.path());
    }
  }
  return files;
}

}  // namespace kubedr::test
