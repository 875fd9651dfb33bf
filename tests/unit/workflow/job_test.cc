#include "workflow/job.h"

#include <doctest/doctest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/yaml.h"

using namespace kubedr;
using namespace kubedr::workflow;

namespace {

crd::Policy nightly() {
  crd::Policy policy;
  policy.ref = {crd::Kind::policy, "nightly", "kubedr-system", "uid-1", "7"};
  policy.destination = "minio";
  policy.schedule = "0 3 * * *";
  policy.certs_dir = "/etc/kubernetes/pki";
  policy.options = {{"master-node-label-name", "node-role.kubernetes.io/master"}};
  return policy;
}

crd::Location minio() {
  crd::Location location;
  location.ref = {crd::Kind::location, "minio", "kubedr-system", "uid-2", "8"};
  location.url = "https://minio:9000";
  location.bucket_name = "backups";
  location.credentials = "minio-credentials";
  return location;
}

Json made() {
  return make_cron_job(nightly(), minio(), {"example.com/kubectl-kubedr:1"});
}

Json& pod_of(Json& cron_job) {
  return cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
}

// By the name of each.
Json named(const Json& list) {
  Json by_name = Json::object();
  for (Json one : list) {
    const std::string name = one["name"];
    one.erase("name");
    by_name[name] = one;
  }
  return by_name;
}

Json yaml(const char* text) {
  return parse_yaml(text, "test").front();
}

}  // namespace

TEST_CASE("cron job: a URL may end in a slash, and no variable names another") {
  crd::Location location = minio();
  location.url = "https://minio:9000/";
  crd::Policy policy = nightly();
  policy.etcd_endpoint = "https://$(RESTIC_PASSWORD):2379";
  Json cron_job = make_cron_job(policy, location, {"example.com/kubectl-kubedr:1"});
  const Json variables = named(pod_of(cron_job)["containers"][0]["env"]);
  CHECK(variables["RESTIC_REPO"]["value"] == "s3:https://minio:9000/backups");
  CHECK(variables["ETCD_ENDPOINT"]["value"] == "https://$$(RESTIC_PASSWORD):2379");
}

