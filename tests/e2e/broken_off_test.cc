// A restore that is killed, and the next one that ends it.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "e2e/faults.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;
namespace fs = std::filesystem;
using std::chrono::seconds;

namespace {

constexpr int kCertificates = 30;

struct Found {
  int whole = 0;  // files under their own names
  int half = 0;   // in work
  bool database = false;
};

Found found_below(const fs::path& folder) {
  Found found;
  std::error_code gone;  // a file in work is renamed while we look
  for (auto at = fs::recursive_directory_iterator(folder, gone);
       !gone && at != fs::recursive_directory_iterator(); at.increment(gone)) {
    const std::string name = at->path().filename().string();
    if (name.ends_with(".part")) {
      ++found.half;
    } else if (at->is_regular_file(gone)) {
      ++found.whole;
      found.database = found.database || name == "etcd-snapshot.db";
    }
  }
  return found;
}

// The bytes that each certificate begins with are its own: none is a copy of another's.
std::string content_of(int number) {
  std::string content = fmt::format("certificate {}\n", number);
  for (unsigned x = static_cast<unsigned>(number) + 1; content.size() < 150'000;) {
    x = x * 1'664'525U + 1'013'904'223U;
    content += static_cast<char>(x >> 24U);
  }
  return content;
}

}  // namespace

TEST_CASE("restore: one that was killed in the midst is finished by another with if-changed") {
  KUBEDR_NEEDS("minio");
  const S3Server s3;
  ByteProxy slow(s3.port());
  const BareRepository repository(s3, "broken-off");
  const std::string through = fmt::format("s3:http://127.0.0.1:{}/broken-off", slow.port());
  const TempDir folder;
  for (int number = 0; number < kCertificates; ++number) {
    folder.write(fmt::format("pki/{:02}.crt", number), content_of(number));
  }
  const fs::path db = save_database(plain_etcd(), folder / "db");
  REQUIRE(repository.run({"init"}).ok());
  REQUIRE(repository.run({"backup", "--etcd-snapshot", db, "--certs-dir", folder / "pki"}).ok());
  std::map<std::string, std::string> expected = {{"data/etcd-snapshot.db", read_text(db)}};
  for (const auto& [name, content] : files_below(folder / "pki")) {
    expected["data/certificates/" + name] = content;
  }

  const fs::path target = folder / "target";
  const std::vector<std::string> restore = {"restore", "latest", "--target", target.string(),
                                            "--no-cache"};
  std::vector<std::string> finish = restore;
  finish.insert(finish.end(), {"--overwrite", "if-changed", "-o", "json"});
  // Early, among the certificates, and in the database, which comes last.
  for (const int whole : {1, kCertificates / 2, kCertificates}) {
    CAPTURE(whole);
    fs::remove_all(target);
    ProxyRules rules;
    rules.bytes_per_second = 1'500'000;
    slow.set(rules);
    Process killed = repository.start(restore, through);
    REQUIRE_MESSAGE(eventually([&] {
                      const Found found = found_below(target);
                      return found.whole >= whole && found.half > 0;
                    }),
                    killed.err());
    killed.kill(SIGKILL);
    const auto end = killed.wait(seconds(10));
    REQUIRE(end);
    REQUIRE(end->signal == SIGKILL);
    const Found left = found_below(target);
    REQUIRE(left.half > 0);
    REQUIRE_FALSE(left.database);
    for (const auto& [name, content] : files_below(target)) {
      if (!name.ends_with(".part")) CHECK_MESSAGE(content == expected.at(name), name);
    }

    slow.set({});
    CHECK(repository.run(restore).exit.code == 2);  // without a word about what is there
    const Json report = parsed(repository.run(finish));
    CHECK(report.at("unchanged") == left.whole);
    CHECK(report.at("files") == static_cast<int>(expected.size()) - left.whole);
    CHECK(report.at("database").is_object());  // proven by its digest
    CHECK(files_below(target) == expected);
  }
}
