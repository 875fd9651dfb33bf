// The whole life of a repository on stores that are not like the others: another kind of S3, one
// that knows no conditional PUTs, a bucket that keeps every version and locks them.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/sha256.h"
#include "base/time.h"
#include "e2e/faults.h"
#include "http/client.h"
#include "s3/sign.h"
#include "support/restic.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;

namespace {

struct Databases {
  TempDir folder;
  std::filesystem::path first = save_database(plain_etcd(), folder / "first.db");
  std::filesystem::path second;

  Databases() {
    plain_etcd().fill("/kubedr-test/stores/", 50, 3000);
    second = save_database(plain_etcd(), folder / "second.db");
  }

  static const Databases& shared() {
    static const Databases databases;
    return databases;
  }
};

void must(const BareRepository& repository, const std::vector<std::string>& args) {
  CAPTURE(args.front());
  const RunResult result = repository.run(args);
  REQUIRE_MESSAGE(result.ok(), result.err);
}

void back_up(const BareRepository& repository, const std::filesystem::path& db) {
  must(repository, {"backup", "--no-certs", "--etcd-snapshot", db.string()});
}

void check_restores_latest(const BareRepository& repository, const std::filesystem::path& db) {
  const TempDir folder;
  must(repository, {"restore", "latest", "--target", (folder / "target").string()});
  CHECK(read_text(folder / "target/data/etcd-snapshot.db") == read_text(db));
}

// From init to prune, and restic agrees.
void live(const BareRepository& repository) {
  const Databases& databases = Databases::shared();
  must(repository, {"init"});
  CHECK(repository.run({"init"}).exit.code == 1);
  back_up(repository, databases.first);
  back_up(repository, databases.second);
  CHECK(repository.snapshot_ids().size() == 2);
  check_restores_latest(repository, databases.second);
  must(repository, {"forget", "--keep-last", "1", "--yes"});
  must(repository, {"prune", "--max-unused", "0", "--yes"});
  must(repository, {"check", "--read-data"});
  CHECK(repository.snapshot_ids().size() == 1);
  check_restores_latest(repository, databases.second);
  repository.check_repository();
  CHECK(restic("0.18", {"backup", databases.first.string()}, repository.restic_env()).ok());
  CHECK(repository.snapshot_ids().size() == 2);
  must(repository, {"check", "--read-data"});
}

// A request that no client of ours ever sends, answered with success.
std::string ask(const S3Server& s3, const std::string& method, const std::string& path,
                const std::vector<std::pair<std::string, std::string>>& query,
                const http::Headers& headers, const std::string& body = {}) {
  const SystemClock clock;
  const WallTime now = clock.now();
  s3::SignRequest sign;
  sign.method = method;
  sign.path = path;
  sign.query = query;
  sign.payload_hash = to_hex(sha256(as_bytes(body)));
  http::Request request;
  request.method = method;
  request.url = s3.url() + path;
  for (const auto& [name, value] : query) {
    request.url += (request.url.find('?') == std::string::npos ? "?" : "&") + name + "=" + value;
  }
  request.headers = headers;
  request.headers.emplace_back("x-amz-content-sha256", sign.payload_hash);
  request.headers.emplace_back("x-amz-date", format_compact(now));
  sign.headers = request.headers;
  sign.headers.emplace_back("host", fmt::format("127.0.0.1:{}", s3.port()));
  request.authorization = s3::authorization(
      sign, {s3.access_key(), Secret(s3.secret_key()), Secret()}, "us-east-1", now);
  request.body = as_bytes(body);
  http::Client client = local_client();
  const http::Response response = client.send(request, call_for());
  const std::string text(response.text());
  REQUIRE_MESSAGE(response.status / 100 == 2, text);
  return text;
}

// Each file that is stored is kept for a day, whatever somebody asks for.
void make_locked_bucket(const S3Server& s3, const std::string& bucket) {
  ask(s3, "PUT", "/" + bucket, {}, {{"x-amz-bucket-object-lock-enabled", "true"}});
  ask(s3, "PUT", "/" + bucket, {{"object-lock", ""}}, {},
      "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>"
      "<DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule>"
      "</ObjectLockConfiguration>");
}

// Versions of files that are still stored, hidden by a deletion or not.
std::size_t versions_in(const S3Server& s3, const std::string& bucket, const std::string& folder) {
  const std::string listed =
      ask(s3, "GET", "/" + bucket, {{"prefix", folder}, {"versions", ""}}, {});
  std::size_t count = 0;
  for (std::size_t at = listed.find("<Version>"); at != std::string::npos;
       at = listed.find("<Version>", at + 1)) {
    ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("stores: a repository lives on versitygw as on MinIO") {
  KUBEDR_NEEDS("versitygw");
  const S3Server s3(S3Server::Program::versitygw);
  live(BareRepository(s3, "bucket"));
  live(BareRepository(s3, "other-bucket/a/prefix"));
}

TEST_CASE("stores: a repository lives where conditional PUTs are not known") {
  KUBEDR_NEEDS("minio");
  const S3Server s3;
  ByteProxy proxy(s3.port());
  ProxyRules rules;
  rules.unknown_header = "if-none-match";
  proxy.set(rules);
  const BareRepository repository(s3, "bucket", proxy.port());
  live(repository);
  repository.check_repository();
}

TEST_CASE(
    "stores: a bucket with versions and an object lock takes a whole life, and keeps it all") {
  KUBEDR_NEEDS("minio");
  const S3Server s3;
  make_locked_bucket(s3, "locked");
  const BareRepository repository(s3, "locked");
  live(repository);
  // What forget and prune removed is hidden, not gone: whoever has the keys cannot destroy it.
  CHECK(versions_in(s3, "locked", "snapshots/") == 3);
  CHECK(versions_in(s3, "locked", "data/") > 4);
  CHECK(versions_in(s3, "locked", "locks/") > 6);
}