TEST_CASE("cron job: a job that never starts ends, and lets the next one run") {
  CHECK(made()["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 6 * 3600);
}

TEST_CASE("cron job: names, labels and owner are operator mode's") {
  const Json cron_job = made();
  CHECK(cron_job["metadata"]["name"] == "nightly-backup-cronjob");
  CHECK(cron_job["metadata"]["ownerReferences"] == yaml(R"(
- apiVersion: kubedr.catalogicsoftware.com/v1alpha1
  kind: MetadataBackupPolicy
  name: nightly
  uid: uid-1
  controller: true
  blockOwnerDeletion: true
)"));
  Json spec = cron_job["spec"];
  CHECK(spec["jobTemplate"]["metadata"]["name"] == "nightly-backup-job");
  CHECK(spec["jobTemplate"]["spec"]["backoffLimit"] == 0);
  const Json pod_labels = spec["jobTemplate"]["spec"]["template"]["metadata"]["labels"];
  for (const Json& labels : {cron_job["metadata"]["labels"], pod_labels}) {
    CHECK(labels["kubedr.type"] == "backup");
    CHECK(labels["kubedr.backup-policy"] == "nightly");
  }
  spec.erase("jobTemplate");
  CHECK(spec == yaml("{schedule: 0 3 * * *, suspend: false, concurrencyPolicy: Forbid, "
                     "timeZone: Etc/UTC}"));
}

TEST_CASE("cron job: the environment is operator mode's, Secrets by reference only") {
  Json cron_job = made();
  const Json variables = named(pod_of(cron_job)["containers"][0]["env"]);
  const Json expected = yaml(R"(
MY_POD_NAME: {valueFrom: {fieldRef: {fieldPath: metadata.name}}}
AWS_ACCESS_KEY: {valueFrom: {secretKeyRef: {name: minio-credentials, key: access_key}}}
AWS_SECRET_KEY: {valueFrom: {secretKeyRef: {name: minio-credentials, key: secret_key}}}
RESTIC_PASSWORD: {valueFrom: {secretKeyRef: {name: minio-credentials, key: restic_repo_password}}}
KDR_POLICY_NAME: {value: nightly}
ETCD_ENDPOINT: {value: "https://127.0.0.1:2379"}
ETCD_CREDS_DIR: {value: /etcd_creds}
ETCD_SNAP_PATH: {value: /data/etcd-snapshot.db}
RESTIC_REPO: {value: "s3:https://minio:9000/backups"}
BACKUP_SRC: {value: /data}
CERTS_SRC_DIR: {value: /certs_dir}
CERTS_DEST_DIR: {value: /data/certificates}
)");
  for (const auto& [name, value] : expected.items()) {
    CAPTURE(name);
    CHECK(variables.value(name, Json()) == value);
  }
  CHECK(variables["KUBEDR_S3_CA"]["valueFrom"]["secretKeyRef"]["optional"] == true);
}

TEST_CASE("cron job: what a pod may do is what a backup needs") {
  Json cron_job = made();
  const Json& pod = pod_of(cron_job);
  CHECK(pod["hostNetwork"] == true);
  CHECK(pod["restartPolicy"] == "Never");
  CHECK(pod["serviceAccountName"] == "kubedr-job");
  CHECK(pod["tolerations"] == yaml("[{operator: Exists, effect: NoSchedule}]"));
  CHECK(pod["affinity"] == yaml(R"(
nodeAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms:
    - matchExpressions: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]
    - matchExpressions: [{key: node-role.kubernetes.io/master, operator: Exists}]
)"));
  CHECK(named(pod["volumes"]) == yaml(R"(
target-dir: {emptyDir: {}}
etcd-creds: {secret: {secretName: etcd-creds, defaultMode: 256}}
certs-dir: {hostPath: {path: /etc/kubernetes/pki, type: Directory}}
)"));
  CHECK(named(pod["containers"][0]["volumeMounts"]) == yaml(R"(
target-dir: {mountPath: /data, readOnly: false}
etcd-creds: {mountPath: /etcd_creds, readOnly: true}
certs-dir: {mountPath: /certs_dir, readOnly: true}
)"));
  CHECK(pod["containers"][0]["securityContext"] == yaml(R"(
runAsUser: 0
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
)"));
}

TEST_CASE("cron job: what it pushes metrics to is no drift, and read back as it was said") {
  JobSettings settings{"example.com/kubectl-kubedr:1"};
  CHECK(push_of(made()) == "");
  for (const char* url : {"http://gateway:9091", "http://gateway/$(RESTIC_PASSWORD)/a$$b$"}) {
    settings.push = url;
    Json cron_job = make_cron_job(nightly(), minio(), settings);
    CHECK(push_of(cron_job) == url);
    CHECK(drift_of(cron_job, nightly(), minio()).empty());
  }
  Json cron_job = make_cron_job(nightly(), minio(), settings);
  CHECK(pod_of(cron_job)["containers"][0]["args"][2] ==
        "--push=http://gateway/$$(RESTIC_PASSWORD)/a$$$$b$$");
}

TEST_CASE("cron job: nothing is mounted that the policy does not name") {
  crd::Policy policy = nightly();
  policy.certs_dir = "";
  policy.etcd_endpoint = "http://127.0.0.1:2379";
  policy.options["master-node-label-name"] = "example.com/etcd";
  policy.suspend = true;
  Json cron_job = make_cron_job(policy, minio(), {"image", false});
  CHECK(cron_job["spec"]["suspend"] == true);
  CHECK_FALSE(cron_job["spec"].contains("timeZone"));
  CHECK(pod_of(cron_job)["volumes"].size() == 1);
  const Json variables = named(pod_of(cron_job)["containers"][0]["env"]);
  CHECK_FALSE(variables.contains("CERTS_SRC_DIR"));
  CHECK_FALSE(variables.contains("ETCD_CREDS_DIR"));
  const Json& terms =
      pod_of(cron_job)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
                      ["nodeSelectorTerms"];
  CHECK(terms == yaml("[{matchExpressions: [{key: example.com/etcd, operator: Exists}]}]"));
}

TEST_CASE("cron job: a policy whose name is too long for one is refused") {
  crd::Policy policy = nightly();
  policy.ref.name = std::string(37, 'x');
  CHECK_NOTHROW(make_cron_job(policy, minio(), {"image"}));
  policy.ref.name += 'x';
  CHECK_THROWS_AS(make_cron_job(policy, minio(), {"image"}), Error);
}

TEST_CASE("drift: each field of the policy that a CronJob holds is compared") {
  using Names = std::vector<std::string>;
  const Json cron_job = made();
  const auto drift = [&](const std::function<void(crd::Policy&, crd::Location&)>& change) {
    crd::Policy policy = nightly();
    crd::Location location = minio();
    change(policy, location);
    return drift_of(cron_job, policy, location);
  };
  CHECK(drift([](auto&, auto&) {}).empty());
  CHECK(drift([](auto& policy, auto&) { policy.schedule = "@daily"; }) == Names{"schedule"});
  CHECK(drift([](auto& policy, auto&) { policy.suspend = true; }) == Names{"suspend"});
  CHECK(drift([](auto& policy, auto&) { policy.certs_dir = ""; }) == Names{"certsDir"});
  CHECK(drift([](auto& policy, auto&) { policy.etcd_creds = "other"; }) == Names{"etcdCreds"});
  CHECK(drift([](auto& policy, auto&) { policy.etcd_endpoint = "https://10.0.0.1:2379"; }) ==
        Names{"etcdEndpoint"});
  CHECK(drift([](auto& policy, auto&) {
          policy.options = {{"master-node-label-name", "x"}};
        }) == Names{"options"});
  CHECK(drift([](auto&, auto& location) { location.bucket_name = "x"; }) == Names{"destination"});
  CHECK(drift([](auto&, auto& location) { location.credentials = "x"; }) == Names{"destination"});
  // What does not show in a CronJob.
  CHECK(drift([](auto& policy, auto&) { policy.retain_num_backups = 1; }).empty());
}

TEST_CASE("drift: of somebody else's CronJob only when it runs counts") {
  const Json theirs = yaml(R"(
metadata: {name: nightly-backup-cronjob, labels: {kubedr.backup-policy: nightly}}
spec: {schedule: 0 3 * * *, suspend: false, jobTemplate: {}}
)");
  CHECK(drift_of(theirs, nightly(), minio()).empty());
  crd::Policy policy = nightly();
  policy.schedule = "0 4 * * *";
  policy.etcd_creds = "other";
  CHECK(drift_of(theirs, policy, minio()) == std::vector<std::string>{"schedule"});
}

TEST_CASE("job: by hand it is that of the CronJob, and belongs to it") {
  Json cron_job = made();
  cron_job["metadata"]["uid"] = "uid-9";
  Json job = make_job(cron_job, "nightly-backup-job-00042");
  CHECK(job["spec"] == cron_job["spec"]["jobTemplate"]["spec"]);
  CHECK(job["metadata"]["ownerReferences"][0]["uid"] == "uid-9");
  CHECK(job["metadata"]["labels"]["kubedr.backup-policy"] == "nightly");
  CHECK(job_name("nightly", 100'042) == "nightly-backup-job-00042");
  CHECK_FALSE(make_job(made(), "x")["metadata"].contains("ownerReferences"));
}
